//! The sieve: which odd numbers of an interval have no small factor.
//!
//! Residues of the start are made eight at a time, digit by digit from the least significant one (Hensel's division:
//! Montgomery's reduction of one digit after the other), with no division at all: first modulo products of up to
//! [`MAX_FACTORS`] primes that fit a digit, which share the passes over the start, then modulo each prime. The interval is
//! short, so it is struck out
//!
//! - by the least primes with ready-made bit patterns;
//! - by those below the interval's length in a byte array, as often as any multiple of theirs may occur, so that no branch
//!   depends on the residue;
//! - by the others, of which few have a multiple in it, where they have one.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_loadu_si256, _mm256_maskz_compress_epi32, _mm256_storeu_si256,
    _mm512_cmplt_epu64_mask, _mm512_cvtepi64_epi32, _mm512_cvtepu32_epi64, _mm512_loadu_si512,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_srli_epi64, _mm512_sub_epi64, _mm512_test_epi8_mask, _mm512_testn_epi64_mask,
};

use super::Ifma;
use super::row::{DIGIT_BITS, DIGIT_MASK};
use crate::table::Table;
use crate::{Cancel, Error, small};

/// Primes are below this, so that a product of two residues is below 2^52.
pub(super) const MAX_BOUND: u32 = 1 << 25;

/// The greatest number of odd numbers in an interval.
pub(super) const MAX_INTERVAL: usize = 1 << 16;

/// Products of primes whose residues are made side by side, so that their chains of multiply-adds overlap.
const SIDE_BY_SIDE: usize = 4 * 8;

/// The greatest number of primes in a product.
const MAX_FACTORS: usize = 4;

/// Bytes of bit patterns: they have to stay in the first-level cache.
const PATTERN_BYTES: usize = 1 << 14;

/// Primes prepared between two looks at the cancellation flag: about a millisecond.
const PRIMES_PER_POLL: usize = 1 << 13;

/// A sieve for numbers of one size.
pub(super) struct Sieve {
    _proof: Ifma,
    table: Table,
    /// The primes sieved by, in ascending order, the last one repeated up to a multiple of [`SIDE_BY_SIDE`].
    primes: Vec<u32>,
    /// For each prime its inverse modulo 2^52.
    inverses: Vec<u64>,
    /// For each prime 2^(52 (digits + 2)) / 2 modulo it: turns what is left of a start into the index of a multiple.
    factors: Vec<u32>,
    /// For each block of products the number k of primes in a product. The block is of 32 k consecutive primes, and its
    /// product i is that of primes i, 32 + i, ...
    blocks: Vec<usize>,
    /// The products, below 2^52.
    products: Vec<u64>,
    /// For each product its inverse modulo 2^52.
    product_inverses: Vec<u64>,
    /// 52-bit digits of the starts.
    digits: usize,
    /// Words of an interval's marks.
    words: usize,
    /// For each of the least primes p, p patterns of `words` words: that of index i strikes i, i + p, ...
    patterns: Vec<u64>,
    /// How many of the least primes have patterns.
    patterned: usize,
    /// How many primes are below the interval's length, the patterned ones included.
    short: usize,
    /// The first multiples of the short primes.
    firsts: Vec<u32>,
    /// One byte a number, twice the interval.
    bytes: Vec<u8>,
    /// The struck indices of the primes beyond.
    hits: Vec<u32>,
}

