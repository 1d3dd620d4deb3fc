//! The steps of a field whose numbers are cut into blocks of digits: see [`super::montgomery`].

use std::marker::PhantomData;

use super::arithmetic::{Arithmetic, Operation};
use super::field::Register;
use super::montgomery::{Modulus, ReductionFinish, multiply, reduce, square};
use super::numbers::{Numbers, POWERS, exponent_from, exponent_window};
use super::operations::operation;

/// The steps of a field that depend on the size of its blocks.
pub(super) trait Steps<A: Arithmetic>: Sync {
    /// Number of groups of the fields that these steps are for.
    fn groups(&self) -> usize;

    /// For each exponent bit from `high − 1` down to `low`: squares, and with `doubles` doubles if
    /// the bit is set.
    fn square(&self, s: A, numbers: &mut Numbers<A>, high: u32, low: u32, doubles: bool);

    /// Sets the factors to the powers from their tables that the exponent's window from bit `low`
    /// upwards selects.
    fn select(&self, s: A, numbers: &mut Numbers<A>, low: u32);

    /// Multiplies by the factors.
    fn multiply(&self, s: A, numbers: &mut Numbers<A>);

    /// See [`Field::lucas`](super::field::Field::lucas).
    fn lucas(&self, s: A, numbers: &mut Numbers<A>, high: u32, low: u32);

    /// Sets `scratch` to the numbers of a group's register, converted from Montgomery form.
    fn convert(&self, s: A, numbers: &mut Numbers<A>, register: Register, group: usize);
}

/// The steps for numbers of `BLOCKS` blocks of K digits in `GROUPS` groups; if `BLOCKS` is 0, the
/// number of blocks is chosen at run time. For `SPLIT` see [`super::montgomery`].
pub(super) struct Blocks<
    A,
    const K: usize,
    const BLOCKS: usize,
    const GROUPS: usize,
    const SPLIT: bool,
>(PhantomData<fn() -> A>);

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    /// The steps, as an object.
    pub(super) const STEPS: &'static dyn Steps<A> = {
        assert!(
            BLOCKS > 0 || GROUPS == 1,
            "only fields of a fixed size have groups"
        );
        &Self(PhantomData)
    };
}

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Steps<A> for Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    fn groups(&self) -> usize {
        GROUPS
    }

    fn square(&self, s: A, numbers: &mut Numbers<A>, high: u32, low: u32, doubles: bool) {
        s.run(Squarings::<A, K, BLOCKS, GROUPS, SPLIT> {
            high,
            low,
            doubles,
            numbers,
        });
    }

    fn select(&self, s: A, numbers: &mut Numbers<A>, low: u32) {
        s.run(Select::<A, K> { low, numbers });
    }

    fn multiply(&self, s: A, numbers: &mut Numbers<A>) {
        s.run(MultiplyNumbers::<A, K, BLOCKS, GROUPS, SPLIT> { numbers });
    }

    fn lucas(&self, s: A, numbers: &mut Numbers<A>, high: u32, low: u32) {
        s.run(Lucas::<A, K, BLOCKS, GROUPS, SPLIT> { high, low, numbers });
    }

    fn convert(&self, s: A, numbers: &mut Numbers<A>, register: Register, group: usize) {
        s.run(ConvertGroup::<A, K, SPLIT> {
            register,
            group,
            numbers,
        });
    }
}

/// Number of digits of a number; a constant if `BLOCKS` is not 0.
#[inline(always)]
fn limbs_of<A: Arithmetic, const K: usize, const BLOCKS: usize>(numbers: &Numbers<A>) -> usize {
    if BLOCKS == 0 {
        numbers.limbs
    } else {
        K * BLOCKS
    }
}

/// Digits as blocks of K.
#[inline(always)]
fn blocks<V, const K: usize>(digits: &[V]) -> &[[V; K]] {
    digits.as_chunks().0
}

/// Digits as blocks of K.
#[inline(always)]
fn blocks_mut<V, const K: usize>(digits: &mut [V]) -> &mut [[V; K]] {
    digits.as_chunks_mut().0
}

