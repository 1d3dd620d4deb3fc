//! The arithmetic of every vector kernel that this processor can run, compared with GMP's. The
//! digits are chosen to provoke carries.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rug::Integer;

use super::arithmetic::{Arithmetic, DIGIT_BITS, DIGIT_MASK, Operation};
use super::field::{Field, Register};
use super::montgomery::bits_of;
use super::scale::scale;
use super::{MAX_BITS, all_vectors};
use crate::search::digits::{integer, write_digits};

/// A digit that is often extreme: near 0, near 2^51 (where signed digits wrap), or near 2^52.
fn digit() -> impl Strategy<Value = u64> {
    let half = 1 << (DIGIT_BITS - 1);
    prop_oneof![
        Just(0),
        Just(1),
        Just(half - 1),
        Just(half),
        Just(half + 1),
        Just(DIGIT_MASK),
        0..=DIGIT_MASK
    ]
}

/// The number in a lane.
fn lane(field: &dyn Field, words: &[u64], lane: usize) -> Integer {
    let digits: Vec<u64> = field
        .layout()
        .places(lane)
        .map(|place| words[place])
        .collect();
    integer(&digits)
}

/// Sets the number in a lane.
fn set_lane(field: &dyn Field, words: &mut [u64], lane: usize, number: &Integer) {
    let layout = field.layout();
    let mut digits = vec![0; layout.limbs];
    write_digits(number, &mut digits);
    for (place, digit) in layout.places(lane).zip(digits) {
        words[place] = digit;
    }
}

/// Checks a field with the given moduli and numbers: conversion from Montgomery form, squares,
/// doublings and products agree with GMP.
fn check(field: &mut dyn Field, moduli: &[Vec<u64>], numbers: &[Vec<u64>], name: &str) {
    let layout = field.layout();
    let mut n = vec![0; layout.words()];
    let mut x = n.clone();
    let mut given = Vec::new();
    for lane in 0..layout.lanes {
        let digits = |from: &[Vec<u64>]| {
            let digits = from[lane % from.len()].iter().copied().cycle();
            integer(&digits.take(layout.limbs).collect::<Vec<u64>>())
        };
        let mut modulus = digits(moduli).keep_bits(bits_of(layout.limbs));
        modulus.set_bit(bits_of(layout.limbs) - 1 - lane as u32 % 40, true);
        modulus.set_bit(0, true);
        let number = digits(numbers) % Integer::from(&modulus * 2);
        set_lane(field, &mut n, lane, &modulus);
        set_lane(field, &mut x, lane, &number);
        given.push((modulus, number));
    }
    field.set_moduli(&n);
    let radix = Integer::from(1) << (DIGIT_BITS * layout.limbs as u32);
    let mut out = vec![0; layout.words()];
    // The lowest bits of the exponents are those of the lane's index.
    field.exponents_mut().fill(0);
    for lane in 0..layout.lanes {
        let lowest = layout.lowest(lane);
        field.exponents_mut()[lowest] = lane as u64;
    }
    let mut expect =
        |field: &mut dyn Field,
         what: &str,
         expected: &dyn Fn(&Integer, &Integer, &Integer) -> Integer| {
            field.convert_from_montgomery(Register::First, &n, &mut out);
            for (index, (modulus, number)) in given.iter().enumerate() {
                let inverse = Integer::from(radix.invert_ref(modulus).unwrap());
                let left = lane(field, &out, index);
                assert!(
                    left <= *modulus,
                    "{name}, {what}: lane {index}, {modulus:x}, {number:x}"
                );
                let bit = Integer::from(index as u32 & 1);
                // Conversion from Montgomery form divides by R once.
                let expected = expected(number, &inverse, &bit) * &inverse % modulus;
                assert_eq!(
                    left % modulus,
                    expected,
                    "{name}, {what}: lane {index}, {modulus:x}, {number:x}"
                );
            }
        };
    field.set(Register::First, &x);
    expect(field, "conversion", &|x, _, _| x.clone());
    field.power_of_two(1, 0);
    expect(field, "square", &|x, inverse, bit| {
        (Integer::from(x.square_ref()) * inverse) << bit.to_u32().unwrap()
    });
    // x² or, if the bit is set, x² · x, where each product is divided by R. One in Montgomery form
    // is R.
    let mut ones = vec![0; layout.words()];
    for (index, (modulus, _)) in given.iter().enumerate() {
        set_lane(field, &mut ones, index, &Integer::from(&radix % modulus));
    }
    field.set(Register::First, &x);
    field.begin_power(&ones);
    field.set(Register::First, &x);
    field.power_step(0);
    expect(field, "multiply", &|x, inverse, bit| {
        let square = Integer::from(x.square_ref()) * inverse;
        if *bit == 0 {
            square
        } else {
            square * x * inverse
        }
    });
}

