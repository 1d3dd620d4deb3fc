//! Multiplication by powers of two modulo several numbers at once, which brings numbers into Montgomery form.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_add_epi64, _mm512_and_si512, _mm512_cvtepu64_pd, _mm512_cvttpd_epu64, _mm512_div_pd,
    _mm512_fmadd_pd, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_max_pd, _mm512_min_epu64,
    _mm512_mul_pd, _mm512_set1_epi64, _mm512_set1_pd, _mm512_setzero_pd, _mm512_setzero_si512,
    _mm512_sllv_epi64, _mm512_srai_epi64, _mm512_sub_epi64, _mm512_sub_pd, _mm512_test_epi64_mask,
};

use super::Ifma;
use super::row::{DIGIT_BITS, DIGIT_MASK, LANES, Row};

/// Bits taken at a time. The quotient, below 2^45, is estimated from floating-point numbers with relative errors of
/// less than 2^-50 together, so within 2^-5.
const STEP: i64 = 44;

/// More than the quotient's error.
const ERROR: f64 = 1.0 / 16.0;

/// `numbers` · 2^`shifts` modulo `moduli`, lane by lane. The numbers are and become less than twice the modulus, their
/// digits without carries.
///
/// Both slices are one group of eight, of the same number of digits, which twice the moduli fit. In each lane the modulus
/// has its highest bit at most 900 bits below the rows' end: no further can a double see.
pub(super) fn scale(_proof: Ifma, moduli: &[Row], numbers: &mut [Row], shifts: [u32; LANES]) {
    // SAFETY: `_proof` shows that the processor has the instructions.
    unsafe { scale_lanes(moduli, numbers, Row(shifts.map(u64::from))) }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512dq")]
fn scale_lanes(moduli: &[Row], numbers: &mut [Row], shifts: Row) {
    let zero = _mm512_setzero_si512();
    let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
    let down = _mm512_set1_pd(1.0 / (1_u64 << DIGIT_BITS) as f64);
    let mut left = shifts.vector();
    // Relative to the highest digit's place, so that no number is too great for a double.
    let leading = |rows: &[Row]| {
        rows.iter().fold(_mm512_setzero_pd(), |sum, row| {
            _mm512_fmadd_pd(sum, down, _mm512_cvtepu64_pd(row.vector()))
        })
    };
    let modulus = leading(moduli);
    while _mm512_test_epi64_mask(left, left) != 0 {
        let bits = _mm512_min_epu64(left, _mm512_set1_epi64(STEP));
        left = _mm512_sub_epi64(left, bits);
        let factor = _mm512_sllv_epi64(_mm512_set1_epi64(1), bits);
        let product = _mm512_mul_pd(leading(numbers), _mm512_cvtepu64_pd(factor));
        // Rounded down to the quotient or one less, so that what is left is in [0, 2N).
        let estimate = _mm512_sub_pd(_mm512_div_pd(product, modulus), _mm512_set1_pd(ERROR));
        let quotient = _mm512_cvttpd_epu64(_mm512_max_pd(estimate, _mm512_setzero_pd()));
        let (mut carry, mut above, mut taken) = (zero, zero, zero);
        for (number, n) in numbers.iter_mut().zip(moduli) {
            let (x, n) = (number.vector(), n.vector());
            let plus = _mm512_madd52lo_epu64(above, x, factor);
            let minus = _mm512_madd52lo_epu64(taken, n, quotient);
            above = _mm512_madd52hi_epu64(zero, x, factor);
            taken = _mm512_madd52hi_epu64(zero, n, quotient);
            let digit = _mm512_add_epi64(_mm512_sub_epi64(plus, minus), carry);
            *number = Row::from_vector(_mm512_and_si512(digit, mask));
            carry = _mm512_srai_epi64::<DIGIT_BITS>(digit);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use rug::Integer;

    use super::super::integer;
    use super::*;

    /// A digit that is often extreme.
    fn digit() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(DIGIT_MASK), 0..=DIGIT_MASK]
    }

    fn column(rows: &[Row], lane: usize) -> Integer {
        let digits: Vec<u64> = rows.iter().map(|row| row.0[lane]).collect();
        integer(&digits)
    }

    proptest! {
        #[test]
        fn multiplies_by_powers_of_two(
            moduli in prop::collection::vec(prop::array::uniform8(digit()), 1..12),
            numbers in prop::collection::vec(prop::array::uniform8(digit()), 12),
            shifts in prop::array::uniform8(0_u32..600),
        ) {
            let Some(proof) = Ifma::detect() else { return Ok(()) };
            let mut moduli: Vec<Row> = moduli.into_iter().map(Row).collect();
            moduli[0].0.iter_mut().for_each(|word| *word |= 1);
            // Room for twice the modulus.
            moduli.push(Row::ZERO);
            let mut rows = vec![Row::ZERO; moduli.len()];
            let mut expected = Vec::new();
            for lane in 0..LANES {
                let n = column(&moduli, lane);
                let all = Row::ZERO;
                let mut given = vec![all; moduli.len()];
                for (row, number) in given.iter_mut().zip(&numbers) {
                    row.0[lane] = number[lane];
                }
                let number = column(&given, lane) % Integer::from(&n * 2);
                let mut digits = vec![0; moduli.len()];
                super::super::write_digits(&number, &mut digits);
                for (row, digit) in rows.iter_mut().zip(digits) {
                    row.0[lane] = digit;
                }
                expected.push((number << shifts[lane]) % &n);
            }
            scale(proof, &moduli, &mut rows, shifts);
            for (lane, expected) in expected.iter().enumerate() {
                let (n, result) = (column(&moduli, lane), column(&rows, lane));
                prop_assert!(result < Integer::from(&n * 2));
                prop_assert_eq!(&Integer::from(&result % &n), expected);
            }
        }
    }
}
