//! Lines as arrays, which the compiler vectorises where it can.

use std::array;

use super::vectors::{Operation, SHORTS, Shorts, Vectors, WORDS, Words};

/// Needs no special instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

/// Applies a function to pairs of words.
#[inline(always)]
fn each<T: Copy, const N: usize>(a: [T; N], b: [T; N], f: impl Fn(T, T) -> T) -> [T; N] {
    array::from_fn(|i| f(a[i], b[i]))
}

impl Vectors for Portable {
    type W = [u32; WORDS];
    type S = [u16; SHORTS];
    /// All bits of a word, or none.
    type M = [u16; SHORTS];

    fn run<O: Operation>(self, operation: O) -> O::Output {
        operation.run(self)
    }

    #[inline(always)]
    fn splat(self, word: u32) -> Self::W {
        [word; WORDS]
    }
    #[inline(always)]
    fn load(self, line: &Words) -> Self::W {
        line.0
    }
    #[inline(always)]
    fn load_unaligned(self, words: &[u32; WORDS]) -> Self::W {
        *words
    }
    #[inline(always)]
    fn store(self, vector: Self::W, line: &mut Words) {
        line.0 = vector;
    }
    #[inline(always)]
    fn add(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn sub(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn and(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn min(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, Ord::min)
    }
    #[inline(always)]
    fn shift_right(self, a: Self::W, bits: u32) -> Self::W {
        a.map(|a| a >> bits)
    }
    #[inline(always)]
    fn montgomery(self, a: Self::W, b: Self::W, modulus: Self::W, inverse: Self::W) -> Self::W {
        array::from_fn(|i| {
            let product = u64::from(a[i]) * u64::from(b[i]);
            let quotient = (product as u32).wrapping_mul(inverse[i]);
            let multiple = u64::from(quotient) * u64::from(modulus[i]);
            let difference = ((product >> 32) as u32).wrapping_sub((multiple >> 32) as u32);
            difference.min(difference.wrapping_add(modulus[i]))
        })
    }
    #[inline(always)]
    fn equal(self, a: Self::W, b: Self::W) -> u32 {
        (0..WORDS).fold(0, |bits, i| bits | u32::from(a[i] == b[i]) << i)
    }
    #[inline(always)]
    fn store_low_halves(self, vector: Self::W, to: &mut [u16; WORDS]) {
        *to = vector.map(|word| word as u16);
    }
    #[inline(always)]
    unsafe fn append_below(
        self,
        vector: Self::W,
        bound: Self::W,
        tagged: Self::W,
        to: *mut u32,
    ) -> usize {
        let mut count = 0;
        for i in 0..WORDS {
            // SAFETY: at most 16 words are written, each next to the one before it.
            unsafe { to.add(count).write(tagged[i]) };
            count += usize::from(vector[i] < bound[i]);
        }
        count
    }

    #[inline(always)]
    fn splat_short(self, word: u16) -> Self::S {
        [word; SHORTS]
    }
    #[inline(always)]
    fn load_shorts(self, line: &Shorts) -> Self::S {
        line.0
    }
    #[inline(always)]
    fn store_shorts(self, vector: Self::S, line: &mut Shorts) {
        line.0 = vector;
    }
    #[inline(always)]
    fn add_shorts(self, a: Self::S, b: Self::S) -> Self::S {
        each(a, b, u16::wrapping_add)
    }
    #[inline(always)]
    fn sub_shorts(self, a: Self::S, b: Self::S) -> Self::S {
        each(a, b, u16::wrapping_sub)
    }
    #[inline(always)]
    fn min_shorts(self, a: Self::S, b: Self::S) -> Self::S {
        each(a, b, Ord::min)
    }
    #[inline(always)]
    fn mul_shorts(self, a: Self::S, b: Self::S) -> Self::S {
        each(a, b, u16::wrapping_mul)
    }
    #[inline(always)]
    fn mul_high_shorts(self, a: Self::S, b: Self::S) -> Self::S {
        each(a, b, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16)
    }
    #[inline(always)]
    fn equal_either(self, x: Self::S, a: Self::S, b: Self::S) -> Self::M {
        array::from_fn(|i| u16::from(x[i] == a[i] || x[i] == b[i]).wrapping_neg())
    }
    #[inline(always)]
    fn bits(self, mask: Self::M) -> u32 {
        (0..SHORTS).fold(0, |bits, i| bits | u32::from(mask[i] & 1) << i)
    }
    #[inline(always)]
    fn add_masked(self, a: Self::S, mask: Self::M, b: Self::S) -> Self::S {
        each(a, each(mask, b, |mask, b| mask & b), u16::wrapping_add)
    }
    #[inline(always)]
    fn sum_shorts(self, a: Self::S) -> u32 {
        a.into_iter().map(u32::from).sum()
    }
    #[inline(always)]
    unsafe fn append_all(self, a: Self::S, to: *mut u16) {
        // SAFETY: 32 words may be written; the type has their alignment.
        unsafe { to.cast::<Self::S>().write(a) };
    }
    #[inline(always)]
    unsafe fn append_in_block(self, a: Self::S, to: *mut u16) -> usize {
        let mut count = 0;
        for word in a {
            // SAFETY: at most 32 words are written, each next to the one before it.
            unsafe { to.add(count).write(word) };
            count += usize::from(word < 1 << 15);
        }
        count
    }

    #[inline(always)]
    fn has_high_bit(self, bytes: &[u8; 128]) -> bool {
        bytes.iter().fold(0, |all, byte| all | byte) >= 1 << 7
    }
}
