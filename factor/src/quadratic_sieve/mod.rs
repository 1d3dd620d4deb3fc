//! The self-initialising quadratic sieve.
//!
//! Values of many polynomials are sieved for those that factor over a base of small primes, but for
//! one large prime; enough of them multiply to a square, which gives a divisor. The design is made
//! for a processor's first cache and its vectors:
//!
//! - each polynomial is sieved over one block of 32 KiB only: values are small near the middle, and
//!   polynomials are cheap;
//! - primes above the block's length have at most one place in it for each root. 16 of them stay in
//!   registers while their roots go through 32 polynomials; places in the block are appended to the
//!   bucket of their polynomial without a branch ([`kernel`]);
//! - primes below about 1,300 are not sieved with. Each report of the others is scored again with
//!   all of these at once, before its value is computed;
//! - the step of a root from one polynomial to the next is B/a = γ/q modulo the prime, one product
//!   of a table's entry ([`polynomials`]).
//!
//! The relations depend on the number and the indices of families only: they are the same on all
//! machines and for all kernels.
//!
//! # Sources
//!
//! Pomerance, *The quadratic sieve factoring algorithm*, 1985; Silverman, *The multiple polynomial
//! quadratic sieve*, 1987; Contini, *Factoring integers with the self-initializing quadratic
//! sieve*, 1997; Kleinjung, *Quadratic sieving*, 2016, for many polynomials at once.

mod block_lanczos;
mod collector;
mod cycles;
mod factor_base;
mod kernel;
mod layout;
mod multiplier;
mod nullspace;
mod parallel;
mod parameters;
mod polynomials;
mod relation;
mod siever;
mod wide;

use std::num::NonZero;
use std::ops::Range;

use rug::Integer;

pub use self::collector::{Added, Collector, Start};
use self::factor_base::{Base, FactorBase};
pub use self::kernel::SieveKernel;
use self::parameters::Parameters;
pub use self::relation::form;
use self::relation::{FULL, Writer, pack};
use self::siever::Siever;
use crate::{Cancel, Error};

/// The least number of bits of a composite that the sieve takes.
pub const MIN_BITS: u32 = 64;

/// The greatest number of bits of a composite that the sieve takes.
pub const MAX_BITS: u32 = 400;

/// Number of the form that relations have in packets. Packets of another form are for another
/// version of this crate.
pub const RELATIONS_FORM: u32 = 2;

/// Families in a row without a new relation after which the sieve gives up.
const BARREN: u32 = 256;

