//! A field whose numbers are stored as blocks of digits: see [`super::montgomery`].
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

use super::arithmetic::{Arithmetic, DIGIT_BITS};
use super::field::{Field, Layout, Register, WINDOW};
use super::montgomery::{Block, biases};
use super::operations::{
    CompareUnits, ConvertGroup, Lucas, MultiplyNumbers, Select, SelectBit, Set, SetAddends,
    SetModuli, SetPowersOfTwo, Squarings, WriteScratch,
};

/// Number of powers in the table for a power of any base.
pub(super) const POWERS: usize = 1 << WINDOW;

/// A field of numbers of `BLOCKS` blocks of K digits; if `BLOCKS` is 0, the number of blocks is
/// chosen at run time. `GROUPS` is the number of registers that hold the numbers, one number per
/// lane. For `SPLIT` see [`super::montgomery`].
pub(crate) struct Blocks<
    A: Arithmetic,
    const K: usize,
    const BLOCKS: usize,
    const GROUPS: usize,
    const SPLIT: bool,
> {
    pub(super) arithmetic: A,
    /// Number of blocks of a number.
    pub(super) blocks: usize,
    // The vectors below hold the digits of the first group's numbers, then those of the next group.
    pub(super) n: Vec<Block<A, K>>,
    pub(super) a: Vec<Block<A, K>>,
    pub(super) b: Vec<Block<A, K>>,
    pub(super) kept: Vec<Block<A, K>>,
    /// The factors for the next multiplication.
    pub(super) factor: Vec<Block<A, K>>,
    pub(super) mixed_addend: Vec<Block<A, K>>,
    pub(super) square_addend: Vec<Block<A, K>>,
    /// The powers 0, 1, ... of the base, in order, group after group. Empty until the first use.
    pub(super) powers: Vec<Block<A, K>>,
    pub(super) exponent: Vec<u64>,
    /// Work space: the words of one group.
    pub(super) words: Vec<u64>,
    /// Minus the inverse of the modulus modulo 2^52, one vector per group.
    pub(super) inverse: Vec<A::Vector>,
    /// `inverse` times the modulus's second digit, modulo 2^52, one vector per group.
    pub(super) second: Vec<A::Vector>,
    pub(super) product: Vec<Block<A, K>>,
    pub(super) other_product: Vec<Block<A, K>>,
    // Work space of one group.
    pub(super) quotient: Vec<Block<A, K>>,
    pub(super) scratch: Vec<Block<A, K>>,
    /// Results of [`biases`].
    pub(super) product_bias: Vec<u64>,
    pub(super) conversion_bias: Vec<u64>,
}

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    /// A field for numbers of `blocks` blocks. All numbers are zero.
    pub(crate) fn boxed(arithmetic: A, blocks: usize) -> Box<dyn Field> {
        const {
            assert!(
                BLOCKS > 0 || GROUPS == 1,
                "only fields of a fixed size have groups"
            )
        };
        debug_assert!(BLOCKS == 0 || BLOCKS == blocks);
        let zero = arithmetic.splat(0);
        let numbers = vec![[zero; K]; blocks * GROUPS];
        let products = vec![[zero; K]; 2 * blocks * GROUPS];
        Box::new(Self {
            arithmetic,
            blocks,
            n: numbers.clone(),
            a: numbers.clone(),
            b: numbers.clone(),
            kept: numbers.clone(),
            factor: numbers.clone(),
            mixed_addend: numbers.clone(),
            square_addend: numbers,
            powers: Vec::new(),
            exponent: vec![0; K * blocks * GROUPS * A::COUNT],
            words: vec![0; K * blocks * A::COUNT],
            inverse: vec![zero; GROUPS],
            second: vec![zero; GROUPS],
            product: products.clone(),
            other_product: products,
            quotient: vec![[zero; K]; blocks],
            scratch: vec![[zero; K]; blocks],
            product_bias: biases::<A>(K * blocks, true),
            conversion_bias: biases::<A>(K * blocks, false),
        })
    }

    /// Number of blocks of a number; a constant if `BLOCKS` is not 0.
    #[inline(always)]
    pub(super) fn blocks(&self) -> usize {
        if BLOCKS == 0 { self.blocks } else { BLOCKS }
    }

    /// Range of the blocks of a group's numbers.
    #[inline(always)]
    pub(super) fn group(&self, group: usize) -> std::ops::Range<usize> {
        let blocks = self.blocks();
        group * blocks..group * blocks + blocks
    }

    /// Range of the blocks of a group's products.
    #[inline(always)]
    pub(super) fn columns(&self, group: usize) -> std::ops::Range<usize> {
        let blocks = 2 * self.blocks();
        group * blocks..group * blocks + blocks
    }

    /// The digit of a group's exponents that contains bit `bit`.
    #[inline(always)]
    pub(super) fn exponent_digit(&self, s: A, group: usize, bit: u32) -> A::Vector {
        let digit = group * K * self.blocks() + (bit / DIGIT_BITS) as usize;
        s.load(&self.exponent[A::COUNT * digit..])
    }

    /// The digit of a group's exponents that contains bit `bit`, shifted so that this bit is the
    /// lowest.
    #[inline(always)]
    pub(super) fn exponent_from(&self, s: A, group: usize, bit: u32) -> A::Vector {
        s.shift_right(self.exponent_digit(s, group, bit), bit % DIGIT_BITS)
    }

    /// Sets a group's factors to the powers from their tables that the exponent's window from bit
    /// `low` upwards selects.
    ///
    /// Reading all of a table in the first-level cache is faster than a gather.
    #[inline(always)]
    pub(super) fn select(&mut self, s: A, group: usize, low: u32) {
        let mut which = self.exponent_from(s, group, low);
        let place = low % DIGIT_BITS;
        if place + WINDOW > DIGIT_BITS {
            let above = self.exponent_digit(s, group, low + WINDOW - 1);
            let left = s.splat(u64::from(DIGIT_BITS - place));
            which = s.or(which, s.shift_left_each(above, left));
        }
        let which = s.and(which, s.splat((1 << WINDOW) - 1));
        let blocks = self.blocks();
        let table = &self.powers[group * POWERS * blocks..][..POWERS * blocks];
        for b in 0..blocks {
            let mut digits = table[b];
            for power in 1..POWERS {
                let here = s.equal(which, s.splat(power as u64));
                let block = &table[power * blocks + b];
                for c in 0..K {
                    digits[c] = s.blend(here, digits[c], block[c]);
                }
            }
            self.factor[group * blocks + b] = digits;
        }
    }
}

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Field for Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    fn layout(&self) -> Layout {
        Layout {
            limbs: K * self.blocks,
            width: A::COUNT,
            lanes: A::COUNT * GROUPS,
        }
    }

    fn set_moduli(&mut self, moduli: &[u64]) {
        self.arithmetic.run(SetModuli {
            moduli,
            field: self,
        });
    }

    fn exponents_mut(&mut self) -> &mut [u64] {
        &mut self.exponent
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
            field: self,
        });
    }

    fn set(&mut self, register: Register, numbers: &[u64]) {
        self.arithmetic.run(Set {
            register,
            numbers,
            field: self,
        });
    }

    fn set_addends(&mut self, mixed: &[u64], square: &[u64]) {
        self.arithmetic.run(SetAddends {
            mixed,
            square,
            field: self,
        });
    }

    fn keep(&mut self) {
        self.kept.copy_from_slice(&self.a);
    }

    fn restore(&mut self) {
        self.a.copy_from_slice(&self.kept);
    }

    fn power_of_two(&mut self, high: u32, low: u32) {
        self.arithmetic.run(Squarings::<_, _, _, _, _, true> {
            high,
            low,
            field: self,
        });
    }

    fn begin_power(&mut self, ones: &[u64]) {
        let blocks = self.blocks();
        let zero = self.arithmetic.splat(0);
        self.powers.resize(POWERS * blocks * GROUPS, [zero; K]);
        self.factor.copy_from_slice(&self.a);
        for power in 1..POWERS {
            if power > 1 {
                self.arithmetic.run(MultiplyNumbers { field: self });
            }
            for group in 0..GROUPS {
                let numbers = self.group(group);
                self.powers[(group * POWERS + power) * blocks..][..blocks]
                    .copy_from_slice(&self.a[numbers]);
            }
        }
        self.set(Register::First, ones);
        for group in 0..GROUPS {
            let numbers = self.group(group);
            self.powers[group * POWERS * blocks..][..blocks].copy_from_slice(&self.a[numbers]);
        }
    }

    fn power(&mut self, count: u32, low: u32) {
        for window in (0..count).rev() {
            // Nothing depends on the factors yet, so the processor selects them in parallel with
            // the squarings.
            self.arithmetic.run(Select {
                low: low + WINDOW * window,
                field: self,
            });
            self.arithmetic.run(Squarings::<_, _, _, _, _, false> {
                high: WINDOW,
                low: 0,
                field: self,
            });
            self.arithmetic.run(MultiplyNumbers { field: self });
        }
    }

    fn power_step(&mut self, bit: u32) {
        self.arithmetic.run(SelectBit { bit, field: self });
        self.arithmetic.run(Squarings::<_, _, _, _, _, false> {
            high: 1,
            low: 0,
            field: self,
        });
        self.arithmetic.run(MultiplyNumbers { field: self });
    }

    fn lucas(&mut self, high: u32, low: u32) {
        self.arithmetic.run(Lucas {
            high,
            low,
            field: self,
        });
    }

    fn units(&mut self) -> (u32, u32) {
        let (mut ones, mut minus_ones) = (0, 0);
        for group in 0..GROUPS {
            self.arithmetic.run(ConvertGroup {
                register: Register::First,
                group,
                field: self,
            });
            let (one, minus_one) = self.arithmetic.run(CompareUnits { group, field: self });
            ones |= one << (group * A::COUNT);
            minus_ones |= minus_one << (group * A::COUNT);
        }
        (ones, minus_ones)
    }

    fn convert_from_montgomery(&mut self, register: Register, moduli: &[u64], numbers: &mut [u64]) {
        let words = K * self.blocks * A::COUNT;
        let groups = numbers.chunks_mut(words).zip(moduli.chunks(words));
        for (group, (numbers, moduli)) in groups.enumerate() {
            self.arithmetic.run(ConvertGroup {
                register,
                group,
                field: self,
            });
            self.arithmetic.run(WriteScratch {
                moduli,
                numbers,
                field: self,
            });
        }
    }
}
