//! The operations of a field, compiled for the instructions of its arithmetic.

use super::arithmetic::{Arithmetic, DIGIT_BITS, DIGIT_MASK, Operation};
use super::blocks::{Blocks, POWERS};
use super::field::Register;
use super::montgomery::{Modulus, ReductionFinish, multiply, reduce, square};
use super::scale::scale;

/// Defines an [`Operation`] on a field: the name of its type, with its constants and arguments, and
/// its code.
macro_rules! operation {
    (
        $name:ident $([$constant:ident: $constant_type:ty])?
        { $($argument:ident: $type:ty),* $(,)? } -> $out:ty,
        |$field:ident, $s:ident| $body:block
    ) => {
        pub(super) struct $name<
            'a,
            A: Arithmetic,
            const K: usize,
            const BLOCKS: usize,
            const GROUPS: usize,
            const SPLIT: bool,
            $(const $constant: $constant_type,)?
        > {
            pub(super) field: &'a mut Blocks<A, K, BLOCKS, GROUPS, SPLIT>,
            $(pub(super) $argument: $type),*
        }

        impl<
            A: Arithmetic,
            const K: usize,
            const BLOCKS: usize,
            const GROUPS: usize,
            const SPLIT: bool,
            $(const $constant: $constant_type,)?
        > Operation<A> for $name<'_, A, K, BLOCKS, GROUPS, SPLIT $(, $constant)?>
        {
            type Output = $out;

            #[inline(always)]
            fn run(self, $s: A) -> $out {
                let Self { field: $field, $($argument),* } = self;
                $body
            }
        }
    };
}

operation!(SetModuli { moduli: &'a [u64] } -> (), |field, s| {
    for (n, words) in field.n.as_flattened_mut().iter_mut().zip(moduli.chunks(A::COUNT)) {
        *n = s.factor(s.load(words));
    }
    let limbs = K * field.blocks();
    for (group, words) in moduli.chunks(limbs * A::COUNT).enumerate() {
        let inverse = s.negative_inverse(s.load(words));
        field.inverse[group] = s.factor(inverse);
        if A::LOOKS_AHEAD {
            let (second, _) = s.halves(inverse, s.load(&words[A::COUNT..]));
            field.second[group] = second;
        }
    }
});

operation!(SetPowersOfTwo {
    bits: &'a [u32],
    heads: &'a [u32],
    moduli: &'a [u64],
    digits: &'a mut [u64],
} -> (), |field, s| {
    let limbs = K * field.blocks();
    let longest = bits.iter().copied().fold(0, u32::max);
    // Enough digits for twice the longest modulus.
    let used = ((longest / DIGIT_BITS) as usize + 1).min(limbs);
    for group in 0..GROUPS {
        let lanes = group * A::COUNT..(group + 1) * A::COUNT;
        // Start from the greatest power of two below each modulus.
        field.words.fill(0);
        let mut shifts = [0; 8];
        for (lane, (&bits, &head)) in bits[lanes.clone()].iter().zip(&heads[lanes]).enumerate() {
            let top = bits - 1;
            let place = A::COUNT * (top / DIGIT_BITS) as usize + lane;
            field.words[place] = 1 << (top % DIGIT_BITS);
            shifts[lane] = u64::from(DIGIT_BITS * limbs as u32 - top + head);
        }
        let words = group * limbs * A::COUNT..(group + 1) * limbs * A::COUNT;
        let numbers = field.group(group);
        let n = field.quotient.as_flattened_mut();
        for (n, words) in n.iter_mut().zip(moduli[words.clone()].chunks(A::COUNT)) {
            *n = s.load(words);
        }
        let a = field.scratch.as_flattened_mut();
        for (a, words) in a.iter_mut().zip(field.words.chunks(A::COUNT)) {
            *a = s.load(words);
        }
        scale(s, &n[..used], &mut a[..used], s.load(&shifts));
        if !digits.is_empty() {
            for (words, &digit) in digits[words].chunks_mut(A::COUNT).zip(a.iter()) {
                s.store(digit, words);
            }
        }
        let mut carry = s.no_carry();
        for (to, &digit) in field.a[numbers].as_flattened_mut().iter_mut().zip(a.iter()) {
            (*to, carry) = s.digit(digit, carry);
        }
    }
});

