//! A field of numbers in the registers of one arithmetic. What depends on the size of its blocks of
//! digits is in [`super::blocks`].
//!
//! # Bounds
//!
//! Let R = 2^(52 L) for L digits. The moduli are odd numbers N < R/16. Numbers are never fully
//! reduced.
//!
//! Unsigned numbers are kept in [0, 4N): the reduction of a product of two such numbers is below 16
//! N²/R + N < 2N. If it is doubled, or if a number below 2N is added, it stays below 4N. Signed
//! numbers are kept in (−4N, 4N): quotient digits are at most 2^51 in size, so a reduction is at
//! most 16 N²/R + (1/2 + 2^−50) N < 2N in size, and the rest is the same.
//!
//! A column collects at most 4L halves of products and a carry, which fits 64 bits for any L up to
//! 500.

use std::ops::Range;

use super::arithmetic::{Arithmetic, DIGIT_BITS};
use super::blocks::Steps;
use super::field::{Field, Layout, Register, WINDOW};
use super::montgomery::biases;
use super::operations::{
    CompareUnits, SelectBit, Set, SetAddends, SetModuli, SetPowersOfTwo, WriteScratch,
};

/// Number of powers in the table for a power of any base.
pub(super) const POWERS: usize = 1 << WINDOW;

/// The numbers of a field. Each vector has the digits of the first group's numbers, then those of
/// the next group; a group is a register, with one number per lane.
pub(super) struct Numbers<A: Arithmetic> {
    /// Number of digits of a number.
    pub(super) limbs: usize,
    /// Number of groups.
    pub(super) groups: usize,
    pub(super) n: Vec<A::Vector>,
    pub(super) a: Vec<A::Vector>,
    pub(super) b: Vec<A::Vector>,
    pub(super) kept: Vec<A::Vector>,
    /// The factors for the next multiplication.
    pub(super) factor: Vec<A::Vector>,
    pub(super) mixed_addend: Vec<A::Vector>,
    pub(super) square_addend: Vec<A::Vector>,
    /// The powers 0, 1, ... of the base, in order, group after group. Empty until the first use.
    pub(super) powers: Vec<A::Vector>,
    pub(super) exponent: Vec<u64>,
    /// Work space: the words of one group.
    pub(super) words: Vec<u64>,
    /// Minus the inverse of the modulus modulo 2^52, one vector per group.
    pub(super) inverse: Vec<A::Vector>,
    /// `inverse` times the modulus's second digit, modulo 2^52, one vector per group.
    pub(super) second: Vec<A::Vector>,
    pub(super) product: Vec<A::Vector>,
    pub(super) other_product: Vec<A::Vector>,
    // Work space of one group.
    pub(super) quotient: Vec<A::Vector>,
    pub(super) scratch: Vec<A::Vector>,
    /// Results of [`biases`].
    pub(super) product_bias: Vec<u64>,
    pub(super) conversion_bias: Vec<u64>,
}

impl<A: Arithmetic> Numbers<A> {
    /// All numbers are zero.
    fn new(s: A, limbs: usize, groups: usize) -> Self {
        let zeros = |count: usize| vec![s.splat(0); count];
        let all = limbs * groups;
        Self {
            limbs,
            groups,
            n: zeros(all),
            a: zeros(all),
            b: zeros(all),
            kept: zeros(all),
            factor: zeros(all),
            mixed_addend: zeros(all),
            square_addend: zeros(all),
            powers: Vec::new(),
            exponent: vec![0; all * A::COUNT],
            words: vec![0; limbs * A::COUNT],
            inverse: zeros(groups),
            second: zeros(groups),
            product: zeros(2 * all),
            other_product: zeros(2 * all),
            quotient: zeros(limbs),
            scratch: zeros(limbs),
            product_bias: biases::<A>(limbs, true),
            conversion_bias: biases::<A>(limbs, false),
        }
    }

    /// Range of the digits of a group's numbers.
    pub(super) fn group(&self, group: usize) -> Range<usize> {
        group * self.limbs..(group + 1) * self.limbs
    }

    /// Range of the digits of a power of a group's bases.
    pub(super) fn power(&self, group: usize, power: usize) -> Range<usize> {
        let first = (group * POWERS + power) * self.limbs;
        first..first + self.limbs
    }

    /// Copies the numbers to their place in the table of powers.
    fn keep_power(&mut self, power: usize) {
        for group in 0..self.groups {
            let (from, to) = (self.group(group), self.power(group, power));
            self.powers[to].copy_from_slice(&self.a[from]);
        }
    }
}

/// A field with one arithmetic.
pub(super) struct VectorField<A: Arithmetic> {
    arithmetic: A,
    numbers: Numbers<A>,
    steps: &'static dyn Steps<A>,
}

impl<A: Arithmetic> VectorField<A> {
    /// A field for numbers of `limbs` digits, which `steps` support. All numbers are zero.
    pub(super) fn boxed(
        arithmetic: A,
        limbs: usize,
        steps: &'static dyn Steps<A>,
    ) -> Box<dyn Field> {
        Box::new(Self {
            arithmetic,
            numbers: Numbers::new(arithmetic, limbs, steps.groups()),
            steps,
        })
    }

    fn square(&mut self, high: u32, low: u32, doubles: bool) {
        let (s, numbers) = (self.arithmetic, &mut self.numbers);
        self.steps.square(s, numbers, high, low, doubles);
    }

    fn multiply(&mut self) {
        self.steps.multiply(self.arithmetic, &mut self.numbers);
    }

