//! Multiplication by powers of two modulo several numbers at once, which brings numbers into
//! Montgomery form.

use super::arithmetic::{Arithmetic, DIGIT_MASK, TWO_52};

/// Bits per step. The quotient, below 2^45, is estimated from floating-point numbers whose relative
/// errors sum to less than 2^-50, so its error is less than 2^-5.
const STEP: u64 = 44;

/// Upper bound of the quotient's error.
const ERROR: f64 = 1.0 / 16.0;

/// Multiplies `numbers` by 2^`shifts` modulo `moduli`, lane by lane; all are integers in digits
/// from 0 to 2^52 − 1. The numbers are less than twice the modulus, before and after.
///
/// Both slices have the same number of digits, enough for twice the moduli. In each lane the
/// highest bit of the modulus is at most 900 bits below the top of the slice, which is the range of
/// a double.
#[inline(always)]
pub(crate) fn scale<A: Arithmetic>(
    s: A,
    moduli: &[A::Vector],
    numbers: &mut [A::Vector],
    shifts: A::Vector,
) {
    let zero = s.splat(0);
    let mask = s.splat(DIGIT_MASK);
    let two_52 = s.double_splat(TWO_52);
    let mut left = shifts;
    let modulus = leading(s, moduli);
    let all_lanes = (1_u32 << A::COUNT) - 1;
    while s.mask_bits(s.equal(left, zero)) != all_lanes {
        // The lesser of `left` and the step; `left` is below 2^31.
        let step = s.splat(STEP);
        let is_less = s.equal(s.shift_right(s.subtract(left, step), 63), zero);
        let bits = s.blend(is_less, left, step);
        left = s.subtract(left, bits);
        let factor = s.shift_left_each(s.splat(1), bits);
        let product = s.double_multiply(leading(s, numbers), s.double_from(factor));
        // After rounding, the estimate is less than the quotient by at most 1 + 2 ERROR, so the
        // remainder is in [0, 2N).
        let estimate = s.double_subtract(
            s.double_divide(product, modulus),
            s.double_splat(0.5 + ERROR),
        );
        let quotient = s.and(s.double_add(s.double_max(estimate, zero), two_52), mask);
        let (mut carry, mut above, mut taken) = (zero, zero, zero);
        for (number, &n) in numbers.iter_mut().zip(moduli) {
            let (plus, above_next) = s.halves(*number, factor);
            let (minus, taken_next) = s.halves(n, quotient);
            let digit = s.add(s.subtract(s.add(above, plus), s.add(taken, minus)), carry);
            (above, taken) = (above_next, taken_next);
            *number = s.and(digit, mask);
            carry = s.shift_right_signed(digit);
        }
    }
}

/// A number in units of its highest digit's place, so that it does not overflow a double.
#[inline(always)]
fn leading<A: Arithmetic>(s: A, digits: &[A::Vector]) -> A::Vector {
    let mut sum = s.splat(0);
    for &digit in digits {
        sum = s.double_multiply_add(sum, s.double_splat(1.0 / TWO_52), s.double_from(digit));
    }
    sum
}
