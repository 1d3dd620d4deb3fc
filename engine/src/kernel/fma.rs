//! Digits as doubles, multiplied by fused multiply-adds, for processors without a 52-bit
//! multiplication.
//!
//! The sum of a large constant and a product x · y, rounded once, is the constant plus the
//! product's high half; the word of this double has the high half, in units of 2^52, in its low
//! bits. x · y minus that half is exact, and is the low half. The words of such doubles are added
//! as integers, and the words of the constants are subtracted once per column. Digits and numbers
//! are signed; digits are from −2^51 to 2^51 − 1. The product of a digit of a number and a digit of
//! a modulus (from 0 to 2^52 − 1) is below 2^103 in size.
//!
//! The idea of the two halves is from N. Emmart, J. Luitjens, C. Weems & C. Woolley, *Optimizing
//! modular multiplication for NVIDIA's Maxwell GPUs* (ARITH 2016) and N. Emmart, F. Zheng & C.
//! Weems, *Faster modular exponentiation using double precision floating point arithmetic on the
//! GPU* (ARITH 2018), who round toward zero. This module does not depend on the rounding mode that
//! is set. With 512 bits, the instruction itself can round down. With 256 bits, products are
//! rounded to the nearest; the low half then needs the difference of 1.5 · 2^104 + 1.5 · 2^52,
//! which is no double, and the rounded sum. A fused multiply-subtract with the factors 1.5 · 2^52
//! and 2^52 + 1 computes it.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;

use super::arithmetic::{Arithmetic, Bias, DIGIT_BITS, DIGIT_MASK, Lanes, TWO_52};
use super::ifma::has_avx512;
use super::lanes::{lanes_256, lanes_512};
use crate::small;

/// Proof that the processor has AVX-512 F, BW, DQ and VL: eight lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fma512(());

/// Proof that the processor has AVX2 and FMA: four lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fma256(());

impl Fma512 {
    pub(super) fn detect() -> Option<Self> {
        has_avx512().then_some(Self(()))
    }
}

