//! Vector operations of the sieve, on lines of 64 bytes: 16 words of 32 bits or 32 words of 16
//! bits.

/// 16 words of 32 bits, aligned for all instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Words(pub(crate) [u32; WORDS]);

/// 32 words of 16 bits, aligned for all instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Shorts(pub(crate) [u16; SHORTS]);

pub(crate) const WORDS: usize = 16;
pub(crate) const SHORTS: usize = 32;

/// A line in the registers of an instruction set, and its operations. A value of a type that
/// implements this proves that the processor has the instructions.
///
/// Words must be below 2^31 to be compared.
pub(crate) trait Vectors: Copy {
    /// 16 words of 32 bits.
    type W: Copy;
    /// 32 words of 16 bits.
    type S: Copy;
    /// A bit for each of 32 words.
    type M: Copy;

    /// Runs an operation in a function that is compiled for the instruction set.
    fn run<O: Operation>(self, operation: O) -> O::Output;

    fn splat(self, word: u32) -> Self::W;
    fn load(self, line: &Words) -> Self::W;
    fn load_unaligned(self, words: &[u32; WORDS]) -> Self::W;
    fn store(self, vector: Self::W, line: &mut Words);
    fn add(self, a: Self::W, b: Self::W) -> Self::W;
    fn sub(self, a: Self::W, b: Self::W) -> Self::W;
    fn and(self, a: Self::W, b: Self::W) -> Self::W;
    fn or(self, a: Self::W, b: Self::W) -> Self::W;
    fn xor(self, a: Self::W, b: Self::W) -> Self::W;
    /// The lesser of two unsigned words.
    fn min(self, a: Self::W, b: Self::W) -> Self::W;
    fn shift_right(self, a: Self::W, bits: u32) -> Self::W;
    /// `a · b / 2^32` modulo an odd `modulus` below 2^31, in [0, modulus) for a · b below modulus ·
    /// 2^32. `inverse` is the inverse of the modulus modulo 2^32.
    fn montgomery(self, a: Self::W, b: Self::W, modulus: Self::W, inverse: Self::W) -> Self::W;
    /// A bit for each word: whether the words of `a` and `b` are equal.
    fn equal(self, a: Self::W, b: Self::W) -> u32;
    /// Stores the low halves of 16 words.
    fn store_low_halves(self, vector: Self::W, to: &mut [u16; WORDS]);
    /// Writes the words of `tagged` where the word of `vector` is below `bound`, and returns their
    /// number. The rest of the line may be overwritten with anything.
    ///
    /// # Safety
    ///
    /// 16 words may be written to `to`.
    unsafe fn append_below(
        self,
        vector: Self::W,
        bound: Self::W,
        tagged: Self::W,
        to: *mut u32,
    ) -> usize;
    /// The same, fastest if a line has at most 8 such words most of the time.
    ///
    /// # Safety
    ///
    /// 16 words may be written to `to`.
    #[inline(always)]
    unsafe fn append_few_below(
        self,
        vector: Self::W,
        bound: Self::W,
        tagged: Self::W,
        to: *mut u32,
    ) -> usize {
        // SAFETY: the caller guarantees the room.
        unsafe { self.append_below(vector, bound, tagged, to) }
    }

    fn splat_short(self, word: u16) -> Self::S;
    fn load_shorts(self, line: &Shorts) -> Self::S;
    fn store_shorts(self, vector: Self::S, line: &mut Shorts);
    fn add_shorts(self, a: Self::S, b: Self::S) -> Self::S;
    fn sub_shorts(self, a: Self::S, b: Self::S) -> Self::S;
    /// The lesser of two unsigned words.
    fn min_shorts(self, a: Self::S, b: Self::S) -> Self::S;
    /// The low halves of products.
    fn mul_shorts(self, a: Self::S, b: Self::S) -> Self::S;
    /// The high halves of products of unsigned words.
    fn mul_high_shorts(self, a: Self::S, b: Self::S) -> Self::S;
    /// Whether each word of `x` is equal to that of `a` or of `b`.
    fn equal_either(self, x: Self::S, a: Self::S, b: Self::S) -> Self::M;
    /// A bit for each word of a mask.
    fn bits(self, mask: Self::M) -> u32;
    /// Adds the words of `b` that the mask selects.
    fn add_masked(self, a: Self::S, mask: Self::M, b: Self::S) -> Self::S;
    /// The sum of all words, each below 2^15.
    fn sum_shorts(self, a: Self::S) -> u32;
    /// Writes all words.
    ///
    /// # Safety
    ///
    /// 32 words may be written to `to`.
    unsafe fn append_all(self, a: Self::S, to: *mut u16);
    /// Writes the words below 2^15, and returns their number. The rest of the line may be
    /// overwritten with anything.
    ///
    /// # Safety
    ///
    /// 32 words may be written to `to`.
    unsafe fn append_in_block(self, a: Self::S, to: *mut u16) -> usize;

    /// Whether any byte has its high bit set.
    fn has_high_bit(self, bytes: &[u8; 128]) -> bool;
}

/// A computation on vectors.
pub(crate) trait Operation {
    /// The result.
    type Output;
    /// Computes the result. Implementations, and all functions that they give the vectors to, are
    /// `#[inline(always)]`, so that they are compiled with the features of [`Vectors::run`].
    fn run<V: Vectors>(self, v: V) -> Self::Output;
}

/// Defines methods that are always inlined, so that they are compiled with the features of
/// [`Vectors::run`].
#[cfg(target_arch = "x86_64")]
macro_rules! operations {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block)*) => {
        $(
            #[inline(always)]
            #[allow(unused_unsafe)]
            fn $name(self, $($arg: $type),*) -> $out {
                // SAFETY: see the argument at the implementation of `Vectors`.
                unsafe { $body }
            }
        )*
    };
}

/// Defines `Vectors::run` for these features.
#[cfg(target_arch = "x86_64")]
macro_rules! run_with {
    ($features:literal) => {
        fn run<O: super::vectors::Operation>(self, operation: O) -> O::Output {
            #[target_feature(enable = $features)]
            fn compiled<V: super::vectors::Vectors, O: super::vectors::Operation>(
                v: V,
                operation: O,
            ) -> O::Output {
                operation.run(v)
            }
            // SAFETY: a value of the type proves that the processor has the features.
            unsafe { compiled(self, operation) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) use {operations, run_with};
