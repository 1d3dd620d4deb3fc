//! The interval sieve: which odd numbers of an interval have no small factor.
//!
//! The interval is short, so each group of primes is struck out in its own way:
//!
//! - The least primes with precomputed bit patterns.
//! - Primes below the interval's length in a byte array. Each prime strikes as often as any residue
//!   could need, so that no branch depends on the residue.
//! - The greater primes, few of which have a multiple in the interval, once for each multiple
//!   found.

use crate::kernel::{MAX_PRIME, Residues, SIDE_BY_SIDE, VectorKernel};
use crate::table::Table;
use crate::{Cancel, Error};

/// All sieving primes are below this bound.
pub(super) const MAX_BOUND: u32 = MAX_PRIME;

/// The greatest number of odd numbers in an interval.
pub(super) const MAX_INTERVAL: usize = 1 << 16;

/// Greatest size of the bit patterns, in bytes: they must stay in the first-level cache.
const PATTERN_BYTES: usize = 1 << 14;

/// A sieve for numbers of one size.
pub(super) struct IntervalSieve {
    residues: Box<dyn Residues>,
    table: Table,
    /// The sieving primes in ascending order; the last one is repeated up to a multiple of
    /// [`SIDE_BY_SIDE`].
    primes: Vec<u32>,
    /// Number of 52-bit digits of a start.
    digits: usize,
    /// Number of words of an interval's marks.
    words: usize,
    /// For each of the least primes p, p patterns of `words` words. Pattern i strikes i, i + p, ...
    patterns: Vec<u64>,
    /// Number of primes that have patterns.
    patterned: usize,
    /// First multiples of the primes below the interval's length; padded with those of the next
    /// primes up to a multiple of [`SIDE_BY_SIDE`].
    firsts: Vec<u32>,
    /// One byte per number; twice as long as the interval.
    bytes: Vec<u8>,
    /// Indices struck by the greater primes.
    hits: Vec<u32>,
}

