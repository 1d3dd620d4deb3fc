//! Montgomery arithmetic on eight numbers at once, one in each lane of AVX-512 vectors, in radix 2^52.
//!
//! A number of L digits is L rows; a [`Field`] holds one or two groups of eight numbers. A product is built in columns
//! by `vpmadd52luq`/`vpmadd52huq`, which add the low or high half of a 52-bit product to a 64-bit column and ignore the
//! bits of their factors above 52. Operands are cut into blocks of K digits, so that the 2K columns of a product of blocks,
//! one operand and a digit of the other stay in the 32 registers. Everything is unrolled for each K by macros, and
//! monomorphised on the number of blocks.
//!
//! Where one multiply-add begins in each cycle (Zen 4), blocks of 3 to 7 digits are best: with 10, the most that fits, the
//! chain of quotient digits in a block is longer than what the processor finds to do meanwhile, and 82 to 93 % of its
//! multiply-adds are used instead of 92 to 99. Where two begin (Ice Lake servers), a column of a small block waits for itself:
//! it takes two products of each digit, one after the other, 8 cycles, in which a block of 5 has only 10 multiply-adds to do.
//! There blocks of 8 to 10 take up to a quarter less time. One group of eight is enough, except for small numbers, where two
//! take turns.
//!
//! # Bounds
//!
//! With R = 2^(52 L), the moduli are odd numbers N < R/16. Numbers are kept in [0, 4N), never fully reduced:
//!
//! - the reduction of a product of two such numbers is below 16 N²/R + N < 2N;
//! - doubled it is below 4N, and with a number below 2N added to it too;
//! - a column collects at most 4L products of 52 bits and a carry, which fits 64 bits for any L up to 1000.
//!
//! A digit in memory may have a carry above its low 52 bits that has been added to the next digit as well: the number is
//! made of the low 52 bits of its digits.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm_cvtsi64_si128, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_or_si512,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_sllv_epi64, _mm512_srl_epi64,
    _mm512_srli_epi64, _mm512_sub_epi64, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use super::Ifma;
use super::row::{DIGIT_BITS, DIGIT_MASK, LANES, Row};

/// Bits of the exponent taken at a time in a power of any base.
pub(super) const WINDOW: u32 = 4;

/// Powers in the table of a power of any base.
const POWERS: usize = 1 << WINDOW;

/// Arithmetic modulo several numbers at once; see the module's documentation for the representation.
///
/// The rows of all groups follow each other: digit `j` of lane `l` of group `g` is `rows[g · limbs + j].0[l]`.
pub(super) trait Field: Send {
    /// Digits of a number.
    fn limbs(&self) -> usize;

    /// Groups of eight numbers.
    fn groups(&self) -> usize;

    /// The moduli. After a change [`Field::prepare`] is to be called.
    fn moduli_mut(&mut self) -> &mut [Row];

    /// The rows.
    fn parts(&mut self) -> Parts<'_>;

    /// Makes the inverses of the moduli's low digits.
    fn prepare(&mut self);

    /// For each exponent bit from `high − 1` down to `low`: squares, and doubles if the bit is set.
    fn power_of_two(&mut self, high: u32, low: u32);

    /// Fills the table of powers of the numbers; then sets the numbers to one, which `ones` is in Montgomery form.
    fn begin_power(&mut self, ones: &[Row]);

    /// For each window of [`WINDOW`] exponent bits, `count` of them down to bit `low`: squares that often, and
    /// multiplies by the power of the base that the window is.
    fn power(&mut self, count: u32, low: u32);

    /// Squares, and multiplies by the base where the exponent's bit `bit` is set.
    fn power_step(&mut self, bit: u32);

    /// For each exponent bit from `high − 1` down to `low`, one step of the Lucas sequence with Q = 1: of (V_k, V_k+1),
    /// in numbers and seconds, to (V_2k, V_2k+1) or, where the bit is set, (V_2k+1, V_2k+2).
    fn lucas(&mut self, high: u32, low: u32);

    /// In which lanes the number is 1, and in which it is −1; bit 8g + l for lane l of group g.
    fn units(&mut self) -> (u32, u32);

    /// Numbers without their Montgomery form, in [0, N], digits without carries.
    fn leave(&mut self, numbers: &[Row], out: &mut [Row]);
}