    /// Sets `scratch` to a group's numbers in ordinary form.
    fn convert(&mut self, register: Register, group: usize) {
        let (s, numbers) = (self.arithmetic, &mut self.numbers);
        self.steps.convert(s, numbers, register, group);
    }
}

impl<A: Arithmetic> Field for VectorField<A> {
    fn layout(&self) -> Layout {
        Layout {
            limbs: self.numbers.limbs,
            width: A::COUNT,
            lanes: A::COUNT * self.numbers.groups,
        }
    }

    fn set_moduli(&mut self, moduli: &[u64]) {
        let numbers = &mut self.numbers;
        self.arithmetic.run(SetModuli { moduli, numbers });
    }

    fn exponents_mut(&mut self) -> &mut [u64] {
        &mut self.numbers.exponent
    }

    fn set_powers_of_two(
        &mut self,
        bits: &[u32],
        heads: &[u32],
        moduli: &[u64],
        digits: &mut [u64],
    ) {
        self.arithmetic.run(SetPowersOfTwo {
            bits,
            heads,
            moduli,
            digits,
            numbers: &mut self.numbers,
        });
    }

    fn set(&mut self, register: Register, words: &[u64]) {
        let numbers = &mut self.numbers;
        self.arithmetic.run(Set {
            register,
            words,
            numbers,
        });
    }

    fn set_addends(&mut self, mixed: &[u64], square: &[u64]) {
        let numbers = &mut self.numbers;
        self.arithmetic.run(SetAddends {
            mixed,
            square,
            numbers,
        });
    }

    fn keep(&mut self) {
        self.numbers.kept.copy_from_slice(&self.numbers.a);
    }

    fn restore(&mut self) {
        self.numbers.a.copy_from_slice(&self.numbers.kept);
    }

    fn power_of_two(&mut self, high: u32, low: u32) {
        self.square(high, low, true);
    }

    fn begin_power(&mut self, ones: &[u64]) {
        let numbers = &mut self.numbers;
        let digits = POWERS * numbers.limbs * numbers.groups;
        numbers.powers.resize(digits, self.arithmetic.splat(0));
        numbers.factor.copy_from_slice(&numbers.a);
        numbers.keep_power(1);
        for power in 2..POWERS {
            self.multiply();
            self.numbers.keep_power(power);
        }
        self.set(Register::First, ones);
        self.numbers.keep_power(0);
    }

    fn power(&mut self, count: u32, low: u32) {
        for window in (0..count).rev() {
            // Nothing depends on the factors yet, so the processor selects them in parallel with
            // the squarings.
            let low = low + WINDOW * window;
            self.steps.select(self.arithmetic, &mut self.numbers, low);
            self.square(WINDOW, 0, false);
            self.multiply();
        }
    }

    fn power_step(&mut self, bit: u32) {
        let numbers = &mut self.numbers;
        self.arithmetic.run(SelectBit { bit, numbers });
        self.square(1, 0, false);
        self.multiply();
    }

    fn lucas(&mut self, high: u32, low: u32) {
        let (s, numbers) = (self.arithmetic, &mut self.numbers);
        self.steps.lucas(s, numbers, high, low);
    }

    fn units(&mut self) -> (u32, u32) {
        let (mut ones, mut minus_ones) = (0, 0);
        for group in 0..self.numbers.groups {
            self.convert(Register::First, group);
            let numbers = &mut self.numbers;
            let (one, minus_one) = self.arithmetic.run(CompareUnits { group, numbers });
            ones |= one << (group * A::COUNT);
            minus_ones |= minus_one << (group * A::COUNT);
        }
        (ones, minus_ones)
    }

    fn convert_from_montgomery(&mut self, register: Register, moduli: &[u64], to: &mut [u64]) {
        let words = self.numbers.limbs * A::COUNT;
        let groups = to.chunks_mut(words).zip(moduli.chunks(words));
        for (group, (to, moduli)) in groups.enumerate() {
            self.convert(register, group);
            let numbers = &mut self.numbers;
            self.arithmetic.run(WriteScratch {
                moduli,
                to,
                numbers,
            });
        }
    }
}

/// The digit of a group's exponents that contains bit `bit`.
#[inline(always)]
fn exponent_digit<A: Arithmetic>(
    s: A,
    exponent: &[u64],
    limbs: usize,
    group: usize,
    bit: u32,
) -> A::Vector {
    let digit = group * limbs + (bit / DIGIT_BITS) as usize;
    s.load(&exponent[A::COUNT * digit..])
}

/// The exponent digit with bit `bit` of a group, shifted so that this bit is the lowest.
#[inline(always)]
pub(super) fn exponent_from<A: Arithmetic>(
    s: A,
    exponent: &[u64],
    limbs: usize,
    group: usize,
    bit: u32,
) -> A::Vector {
    let digit = exponent_digit(s, exponent, limbs, group, bit);
    s.shift_right(digit, bit % DIGIT_BITS)
}

/// A group's exponent bits from `low` on, a window of them.
#[inline(always)]
pub(super) fn exponent_window<A: Arithmetic>(
    s: A,
    exponent: &[u64],
    limbs: usize,
    group: usize,
    low: u32,
) -> A::Vector {
    let mut window = exponent_from(s, exponent, limbs, group, low);
    let place = low % DIGIT_BITS;
    if place + WINDOW > DIGIT_BITS {
        let above = exponent_digit(s, exponent, limbs, group, low + WINDOW - 1);
        let left = s.splat(u64::from(DIGIT_BITS - place));
        window = s.or(window, s.shift_left_each(above, left));
    }
    s.and(window, s.splat((1 << WINDOW) - 1))
}
