//! Products, squares and Montgomery reduction of numbers in blocks of K digits.
//!
//! A product is computed in columns. Operands are cut into blocks so that the 2K columns of a
//! product of two blocks stay in registers. P. L. Montgomery, *Modular multiplication without trial
//! division*, 1985; the columns with high halves one further are those of Gueron & Krasnov,
//! *Software implementation of modular exponentiation, using advanced vector instructions
//! architectures*, 2012.
//!
//! `SPLIT` keeps low and high halves in separate sums. The chain of dependent multiply-adds of a
//! column is then half as long. This pays if the processor begins two multiply-adds in a cycle and
//! has enough registers.

// Indices are digit positions here, and constants once the loops are unrolled.
#![allow(clippy::needless_range_loop)]

use super::arithmetic::{Arithmetic, Bias, DIGIT_BITS};

/// Runs the body for i = 0, 1, ..., K − 1 without a loop; K is at most 10.
macro_rules! unroll {
    ($i:ident < $k:ident $body:block) => {
        unroll!(@ $i $k $body 0 1 2 3 4 5 6 7 8 9)
    };
    (@ $i:ident $k:ident $body:block $($n:literal)*) => {
        $( if $n < $k { let $i: usize = $n; $body } )*
    };
}

/// K digits of the numbers in all lanes.
pub type Block<A, const K: usize> = [<A as super::arithmetic::Lanes>::Vector; K];

/// The sums of two blocks of columns; with `SPLIT`, `high[c]` belongs to column c + 1.
struct Sums<A: Arithmetic, const K: usize> {
    low: [Block<A, K>; 2],
    high: [Block<A, K>; 2],
    /// With `SPLIT`, the high sum before `high[0]`.
    before: A::Vector,
}

impl<A: Arithmetic, const K: usize> Sums<A, K> {
    #[inline(always)]
    fn new(s: A) -> Self {
        let zero = [[s.splat(0); K]; 2];
        Self {
            low: zero,
            high: zero,
            before: s.splat(0),
        }
    }

    /// Column c of the first block.
    #[inline(always)]
    fn column<const SPLIT: bool>(&self, s: A, c: usize) -> A::Vector {
        if !SPLIT {
            self.low[0][c]
        } else if c == 0 {
            s.add(self.low[0][0], self.before)
        } else {
            s.add(self.low[0][c], self.high[0][c - 1])
        }
    }

    /// The sum for the high halves of column c.
    #[inline(always)]
    fn high<const SPLIT: bool>(&mut self, c: usize) -> &mut A::Vector {
        if SPLIT {
            &mut self.high.as_flattened_mut()[c]
        } else {
            &mut self.low.as_flattened_mut()[c + 1]
        }
    }

    /// Adds the products of x, the digit at position i, and the digits of a block from position
    /// `from` on.
    #[inline(always)]
    fn add_row<const SPLIT: bool>(
        &mut self,
        s: A,
        i: usize,
        x: A::Vector,
        y: &Block<A, K>,
        from: usize,
    ) {
        if A::IN_PAIRS {
            for j in from..K {
                let (mut low, mut high) =
                    (self.low.as_flattened()[i + j], *self.high::<SPLIT>(i + j));
                s.add_product(&mut low, &mut high, x, y[j]);
                self.low.as_flattened_mut()[i + j] = low;
                *self.high::<SPLIT>(i + j) = high;
            }
        } else {
            for j in from..K {
                let low = &mut self.low.as_flattened_mut()[i + j];
                *low = s.add_low(*low, x, y[j]);
            }
            for j in from..K {
                let high = self.high::<SPLIT>(i + j);
                *high = s.add_high(*high, x, y[j]);
            }
        }
    }

    /// Adds the product of two blocks.
    #[inline(always)]
    fn add_tile<const SPLIT: bool>(&mut self, s: A, x: &Block<A, K>, y: &Block<A, K>) {
        unroll!(i < K {
            self.add_row::<SPLIT>(s, i, x[i], y, 0);
        });
    }

