//! Primality of many numbers of 64 bits.

use std::sync::OnceLock;

use primepool_engine::{
    Kernel,
    small::{self, STRONG_BASES},
};

use super::field::Moduli;
use super::{sizes, strong};

/// Exact tests of primality of numbers of 64 bits, with a number in each lane.
pub struct WordPrimality {
    kernel: Kernel,
}

/// Numbers below this are left to trial division.
const LANES_FROM: u64 = 41 * 41;

/// Numbers below this are looked up, where there are many of them.
const LOOKED_UP_BELOW: u64 = 1 << 24;

/// From so many numbers on the table of small primes is worth being made.
const MANY: usize = 20_000;

/// Which odd numbers below [`LOOKED_UP_BELOW`] are prime, a bit each: a megabyte, made in some
/// milliseconds when it is first needed.
static SMALL_PRIMES: OnceLock<Vec<u64>> = OnceLock::new();

impl WordPrimality {
    /// With a kernel that this processor has; else the arithmetic is that of machine words.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Which of some numbers are prime.
    #[must_use]
    pub fn are_prime(&self, numbers: &[u64]) -> Vec<bool> {
        let mut are_prime = vec![false; numbers.len()];
        let table = if numbers.len() < MANY {
            SMALL_PRIMES.get()
        } else {
            Some(SMALL_PRIMES.get_or_init(small_primes))
        };
        // Those with the same bases are of similar size.
        let mut groups: [Vec<(u64, usize)>; STRONG_BASES.len()] = Default::default();
        for (place, &n) in numbers.iter().enumerate() {
            if n.is_multiple_of(2) || n < LANES_FROM {
                are_prime[place] = small::is_prime(n);
            } else if let Some(table) = table
                && n < LOOKED_UP_BELOW
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
            match sizes::tests(self.kernel, u64::BITS - greatest.leading_zeros()) {
                Some(tests) => test(&mut *{ tests }, bases, group, &mut are_prime),
                None => group
                    .iter()
                    .for_each(|&(n, place)| are_prime[place] = small::is_prime(n)),
            }
        }
        are_prime
    }
}

/// The table of primes, by the sieve of Eratosthenes.
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

/// Tests numbers with their places, and notes which are prime.
fn test(tests: &mut dyn Tests, bases: &[u64], numbers: &[(u64, usize)], are_prime: &mut [bool]) {
    let mut words = Vec::with_capacity(tests.lanes());
    for some in numbers.chunks(tests.lanes()) {
        words.clear();
        words.extend(some.iter().map(|&(n, _)| n));
        let bits = tests.pass_all(&words, bases);
        for (lane, &(_, place)) in some.iter().enumerate() {
            are_prime[place] = bits >> lane & 1 == 1;
        }
    }
}

/// Tests of primality in the lanes of a field.
pub(crate) trait Tests {
    /// The number of lanes.
    fn lanes(&self) -> usize;

    /// Which of some numbers, as many as there are lanes at most, odd and above the bases, are strong
    /// probable primes to all of these: bit l is the number in place l.
    fn pass_all(&mut self, numbers: &[u64], bases: &[u64]) -> u32;
}

/// The tests of some moduli.
pub(crate) struct ModuliTests<M> {
    moduli: M,
    memory: strong::Memory,
}

impl<M: Moduli + 'static> ModuliTests<M> {
    pub(crate) fn boxed(moduli: M) -> Box<dyn Tests> {
        let memory = strong::Memory::default();
        Box::new(Self { moduli, memory })
    }
}

impl<M: Moduli> Tests for ModuliTests<M> {
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
