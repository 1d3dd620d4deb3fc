//! The self-initialising quadratic sieve.
//!
//! Values of many polynomials are sieved for those that factor over a base of small primes except
//! for one large prime, or two if numbers are large. Enough of these values multiply to a square,
//! which gives a divisor. The design is made for a processor's first-level cache and its vectors:
//!
//! - each polynomial is sieved over one block of 32 KiB only: values are small near the middle, and
//!   polynomials are cheap;
//! - primes above the block's length have at most one place in it for each root. 16 of them stay in
//!   registers while their roots go through 32 polynomials; places in the block are appended to the
//!   bucket of their polynomial without a branch (`kernel`);
//! - primes below about 1,300 are not sieved with. Each report of the others is scored again with
//!   all of these at once, before its value is computed;
//! - the step of a root from one polynomial to the next is B/a = γ/q modulo the prime: one
//!   multiplication by an entry of a table (`polynomials`).
//!
//! The relations depend on the number and the indices of families only: they are the same on all
//! machines and for all kernels.
//!
//! # Sources
//!
//! Pomerance, *The quadratic sieve factoring algorithm*, 1985; Silverman, *The multiple polynomial
//! quadratic sieve*, 1987; Contini, *Factoring integers with the self-initializing quadratic
//! sieve*, 1997; Kleinjung, *Quadratic sieving*, 2016, for many polynomials at once.

mod bits;
mod block_lanczos;
mod collector;
mod cycles;
mod factor_base;
mod families;
mod kernel;
mod layout;
mod multiplier;
mod nullspace;
mod parallel;
mod parameters;
mod polynomials;
mod relation;
mod siever;
mod split;
mod wide;

pub use self::collector::{Added, Collector, Start};
pub use self::families::Families;
pub use self::kernel::SieveKernel;
pub use self::relation::form;
pub(crate) use self::split::split;

/// Smallest size in bits of a composite that the sieve accepts.
pub const MIN_BITS: u32 = 64;

/// Largest size in bits of a composite that the sieve accepts.
pub const MAX_BITS: u32 = 400;

/// Number of the packet format of relations. A packet with another number comes from another
/// version of this crate.
pub const RELATIONS_FORM: u32 = 3;

/// For the benchmark that measures parameters.
#[doc(hidden)]
pub mod tuning {
    pub use super::parameters::Parameters;
    pub use super::split::split_with;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ops::Range;

    use proptest::prelude::*;
    use rug::Integer;

    use super::tuning::{Parameters, split_with};
    use super::*;
    use crate::{Cancel, Error};

    /// A product of two primes, each the next one after an integer of half as many bits.
    fn semiprime(bits: u32, [p, q]: [u64; 2]) -> Integer {
        let prime = |bits: u32, word: u64| {
            let mut n: Integer = (Integer::from(word) << 136) >> (200 - bits);
            n.set_bit(bits - 1, true);
            n.set_bit(bits - 2, true);
            n.next_prime()
        };
        prime(bits / 2, p) * prime(bits - bits / 2, q)
    }

    fn packet(number: &Integer, kernel: SieveKernel, families: Range<u64>) -> Vec<u8> {
        let never = Cancel::new();
        let mut sieve = Families::new(number, kernel, &never).unwrap();
        let count = families.end - families.start;
        let (packet, done) = sieve.sieve(families, &never).unwrap();
        assert_eq!(done, count);
        packet
    }

    #[test]
    fn all_kernels_find_the_same_relations() {
        for (bits, families) in [(64, 20), (100, 20), (160, 6), (200, 3), (250, 2), (330, 1)] {
            let number = semiprime(bits, [0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210]);
            let kernels = SieveKernel::available();
            let expected = packet(&number, kernels[kernels.len() - 1], 7..7 + families);
            let Start::Ready(mut collector) = Collector::start(&number).unwrap() else {
                panic!("{number}")
            };
            let added = collector.add(&expected);
            assert!(added.new > 0 && added.wrong == 0, "{bits} bits: {added:?}");
            for kernel in kernels {
                let found = packet(&number, kernel, 7..7 + families);
                assert_eq!(found, expected, "{bits} bits, {kernel:?}");
            }
        }
    }

    #[test]
    fn a_cancel_ends_the_sieve() {
        let number = semiprime(160, [1, 2]);
        let cancel = Cancel::new();
        let mut families = Families::new(&number, SieveKernel::fastest(), &cancel).unwrap();
        cancel.cancel();
        assert!(matches!(
            families.sieve(0..9, &cancel),
            Err(Error::Cancelled)
        ));
        let cancelled = split(&number, SieveKernel::fastest(), &cancel, &mut |_, _| {});
        assert_eq!(cancelled, Err(Error::Cancelled));
    }

    #[test]
    fn sizes_are_checked() {
        for bits in [MIN_BITS - 1, MAX_BITS + 1] {
            let n = (Integer::from(1) << (bits - 1)) + 1;
            let families = Families::new(&n, SieveKernel::fastest(), &Cancel::new());
            assert!(matches!(families, Err(Error::Invalid { .. })));
            assert!(matches!(Collector::start(&n), Err(Error::Invalid { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(120))]

        #[test]
        fn semiprimes_are_split_by_every_kernel(
            bits in MIN_BITS + 2..150,
            words: [u64; 2],
            kernel: usize,
            has_double: bool,
        ) {
            let number = semiprime(bits, words);
            let mut parameters = Parameters::for_bits(number.significant_bits());
            if has_double {
                // As for large numbers.
                parameters.double_bound = (parameters.large_bound as f64).powf(1.8) as u64;
            }
            let kernels = SieveKernel::available();
            let kernel = kernels[kernel % kernels.len()];
            if !number.is_perfect_square() {
                let never = Cancel::new();
                let divisor = split_with(&number, parameters, kernel, &never, &mut |_, _| {});
                let divisor = divisor.unwrap().unwrap();
                prop_assert!(divisor > 1 && divisor < number && number.is_divisible(&divisor));
            }
        }
    }
}