    /// Adds the products of all pairs of different digits of one block, each once.
    #[inline(always)]
    fn add_triangle<const SPLIT: bool>(&mut self, s: A, x: &Block<A, K>) {
        unroll!(i < K {
            self.add_row::<SPLIT>(s, i, x[i], x, i + 1);
        });
    }

    /// Drops the first block, moves the second block to its place, and makes `next` the second
    /// block.
    #[inline(always)]
    fn advance<const SPLIT: bool>(&mut self, s: A, next: Block<A, K>) {
        self.low = [self.low[1], next];
        if SPLIT {
            self.before = self.high[0][K - 1];
            self.high = [self.high[1], [s.splat(0); K]];
        }
    }
}

/// The columns of a²: 2B blocks for the B blocks of a.
///
/// Products of different digits are summed once and then doubled; the squares are added last.
/// `bias` has a word for each column if the arithmetic has a bias.
#[inline(always)]
pub fn square<A: Arithmetic, const K: usize, const SPLIT: bool>(
    s: A,
    a: &[Block<A, K>],
    bias: &[u64],
    columns: &mut [Block<A, K>],
) {
    let blocks = a.len();
    let mut sums = Sums::<A, K>::new(s);
    for (k, to) in columns[..2 * blocks].iter_mut().enumerate() {
        if k + 1 < 2 * blocks {
            let mut i = (k + 1).saturating_sub(blocks);
            while 2 * i < k {
                sums.add_tile::<SPLIT>(s, &a[i], &a[k - i]);
                i += 1;
            }
            if k.is_multiple_of(2) {
                sums.add_triangle::<SPLIT>(s, &a[k / 2]);
            }
        }
        for c in 0..K {
            let place = K * k + c;
            let mut sum = sums.column::<SPLIT>(s, c);
            sum = s.add(sum, sum);
            if A::BIAS != Bias::NONE {
                sum = s.add(sum, s.splat(bias[place]));
            }
            let x = a.as_flattened()[place / 2];
            to[c] = if place.is_multiple_of(2) {
                s.add_low(sum, x, x)
            } else {
                s.add_high(sum, x, x)
            };
        }
        sums.advance::<SPLIT>(s, [s.splat(0); K]);
    }
}

/// The columns of a · b: 2B blocks for the B blocks of each factor.
#[inline(always)]
pub fn multiply<A: Arithmetic, const K: usize, const SPLIT: bool>(
    s: A,
    a: &[Block<A, K>],
    b: &[Block<A, K>],
    bias: &[u64],
    columns: &mut [Block<A, K>],
) {
    let blocks = a.len();
    let mut sums = Sums::<A, K>::new(s);
    for (k, to) in columns[..2 * blocks].iter_mut().enumerate() {
        for i in (k + 1).saturating_sub(blocks)..blocks.min(k + 1) {
            sums.add_tile::<SPLIT>(s, &a[i], &b[k - i]);
        }
        for c in 0..K {
            let mut sum = sums.column::<SPLIT>(s, c);
            if A::BIAS != Bias::NONE {
                sum = s.add(sum, s.splat(bias[K * k + c]));
            }
            to[c] = sum;
        }
        sums.advance::<SPLIT>(s, [s.splat(0); K]);
    }
}

/// Moduli, one per lane, and the constants of their reduction.
#[derive(Clone, Copy)]
pub struct Modulus<'a, A: Arithmetic, const K: usize> {
    /// The digits of the moduli.
    pub n: &'a [Block<A, K>],
    /// −1/n0 modulo 2^52.
    pub inverse: A::Vector,
    /// `inverse` times the second digit, modulo 2^52, for an arithmetic that looks ahead.
    pub second: A::Vector,
}

/// The last step of a reduction, before carries are propagated.
#[derive(Clone, Copy)]
pub enum ReductionFinish<'a, A: Arithmetic, const K: usize> {
    /// Shift the columns left, each lane by its own count, 0 or 1.
    Shift(A::Vector),
    /// Add an integer to each column.
    Add(&'a [Block<A, K>]),
    /// Do nothing and propagate no carries: the result is columns, not digits.
    Leave,
}