/// A proper divisor of an odd composite that is no power of a prime. `None` if the sieve fails.
/// `progress` is told the relations that there are and that are needed.
pub(crate) fn split(
    number: &Integer,
    kernel: SieveKernel,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Integer>, Error> {
    let parameters = Parameters::for_bits(number.significant_bits());
    split_with(number, parameters, kernel, cancel, progress)
}

fn split_with(
    number: &Integer,
    parameters: Parameters,
    kernel: SieveKernel,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Integer>, Error> {
    check_size(number)?;
    let base = match FactorBase::build(number, &parameters, cancel)? {
        Base::Ready(base) => base,
        Base::Divisor(prime) => return Ok(Some(prime.into())),
    };
    let mut collector = Collector::new(number, base.clone(), parameters);
    let mut siever = Siever::new(base, parameters, kernel);
    let mut barren = 0;
    for family in 0.. {
        let mut is_barren = true;
        siever.sieve(family, cancel, &mut |relation| {
            is_barren &= collector.add_one(&relation) != Some(true);
        })?;
        barren = if is_barren { barren + 1 } else { 0 };
        progress(collector.relations(), collector.needed());
        if collector.is_ready()
            && let Some(divisor) = collector.solve(NonZero::<usize>::MIN, cancel)?
        {
            return Ok(Some(divisor));
        }
        if barren == BARREN {
            break;
        }
    }
    Ok(None)
}

/// For the benchmark that measures parameters.
#[doc(hidden)]
pub mod tuning {
    use super::{Cancel, Error, Integer, SieveKernel};

    pub use super::parameters::Parameters;

    /// A proper divisor by the sieve with these parameters.
    ///
    /// # Errors
    ///
    /// The sieve does not take the number.
    pub fn split(
        number: &Integer,
        parameters: Parameters,
        kernel: SieveKernel,
    ) -> Result<Option<Integer>, Error> {
        super::split_with(number, parameters, kernel, &Cancel::new(), &mut |_, _| {})
    }
}

/// The sieve of one composite, in parts for many machines.
pub struct Families {
    number: Integer,
    siever: Siever,
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Families of {}", self.number)
    }
}

impl Families {
    /// Prepares the sieve: a tenth of a second at 256 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers out of [`MIN_BITS`]`..=`[`MAX_BITS`], and if a prime of the factor base divides the number.
    pub fn new(number: &Integer, kernel: SieveKernel, cancel: &Cancel) -> Result<Self, Error> {
        check_size(number)?;
        let parameters = Parameters::for_bits(number.significant_bits());
        match FactorBase::build(number, &parameters, cancel)? {
            Base::Ready(base) => Ok(Self {
                number: number.clone(),
                siever: Siever::new(base, parameters, kernel),
            }),
            Base::Divisor(prime) => Err(Error::invalid(format!(
                "no sieve for {number}: {prime} divides it"
            ))),
        }
    }

    /// The composite.
    #[must_use]
    pub fn number(&self) -> &Integer {
        &self.number
    }

    /// The relations of these families, as a packet, and how many families that are: a range with
    /// too many relations for one packet ends early.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if the packet cannot be made.
    pub fn sieve(
        &mut self,
        families: Range<u64>,
        cancel: &Cancel,
    ) -> Result<(Vec<u8>, u64), Error> {
        let mut writer = Writer::default();
        let mut done = 0;
        for family in families {
            self.siever
                .sieve(family, cancel, &mut |relation| writer.write(&relation))?;
            done += 1;
            if writer.bytes.len() > FULL {
                break;
            }
        }
        let packet = pack(&writer.bytes)
            .map_err(|error| Error::fault(format!("relations cannot be compressed: {error}")))?;
        Ok((packet, done))
    }
}

/// Of sorted numbers, those that are there an odd number of times, once.
fn keep_odd(numbers: &mut Vec<u32>) {
    let mut kept = 0;
    let mut i = 0;
    while i < numbers.len() {
        let number = numbers[i];
        let count = numbers[i..]
            .iter()
            .take_while(|&&other| other == number)
            .count();
        if count % 2 == 1 {
            numbers[kept] = number;
            kept += 1;
        }
        i += count;
    }
    numbers.truncate(kept);
}

/// Whether the sieve takes numbers of this size, and of this sign.
fn check_size(number: &Integer) -> Result<(), Error> {
    let bits = number.significant_bits();
    if number.is_negative() || number.is_even() || !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(Error::invalid(format!(
            "the sieve takes odd numbers of {MIN_BITS} to {MAX_BITS} bits, not {number}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The product of the primes after two integers of so many bits.
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
    fn numbers_that_are_there_an_odd_number_of_times_are_kept() {
        let mut numbers = vec![1, 2, 2, 3, 3, 3, 7, 9, 9, 9, 9];
        keep_odd(&mut numbers);
        assert_eq!(numbers, [1, 3, 7]);
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
        fn semiprimes_are_split_by_every_kernel(bits in MIN_BITS + 2..150, words: [u64; 2], kernel: usize) {
            let number = semiprime(bits, words);
            let kernels = SieveKernel::available();
            let kernel = kernels[kernel % kernels.len()];
            if !number.is_perfect_square() {
                let divisor = split(&number, kernel, &Cancel::new(), &mut |_, _| {}).unwrap();
                let divisor = divisor.unwrap();
                prop_assert!(divisor > 1 && divisor < number && number.is_divisible(&divisor));
            }
        }
    }
}