operation!(Set { register: Register, numbers: &'a [u64] } -> (), |field, s| {
    let limbs = K * field.blocks();
    let to = match register {
        Register::First => &mut field.a,
        Register::Second => &mut field.b,
    };
    let mut carry = s.no_carry();
    let words = numbers.chunks(A::COUNT);
    for (j, (to, words)) in to.as_flattened_mut().iter_mut().zip(words).enumerate() {
        if j % limbs == 0 {
            carry = s.no_carry();
        }
        (*to, carry) = s.digit(s.load(words), carry);
    }
});

operation!(SetAddends { mixed: &'a [u64], square: &'a [u64] } -> (), |field, s| {
    for (to, numbers) in [(&mut field.mixed_addend, mixed), (&mut field.square_addend, square)] {
        let digits = to.as_flattened_mut().iter_mut();
        for (digit, words) in digits.zip(numbers.chunks(A::COUNT)) {
            *digit = s.load(words);
        }
    }
});

/// The loop of [`Squarings`], for numbers in arrays or slices.
macro_rules! square_repeatedly {
    (
        $s:ident, ($high:ident, $low:ident), $field:ident,
        $n:ident, $a:ident, $product:ident, $quotient:ident
    ) => {
        for bit in ($low..$high).rev() {
            for g in 0..GROUPS {
                square::<A, K, SPLIT>(
                    $s,
                    &$a[g],
                    &$field.product_bias,
                    $product[g].as_flattened_mut(),
                );
            }
            for g in 0..GROUPS {
                let shift = if DOUBLES {
                    $s.and($field.exponent_from($s, g, bit), $s.splat(1))
                } else {
                    $s.splat(0)
                };
                let modulus = Modulus {
                    n: &$n[g],
                    inverse: $field.inverse[g],
                    second: $field.second[g],
                };
                let product = $product[g].as_flattened();
                reduce::<A, K, SPLIT>(
                    $s,
                    product,
                    modulus,
                    &mut $quotient,
                    ReductionFinish::Shift(shift),
                    &mut $a[g],
                );
            }
        }
    };
}

// For each exponent bit from `high − 1` down to `low`: squares, and with `DOUBLES` doubles if the
// bit is set.
operation!(Squarings[DOUBLES: bool] { high: u32, low: u32 } -> (), |field, s| {
    if BLOCKS == 0 {
        let (mut a, mut product) = (
            std::mem::take(&mut field.a),
            std::mem::take(&mut field.product),
        );
        let mut quotient = std::mem::take(&mut field.quotient);
        {
            let (n, mut a) = ([field.n.as_slice()], [a.as_mut_slice()]);
            let (pairs, _) = product.as_chunks_mut::<2>();
            let product = [pairs];
            square_repeatedly!(s, (high, low), field, n, a, product, quotient);
        }
        (field.a, field.product, field.quotient) = (a, product, quotient);
        return;
    }
    // The compiler keeps local arrays in registers where they fit.
    let zero = [s.splat(0); K];
    let (mut n, mut a) = ([[zero; BLOCKS]; GROUPS], [[zero; BLOCKS]; GROUPS]);
    n.as_flattened_mut().copy_from_slice(&field.n);
    a.as_flattened_mut().copy_from_slice(&field.a);
    let mut product = [[[zero; 2]; BLOCKS]; GROUPS];
    let mut quotient = [zero; BLOCKS];
    square_repeatedly!(s, (high, low), field, n, a, product, quotient);
    field.a.copy_from_slice(a.as_flattened());
});