impl Sieve {
    pub(super) fn new(proof: Ifma) -> Self {
        Self {
            _proof: proof,
            table: Table::default(),
            primes: Vec::new(),
            inverses: Vec::new(),
            factors: Vec::new(),
            blocks: Vec::new(),
            products: Vec::new(),
            product_inverses: Vec::new(),
            digits: 0,
            words: 0,
            patterns: Vec::new(),
            patterned: 0,
            short: 0,
            firsts: Vec::new(),
            bytes: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// Prepares for starts of so many digits, primes below `bound` (at least 5, at most [`MAX_BOUND`]) and intervals of
    /// `interval` odd numbers, a multiple of 64 up to [`MAX_INTERVAL`].
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
        self.inverses.clear();
        self.factors.clear();
        let last = primes[count - 1];
        let padding = std::iter::repeat_n(last, padded - count);
        self.primes
            .extend(primes[..count].iter().copied().chain(padding));
        for batch in self.primes.chunks(PRIMES_PER_POLL) {
            cancel.check()?;
            for &p in batch {
                let p = u64::from(p);
                self.inverses.push(small::inverse(p) & DIGIT_MASK);
                let exponent = u64::from(DIGIT_BITS) * (digits as u64 + 2) - 1;
                // Below p.
                self.factors.push(power_of_two(exponent, p) as u32);
            }
        }

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
        self.short = self.primes[..count].partition_point(|&p| (p as usize) < interval);
        self.firsts.clear();
        self.firsts
            .resize(self.short.next_multiple_of(SIDE_BY_SIDE), 0);
        self.multiply_primes();
        self.bytes.clear();
        self.bytes.resize(2 * interval, 0);
        self.hits.clear();
        self.hits.resize(padded + 8, 0);
        self.digits = digits;
        Ok(())
    }

    /// Makes the products, as long as they fit; none has both short primes and others.
    fn multiply_primes(&mut self) {
        self.blocks.clear();
        self.products.clear();
        self.product_inverses.clear();
        let mut rest = self.primes.as_slice();
        while !rest.is_empty() {
            let done = self.primes.len() - rest.len();
            let end = match self.firsts.len() {
                short if done < short => short,
                _ => self.primes.len(),
            };
            let fits = |&count: &usize| {
                let greatest = u64::from(rest[SIDE_BY_SIDE * count - 1]);
                let power = greatest.checked_pow(count as u32);
                power.is_some_and(|power| power <= DIGIT_MASK)
            };
            let most = MAX_FACTORS.min((end - done) / SIDE_BY_SIDE);
            let count = (2..=most).rev().find(fits).unwrap_or(1);
            let (block, later) = rest.split_at(SIDE_BY_SIDE * count);
            for i in 0..SIDE_BY_SIDE {
                let factors = block[i..].iter().step_by(SIDE_BY_SIDE);
                let product = factors.map(|&p| u64::from(p)).product();
                self.products.push(product);
                self.product_inverses
                    .push(small::inverse(product) & DIGIT_MASK);
            }
            self.blocks.push(count);
            rest = later;
        }
    }

    /// Digits of a start.
    pub(super) fn digits(&self) -> usize {
        self.digits
    }

    /// Words of an interval's marks.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Sets bit i of `marks` where start + 2i has a prime factor below the bound, and clears it where it has none.
    ///
    /// `start` is odd and above 2^64; its digits are those that the sieve was prepared for.
    pub(super) fn mark(&mut self, start: &[u64], marks: &mut [u64]) {
        // SAFETY: `_proof` shows that the processor has the instructions.
        unsafe { self.mark_lanes(&start[..self.digits], &mut marks[..self.words]) }
    }

    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512bw")]
    fn mark_lanes(&mut self, start: &[u64], marks: &mut [u64]) {
        let interval = 64 * self.words;
        let (mut index, mut hits) = (0, 0);
        for block in 0..self.blocks.len() {
            let count = self.blocks[block];
            hits = match count {
                1 => self.locate::<1>(start, block, index, hits),
                2 => self.locate::<2>(start, block, index, hits),
                3 => self.locate::<3>(start, block, index, hits),
                MAX_FACTORS => self.locate::<MAX_FACTORS>(start, block, index, hits),
                _ => unreachable!("a product has at most {MAX_FACTORS} primes"),
            };
            index += SIDE_BY_SIDE * count;
        }

        let bytes = self.bytes.as_mut_slice();
        bytes.fill(0);
        for &hit in &self.hits[..hits] {
            bytes[hit as usize] = 1;
        }
        // The primes that happen to stand in the last short vector, but are not short, strike once at most.
        let mut primes = self.primes[self.patterned..]
            .iter()
            .zip(&self.firsts[self.patterned..]);
        for (&p, &first) in primes.by_ref() {
            let (p, mut at) = (p as usize, first as usize);
            // The least number of strikes that reaches the end from anywhere; the last ends below 2 · interval.
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
        for (mark, bytes) in marks.iter_mut().zip(bytes.chunks_exact(64)) {
            // SAFETY: a chunk has the 64 bytes that are loaded.
            let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            *mark |= _mm512_test_epi8_mask(bytes, bytes);
        }
    }

    /// Whether a prime below the bound divides a number of the digits that the sieve was prepared for, above 2^64.
    pub(super) fn has_factor(&self, number: &[u64]) -> bool {
        // SAFETY: `_proof` shows that the processor has the instructions.
        unsafe { self.has_factor_lanes(&number[..self.digits]) }
    }

    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512bw")]
    fn has_factor_lanes(&self, number: &[u64]) -> bool {
        let zero = _mm512_setzero_si512();
        let mut index = 0;
        for (block, &count) in self.blocks.iter().enumerate() {
            let rest = self.reduce(number, block);
            for _ in 0..count {
                let (primes, _) = self.primes[index..][..SIDE_BY_SIDE].as_chunks();
                let (inverses, _) = self.inverses[index..][..SIDE_BY_SIDE].as_chunks();
                let mut divided = 0;
                for ((&rest, primes), inverses) in rest.iter().zip(primes).zip(inverses) {
                    // −rest / 2^52, below p.
                    let quotient = _mm512_madd52lo_epu64(zero, rest, load(inverses));
                    let reduced = _mm512_madd52hi_epu64(zero, quotient, widen(primes));
                    divided |= _mm512_testn_epi64_mask(reduced, reduced);
                }
                if divided != 0 {
                    return true;
                }
                index += SIDE_BY_SIDE;
            }
        }
        false
    }

    /// Finds the least i with start + 2i ≡ 0 for each prime of a block, of products of N primes, whose primes begin at
    /// `index`. That of a short prime goes to `firsts`; that of another to `hits`, which has so many already, if it is in
    /// the interval. Returns how many hits there are then.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512bw")]
    fn locate<const N: usize>(
        &mut self,
        start: &[u64],
        block: usize,
        index: usize,
        mut hits: usize,
    ) -> usize {
        let end = _mm512_set1_epi64(64 * self.words as i64);
        let rest = self.reduce(start, block);
        for n in 0..N {
            let index = index + SIDE_BY_SIDE * n;
            let firsts = self.first_multiples(rest, index);
            for (vector, first) in firsts.into_iter().enumerate() {
                let indices = _mm512_cvtepi64_epi32(first);
                if index < self.firsts.len() {
                    let to = &mut self.firsts[index + 8 * vector..][..8];
                    // SAFETY: `to` has room for the eight words that are stored.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), indices) };
                } else {
                    let hit = _mm512_cmplt_epu64_mask(first, end);
                    let indices = _mm256_maskz_compress_epi32(hit, indices);
                    let to = &mut self.hits[hits..][..8];
                    // SAFETY: `to` has room for the eight words that are stored.
                    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), indices) };
                    hits += hit.count_ones() as usize;
                }
            }
        }
        hits
    }

    /// For the products m of a block: −start / 2^(52 digits) modulo m, in [0, m].
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512bw")]
    fn reduce(&self, start: &[u64], block: usize) -> Vectors {
        let zero = _mm512_setzero_si512();
        let mut m = [zero; SIDE_BY_SIDE / 8];
        let mut inverse = [zero; SIDE_BY_SIDE / 8];
        let mut rest = [zero; SIDE_BY_SIDE / 8];
        let (chunks, _) = self.products[SIDE_BY_SIDE * block..][..SIDE_BY_SIDE].as_chunks();
        for (m, products) in m.iter_mut().zip(chunks) {
            *m = load(products);
        }
        let (chunks, _) = self.product_inverses[SIDE_BY_SIDE * block..][..SIDE_BY_SIDE].as_chunks();
        for (inverse, inverses) in inverse.iter_mut().zip(chunks) {
            *inverse = load(inverses);
        }
        // −(the digits so far) ≡ rest · 2^(52 · their number), with rest ≤ m.
        for &digit in start {
            let digit = _mm512_set1_epi64(digit as i64);
            for ((rest, &m), &inverse) in rest.iter_mut().zip(&m).zip(&inverse) {
                let low = _mm512_sub_epi64(digit, *rest);
                let quotient = _mm512_madd52lo_epu64(zero, low, inverse);
                let borrow = _mm512_srli_epi64::<63>(low);
                *rest = _mm512_madd52hi_epu64(borrow, quotient, m);
            }
        }
        rest
    }

    /// For [`SIDE_BY_SIDE`] primes from an index on, given what [`Self::reduce`] says of their products: the least i with
    /// start + 2i ≡ 0 modulo each, below the prime.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512bw")]
    fn first_multiples(&self, mut rest: Vectors, index: usize) -> Vectors {
        let zero = _mm512_setzero_si512();
        let (primes, _) = self.primes[index..][..SIDE_BY_SIDE].as_chunks();
        let (inverses, _) = self.inverses[index..][..SIDE_BY_SIDE].as_chunks();
        let (factors, _) = self.factors[index..][..SIDE_BY_SIDE].as_chunks();
        for (((rest, primes), inverses), factors) in
            rest.iter_mut().zip(primes).zip(inverses).zip(factors)
        {
            let (p, inverse) = (widen(primes), load(inverses));
            // −rest / 2^52, below p; then −(that · factor) / 2^52. Both products with p have the low half that the
            // numerator has.
            let quotient = _mm512_madd52lo_epu64(zero, *rest, inverse);
            let reduced = _mm512_madd52hi_epu64(zero, quotient, p);
            let product = _mm512_madd52lo_epu64(zero, reduced, widen(factors));
            let quotient = _mm512_madd52lo_epu64(zero, product, inverse);
            *rest = _mm512_madd52hi_epu64(zero, quotient, p);
        }
        rest
    }
}