/// The loop of [`Squarings`], for numbers in arrays or slices.
macro_rules! square_repeatedly {
    (
        $s:ident, ($high:ident, $low:ident, $doubles:ident), $limbs:ident,
        ($exponent:ident, $inverse:ident, $second:ident, $bias:ident),
        $n:ident, $a:ident, $product:ident, $quotient:ident
    ) => {
        let doubled = $s.splat(u64::from($doubles));
        for bit in ($low..$high).rev() {
            for g in 0..GROUPS {
                square::<A, K, SPLIT>($s, &$a[g], $bias, $product[g].as_flattened_mut());
            }
            for g in 0..GROUPS {
                let bits = exponent_from($s, $exponent, $limbs, g, bit);
                let modulus = Modulus {
                    n: &$n[g],
                    inverse: $inverse[g],
                    second: $second[g],
                };
                reduce::<A, K, SPLIT>(
                    $s,
                    $product[g].as_flattened(),
                    modulus,
                    &mut $quotient,
                    ReductionFinish::Shift($s.and(bits, doubled)),
                    &mut $a[g],
                );
            }
        }
    };
}

operation!(Squarings[K: usize, BLOCKS: usize, GROUPS: usize, SPLIT: bool] {
    high: u32,
    low: u32,
    doubles: bool,
} -> (), |numbers, s| {
    let limbs = limbs_of::<A, K, BLOCKS>(numbers);
    let Numbers { n, a, exponent, inverse, second, product, quotient, product_bias, .. } = numbers;
    if BLOCKS == 0 {
        let n = [blocks(n)];
        let mut a = [blocks_mut(a)];
        let (pairs, _) = blocks_mut::<_, K>(product).as_chunks_mut::<2>();
        let product = [pairs];
        let mut quotient = blocks_mut(quotient);
        square_repeatedly!(
            s, (high, low, doubles), limbs, (exponent, inverse, second, product_bias),
            n, a, product, quotient
        );
        return;
    }
    // The compiler keeps local arrays in registers where they fit.
    let zero = [s.splat(0); K];
    let (mut local_n, mut local_a) = ([[zero; BLOCKS]; GROUPS], [[zero; BLOCKS]; GROUPS]);
    local_n.as_flattened_mut().as_flattened_mut().copy_from_slice(n);
    local_a.as_flattened_mut().as_flattened_mut().copy_from_slice(a);
    let mut product = [[[zero; 2]; BLOCKS]; GROUPS];
    let mut quotient = [zero; BLOCKS];
    square_repeatedly!(
        s, (high, low, doubles), limbs, (exponent, inverse, second, product_bias),
        local_n, local_a, product, quotient
    );
    a.copy_from_slice(local_a.as_flattened().as_flattened());
});

// Reading all of a table in the first-level cache is faster than a gather.
operation!(Select[K: usize] { low: u32 } -> (), |numbers, s| {
    let Numbers { limbs, groups, exponent, factor, powers, .. } = numbers;
    let limbs = *limbs;
    for group in 0..*groups {
        let which = exponent_window(s, exponent, limbs, group, low);
        let table = &powers[group * POWERS * limbs..][..POWERS * limbs];
        let factors = &mut factor[group * limbs..][..limbs];
        for (b, to) in blocks_mut::<_, K>(factors).iter_mut().enumerate() {
            let mut digits = [s.splat(0); K];
            for power in 0..POWERS {
                let here = s.equal(which, s.splat(power as u64));
                let from = &table[power * limbs + b * K..][..K];
                for c in 0..K {
                    digits[c] = s.blend(here, digits[c], from[c]);
                }
            }
            *to = digits;
        }
    }
});

operation!(MultiplyNumbers[K: usize, BLOCKS: usize, GROUPS: usize, SPLIT: bool] {
} -> (), |numbers, s| {
    let limbs = limbs_of::<A, K, BLOCKS>(numbers);
    let Numbers { n, a, factor, inverse, second, product, quotient, product_bias, .. } = numbers;
    let (n, factor) = (&n[..GROUPS * limbs], &factor[..GROUPS * limbs]);
    let a = &mut a[..GROUPS * limbs];
    let product = &mut product[..2 * GROUPS * limbs];
    for g in 0..GROUPS {
        let (a, factor) = (blocks(&a[limbs * g..][..limbs]), blocks(&factor[limbs * g..][..limbs]));
        let columns = blocks_mut(&mut product[2 * limbs * g..][..2 * limbs]);
        multiply::<A, K, SPLIT>(s, a, factor, product_bias, columns);
    }
    for g in 0..GROUPS {
        let modulus = Modulus {
            n: blocks(&n[limbs * g..][..limbs]),
            inverse: inverse[g],
            second: second[g],
        };
        let columns = blocks(&product[2 * limbs * g..][..2 * limbs]);
        let quotient = blocks_mut(&mut quotient[..limbs]);
        let to = blocks_mut(&mut a[limbs * g..][..limbs]);
        let shift = ReductionFinish::Shift(s.splat(0));
        reduce::<A, K, SPLIT>(s, columns, modulus, quotient, shift, to);
    }
});