/// Computes `columns` / R modulo the moduli: digits, or columns with [`ReductionFinish::Leave`].
/// `quotient` is work space with as many blocks as a number has.
#[inline(always)]
pub fn reduce<A: Arithmetic, const K: usize, const SPLIT: bool>(
    s: A,
    columns: &[Block<A, K>],
    modulus: Modulus<'_, A, K>,
    quotient: &mut [Block<A, K>],
    finish: ReductionFinish<'_, A, K>,
    out: &mut [Block<A, K>],
) {
    let Modulus { n, inverse, second } = modulus;
    let blocks = n.len();
    let mut sums = Sums::<A, K>::new(s);
    sums.low = [columns[0], columns[1]];
    for k in 0..blocks {
        for i in 0..k {
            sums.add_tile::<SPLIT>(s, &quotient[i], &n[k - i]);
        }
        let digits = &mut quotient[k];
        let mut digit = s.quotient(sums.column::<SPLIT>(s, 0), inverse);
        unroll!(c < K {
            digits[c] = digit;
            let column = sums.column::<SPLIT>(s, c);
            let next = sums.high::<SPLIT>(c);
            *next = s.add_cleared(*next, column, digit, n[0][0]);
            if A::LOOKS_AHEAD {
                let ahead = if c + 1 < K {
                    s.quotient_ahead(sums.column::<SPLIT>(s, c + 1), inverse, digit, second)
                } else {
                    digit
                };
                sums.add_row::<SPLIT>(s, c, digit, &n[0], 1);
                digit = ahead;
            } else {
                sums.add_row::<SPLIT>(s, c, digit, &n[0], 1);
                if c + 1 < K {
                    digit = s.quotient(sums.column::<SPLIT>(s, c + 1), inverse);
                }
            }
        });
        let next = if k + 2 < 2 * blocks {
            columns[k + 2]
        } else {
            [s.splat(0); K]
        };
        sums.advance::<SPLIT>(s, next);
    }
    let mut carry = s.no_carry();
    for (k, to) in (blocks..2 * blocks).zip(out.iter_mut()) {
        for i in k + 1 - blocks..blocks {
            sums.add_tile::<SPLIT>(s, &quotient[i], &n[k - i]);
        }
        for c in 0..K {
            let column = sums.column::<SPLIT>(s, c);
            let column = match finish {
                ReductionFinish::Shift(bits) => s.shift_left_each(column, bits),
                ReductionFinish::Add(addend) => s.add(column, addend[k - blocks][c]),
                ReductionFinish::Leave => {
                    to[c] = column;
                    continue;
                }
            };
            (to[c], carry) = s.digit(column, carry);
        }
        let next = if k + 2 < 2 * blocks {
            columns[k + 2]
        } else {
            [s.splat(0); K]
        };
        sums.advance::<SPLIT>(s, next);
    }
}

/// The constants to add to the columns of a product of numbers of `limbs` digits before its
/// reduction, so that they cancel all biases. If not `of_product`, the columns are those of one
/// number, not of a product. Empty if the arithmetic has no bias.
pub fn biases<A: Arithmetic>(limbs: usize, of_product: bool) -> Vec<u64> {
    let Bias {
        low,
        high,
        quotient,
        carried,
    } = A::BIAS;
    if A::BIAS == Bias::NONE {
        return Vec::new();
    }
    let mut biases = vec![0_u64; 2 * limbs];
    let mut take = |column: usize, bias: u64| {
        biases[column] = biases[column].wrapping_sub(bias);
    };
    for i in 0..limbs {
        for j in 0..limbs {
            if of_product {
                take(i + j, low);
                take(i + j + 1, high);
            }
            // The reduction clears column i with the carry of its sum instead of the low half of q
            // · n0.
            if j > 0 {
                take(i + j, low);
            }
            take(i + j + 1, high);
        }
        take(i, quotient.wrapping_neg());
        take(i + 1, carried);
    }
    biases
}

/// Greatest number of bits of a modulus of `limbs` digits: moduli are below R/16.
pub(crate) const fn bits_of(limbs: usize) -> u32 {
    DIGIT_BITS * limbs as u32 - 4
}