operation!(MultiplyNumbers {} -> (), |field, s| {
    let blocks = field.blocks();
    let Blocks { n, a, factor, inverse, second, product, quotient, product_bias, .. } = field;
    let (n, factor) = (&n[..GROUPS * blocks], &factor[..GROUPS * blocks]);
    let a = &mut a[..GROUPS * blocks];
    let product = &mut product[..2 * GROUPS * blocks];
    for g in 0..GROUPS {
        let (a, factor) = (&a[blocks * g..][..blocks], &factor[blocks * g..][..blocks]);
        let columns = &mut product[2 * blocks * g..][..2 * blocks];
        multiply::<A, K, SPLIT>(s, a, factor, product_bias, columns);
    }
    for g in 0..GROUPS {
        let modulus = Modulus {
            n: &n[blocks * g..][..blocks],
            inverse: inverse[g],
            second: second[g],
        };
        let columns = &product[2 * blocks * g..][..2 * blocks];
        let to = &mut a[blocks * g..][..blocks];
        let shift = ReductionFinish::Shift(s.splat(0));
        reduce::<A, K, SPLIT>(s, columns, modulus, &mut quotient[..blocks], shift, to);
    }
});

operation!(Select { low: u32 } -> (), |field, s| {
    for g in 0..GROUPS {
        field.select(s, g, low);
    }
});

operation!(SelectBit { bit: u32 } -> (), |field, s| {
    for g in 0..GROUPS {
        let set = s.equal(s.and(field.exponent_from(s, g, bit), s.splat(1)), s.splat(1));
        let blocks = field.blocks();
        let table = &field.powers[g * POWERS * blocks..][..2 * blocks];
        let (ones, bases) = table.split_at(blocks);
        let factors = &mut field.factor[g * blocks..][..blocks];
        for ((factor, one), base) in factors.iter_mut().zip(ones).zip(bases) {
            for c in 0..K {
                factor[c] = s.blend(set, one[c], base[c]);
            }
        }
    }
});

operation!(Lucas { high: u32, low: u32 } -> (), |field, s| {
    // The next mixed product needs both terms: the mixed product V_2k+1, and the square V_2k or
    // V_2k+2. So they are put in order only at the end. Until then a is the mixed product and b the
    // square; b comes first in lanes where the last bit was not set.
    let one = s.splat(1);
    let blocks = field.blocks();
    let Blocks {
        n, a, b, mixed_addend, square_addend, exponent, inverse, second, product, other_product,
        quotient, scratch, product_bias, ..
    } = field;
    let (n, a, b) = (&n[..GROUPS * blocks], &mut a[..GROUPS * blocks], &mut b[..GROUPS * blocks]);
    let product = &mut product[..2 * GROUPS * blocks];
    let other_product = &mut other_product[..2 * GROUPS * blocks];
    let (quotient, scratch) = (&mut quotient[..blocks], &mut scratch[..blocks]);
    let mut last = [one; GROUPS];
    for bit in (low..high).rev() {
        for g in 0..GROUPS {
            let (a, b) = (&a[blocks * g..][..blocks], &b[blocks * g..][..blocks]);
            let columns = &mut product[2 * blocks * g..][..2 * blocks];
            multiply::<A, K, SPLIT>(s, a, b, product_bias, columns);
            let digit = K * blocks * g + (bit / DIGIT_BITS) as usize;
            let digit = s.load(&exponent[A::COUNT * digit..]);
            let set = s.and(s.shift_right(digit, bit % DIGIT_BITS), one);
            // The bit selects the term to square: the second if it is set, else the first.
            let mixed = s.equal(s.xor(set, last[g]), one);
            last[g] = set;
            for ((to, a), b) in scratch.iter_mut().zip(a).zip(b) {
                for c in 0..K {
                    to[c] = s.blend(mixed, b[c], a[c]);
                }
            }
            let columns = &mut other_product[2 * blocks * g..][..2 * blocks];
            square::<A, K, SPLIT>(s, scratch, product_bias, columns);
        }
        for g in 0..GROUPS {
            let numbers = blocks * g..blocks * g + blocks;
            let modulus = Modulus {
                n: &n[numbers.clone()],
                inverse: inverse[g],
                second: second[g],
            };
            let addend = ReductionFinish::Add(&mixed_addend[numbers.clone()]);
            let columns = &product[2 * blocks * g..][..2 * blocks];
            reduce::<A, K, SPLIT>(s, columns, modulus, quotient, addend, &mut a[numbers.clone()]);
            let addend = ReductionFinish::Add(&square_addend[numbers.clone()]);
            let columns = &other_product[2 * blocks * g..][..2 * blocks];
            reduce::<A, K, SPLIT>(s, columns, modulus, quotient, addend, &mut b[numbers]);
        }
    }
    for g in 0..GROUPS {
        let last = s.equal(last[g], one);
        let numbers = blocks * g..blocks * g + blocks;
        for (a, b) in a[numbers.clone()].iter_mut().zip(&mut b[numbers]) {
            for c in 0..K {
                (a[c], b[c]) = (s.blend(last, b[c], a[c]), s.blend(last, a[c], b[c]));
            }
        }
    }
});

