//! Digits as integers, multiplied by the instructions `vpmadd52luq` and `vpmadd52huq`. They add the
//! low or high half of a 52-bit product to a 64-bit word, and ignore the bits of their factors
//! above the low 52.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::arithmetic::{Arithmetic, Bias, DIGIT_BITS, DIGIT_MASK, Lanes};
use super::lanes::{lanes_256, lanes_512, operations};

/// Proof that the processor has AVX-512 F, BW, DQ, VL and IFMA: eight lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ifma512(());

/// Proof that the processor has the same features: four lanes. Such processors are faster with
/// eight lanes; this type only replaces [`Ifma256`] where AVX-IFMA is missing, for tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ifma256Evex(());

/// Proof that the processor has AVX-IFMA, AVX2 and FMA: four lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ifma256(());

impl Ifma512 {
    pub(super) fn detect() -> Option<Self> {
        (has_avx512() && std::arch::is_x86_feature_detected!("avx512ifma")).then_some(Self(()))
    }
}

impl Ifma256Evex {
    pub(super) fn detect() -> Option<Self> {
        (Ifma512::detect().is_some()
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }
}

impl Ifma256 {
    pub(super) fn detect() -> Option<Self> {
        (std::arch::is_x86_feature_detected!("avxifma")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma"))
        .then_some(Self(()))
    }
}

/// Whether the processor has the features that [`lanes_512`] uses.
pub(super) fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

macro_rules! ifma {
    ($type:ty, $vector:ty, $low:ident, $high:ident) => {
        // SAFETY (all blocks below): a value of the type proves that the processor has the
        // instructions.
        impl Arithmetic for $type {
            const BIAS: Bias = Bias::NONE;
            const SIGNED: bool = false;
            const LOOKS_AHEAD: bool = true;
            const IN_PAIRS: bool = false;

            operations! {
                add_low(sum: $vector, x: $vector, y: $vector) -> $vector { $low(sum, x, y) }
                add_high(sum: $vector, x: $vector, y: $vector) -> $vector { $high(sum, x, y) }
            }

            #[inline(always)]
            fn add_product(self, low: &mut $vector, high: &mut $vector, x: $vector, y: $vector) {
                *low = self.add_low(*low, x, y);
                *high = self.add_high(*high, x, y);
            }

            #[inline(always)]
            fn quotient(self, column: $vector, inverse: $vector) -> $vector {
                self.add_low(self.splat(0), column, inverse)
            }

            #[inline(always)]
            fn quotient_ahead(
                self,
                column: $vector,
                inverse: $vector,
                digit: $vector,
                second: $vector,
            ) -> $vector {
                self.add_low(self.add_low(self.splat(0), digit, second), column, inverse)
            }

            /// The low 52 bits of column + q · n0 are zero, so the column's carry is ⌈column /
            /// 2^52⌉.
            #[inline(always)]
            fn add_cleared(
                self,
                next: $vector,
                column: $vector,
                quotient: $vector,
                n0: $vector,
            ) -> $vector {
                let carry = self.shift_right(self.add(column, self.splat(DIGIT_MASK)), DIGIT_BITS);
                self.add_high(self.add(next, carry), quotient, n0)
            }

            #[inline(always)]
            fn no_carry(self) -> $vector {
                self.splat(0)
            }

            #[inline(always)]
            fn digit(self, column: $vector, carry: $vector) -> ($vector, $vector) {
                let digit = self.add(column, carry);
                (digit, self.shift_right(digit, DIGIT_BITS))
            }

            #[inline(always)]
            fn signed_digit(self, column: $vector, carry: $vector) -> ($vector, $vector) {
                let digit = self.add(column, carry);
                (digit, self.shift_right_signed(digit))
            }

            #[inline(always)]
            fn integer(self, digit: $vector) -> $vector {
                self.and(digit, self.splat(DIGIT_MASK))
            }

            #[inline(always)]
            fn factor(self, integer: $vector) -> $vector {
                integer
            }

            fn factor_word(integer: u64) -> u64 {
                integer
            }

            /// Newton's iteration, from the three bits that n · n ≡ 1 (mod 8) gives: 6, 12, 24, 48,
            /// 96 bits.
            #[inline(always)]
            fn negative_inverse(self, n: $vector) -> $vector {
                let (zero, two) = (self.splat(0), self.splat(2));
                let mut inverse = n;
                for _ in 0..5 {
                    let error = self.subtract(two, self.add_low(zero, n, inverse));
                    inverse = self.add_low(zero, inverse, error);
                }
                self.integer(self.subtract(zero, inverse))
            }

            fn digit_word(integer: i64) -> u64 {
                integer.cast_unsigned()
            }

            #[inline(always)]
            fn halves(self, x: $vector, y: $vector) -> ($vector, $vector) {
                let zero = self.splat(0);
                (self.add_low(zero, x, y), self.add_high(zero, x, y))
            }

            fn residue_inverse(inverse: u64) -> u64 {
                inverse & DIGIT_MASK
            }

            #[inline(always)]
            fn reduce(
                self,
                rest: $vector,
                digit: $vector,
                m: $vector,
                inverse: $vector,
            ) -> $vector {
                let low = self.subtract(digit, rest);
                let quotient = self.add_low(self.splat(0), low, inverse);
                let borrow = self.shift_right(low, 63);
                self.add_high(borrow, quotient, m)
            }

            #[inline(always)]
            fn reduce_by(self, rest: $vector, p: $vector, inverse: $vector) -> $vector {
                let zero = self.splat(0);
                self.add_high(zero, self.add_low(zero, rest, inverse), p)
            }

            /// The two products with p have the same low halves as their numerators, so only high
            /// halves count.
            #[inline(always)]
            fn multiple(
                self,
                rest: $vector,
                factor: $vector,
                p: $vector,
                inverse: $vector,
            ) -> $vector {
                let product = self.add_low(self.splat(0), rest, factor);
                self.reduce_by(product, p, inverse)
            }

            #[inline(always)]
            fn has_zero(self, rest: $vector) -> bool {
                self.mask_bits(self.equal(rest, self.splat(0))) != 0
            }

            #[inline(always)]
            fn primes(self, words: &[u32]) -> $vector {
                self.widen(words)
            }

            #[inline(always)]
            fn multiple_words(self, multiples: $vector) -> Self::Words {
                self.narrow(multiples)
            }
        }
    };
}

lanes_512!(Ifma512, "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma");
ifma!(
    Ifma512,
    __m512i,
    _mm512_madd52lo_epu64,
    _mm512_madd52hi_epu64
);

lanes_256!(
    Ifma256Evex,
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512ifma"
);
ifma!(
    Ifma256Evex,
    __m256i,
    _mm256_madd52lo_epu64,
    _mm256_madd52hi_epu64
);

lanes_256!(Ifma256, "avx2,fma,avxifma");
ifma!(
    Ifma256,
    __m256i,
    _mm256_madd52lo_avx_epu64,
    _mm256_madd52hi_avx_epu64
);