/// The rows of a [`Field`].
pub(super) struct Parts<'a> {
    pub(super) moduli: &'a [Row],
    /// Digits of 52 bits without anything above.
    pub(super) exponents: &'a mut [Row],
    /// The numbers that are computed with, in Montgomery form.
    pub(super) numbers: &'a mut [Row],
    /// The second numbers of the Lucas sequence, in Montgomery form.
    pub(super) seconds: &'a mut [Row],
    /// What the Lucas sequence adds to its mixed products (−P), in Montgomery form, at most N.
    pub(super) mixed_addends: &'a mut [Row],
    /// What the Lucas sequence adds to its squares (−2), in Montgomery form, at most N.
    pub(super) square_addends: &'a mut [Row],
}

macro_rules! low {
    ($sum:expr, $a:expr, $b:expr) => {
        _mm512_madd52lo_epu64($sum, $a, $b)
    };
}

macro_rules! high {
    ($sum:expr, $a:expr, $b:expr) => {
        _mm512_madd52hi_epu64($sum, $a, $b)
    };
}

/// Adds the products of a digit x at place o and some digits of a block to the columns.
macro_rules! row {
    ($columns:ident, $x:ident, $block:ident, $o:literal, [$($j:literal)*]) => {
        $( $columns[$o + $j] = low!($columns[$o + $j], $x, $block[$j]); )*
        $( $columns[$o + $j + 1] = high!($columns[$o + $j + 1], $x, $block[$j]); )*
    };
}

/// Adds the product of two blocks to the columns.
macro_rules! tile {
    ($columns:ident, $a:expr, $b:expr, [$($i:literal)*], $all:tt) => {{
        let (a, b) = ($a, $b);
        let b = [$( b[$i].vector() ),*];
        $( let x = a[$i].vector(); row!($columns, x, b, $i, $all); )*
    }};
}

/// Adds the products of different digits of one block, each once, to the columns.
macro_rules! triangle {
    ($columns:ident, $b:ident, [$last:literal]) => {};
    ($columns:ident, $b:ident, [$i:literal $($j:literal)*]) => {
        let x = $b[$i];
        row!($columns, x, $b, $i, [$($j)*]);
        triangle!($columns, $b, [$($j)*]);
    };
}

/// Makes the quotient digits that clear the low columns of a block, and adds their products with the modulus's first
/// block.
///
/// The low 52 bits of column + q · n0 are zero, so what it carries is ⌈column / 2^52⌉. With `second`, n1 times the
/// inverse, the next digit waits for only one product of this one.
macro_rules! quotients {
    ($columns:ident, $n:ident, $inverse:ident, $second:ident, $q:expr, $k:literal, [$($i:literal)*], $tail:tt) => {{
        let zero = _mm512_setzero_si512();
        let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
        let q = $q;
        let mut digit = low!(zero, $columns[0], $inverse);
        $(
            q[$i] = Row::from_vector(digit);
            let carry = _mm512_srli_epi64::<DIGIT_BITS>(_mm512_add_epi64($columns[$i], mask));
            $columns[$i + 1] = _mm512_add_epi64($columns[$i + 1], carry);
            $columns[$i + 1] = high!($columns[$i + 1], digit, $n[0]);
            let next = if $i + 1 < $k {
                low!(low!(zero, digit, $second), $columns[$i + 1], $inverse)
            } else {
                digit
            };
            row!($columns, digit, $n, $i, $tail);
            digit = next;
        )*
        let _ = digit;
    }};
}