// Sets `scratch` to the numbers of a group's register, converted from Montgomery form.
//
// The quotient is at most R − 1. So for a number x < 4N the result is at most N + (x − N)/R, and so
// at most N. With signs it is at most (1/2 + 2^−50) N in size.
operation!(ConvertGroup { register: Register, group: usize } -> (), |field, s| {
    let (numbers, columns) = (field.group(group), field.columns(group));
    let from = match register {
        Register::First => &field.a[numbers.clone()],
        Register::Second => &field.b[numbers.clone()],
    };
    let product = &mut field.product[columns];
    for (k, to) in product.iter_mut().enumerate() {
        for c in 0..K {
            to[c] = match from.get(k) {
                Some(digits) => s.integer(digits[c]),
                None => s.splat(0),
            };
            if let Some(&bias) = field.conversion_bias.get(K * k + c) {
                to[c] = s.add(to[c], s.splat(bias));
            }
        }
    }
    reduce::<A, K, SPLIT>(
        s,
        product,
        Modulus {
            n: &field.n[numbers],
            inverse: field.inverse[group],
            second: field.second[group],
        },
        &mut field.quotient,
        ReductionFinish::Shift(s.splat(0)),
        &mut field.scratch,
    );
});

// Writes the signed or unsigned digits of `scratch` as numbers in [0, N].
operation!(WriteScratch { moduli: &'a [u64], numbers: &'a mut [u64] } -> (), |field, s| {
    let (zero, mask) = (s.splat(0), s.splat(DIGIT_MASK));
    let digits = field.scratch.as_flattened();
    let mut carry = zero;
    for (&digit, words) in digits.iter().zip(numbers.chunks_mut(A::COUNT)) {
        let digit = s.add(s.integer(digit), carry);
        carry = s.shift_right_signed(digit);
        s.store(s.and(digit, mask), words);
    }
    if A::SIGNED {
        // The last carry is −1 where the number is negative, and 0 elsewhere.
        let is_negative = carry;
        let mut carry = zero;
        for (words, n) in numbers.chunks_mut(A::COUNT).zip(moduli.chunks(A::COUNT)) {
            let digit = s.add(s.load(words), s.and(s.load(n), is_negative));
            let digit = s.add(digit, carry);
            carry = s.shift_right_signed(digit);
            s.store(s.and(digit, mask), words);
        }
    }
});

operation!(CompareUnits { group: usize } -> (u32, u32), |field, s| {
    let n = field.n[field.group(group)].as_flattened();
    let (mut off_one, mut off_minus_one) = (s.splat(0), s.splat(0));
    for (j, (&digit, &n)) in field.scratch.as_flattened().iter().zip(n).enumerate() {
        let (digit, one) = if A::SIGNED {
            (digit, s.splat(A::digit_word(i64::from(j == 0))))
        } else {
            (s.integer(digit), s.splat(u64::from(j == 0)))
        };
        let minus_one = if A::SIGNED {
            s.splat(A::digit_word(-i64::from(j == 0)))
        } else {
            // The moduli are odd, so N − 1 differs from N in its lowest bit only.
            s.xor(n, one)
        };
        off_one = s.or(off_one, s.xor(digit, one));
        off_minus_one = s.or(off_minus_one, s.xor(digit, minus_one));
    }
    let zero = s.splat(0);
    (s.mask_bits(s.equal(off_one, zero)), s.mask_bits(s.equal(off_minus_one, zero)))
});
