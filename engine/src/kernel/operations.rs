//! The operations of a field that do not depend on the size of its blocks, compiled for the
//! instructions of its arithmetic.

use super::arithmetic::{Arithmetic, DIGIT_BITS, DIGIT_MASK, Operation};
use super::field::Register;
use super::numbers::{Numbers, exponent_from};
use super::scale::scale;

/// Defines an [`Operation`] on the numbers of a field: the name of its type, with its constants and
/// arguments, and its code.
macro_rules! operation {
    (
        $name:ident $([$($constant:ident: $constant_type:ty),*])?
        { $($argument:ident: $type:ty),* $(,)? } -> $out:ty,
        |$numbers:ident, $s:ident| $body:block
    ) => {
        pub(super) struct $name<'a, A: Arithmetic $($(, const $constant: $constant_type)*)?> {
            pub(super) numbers: &'a mut Numbers<A>,
            $(pub(super) $argument: $type),*
        }

        impl<A: Arithmetic $($(, const $constant: $constant_type)*)?> Operation<A>
            for $name<'_, A $($(, $constant)*)?>
        {
            type Output = $out;

            #[inline(always)]
            fn run(self, $s: A) -> $out {
                let Self { numbers: $numbers, $($argument),* } = self;
                $body
            }
        }
    };
}
pub(super) use operation;

/// Loads words into vectors, as many as both have.
#[inline(always)]
fn load<A: Arithmetic>(s: A, words: &[u64], to: &mut [A::Vector]) {
    for (to, words) in to.iter_mut().zip(words.chunks(A::COUNT)) {
        *to = s.load(words);
    }
}

operation!(SetModuli { moduli: &'a [u64] } -> (), |numbers, s| {
    for (n, words) in numbers.n.iter_mut().zip(moduli.chunks(A::COUNT)) {
        *n = s.factor(s.load(words));
    }
    for (group, words) in moduli.chunks(numbers.limbs * A::COUNT).enumerate() {
        let inverse = s.negative_inverse(s.load(words));
        numbers.inverse[group] = s.factor(inverse);
        if A::LOOKS_AHEAD {
            let (second, _) = s.halves(inverse, s.load(&words[A::COUNT..]));
            numbers.second[group] = second;
        }
    }
});

operation!(SetPowersOfTwo {
    bits: &'a [u32],
    heads: &'a [u32],
    moduli: &'a [u64],
    digits: &'a mut [u64],
} -> (), |numbers, s| {
    let limbs = numbers.limbs;
    let longest = bits.iter().copied().fold(0, u32::max);
    // Enough digits for twice the longest modulus.
    let used = ((longest / DIGIT_BITS) as usize + 1).min(limbs);
    for group in 0..numbers.groups {
        let lanes = group * A::COUNT..(group + 1) * A::COUNT;
        // Start from the greatest power of two below each modulus.
        numbers.words.fill(0);
        let mut shifts = [0; 8];
        for (lane, (&bits, &head)) in bits[lanes.clone()].iter().zip(&heads[lanes]).enumerate() {
            let top = bits - 1;
            let place = A::COUNT * (top / DIGIT_BITS) as usize + lane;
            numbers.words[place] = 1 << (top % DIGIT_BITS);
            shifts[lane] = u64::from(DIGIT_BITS * limbs as u32 - top + head);
        }
        let words = group * limbs * A::COUNT..(group + 1) * limbs * A::COUNT;
        let digits_of_group = numbers.group(group);
        let Numbers { a, quotient: n, scratch, words: powers, .. } = &mut *numbers;
        load(s, &moduli[words.clone()], n);
        load(s, powers, scratch);
        scale(s, &n[..used], &mut scratch[..used], s.load(&shifts));
        if !digits.is_empty() {
            for (words, &digit) in digits[words].chunks_mut(A::COUNT).zip(scratch.iter()) {
                s.store(digit, words);
            }
        }
        let mut carry = s.no_carry();
        for (to, &digit) in a[digits_of_group].iter_mut().zip(scratch.iter()) {
            (*to, carry) = s.digit(digit, carry);
        }
    }
});

operation!(Set { register: Register, words: &'a [u64] } -> (), |numbers, s| {
    let limbs = numbers.limbs;
    let to = match register {
        Register::First => &mut numbers.a,
        Register::Second => &mut numbers.b,
    };
    let mut carry = s.no_carry();
    for (j, (to, words)) in to.iter_mut().zip(words.chunks(A::COUNT)).enumerate() {
        if j % limbs == 0 {
            carry = s.no_carry();
        }
        (*to, carry) = s.digit(s.load(words), carry);
    }
});

operation!(SetAddends { mixed: &'a [u64], square: &'a [u64] } -> (), |numbers, s| {
    load(s, mixed, &mut numbers.mixed_addend);
    load(s, square, &mut numbers.square_addend);
});

operation!(SelectBit { bit: u32 } -> (), |numbers, s| {
    let one = s.splat(1);
    for group in 0..numbers.groups {
        let bits = exponent_from(s, &numbers.exponent, numbers.limbs, group, bit);
        let set = s.equal(s.and(bits, one), one);
        let (factors, ones, bases) =
            (numbers.group(group), numbers.power(group, 0), numbers.power(group, 1));
        let (ones, bases) = (&numbers.powers[ones], &numbers.powers[bases]);
        let factors = numbers.factor[factors].iter_mut();
        for ((factor, &one), &base) in factors.zip(ones).zip(bases) {
            *factor = s.blend(set, one, base);
        }
    }
});

// Writes the signed or unsigned digits of `scratch` as numbers in [0, N].
operation!(WriteScratch { moduli: &'a [u64], to: &'a mut [u64] } -> (), |numbers, s| {
    let (zero, mask) = (s.splat(0), s.splat(DIGIT_MASK));
    let mut carry = zero;
    for (&digit, words) in numbers.scratch.iter().zip(to.chunks_mut(A::COUNT)) {
        let digit = s.add(s.integer(digit), carry);
        carry = s.shift_right_signed(digit);
        s.store(s.and(digit, mask), words);
    }
    if A::SIGNED {
        // The last carry is −1 where the number is negative, and 0 elsewhere.
        let is_negative = carry;
        let mut carry = zero;
        for (words, n) in to.chunks_mut(A::COUNT).zip(moduli.chunks(A::COUNT)) {
            let digit = s.add(s.load(words), s.and(s.load(n), is_negative));
            let digit = s.add(digit, carry);
            carry = s.shift_right_signed(digit);
            s.store(s.and(digit, mask), words);
        }
    }
});

operation!(CompareUnits { group: usize } -> (u32, u32), |numbers, s| {
    let n = &numbers.n[numbers.group(group)];
    let (mut off_one, mut off_minus_one) = (s.splat(0), s.splat(0));
    for (j, (&digit, &n)) in numbers.scratch.iter().zip(n).enumerate() {
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
