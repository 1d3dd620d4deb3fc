//! Primality of many numbers of 64 bits.

use primepool_engine::{Kernel, small};

use super::field::Moduli;
use super::{sizes, strong};

/// Exact tests of primality of numbers of 64 bits, with a number in each lane.
pub struct WordPrimality {
    kernel: Kernel,
}

/// Numbers of as many bits, give or take some, are tested together: a group of short ones has a
/// small field and short exponents.
const BITS_OF_GROUP: u32 = 16;

/// Numbers below this are left to trial division.
const LANES_FROM: u64 = 41 * 41;

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
        let mut in_lanes = Vec::with_capacity(numbers.len());
        for (place, &n) in numbers.iter().enumerate() {
            if n < LANES_FROM || n.is_multiple_of(2) {
                are_prime[place] = small::is_prime(n);
            } else {
                in_lanes.push((n, place));
            }
        }
        in_lanes.sort_unstable();
        let group = |n: u64| (u64::BITS - n.leading_zeros()).div_ceil(BITS_OF_GROUP);
        for some in in_lanes.chunk_by(|(a, _), (b, _)| group(*a) == group(*b)) {
            let bits = BITS_OF_GROUP * group(some[0].0);
            match sizes::tests(self.kernel, bits) {
                Some(tests) => test(&mut *{ tests }, some, &mut are_prime),
                None => some
                    .iter()
                    .for_each(|&(n, place)| are_prime[place] = small::is_prime(n)),
            }
        }
        are_prime
    }
}

/// Tests numbers with their places, and notes which are prime.
fn test(tests: &mut dyn Tests, numbers: &[(u64, usize)], are_prime: &mut [bool]) {
    let mut words = Vec::with_capacity(tests.lanes());
    for some in numbers.chunks(tests.lanes()) {
        words.clear();
        words.extend(some.iter().map(|&(n, _)| n));
        let bits = tests.are_prime(&words);
        for (lane, &(_, place)) in some.iter().enumerate() {
            are_prime[place] = bits >> lane & 1 == 1;
        }
    }
}

/// Tests of primality in the lanes of a field.
pub(crate) trait Tests {
    /// The number of lanes.
    fn lanes(&self) -> usize;

    /// Which of some numbers are prime, as many as there are lanes at most, odd and above 37: bit l is
    /// the number in place l.
    fn are_prime(&mut self, numbers: &[u64]) -> u32;
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

    fn are_prime(&mut self, numbers: &[u64]) -> u32 {
        for (lane, &n) in numbers.iter().enumerate() {
            self.moduli.set_word(lane, n);
        }
        strong::are_prime(&self.moduli, numbers, &mut self.memory)
    }
}