/// Defines the arithmetic for blocks of K digits.
macro_rules! define_field {
    ($module:ident, $k:literal, $all:tt, $tail:tt) => {
        mod $module {
            use super::*;

            const K: usize = $k;

            /// K digits of eight numbers.
            type Block = [Row; K];

            const ZERO: Block = [Row::ZERO; K];

            /// Numbers of B blocks, G groups of eight.
            pub(super) struct Blocks<const B: usize, const G: usize> {
                n: [[Block; B]; G],
                exponent: [[Block; B]; G],
                a: [[Block; B]; G],
                b: [[Block; B]; G],
                mixed_addend: [[Block; B]; G],
                square_addend: [[Block; B]; G],
                product: [[[Block; 2]; B]; G],
                other_product: [[[Block; 2]; B]; G],
                quotient: [Block; B],
                scratch: [Block; B],
                /// What the numbers are multiplied by.
                factor: [[Block; B]; G],
                /// Minus the inverse of the modulus modulo 2^52.
                inverse: [Row; G],
                /// The inverse times the modulus's second digit, modulo 2^52.
                second: [Row; G],
                /// The powers 0, 1, ... of the base, for each group; empty until they are needed.
                powers: Vec<[[Block; B]; POWERS]>,
                /// That the processor has the instructions.
                _proof: Ifma,
            }

            /// What a reduction needs.
            struct Modulus<'a, const B: usize> {
                n: &'a [Block; B],
                inverse: Row,
                second: Row,
            }

            /// The modulus of a group, which leaves the rest of the field free to change.
            macro_rules! modulus {
                ($field:ident, $group:expr) => {
                    Modulus {
                        n: &$field.n[$group],
                        inverse: $field.inverse[$group],
                        second: $field.second[$group],
                    }
                };
            }

            impl<const B: usize, const G: usize> Blocks<B, G> {
                const L: usize = K * B;

                pub(super) fn boxed(proof: Ifma) -> Box<dyn Field> {
                    Box::new(Self {
                        n: [[ZERO; B]; G],
                        exponent: [[ZERO; B]; G],
                        a: [[ZERO; B]; G],
                        b: [[ZERO; B]; G],
                        mixed_addend: [[ZERO; B]; G],
                        square_addend: [[ZERO; B]; G],
                        product: [[[ZERO; 2]; B]; G],
                        other_product: [[[ZERO; 2]; B]; G],
                        quotient: [ZERO; B],
                        scratch: [ZERO; B],
                        factor: [[ZERO; B]; G],
                        inverse: [Row::ZERO; G],
                        second: [Row::ZERO; G],
                        powers: Vec::new(),
                        _proof: proof,
                    })
                }

                /// The exponent's digit of a group with bit `bit`, and the shift that brings the bit to the bottom.
                #[inline(always)]
                fn exponent_bit(&self, group: usize, bit: u32) -> (Row, u32) {
                    let digit = (bit / DIGIT_BITS) as usize;
                    let row = self.exponent[group].as_flattened()[digit];
                    (row, bit % DIGIT_BITS)
                }
            }

            /// The columns of a².
            ///
            /// Products of different digits are summed once and doubled on the way out, where the squares are added.
            #[inline]
            #[target_feature(enable = "avx512f,avx512ifma")]
            fn square<const B: usize>(a: &[Block; B], out: &mut [[Block; 2]; B]) {
                let zero = _mm512_setzero_si512();
                let mut columns = [zero; 2 * K];
                for k in 0..2 * B {
                    if k < 2 * B - 1 {
                        let mut i = (k + 1).saturating_sub(B);
                        while 2 * i < k {
                            tile!(columns, &a[i], &a[k - i], $all, $all);
                            i += 1;
                        }
                        if k % 2 == 0 {
                            let block = a[k / 2].map(Row::vector);
                            triangle!(columns, block, $all);
                        }
                    }
                    let place = K * k;
                    let to = &mut out.as_flattened_mut()[k];
                    for c in 0..K {
                        let mut sum = _mm512_add_epi64(columns[c], columns[c]);
                        let x = a.as_flattened()[(place + c) / 2].vector();
                        sum = if (place + c) % 2 == 0 {
                            low!(sum, x, x)
                        } else {
                            high!(sum, x, x)
                        };
                        to[c] = Row::from_vector(sum);
                        columns[c] = columns[c + K];
                        columns[c + K] = zero;
                    }
                }
            }

            /// The columns of a · b.
            #[inline]
            #[target_feature(enable = "avx512f,avx512ifma")]
            fn multiply<const B: usize>(a: &[Block; B], b: &[Block; B], out: &mut [[Block; 2]; B]) {
                let zero = _mm512_setzero_si512();
                let mut columns = [zero; 2 * K];
                for k in 0..2 * B {
                    for i in (k + 1).saturating_sub(B)..B.min(k + 1) {
                        tile!(columns, &a[i], &b[k - i], $all, $all);
                    }
                    let to = &mut out.as_flattened_mut()[k];
                    for c in 0..K {
                        to[c] = Row::from_vector(columns[c]);
                        columns[c] = columns[c + K];
                        columns[c + K] = zero;
                    }
                }
            }

            /// `product`/R modulo n, shifted to the left by `shift` and with `addend` added if `ADD`, with its carries
            /// propagated.
            #[inline]
            #[target_feature(enable = "avx512f,avx512ifma")]
            fn reduce<const B: usize, const ADD: bool>(
                product: &[[Block; 2]; B],
                modulus: Modulus<'_, B>,
                quotient: &mut [Block; B],
                shift: __m512i,
                addend: &[Block; B],
                out: &mut [Block; B],
            ) {
                let zero = _mm512_setzero_si512();
                let Modulus { n, inverse, second } = modulus;
                let (inverse, second) = (inverse.vector(), second.vector());
                let mut columns = [zero; 2 * K];
                for c in 0..K {
                    columns[c] = product[0][0][c].vector();
                }
                for k in 0..B {
                    let next = &product.as_flattened()[k + 1];
                    for c in 0..K {
                        columns[c + K] = next[c].vector();
                    }
                    for i in 0..k {
                        tile!(columns, &quotient[i], &n[k - i], $all, $all);
                    }
                    let first = n[0].map(Row::vector);
                    quotients!(
                        columns,
                        first,
                        inverse,
                        second,
                        &mut quotient[k],
                        $k,
                        $all,
                        $tail
                    );
                    for c in 0..K {
                        columns[c] = columns[c + K];
                    }
                }
                let mut carry = zero;
                for k in B..2 * B {
                    if k < 2 * B - 1 {
                        let next = &product.as_flattened()[k + 1];
                        for c in 0..K {
                            columns[c + K] = next[c].vector();
                        }
                        for i in k + 1 - B..B {
                            tile!(columns, &quotient[i], &n[k - i], $all, $all);
                        }
                    }
                    for c in 0..K {
                        let mut digit = columns[c];
                        if ADD {
                            digit = _mm512_add_epi64(digit, addend[k - B][c].vector());
                        } else {
                            digit = _mm512_sllv_epi64(digit, shift);
                        }
                        digit = _mm512_add_epi64(digit, carry);
                        out[k - B][c] = Row::from_vector(digit);
                        carry = _mm512_srli_epi64::<DIGIT_BITS>(digit);
                        columns[c] = columns[c + K];
                    }
                }
            }

            /// In every lane the power of the table, of [`POWERS`] powers, that the lane has in `which`.
            ///
            /// To look at all of a table that is in the first-level cache beats a gather.
            #[inline]
            #[target_feature(enable = "avx512f,avx512ifma")]
            fn select<const B: usize>(
                table: &[[Block; B]; POWERS],
                which: __m512i,
                to: &mut [Block; B],
            ) {
                for b in 0..B {
                    let mut rows = table[0][b].map(Row::vector);
                    for power in 1..POWERS {
                        let here = _mm512_cmpeq_epi64_mask(which, _mm512_set1_epi64(power as i64));
                        for c in 0..K {
                            let row = table[power][b][c].vector();
                            rows[c] = _mm512_mask_blend_epi64(here, rows[c], row);
                        }
                    }
                    to[b] = rows.map(Row::from_vector);
                }
            }

            /// The methods of [`Field`], for a processor that has the instructions.
            impl<const B: usize, const G: usize> Blocks<B, G> {
                #[target_feature(enable = "avx512f,avx512ifma")]
                fn prepare_lanes(&mut self) {
                    for g in 0..G {
                        let zero = _mm512_setzero_si512();
                        let two = _mm512_set1_epi64(2);
                        let n = self.n[g][0][0].vector();
                        // Newton's iteration, from the three bits that n · n ≡ 1 (mod 8) gives: 6, 12, 24, 48, 96.
                        let mut inverse = n;
                        for _ in 0..5 {
                            let error = _mm512_sub_epi64(two, low!(zero, n, inverse));
                            inverse = low!(zero, inverse, error);
                        }
                        let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
                        let inverse = _mm512_and_si512(_mm512_sub_epi64(zero, inverse), mask);
                        self.inverse[g] = Row::from_vector(inverse);
                        self.second[g] =
                            Row::from_vector(low!(zero, inverse, self.n[g][0][1].vector()));
                    }
                }

                /// For each exponent bit from `high − 1` down to `low`: a = a², doubled if `DOUBLE` and the bit is set.
                ///
                /// One piece of code for all powers: inlined into larger functions it would run out of registers.
                #[inline(never)]
                #[target_feature(enable = "avx512f,avx512ifma")]
                fn squarings<const DOUBLE: bool>(&mut self, high: u32, low: u32) {
                    let one = _mm512_set1_epi64(1);
                    for bit in (low..high).rev() {
                        for g in 0..G {
                            square(&self.a[g], &mut self.product[g]);
                        }
                        for g in 0..G {
                            let shift = if DOUBLE {
                                let (digit, place) = self.exponent_bit(g, bit);
                                let place = _mm_cvtsi64_si128(i64::from(place));
                                _mm512_and_si512(_mm512_srl_epi64(digit.vector(), place), one)
                            } else {
                                _mm512_setzero_si512()
                            };
                            reduce::<B, false>(
                                &self.product[g],
                                modulus!(self, g),
                                &mut self.quotient,
                                shift,
                                &self.scratch,
                                &mut self.a[g],
                            );
                        }
                    }
                }

                /// a = a times the factors.
                #[inline(never)]
                #[target_feature(enable = "avx512f,avx512ifma")]
                fn multiply_numbers(&mut self) {
                    for g in 0..G {
                        multiply(&self.a[g], &self.factor[g], &mut self.product[g]);
                    }
                    for g in 0..G {
                        reduce::<B, false>(
                            &self.product[g],
                            modulus!(self, g),
                            &mut self.quotient,
                            _mm512_setzero_si512(),
                            &self.scratch,
                            &mut self.a[g],
                        );
                    }
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn begin_power_lanes(&mut self, ones: &[Row]) {
                    self.powers.resize(G, [[ZERO; B]; POWERS]);
                    for g in 0..G {
                        let one = &ones[g * Self::L..][..Self::L];
                        self.powers[g][0].as_flattened_mut().copy_from_slice(one);
                        self.powers[g][1] = self.a[g];
                    }
                    self.factor = self.a;
                    for power in 2..POWERS {
                        self.multiply_numbers();
                        for g in 0..G {
                            self.powers[g][power] = self.a[g];
                        }
                    }
                    for g in 0..G {
                        self.a[g] = self.powers[g][0];
                    }
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn power_lanes(&mut self, count: u32, low: u32) {
                    let mask = _mm512_set1_epi64((1 << WINDOW) - 1);
                    for window in (0..count).rev() {
                        // Nothing waits for the factors yet, so the processor selects them beside the squarings.
                        for g in 0..G {
                            let (digit, place) = self.exponent_bit(g, low + WINDOW * window);
                            let mut power = _mm512_srl_epi64(
                                digit.vector(),
                                _mm_cvtsi64_si128(i64::from(place)),
                            );
                            if place + WINDOW > DIGIT_BITS {
                                let (above, _) =
                                    self.exponent_bit(g, low + WINDOW * window + WINDOW - 1);
                                let left = _mm512_set1_epi64(i64::from(DIGIT_BITS - place));
                                power =
                                    _mm512_or_si512(power, _mm512_sllv_epi64(above.vector(), left));
                            }
                            let power = _mm512_and_si512(power, mask);
                            select(&self.powers[g], power, &mut self.factor[g]);
                        }
                        self.squarings::<false>(WINDOW, 0);
                        self.multiply_numbers();
                    }
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn power_step_lanes(&mut self, bit: u32) {
                    for g in 0..G {
                        let (digit, place) = self.exponent_bit(g, bit);
                        let bit = _mm512_set1_epi64(1 << place);
                        let set = _mm512_test_epi64_mask(digit.vector(), bit);
                        let one = self.powers[g][0].as_flattened();
                        let base = self.powers[g][1].as_flattened();
                        let factor = self.factor[g].as_flattened_mut();
                        for ((row, one), base) in factor.iter_mut().zip(one).zip(base) {
                            *row = Row::from_vector(_mm512_mask_blend_epi64(
                                set,
                                one.vector(),
                                base.vector(),
                            ));
                        }
                    }
                    self.squarings::<false>(1, 0);
                    self.multiply_numbers();
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn lucas_lanes(&mut self, high: u32, low: u32) {
                    // Of the mixed product V_2k+1 and the square, V_2k or V_2k+2, the next mixed product needs both. So they
                    // are put in order only at the end; until then a is the mixed one, and b the square, in lanes where
                    // the last bit was not set the first of the two.
                    let mut last = [u8::MAX; G];
                    for bit in (low..high).rev() {
                        for g in 0..G {
                            multiply(&self.a[g], &self.b[g], &mut self.product[g]);
                            let (digit, place) = self.exponent_bit(g, bit);
                            let set = _mm512_test_epi64_mask(
                                digit.vector(),
                                _mm512_set1_epi64(1 << place),
                            );
                            // The bit asks for the first or the second.
                            let mixed = set ^ last[g];
                            last[g] = set;
                            for b in 0..B {
                                for c in 0..K {
                                    self.scratch[b][c] = Row::from_vector(_mm512_mask_blend_epi64(
                                        mixed,
                                        self.b[g][b][c].vector(),
                                        self.a[g][b][c].vector(),
                                    ));
                                }
                            }
                            square(&self.scratch, &mut self.other_product[g]);
                        }
                        for g in 0..G {
                            reduce::<B, true>(
                                &self.product[g],
                                modulus!(self, g),
                                &mut self.quotient,
                                _mm512_setzero_si512(),
                                &self.mixed_addend[g],
                                &mut self.a[g],
                            );
                            reduce::<B, true>(
                                &self.other_product[g],
                                modulus!(self, g),
                                &mut self.quotient,
                                _mm512_setzero_si512(),
                                &self.square_addend[g],
                                &mut self.b[g],
                            );
                        }
                    }
                    for g in 0..G {
                        let (a, b) = (self.a[g].as_flattened_mut(), self.b[g].as_flattened_mut());
                        for (a, b) in a.iter_mut().zip(b) {
                            let (mixed, square) = (a.vector(), b.vector());
                            *a = Row::from_vector(_mm512_mask_blend_epi64(last[g], square, mixed));
                            *b = Row::from_vector(_mm512_mask_blend_epi64(last[g], mixed, square));
                        }
                    }
                }

                /// Leaves Montgomery form: scratch = numbers/R, in [0, N], digits without carries.
                ///
                /// The quotient is at most R − 1, so with a number x < 4N the result is at most N + (x − N)/R, so at most N.
                #[target_feature(enable = "avx512f,avx512ifma")]
                fn leave_group(&mut self, group: usize, numbers: &[Row]) {
                    let mask = _mm512_set1_epi64(DIGIT_MASK as i64);
                    let product = self.product[group].as_flattened_mut().as_flattened_mut();
                    let (digits, rest) = product.split_at_mut(Self::L);
                    for (to, number) in digits.iter_mut().zip(numbers) {
                        *to = Row::from_vector(_mm512_and_si512(number.vector(), mask));
                    }
                    rest.fill(Row::ZERO);
                    let unused = [ZERO; B];
                    reduce::<B, false>(
                        &self.product[group],
                        modulus!(self, group),
                        &mut self.quotient,
                        _mm512_setzero_si512(),
                        &unused,
                        &mut self.scratch,
                    );
                    for row in self.scratch.as_flattened_mut() {
                        *row = Row::from_vector(_mm512_and_si512(row.vector(), mask));
                    }
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn units_lanes(&mut self) -> (u32, u32) {
                    let zero = _mm512_setzero_si512();
                    let (mut ones, mut minus_ones) = (0, 0);
                    for g in 0..G {
                        let a = self.a[g];
                        self.leave_group(g, a.as_flattened());
                        // The moduli are odd, so N − 1 differs from N in its lowest bit only.
                        let one = _mm512_set1_epi64(1);
                        let mut off_one = one;
                        let mut off_minus_one = one;
                        let rows = self.scratch.as_flattened();
                        for (row, n) in rows.iter().zip(self.n[g].as_flattened()) {
                            let difference = _mm512_xor_si512(row.vector(), n.vector());
                            off_minus_one = if std::ptr::eq(row, &raw const rows[0]) {
                                _mm512_xor_si512(difference, one)
                            } else {
                                _mm512_or_si512(off_minus_one, difference)
                            };
                            off_one = if std::ptr::eq(row, &raw const rows[0]) {
                                _mm512_xor_si512(row.vector(), one)
                            } else {
                                _mm512_or_si512(off_one, row.vector())
                            };
                        }
                        ones |= u32::from(_mm512_cmpeq_epi64_mask(off_one, zero)) << (LANES * g);
                        minus_ones |=
                            u32::from(_mm512_cmpeq_epi64_mask(off_minus_one, zero)) << (LANES * g);
                    }
                    (ones, minus_ones)
                }

                #[target_feature(enable = "avx512f,avx512ifma")]
                fn leave_lanes(&mut self, numbers: &[Row], out: &mut [Row]) {
                    let groups = numbers.chunks(Self::L).zip(out.chunks_mut(Self::L));
                    for (g, (numbers, out)) in groups.take(G).enumerate() {
                        self.leave_group(g, numbers);
                        out.copy_from_slice(self.scratch.as_flattened());
                    }
                }
            }

            impl<const B: usize, const G: usize> Field for Blocks<B, G> {
                fn limbs(&self) -> usize {
                    Self::L
                }

                fn groups(&self) -> usize {
                    G
                }

                fn moduli_mut(&mut self) -> &mut [Row] {
                    self.n.as_flattened_mut().as_flattened_mut()
                }

                fn parts(&mut self) -> Parts<'_> {
                    Parts {
                        moduli: self.n.as_flattened().as_flattened(),
                        exponents: self.exponent.as_flattened_mut().as_flattened_mut(),
                        numbers: self.a.as_flattened_mut().as_flattened_mut(),
                        seconds: self.b.as_flattened_mut().as_flattened_mut(),
                        mixed_addends: self.mixed_addend.as_flattened_mut().as_flattened_mut(),
                        square_addends: self.square_addend.as_flattened_mut().as_flattened_mut(),
                    }
                }

                fn prepare(&mut self) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.prepare_lanes() }
                }

                fn power_of_two(&mut self, high: u32, low: u32) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.squarings::<true>(high, low) }
                }

                fn begin_power(&mut self, ones: &[Row]) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.begin_power_lanes(ones) }
                }

                fn power(&mut self, count: u32, low: u32) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.power_lanes(count, low) }
                }

                fn power_step(&mut self, bit: u32) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.power_step_lanes(bit) }
                }

                fn lucas(&mut self, high: u32, low: u32) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.lucas_lanes(high, low) }
                }

                fn units(&mut self) -> (u32, u32) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.units_lanes() }
                }

                fn leave(&mut self, numbers: &[Row], out: &mut [Row]) {
                    // SAFETY: `_proof` shows that the processor has the instructions.
                    unsafe { self.leave_lanes(numbers, out) }
                }
            }
        }
    };
}