operation!(Lucas[K: usize, BLOCKS: usize, GROUPS: usize, SPLIT: bool] {
    high: u32,
    low: u32,
} -> (), |numbers, s| {
    // The next mixed product needs both terms: the mixed product V_2k+1, and the square V_2k or
    // V_2k+2. So they are put in order only at the end. Until then a is the mixed product and b the
    // square; b comes first in lanes where the last bit was not set.
    let one = s.splat(1);
    let limbs = limbs_of::<A, K, BLOCKS>(numbers);
    let Numbers {
        n, a, b, mixed_addend, square_addend, exponent, inverse, second, product, other_product,
        quotient, scratch, product_bias, ..
    } = numbers;
    let (n, a, b) = (&n[..GROUPS * limbs], &mut a[..GROUPS * limbs], &mut b[..GROUPS * limbs]);
    let product = &mut product[..2 * GROUPS * limbs];
    let other_product = &mut other_product[..2 * GROUPS * limbs];
    let quotient: &mut [[_; K]] = blocks_mut(&mut quotient[..limbs]);
    let scratch = &mut scratch[..limbs];
    let mut last = [one; GROUPS];
    for bit in (low..high).rev() {
        for g in 0..GROUPS {
            let (a, b) = (&a[limbs * g..][..limbs], &b[limbs * g..][..limbs]);
            let columns = blocks_mut(&mut product[2 * limbs * g..][..2 * limbs]);
            multiply::<A, K, SPLIT>(s, blocks(a), blocks(b), product_bias, columns);
            let set = s.and(exponent_from(s, exponent, limbs, g, bit), one);
            // The bit selects the term to square: the second if it is set, else the first.
            let mixed = s.equal(s.xor(set, last[g]), one);
            last[g] = set;
            for ((to, &a), &b) in scratch.iter_mut().zip(a).zip(b) {
                *to = s.blend(mixed, b, a);
            }
            let columns = blocks_mut(&mut other_product[2 * limbs * g..][..2 * limbs]);
            square::<A, K, SPLIT>(s, blocks(scratch), product_bias, columns);
        }
        for g in 0..GROUPS {
            let digits = limbs * g..limbs * g + limbs;
            let modulus = Modulus {
                n: blocks(&n[digits.clone()]),
                inverse: inverse[g],
                second: second[g],
            };
            for (product, addend, to) in [
                (&*product, &*mixed_addend, &mut *a),
                (&*other_product, &*square_addend, &mut *b),
            ] {
                let columns = blocks(&product[2 * limbs * g..][..2 * limbs]);
                let addend = ReductionFinish::Add(blocks(&addend[digits.clone()]));
                let to = blocks_mut(&mut to[digits.clone()]);
                reduce::<A, K, SPLIT>(s, columns, modulus, quotient, addend, to);
            }
        }
    }
    for g in 0..GROUPS {
        let last = s.equal(last[g], one);
        let digits = limbs * g..limbs * g + limbs;
        for (a, b) in a[digits.clone()].iter_mut().zip(&mut b[digits]) {
            (*a, *b) = (s.blend(last, *b, *a), s.blend(last, *a, *b));
        }
    }
});

// The quotient is at most R − 1. So for a number x < 4N the result is at most N + (x − N)/R, and so
// at most N. With signs it is at most (1/2 + 2^−50) N in size.
operation!(ConvertGroup[K: usize, SPLIT: bool] {
    register: Register,
    group: usize,
} -> (), |numbers, s| {
    let digits = numbers.group(group);
    let Numbers { limbs, n, a, b, inverse, second, product, quotient, scratch, .. } = numbers;
    let from = match register {
        Register::First => &a[digits.clone()],
        Register::Second => &b[digits.clone()],
    };
    let product = &mut product[..2 * *limbs];
    product[*limbs..].fill(s.splat(0));
    for (to, &digit) in product.iter_mut().zip(from) {
        *to = s.integer(digit);
    }
    for (to, &bias) in product.iter_mut().zip(&numbers.conversion_bias) {
        *to = s.add(*to, s.splat(bias));
    }
    let modulus = Modulus {
        n: blocks(&n[digits]),
        inverse: inverse[group],
        second: second[group],
    };
    let shift = ReductionFinish::Shift(s.splat(0));
    let (quotient, scratch) = (blocks_mut(quotient), blocks_mut(scratch));
    reduce::<A, K, SPLIT>(s, blocks(product), modulus, quotient, shift, scratch);
});