#[test]
fn sizes_ascend_and_reach_the_greatest_numbers() {
    for (name, kernel) in all_vectors() {
        let mut last = 0;
        for bits in 1..=MAX_BITS {
            let limbs = kernel
                .limbs_for(bits)
                .unwrap_or_else(|| panic!("{name}: {bits}"));
            assert!(limbs >= last && bits <= bits_of(limbs), "{name}: {bits}");
            last = limbs;
        }
        assert_eq!(kernel.limbs_for(MAX_BITS + 1), None, "{name}");
    }
}

#[test]
fn every_field_computes_with_extreme_digits() {
    let half = 1 << (DIGIT_BITS - 1);
    let digits = [0, 1, half - 1, half, half + 1, DIGIT_MASK];
    let of = |first: u64| -> Vec<Vec<u64>> {
        digits
            .iter()
            .map(|&second| vec![first, second, second])
            .collect()
    };
    for (name, kernel) in all_vectors() {
        let mut bits = 1;
        while let Some(mut field) = kernel.field_for(bits) {
            bits = bits_of(field.layout().limbs) + 1;
            let patterns = if bits < 1100 {
                digits.as_slice()
            } else {
                &[half]
            };
            for &first in patterns {
                check(field.as_mut(), &of(first | 1), &of(first), name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_field_computes_what_gmp_does(
        bits in 1_u32..1040,
        moduli in prop::collection::vec(prop::collection::vec(digit(), 21), 4..9),
        numbers in prop::collection::vec(prop::collection::vec(digit(), 21), 4..9),
    ) {
        for (name, kernel) in all_vectors() {
            check(kernel.field_for(bits).unwrap().as_mut(), &moduli, &numbers, name);
        }
    }
}

struct Scale<'a> {
    moduli: &'a [u64],
    numbers: &'a mut [u64],
    shifts: &'a [u64; 8],
}

impl<A: Arithmetic> Operation<A> for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: A) {
        let moduli: Vec<A::Vector> = self
            .moduli
            .chunks(A::COUNT)
            .map(|words| s.load(words))
            .collect();
        let mut numbers: Vec<A::Vector> = self
            .numbers
            .chunks(A::COUNT)
            .map(|words| s.load(words))
            .collect();
        scale(s, &moduli, &mut numbers, s.load(self.shifts));
        for (words, number) in self.numbers.chunks_mut(A::COUNT).zip(numbers) {
            s.store(number, words);
        }
    }
}

/// Checks [`scale`] with an arithmetic.
#[cfg(target_arch = "x86_64")]
fn check_scale<A: Arithmetic>(
    s: Option<A>,
    moduli: &[[u64; 8]],
    numbers: &[[u64; 8]],
    shifts: &[u64; 8],
) {
    let Some(s) = s else { return };
    let limbs = moduli.len() + 1;
    let column = |words: &[u64], lane: usize| {
        integer(
            &words
                .chunks(A::COUNT)
                .map(|row| row[lane])
                .collect::<Vec<u64>>(),
        )
    };
    // Room for twice the modulus.
    let mut n = vec![0; limbs * A::COUNT];
    let mut x = n.clone();
    let mut expected = Vec::new();
    for lane in 0..A::COUNT {
        for (j, row) in moduli.iter().enumerate() {
            n[A::COUNT * j + lane] = row[lane] | u64::from(j == 0);
        }
        let modulus = column(&n, lane);
        let digits: Vec<u64> = numbers.iter().take(limbs).map(|row| row[lane]).collect();
        let number = integer(&digits) % Integer::from(&modulus * 2);
        let mut digits = vec![0; limbs];
        write_digits(&number, &mut digits);
        for (j, digit) in digits.into_iter().enumerate() {
            x[A::COUNT * j + lane] = digit;
        }
        expected.push((number << shifts[lane] as u32) % modulus);
    }
    s.run(Scale {
        moduli: &n,
        numbers: &mut x,
        shifts,
    });
    for (lane, expected) in expected.iter().enumerate() {
        let (modulus, result) = (column(&n, lane), column(&x, lane));
        assert!(result < Integer::from(&modulus * 2));
        assert_eq!(result % modulus, *expected);
    }
}

#[cfg(target_arch = "x86_64")]
proptest! {
    #[test]
    fn powers_of_two_are_multiplied_by(
        moduli in prop::collection::vec(prop::array::uniform8(digit()), 1..12),
        numbers in prop::collection::vec(prop::array::uniform8(digit()), 12),
        shifts in prop::array::uniform8(0_u64..600),
    ) {
        use super::fma::{Fma256, Fma512};
        use super::ifma::{Ifma256, Ifma256Evex, Ifma512};
        check_scale(Ifma512::detect(), &moduli, &numbers, &shifts);
        check_scale(Ifma256Evex::detect(), &moduli, &numbers, &shifts);
        check_scale(Ifma256::detect(), &moduli, &numbers, &shifts);
        check_scale(Fma512::detect(), &moduli, &numbers, &shifts);
        check_scale(Fma256::detect(), &moduli, &numbers, &shifts);
    }
}