define_field!(blocks3, 3, [0 1 2], [1 2]);
define_field!(blocks4, 4, [0 1 2 3], [1 2 3]);
define_field!(blocks5, 5, [0 1 2 3 4], [1 2 3 4]);
define_field!(blocks6, 6, [0 1 2 3 4 5], [1 2 3 4 5]);
define_field!(blocks7, 7, [0 1 2 3 4 5 6], [1 2 3 4 5 6]);
define_field!(blocks8, 8, [0 1 2 3 4 5 6 7], [1 2 3 4 5 6 7]);
define_field!(blocks9, 9, [0 1 2 3 4 5 6 7 8], [1 2 3 4 5 6 7 8]);
define_field!(blocks10, 10, [0 1 2 3 4 5 6 7 8 9], [1 2 3 4 5 6 7 8 9]);

/// Makes a field with the numbers all zero.
type Constructor = fn(Ifma) -> Box<dyn Field>;

/// The numbers of digits there are, ascending, with a constructor for processors that begin one multiply-add in a cycle and
/// one for those that begin two; the fastest of those tried on Zen 4 and on Ice Lake.
#[rustfmt::skip]
const FIELDS: &[(usize, [Constructor; 2])] = &[
    (3, [blocks3::Blocks::<1, 2>::boxed, blocks3::Blocks::<1, 2>::boxed]),
    (4, [blocks4::Blocks::<1, 2>::boxed, blocks4::Blocks::<1, 2>::boxed]),
    (5, [blocks5::Blocks::<1, 2>::boxed, blocks5::Blocks::<1, 2>::boxed]),
    (6, [blocks6::Blocks::<1, 2>::boxed, blocks6::Blocks::<1, 2>::boxed]),
    (7, [blocks7::Blocks::<1, 1>::boxed, blocks7::Blocks::<1, 1>::boxed]),
    (8, [blocks4::Blocks::<2, 2>::boxed, blocks8::Blocks::<1, 2>::boxed]),
    (9, [blocks3::Blocks::<3, 1>::boxed, blocks9::Blocks::<1, 2>::boxed]),
    (10, [blocks5::Blocks::<2, 2>::boxed, blocks10::Blocks::<1, 2>::boxed]),
    (12, [blocks4::Blocks::<3, 1>::boxed, blocks4::Blocks::<3, 1>::boxed]),
    (14, [blocks7::Blocks::<2, 1>::boxed, blocks7::Blocks::<2, 1>::boxed]),
    (15, [blocks5::Blocks::<3, 1>::boxed, blocks5::Blocks::<3, 1>::boxed]),
    (16, [blocks4::Blocks::<4, 1>::boxed, blocks8::Blocks::<2, 1>::boxed]),
    (18, [blocks6::Blocks::<3, 1>::boxed, blocks6::Blocks::<3, 1>::boxed]),
    (20, [blocks5::Blocks::<4, 1>::boxed, blocks10::Blocks::<2, 1>::boxed]),
    (24, [blocks6::Blocks::<4, 1>::boxed, blocks8::Blocks::<3, 1>::boxed]),
    (28, [blocks7::Blocks::<4, 1>::boxed, blocks7::Blocks::<4, 1>::boxed]),
    (30, [blocks6::Blocks::<5, 1>::boxed, blocks10::Blocks::<3, 1>::boxed]),
    (36, [blocks6::Blocks::<6, 1>::boxed, blocks6::Blocks::<6, 1>::boxed]),
    (40, [blocks5::Blocks::<8, 1>::boxed, blocks8::Blocks::<5, 1>::boxed]),
    (50, [blocks5::Blocks::<10, 1>::boxed, blocks10::Blocks::<5, 1>::boxed]),
    (60, [blocks6::Blocks::<10, 1>::boxed, blocks10::Blocks::<6, 1>::boxed]),
    (70, [blocks7::Blocks::<10, 1>::boxed, blocks10::Blocks::<7, 1>::boxed]),
    (80, [blocks5::Blocks::<16, 1>::boxed, blocks8::Blocks::<10, 1>::boxed]),
    (100, [blocks5::Blocks::<20, 1>::boxed, blocks10::Blocks::<10, 1>::boxed]),
    (120, [blocks6::Blocks::<20, 1>::boxed, blocks8::Blocks::<15, 1>::boxed]),
    (160, [blocks5::Blocks::<32, 1>::boxed, blocks10::Blocks::<16, 1>::boxed]),
];

/// The greatest modulus of so many digits: below R/16.
pub(super) const fn bits_of(limbs: usize) -> u32 {
    DIGIT_BITS * limbs as u32 - 4
}

/// The greatest modulus there is a field for, in bits.
pub(super) const MAX_BITS: u32 = bits_of(FIELDS[FIELDS.len() - 1].0);

/// The number of digits of the least field for moduli of up to so many bits.
pub(super) fn limbs_for(bits: u32) -> Option<usize> {
    FIELDS
        .iter()
        .map(|&(limbs, _)| limbs)
        .find(|&limbs| bits <= bits_of(limbs))
}

/// The least field for moduli of up to so many bits.
pub(super) fn field_for(proof: Ifma, bits: u32) -> Option<Box<dyn Field>> {
    FIELDS
        .iter()
        .find(|&&(limbs, _)| bits <= bits_of(limbs))
        .map(|(_, constructors)| constructors[proof.ports as usize](proof))
}