impl IntervalSieve {
    pub(super) fn new(kernel: &dyn VectorKernel) -> Self {
        Self {
            residues: kernel.residues(),
            table: Table::default(),
            primes: Vec::new(),
            digits: 0,
            words: 0,
            patterns: Vec::new(),
            patterned: 0,
            firsts: Vec::new(),
            bytes: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// Prepares for starts of `digits` digits, primes below `bound` (at least 5, at most
    /// [`MAX_BOUND`]) and intervals of `interval` odd numbers (a multiple of 64, at most
    /// [`MAX_INTERVAL`]).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`]; the sieve must be prepared again before it is used.
    pub(super) fn prepare(
        &mut self,
        digits: usize,
        bound: u32,
        interval: usize,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        debug_assert!((5..=MAX_BOUND).contains(&bound));
        debug_assert!(interval.is_multiple_of(64) && (64..=MAX_INTERVAL).contains(&interval));
        self.table.grow(bound, cancel)?;
        let primes = self.table.primes();
        let count = primes.partition_point(|&p| p < bound);
        let padded = count.next_multiple_of(SIDE_BY_SIDE);
        if self.digits == digits && self.primes.len() == padded && 64 * self.words == interval {
            return Ok(());
        }
        self.digits = 0;
        self.primes.clear();
        let last = primes[count - 1];
        let padding = std::iter::repeat_n(last, padded - count);
        self.primes
            .extend(primes[..count].iter().copied().chain(padding));

        self.words = interval / 64;
        self.patterns.clear();
        self.patterned = 0;
        for &p in &self.primes {
            let (p, used) = (p as usize, self.patterns.len());
            if p >= interval || 8 * (used + p * self.words) > PATTERN_BYTES {
                break;
            }
            self.patterned += 1;
            self.patterns.resize(used + p * self.words, 0);
            for (first, pattern) in self.patterns[used..].chunks_mut(self.words).enumerate() {
                for index in (first..interval).step_by(p) {
                    pattern[index / 64] |= 1 << (index % 64);
                }
            }
        }
        let short = self.primes[..count].partition_point(|&p| (p as usize) < interval);
        self.firsts.clear();
        self.firsts.resize(short.next_multiple_of(SIDE_BY_SIDE), 0);
        self.residues
            .prepare(&self.primes, self.firsts.len(), digits, cancel)?;
        self.bytes.clear();
        self.bytes.resize(2 * interval, 0);
        self.hits.clear();
        self.hits.resize(padded + 8, 0);
        self.digits = digits;
        Ok(())
    }

    /// Number of digits of a start.
    pub(super) fn digits(&self) -> usize {
        self.digits
    }

    /// Number of words of an interval's marks.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Sets bit i of `marks` if start + 2i has a prime factor below the bound, and clears it
    /// otherwise.
    ///
    /// `start` is odd and above 2^64. It has the number of digits that the sieve was prepared for.
    pub(super) fn mark(&mut self, start: &[u64], marks: &mut [u64]) {
        let (start, marks) = (&start[..self.digits], &mut marks[..self.words]);
        let interval = 64 * self.words;
        let hits = self
            .residues
            .locate(start, interval as u32, &mut self.firsts, &mut self.hits);

        let bytes = self.bytes.as_mut_slice();
        bytes.fill(0);
        for &hit in &self.hits[..hits] {
            bytes[hit as usize] = 1;
        }
        // `firsts` is padded with primes above the interval's length. They strike at most once.
        let mut primes = self.primes[self.patterned..]
            .iter()
            .zip(&self.firsts[self.patterned..]);
        for (&p, &first) in primes.by_ref() {
            let (p, mut at) = (p as usize, first as usize);
            // The number of strikes that reaches the end from any first index. The last one ends
            // below 2 · interval.
            for _ in 0..interval.div_ceil(p) {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 1;
                }
                at += p;
            }
        }
        let mut least = self.patterns.as_slice();
        marks.fill(0);
        for (&p, &first) in self.primes[..self.patterned].iter().zip(&self.firsts) {
            let (patterns, rest) = least.split_at(p as usize * self.words);
            let pattern = &patterns[first as usize * self.words..][..self.words];
            for (mark, pattern) in marks.iter_mut().zip(pattern) {
                *mark |= pattern;
            }
            least = rest;
        }
        self.residues.mark_nonzero(bytes, marks);
    }

    /// Whether a prime below the bound divides a number above 2^64 that has the number of digits
    /// that the sieve was prepared for.
    pub(super) fn has_factor(&self, number: &[u64]) -> bool {
        self.residues.has_factor(&number[..self.digits])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use rug::Integer;

    use super::super::digits::write_digits;
    use super::*;
    use crate::kernel::{DIGIT_BITS, all_vectors};
    use crate::{Stream, small};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn marks_exactly_the_numbers_with_small_factors(
            seed: u64,
            bits in 66_u32..1500,
            bound in 5_u32..20_000,
            words in 1_usize..40,
        ) {
            let mut start = Integer::new();
            Stream::seeded(seed, 0).draw_start(&mut start, bits).unwrap();
            start.set_bit(0, true);
            let mut digits = vec![0; (bits / DIGIT_BITS) as usize + 1];
            write_digits(&start, &mut digits);
            let primes: Vec<u32> = (3..bound).filter(|&p| small::is_prime(p.into())).collect();
            let numbers: Vec<(Integer, bool)> = (0..64 * words)
                .map(|i| {
                    let n = Integer::from(&start + 2 * i as u32);
                    let has_factor = primes.iter().any(|&p| n.is_divisible_u(p));
                    (n, has_factor)
                })
                .collect();
            for (name, kernel) in all_vectors() {
                let mut sieve = IntervalSieve::new(kernel);
                sieve.prepare(digits.len(), bound, 64 * words, &Cancel::new()).unwrap();
                let mut marks = vec![0; words];
                write_digits(&start, &mut digits);
                sieve.mark(&digits, &mut marks);
                for (i, (n, expected)) in numbers.iter().enumerate() {
                    let is_marked = marks[i / 64] >> (i % 64) & 1 == 1;
                    prop_assert_eq!(is_marked, *expected, "{}: {}", name, i);
                    if n.significant_bits() == bits {
                        write_digits(n, &mut digits);
                        prop_assert_eq!(sieve.has_factor(&digits), *expected, "{}: {}", name, i);
                    }
                }
            }
        }
    }
}