/// One number for each of [`SIDE_BY_SIDE`] primes or products.
type Vectors = [__m512i; SIDE_BY_SIDE / 8];

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u64; 8]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are loaded.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen(words: &[u32; 8]) -> __m512i {
    // SAFETY: the array has the 32 bytes that are loaded.
    let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast::<__m256i>()) };
    _mm512_cvtepu32_epi64(words)
}

/// 2^exponent modulo p, below 2^32 and odd.
fn power_of_two(exponent: u64, p: u64) -> u64 {
    (0..u64::BITS - exponent.leading_zeros())
        .rev()
        .fold(1, |power, bit| {
            ((power * power) << (exponent >> bit & 1)) % p
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use rug::Integer;

    use super::super::write_digits;
    use super::*;
    use crate::Stream;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn marks_exactly_the_numbers_with_small_factors(
            seed: u64,
            bits in 66_u32..1500,
            bound in 5_u32..20_000,
            words in 1_usize..40,
        ) {
            let Some(proof) = Ifma::detect() else { return Ok(()) };
            let mut start = Integer::new();
            Stream::seeded(seed, 0).draw_start(&mut start, bits).unwrap();
            start.set_bit(0, true);
            let mut digits = vec![0; (bits / DIGIT_BITS) as usize + 1];
            write_digits(&start, &mut digits);
            let mut sieve = Sieve::new(proof);
            sieve.prepare(digits.len(), bound, 64 * words, &Cancel::new()).unwrap();
            let mut marks = vec![0; words];
            sieve.mark(&digits, &mut marks);
            let primes: Vec<u32> = (3..bound).filter(|&p| small::is_prime(p.into())).collect();
            for i in 0..64 * words {
                let n = Integer::from(&start + 2 * i as u32);
                let expected = primes.iter().any(|&p| n.is_divisible_u(p));
                prop_assert_eq!(marks[i / 64] >> (i % 64) & 1 == 1, expected, "{}", i);
                if n.significant_bits() == bits {
                    write_digits(&n, &mut digits);
                    prop_assert_eq!(sieve.has_factor(&digits), expected, "{}", i);
                }
            }
        }
    }
}