impl Fma256 {
    pub(super) fn detect() -> Option<Self> {
        (std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"))
            .then_some(Self(()))
    }
}

/// 1.5 · 2^52. Its sum with a whole number from −2^51 to 2^51 has that number in its low bits.
const MIDDLE_52: f64 = 1.5 * TWO_52;

/// 1.5 · 2^104: a sum with a product of at most 2^103 in size is a multiple of 2^52.
const MIDDLE_104: f64 = MIDDLE_52 * TWO_52;

/// 1.5 · 2^105: a sum with a product of at most 2^104 in size is a multiple of 2^53.
const MIDDLE_105: f64 = 2.0 * MIDDLE_104;

/// 2^−52.
const DOWN: f64 = 1.0 / TWO_52;

/// A multiple of 2^52 that is greater than the size of any column. Added to a column, it makes it
/// positive.
const POSITIVE: u64 = 1 << 62;

/// Added to a column, it makes its low 52 bits the digit plus 2^51, and the bits above the carry
/// plus [`CARRIED`].
const ROUNDED: u64 = POSITIVE + (1 << 51);

/// [`POSITIVE`] after a shift by a digit.
const CARRIED: u64 = POSITIVE >> DIGIT_BITS;

macro_rules! fma {
    ($type:ty, $vector:ty, $low_bias:expr) => {
        impl $type {
            /// The word of MIDDLE_104 + x · y, rounded to the nearest.
            #[inline(always)]
            fn high_nearest(self, x: $vector, y: $vector) -> $vector {
                self.double_multiply_add(x, y, self.double_splat(MIDDLE_104))
            }

            /// x · y minus its multiple of 2^52 in the rounded sum with `constant`.
            #[inline(always)]
            fn low_nearest(self, x: $vector, y: $vector, constant: f64) -> $vector {
                let constant = self.double_splat(constant);
                let high = self.double_multiply_add(x, y, constant);
                self.double_multiply_add(x, y, self.double_subtract(constant, high))
            }

            /// The digit of a column to which [`ROUNDED`] was added.
            #[inline(always)]
            fn rounded_digit(self, column: $vector) -> $vector {
                let low = self.and(column, self.splat(DIGIT_MASK));
                self.double_subtract(
                    self.or(low, self.double_splat(TWO_52)),
                    self.double_splat(MIDDLE_52),
                )
            }
        }

        impl Arithmetic for $type {
            const BIAS: Bias = Bias {
                low: f64::to_bits($low_bias),
                high: MIDDLE_104.to_bits(),
                quotient: ROUNDED,
                carried: CARRIED,
            };
            const SIGNED: bool = true;
            const LOOKS_AHEAD: bool = false;
            const IN_PAIRS: bool = true;

            #[inline(always)]
            fn add_low(self, sum: $vector, x: $vector, y: $vector) -> $vector {
                let (mut low, mut high) = (sum, sum);
                self.add_product(&mut low, &mut high, x, y);
                low
            }

            #[inline(always)]
            fn add_high(self, sum: $vector, x: $vector, y: $vector) -> $vector {
                let (mut low, mut high) = (sum, sum);
                self.add_product(&mut low, &mut high, x, y);
                high
            }

            #[inline(always)]
            fn add_product(self, low: &mut $vector, high: &mut $vector, x: $vector, y: $vector) {
                // SAFETY: `self` proves that the processor has the instructions.
                (*low, *high) = unsafe { self.halves_added(*low, *high, x, y) };
            }

            /// The low half of −column / n0, rounded to the nearest: signed.
            #[inline(always)]
            fn quotient(self, column: $vector, inverse: $vector) -> $vector {
                self.low_nearest(self.rounded_digit(column), inverse, MIDDLE_104)
            }

            #[inline(always)]
            fn quotient_ahead(
                self,
                column: $vector,
                inverse: $vector,
                _: $vector,
                _: $vector,
            ) -> $vector {
                self.quotient(column, inverse)
            }

            /// Let the column be 2^52 k + t with −2^51 ≤ t < 2^51, and q · n0 = 2^52 h − t. Then
            /// the sum of both carries is k + h, where h is q · n0 / 2^52 rounded to the nearest.
            ///
            /// This holds for t = −2^51 too. Let i be the negative inverse of n0. Then n0 · i is 3
            /// modulo 4, so n0 and i differ in their second bits. Halves are rounded to even, so q
            /// is −2^51 · i minus an even multiple of 2^52: 2^51 if that bit of i is set, and −2^51
            /// if not. Let n0 = 2m + 1. If its second bit is set, m is odd, q = −2^51, and q · n0 /
            /// 2^52 = −m − 1/2 is rounded to −m − 1. Otherwise m is even, q = 2^51, and m + 1/2 is
            /// rounded to m. In both cases q · n0 is 2^52 h + 2^51.
            #[inline(always)]
            fn add_cleared(
                self,
                next: $vector,
                column: $vector,
                quotient: $vector,
                n0: $vector,
            ) -> $vector {
                let carry = self.shift_right(column, DIGIT_BITS);
                self.add(self.add(next, carry), self.high_nearest(quotient, n0))
            }

            #[inline(always)]
            fn no_carry(self) -> $vector {
                self.splat(CARRIED)
            }

            #[inline(always)]
            fn digit(self, column: $vector, carry: $vector) -> ($vector, $vector) {
                let column = self.add(column, self.splat(ROUNDED - CARRIED));
                let column = self.add(column, carry);
                (
                    self.rounded_digit(column),
                    self.shift_right(column, DIGIT_BITS),
                )
            }

            #[inline(always)]
            fn integer(self, digit: $vector) -> $vector {
                let middle = self.double_splat(MIDDLE_52);
                self.subtract(self.double_add(digit, middle), middle)
            }

            #[inline(always)]
            fn factor(self, integer: $vector) -> $vector {
                self.double_from(integer)
            }

            fn factor_word(integer: u64) -> u64 {
                (integer as f64).to_bits()
            }

            #[inline(always)]
            fn negative_inverse(self, n: $vector) -> $vector {
                let mut words = [0; 8];
                self.store(n, &mut words);
                for word in &mut words[..Self::COUNT] {
                    *word = small::inverse(*word).wrapping_neg() & DIGIT_MASK;
                }
                self.load(&words)
            }

            fn digit_word(integer: i64) -> u64 {
                (integer as f64).to_bits()
            }

            #[inline(always)]
            fn halves(self, x: $vector, y: $vector) -> ($vector, $vector) {
                let (x, y) = (self.double_from(x), self.double_from(y));
                let low = self.integer(self.low_nearest(x, y, MIDDLE_104));
                let middle = self.double_splat(MIDDLE_104);
                (low, self.subtract(self.high_nearest(x, y), middle))
            }

            fn residue_inverse(inverse: u64) -> u64 {
                // The low 52 bits as a signed number.
                let signed = (inverse << 12).cast_signed() >> 12;
                (signed as f64).to_bits()
            }

            /// Rests are stored times 2^52, so they are at most 2^52 (m + 2) in size. So `low` is
            /// at most 1.5 · 2^52, its product with the inverse at most 1.5 · 2^103, and the signed
            /// quotient at most 2^52.
            #[inline(always)]
            fn reduce(
                self,
                rest: $vector,
                digit: $vector,
                m: $vector,
                inverse: $vector,
            ) -> $vector {
                let low = self.double_multiply_add(rest, self.double_splat(-DOWN), digit);
                let quotient = self.low_nearest(low, inverse, MIDDLE_105);
                self.double_multiply_subtract(quotient, m, low)
            }

            /// The quotient is at most 2^51 in size, so the result is less than p.
            #[inline(always)]
            fn reduce_by(self, rest: $vector, p: $vector, inverse: $vector) -> $vector {
                let rest = self.double_multiply(rest, self.double_splat(DOWN));
                let quotient = self.low_nearest(rest, inverse, MIDDLE_104);
                self.double_multiply_subtract(quotient, p, rest)
            }

            #[inline(always)]
            fn multiple(
                self,
                rest: $vector,
                factor: $vector,
                p: $vector,
                inverse: $vector,
            ) -> $vector {
                let down = self.double_splat(DOWN);
                let product = self.double_multiply(self.double_multiply(rest, down), factor);
                let quotient = self.low_nearest(product, inverse, MIDDLE_104);
                let rest = self.double_multiply_subtract(quotient, p, product);
                let rest = self.double_multiply(rest, down);
                let is_negative = self.double_less(rest, self.splat(0));
                self.blend(is_negative, rest, self.double_add(rest, p))
            }

            #[inline(always)]
            fn has_zero(self, rest: $vector) -> bool {
                // Doubling the word drops the sign bit, so that −0 is zero too.
                let unsigned = self.add(rest, rest);
                self.mask_bits(self.equal(unsigned, self.splat(0))) != 0
            }

            #[inline(always)]
            fn primes(self, words: &[u32]) -> $vector {
                self.double_widen(words)
            }

            #[inline(always)]
            fn multiple_words(self, multiples: $vector) -> Self::Words {
                self.double_narrow(multiples)
            }
        }
    };
}

lanes_512!(Fma512, "avx512f,avx512bw,avx512dq,avx512vl");
fma!(Fma512, __m512i, TWO_52);

impl Fma512 {
    /// The high half is rounded down, so the low half is from 0 to 2^52 − 1.
    ///
    /// One block of assembly, in an order that leaves a register for each sum.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn halves_added(
        self,
        mut low: __m512i,
        mut high: __m512i,
        x: __m512i,
        y: __m512i,
    ) -> (__m512i, __m512i) {
        // The type selects the kind of register.
        let _half: __m512i;
        // 1.5 · 2^104 + 2^52 is the next double after 1.5 · 2^104.
        let (middle, both) = (
            self.double_splat(MIDDLE_104),
            self.splat(MIDDLE_104.to_bits() + 1),
        );
        // SAFETY: the function enables the features of these instructions, which change only the
        // named registers.
        unsafe {
            asm!(
                "vmovapd {half}, {middle}",
                "vfmadd231pd {half}, {x}, {y}, {{rd-sae}}",
                "vpaddq {high}, {high}, {half}",
                "vsubpd {half}, {both}, {half}",
                "vfmadd231pd {half}, {x}, {y}",
                "vpaddq {low}, {low}, {half}",
                half = out(zmm_reg) _half,
                high = inout(zmm_reg) high,
                low = inout(zmm_reg) low,
                x = in(zmm_reg) x,
                y = in(zmm_reg) y,
                middle = in(zmm_reg) middle,
                both = in(zmm_reg) both,
                options(pure, nomem, nostack),
            );
        }
        (low, high)
    }
}

