//! Primality of many numbers of 64 bits.

use std::sync::OnceLock;

use primepool_engine::{
    Kernel,
    small::{self, STRONG_BASES},
};

use super::field::Moduli;
use super::{sizes, strong};

/// Exact primality tests of numbers of 64 bits, with a number in each lane.
pub struct WordPrimality {
    kernel: Kernel,
    /// Numbers so far that the table of small primes has, or would have.
    small: usize,
}

/// Numbers below this are tested by trial division.
const LANES_FROM: u64 = 41 * 41;

/// Numbers below this are looked up in a table, once there have been many of them.
const LOOKED_UP_BELOW: u64 = 1 << 24;

/// From this many numbers on, it is worthwhile to build the table of small primes.
const MANY: usize = 20_000;

/// Whether each odd number below [`LOOKED_UP_BELOW`] is prime, one bit each: a megabyte, built
/// within some milliseconds when it is first needed.
static SMALL_PRIMES: OnceLock<Vec<u64>> = OnceLock::new();

impl WordPrimality {
    /// Uses `kernel` if this processor has it, and machine words otherwise.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, small: 0 }
    }

    /// Whether each of the numbers is prime.
    #[must_use]
    pub fn are_prime(&mut self, numbers: &[u64]) -> Vec<bool> {
        let mut are_prime = vec![false; numbers.len()];
        // Numbers that are tested with the same bases are of similar size.
        let mut groups: [Vec<(u64, usize)>; STRONG_BASES.len()] = Default::default();
        for (place, &n) in numbers.iter().enumerate() {
            if n.is_multiple_of(2) || n < LANES_FROM {
                are_prime[place] = small::is_prime(n);
            } else if n < LOOKED_UP_BELOW
                && let Some(table) = self.table()
            {
                are_prime[place] = table[n as usize / 128] >> (n / 2 % 64) & 1 == 1;
            } else {
                let group = STRONG_BASES.iter().position(|&(last, _)| n <= last);
                groups[group.unwrap_or_default()].push((n, place));
            }
        }
        for (group, (_, bases)) in groups.iter().zip(STRONG_BASES) {
            let Some(greatest) = group.iter().map(|&(n, _)| n).max() else {
                continue;
            };
            match sizes::primality_tester(self.kernel, u64::BITS - greatest.leading_zeros()) {
                Some(tester) => test(&mut *{ tester }, bases, group, &mut are_prime),
                None => group
                    .iter()
                    .for_each(|&(n, place)| are_prime[place] = small::is_prime(n)),
            }
        }
        are_prime
    }

    /// The table of small primes, for one more number.
    fn table(&mut self) -> Option<&'static [u64]> {
        self.small += 1;
        if self.small < MANY {
            SMALL_PRIMES.get().map(Vec::as_slice)
        } else {
            Some(SMALL_PRIMES.get_or_init(small_primes))
        }
    }
}

/// Builds the table of primes with the sieve of Eratosthenes.
fn small_primes() -> Vec<u64> {
    let mut table = vec![u64::MAX; (LOOKED_UP_BELOW / 128) as usize];
    table[0] &= !1;
    for prime in (3..).step_by(2).take_while(|&p| p * p < LOOKED_UP_BELOW) {
        if table[prime as usize / 128] >> (prime / 2 % 64) & 1 == 1 {
            for multiple in (prime * prime..LOOKED_UP_BELOW).step_by(2 * prime as usize) {
                table[multiple as usize / 128] &= !(1 << (multiple / 2 % 64));
            }
        }
    }
    table
}

/// Tests numbers, each with its index in `are_prime`, and notes there whether it is prime.
fn test(
    tester: &mut dyn PrimalityTester,
    bases: &[u64],
    numbers: &[(u64, usize)],
    are_prime: &mut [bool],
) {
    let mut words = Vec::with_capacity(tester.lanes());
    for some in numbers.chunks(tester.lanes()) {
        words.clear();
        words.extend(some.iter().map(|&(n, _)| n));
        let bits = tester.pass_all(&words, bases);
        for (lane, &(_, place)) in some.iter().enumerate() {
            are_prime[place] = bits >> lane & 1 == 1;
        }
    }
}

/// A primality tester, with a number in each lane.
pub(crate) trait PrimalityTester {
    /// The number of lanes.
    fn lanes(&self) -> usize;

    /// Tests odd numbers above the bases, at most one for each lane. Bit l of the result says
    /// whether number l is a strong probable prime to all of the bases.
    fn pass_all(&mut self, numbers: &[u64], bases: &[u64]) -> u32;
}

/// A primality tester modulo the numbers in `moduli`.
pub(crate) struct LaneTester<M> {
    moduli: M,
    memory: strong::Memory,
}

impl<M: Moduli + 'static> LaneTester<M> {
    pub(crate) fn boxed(moduli: M) -> Box<dyn PrimalityTester> {
        let memory = strong::Memory::default();
        Box::new(Self { moduli, memory })
    }
}

impl<M: Moduli> PrimalityTester for LaneTester<M> {
    fn lanes(&self) -> usize {
        M::LANES
    }

    fn pass_all(&mut self, numbers: &[u64], bases: &[u64]) -> u32 {
        for (lane, &n) in numbers.iter().enumerate() {
            self.moduli.set_word(lane, n);
        }
        strong::pass_all(&self.moduli, numbers, bases, &mut self.memory)
    }
}