lanes_256!(Fma256, "avx2,fma");
fma!(Fma256, __m256i, MIDDLE_52);

impl Fma256 {
    /// The high half is rounded to the nearest, so the low half is from −2^51 to 2^51.
    ///
    /// One block of assembly, in an order that leaves a register for each sum.
    #[inline]
    #[target_feature(enable = "avx,fma")]
    fn halves_added(
        self,
        mut low: __m256i,
        mut high: __m256i,
        x: __m256i,
        y: __m256i,
    ) -> (__m256i, __m256i) {
        // The type selects the kind of register.
        let _half: __m256i;
        let middle = self.double_splat(MIDDLE_104);
        let (first, second) = (
            self.double_splat(MIDDLE_52),
            self.double_splat(TWO_52 + 1.0),
        );
        // SAFETY: the function enables the features of these instructions, which change only the
        // named registers.
        unsafe {
            asm!(
                "vmovapd {half}, {middle}",
                "vfmadd231pd {half}, {x}, {y}",
                "vpaddq {high}, {high}, {half}",
                "vfmsub231pd {half}, {first}, {second}",
                "vfmadd231pd {half}, {x}, {y}",
                "vpaddq {low}, {low}, {half}",
                half = out(ymm_reg) _half,
                high = inout(ymm_reg) high,
                low = inout(ymm_reg) low,
                x = in(ymm_reg) x,
                y = in(ymm_reg) y,
                middle = in(ymm_reg) middle,
                first = in(ymm_reg) first,
                second = in(ymm_reg) second,
                options(pure, nomem, nostack),
            );
        }
        (low, high)
    }
}
