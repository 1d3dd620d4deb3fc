//! Montgomery arithmetic in a fixed number of words, for the sizes where it beats GMP's, which must
//! allocate, check lengths and, in the Lucas test, divide.
//!
//! Montgomery, *Modular multiplication without trial division*, 1985; Koç, Acar & Kaliski,
//! *Analyzing and comparing Montgomery multiplication algorithms*, 1996.

use rug::Integer;
use rug::integer::Order;

/// Exponent bits per window of a power.
const WINDOW: u32 = 4;

/// Leading exponent bits of a power of two that are computed by doublings alone.
const DOUBLINGS: u32 = 5;

/// Arithmetic modulo an odd number of at most N words. Numbers are in Montgomery form, below the
/// modulus.
pub(crate) struct Field<const N: usize> {
    modulus: [u64; N],
    /// Minus the inverse of the modulus modulo 2^64.
    inverse: u64,
    one: [u64; N],
}

impl<const N: usize> Field<N> {
    /// The field for an odd `modulus` above 2^(64 (N − 1)) with at most N words.
    pub(crate) fn new(modulus: &Integer) -> Self {
        let mut words = [0; N];
        modulus.write_digits(&mut words, Order::Lsf);
        let mut field = Self {
            modulus: words,
            inverse: crate::small::inverse(words[0]).wrapping_neg(),
            one: [0; N],
        };
        // Let the modulus have b bits. Then 2^b − modulus is 2^b reduced, and it is the two's
        // complement in the low b bits.
        let spare = words[N - 1].leading_zeros();
        let mut one = subtract(&[0; N], &words).0;
        one[N - 1] &= u64::MAX >> spare;
        for _ in 0..spare {
            one = field.add(&one, &one);
        }
        field.one = one;
        field
    }

    /// The Montgomery form of a non-negative number.
    fn form(&self, n: &Integer, modulus: &Integer) -> [u64; N] {
        let shift = 64 * N;
        let mut words = [0; N];
        (Integer::from(n << shift) % modulus).write_digits(&mut words, Order::Lsf);
        words
    }

    fn add(&self, a: &[u64; N], b: &[u64; N]) -> [u64; N] {
        let mut sum = [0; N];
        let mut carry = false;
        for i in 0..N {
            (sum[i], carry) = add_with_carry(a[i], b[i], carry);
        }
        self.reduce_once(sum, carry)
    }

    fn subtract(&self, a: &[u64; N], b: &[u64; N]) -> [u64; N] {
        let (mut difference, borrow) = subtract(a, b);
        // Adds the modulus or zero, without a branch that would be mispredicted half of the time.
        let mask = u64::from(borrow).wrapping_neg();
        let mut carry = false;
        for (word, &modulus) in difference.iter_mut().zip(&self.modulus) {
            (*word, carry) = add_with_carry(*word, modulus & mask, carry);
        }
        difference
    }

    /// Reduces n + carry · 2^(64 N), which must be below twice the modulus.
    #[inline(always)]
    fn reduce_once(&self, n: [u64; N], carry: bool) -> [u64; N] {
        let (reduced, borrow) = subtract(&n, &self.modulus);
        let mask = u64::from(carry || !borrow).wrapping_neg();
        let mut result = [0; N];
        for i in 0..N {
            result[i] = (reduced[i] & mask) | (n[i] & !mask);
        }
        result
    }

    /// The product, reduced word by word (CIOS).
    #[inline(always)]
    fn multiply(&self, a: &[u64; N], b: &[u64; N]) -> [u64; N] {
        let mut t = [0; N];
        let mut top = 0_u64;
        for &word in b {
            let mut carry = 0;
            for i in 0..N {
                (t[i], carry) = multiply_add(t[i], a[i], word, carry);
            }
            let (high, over) = top.overflowing_add(carry);
            let quotient = t[0].wrapping_mul(self.inverse);
            (_, carry) = multiply_add(t[0], quotient, self.modulus[0], 0);
            for i in 1..N {
                (t[i - 1], carry) = multiply_add(t[i], quotient, self.modulus[i], carry);
            }
            let (last, over_again) = high.overflowing_add(carry);
            t[N - 1] = last;
            top = u64::from(over) + u64::from(over_again);
        }
        self.reduce_once(t, top != 0)
    }

    /// Whether the modulus, above 2, is a strong probable prime to base 2.
    pub(crate) fn is_strong_probable_prime_2(&self) -> bool {
        let exponent = Exponent::odd_part_of_predecessor(&self.modulus);
        let head = exponent.bits.saturating_sub(DOUBLINGS);
        let mut x = self.one;
        for _ in 0..exponent.digit(head, DOUBLINGS) {
            x = self.add(&x, &x);
        }
        for bit in (0..head).rev() {
            x = self.multiply(&x, &x);
            if exponent.digit(bit, 1) == 1 {
                x = self.add(&x, &x);
            }
        }
        self.ends_like_a_prime(x, exponent.twos)
    }

    /// Whether the modulus, above 2, is a strong probable prime to a base in [0, modulus).
    pub(crate) fn is_strong_probable_prime(&self, base: &Integer, modulus: &Integer) -> bool {
        let base = self.form(base, modulus);
        let mut powers = [self.one; 1 << WINDOW];
        for i in 1..powers.len() {
            powers[i] = self.multiply(&powers[i - 1], &base);
        }
        let exponent = Exponent::odd_part_of_predecessor(&self.modulus);
        let mut x = self.one;
        for window in (0..exponent.bits.div_ceil(WINDOW)).rev() {
            for _ in 0..WINDOW {
                x = self.multiply(&x, &x);
            }
            let power = &powers[exponent.digit(WINDOW * window, WINDOW) as usize];
            x = self.multiply(&x, power);
        }
        self.ends_like_a_prime(x, exponent.twos)
    }

    /// Whether x is 1, or one of the `twos` numbers x, x², x⁴, ... is −1.
    fn ends_like_a_prime(&self, mut x: [u64; N], twos: u32) -> bool {
        let minus_one = subtract(&self.modulus, &self.one).0;
        if x == self.one || x == minus_one {
            return true;
        }
        for _ in 1..twos {
            x = self.multiply(&x, &x);
            if x == minus_one {
                return true;
            }
        }
        false
    }

    /// The strong Lucas condition; `p` is P' of the Lucas test in [`crate::primality`].
    pub(crate) fn is_strong_lucas_probable_prime(&self, p: &Integer, modulus: &Integer) -> bool {
        let p = self.form(p, modulus);
        let two = self.add(&self.one, &self.one);
        let zero = [0; N];
        let (minus_two, minus_p) = (self.subtract(&zero, &two), self.subtract(&zero, &p));
        let exponent = Exponent::odd_part_of_successor(&self.modulus);

        let (mut v, mut w) = (two, p);
        for bit in (0..exponent.bits).rev() {
            let mixed = self.subtract(&self.multiply(&v, &w), &p);
            if exponent.digit(bit, 1) == 1 {
                v = mixed;
                w = self.subtract(&self.multiply(&w, &w), &two);
            } else {
                w = mixed;
                v = self.subtract(&self.multiply(&v, &v), &two);
            }
        }
        if v == two && w == p {
            return true;
        }
        for doubling in 0..exponent.twos {
            if doubling > 0 {
                w = self.subtract(&self.multiply(&v, &w), &p);
                v = self.subtract(&self.multiply(&v, &v), &two);
            }
            if v == minus_two && w == minus_p {
                return true;
            }
        }
        false
    }
}

/// The odd part of an exponent, with its number of bits.
struct Exponent<const N: usize> {
    words: [u64; N],
    bits: u32,
    /// Exponent of the power of two that was divided out.
    twos: u32,
}

impl<const N: usize> Exponent<N> {
    fn odd_part_of_predecessor(n: &[u64; N]) -> Self {
        let mut words = *n;
        words[0] &= !1;
        Self::odd_part(words)
    }

    fn odd_part_of_successor(n: &[u64; N]) -> Self {
        let mut words = *n;
        let mut carry = true;
        for word in &mut words {
            (*word, carry) = add_with_carry(*word, 0, carry);
        }
        if carry {
            // n + 1 is 2^(64 N).
            words[0] = 1;
            return Self {
                words,
                bits: 1,
                twos: 64 * N as u32,
            };
        }
        Self::odd_part(words)
    }

    /// The odd part of a positive number.
    fn odd_part(mut words: [u64; N]) -> Self {
        let zeros = words.iter().take_while(|&&word| word == 0).count();
        words.rotate_left(zeros);
        let shift = words[0].trailing_zeros();
        if shift > 0 {
            for i in 0..N {
                let above = if i + 1 < N { words[i + 1] } else { 0 };
                words[i] = words[i] >> shift | above << (64 - shift);
            }
        }
        let used = words.iter().rposition(|&word| word != 0).unwrap_or(0);
        Self {
            words,
            bits: 64 * (used as u32 + 1) - words[used].leading_zeros(),
            twos: 64 * zeros as u32 + shift,
        }
    }

    /// The `width` (at most 32) bits from bit `low` upwards; `low` is below 64 N.
    #[inline(always)]
    fn digit(&self, low: u32, width: u32) -> u32 {
        let (index, shift) = ((low / 64) as usize, low % 64);
        let mut digit = self.words[index] >> shift;
        if shift + width > 64 && index + 1 < N {
            digit |= self.words[index + 1] << (64 - shift);
        }
        (digit & ((1 << width) - 1)) as u32
    }
}

/// `a + b + carry` and whether it overflowed.
#[inline(always)]
fn add_with_carry(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, over) = a.overflowing_add(b);
    let (sum, over_again) = sum.overflowing_add(u64::from(carry));
    (sum, over | over_again)
}

/// `a − b` and whether it is negative.
#[inline(always)]
fn subtract<const N: usize>(a: &[u64; N], b: &[u64; N]) -> ([u64; N], bool) {
    let mut difference = [0; N];
    let mut borrow = false;
    for i in 0..N {
        let (word, under) = a[i].overflowing_sub(b[i]);
        let (word, under_again) = word.overflowing_sub(u64::from(borrow));
        difference[i] = word;
        borrow = under | under_again;
    }
    (difference, borrow)
}

/// Low and high word of `a + b · c + carry`, which cannot overflow.
#[inline(always)]
fn multiply_add(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let sum = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(carry);
    (sum as u64, (sum >> 64) as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn integer<const N: usize>(words: &[u64; N]) -> Integer {
        Integer::from_digits(words, Order::Lsf)
    }

    /// A word that is often extreme, to provoke carries.
    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            Just(1),
            Just(u64::MAX),
            Just(1 << 63),
            any::<u64>()
        ]
    }

    fn check<const N: usize>(modulus: [u64; N], a: [u64; N], b: [u64; N]) {
        let mut modulus = modulus;
        modulus[0] |= 1;
        modulus[N - 1] = modulus[N - 1].max(if N == 1 { 3 } else { 1 });
        let m = integer(&modulus);
        let field = Field::<N>::new(&m);
        let radix = Integer::from(1) << (64 * N);
        assert_eq!(integer(&field.one), Integer::from(&radix % &m));

        let reduced = |words: [u64; N]| {
            let mut reduced = [0; N];
            (integer(&words) % &m).write_digits(&mut reduced, Order::Lsf);
            reduced
        };
        let (a, b) = (reduced(a), reduced(b));
        let (x, y) = (integer(&a), integer(&b));
        assert_eq!(integer(&field.add(&a, &b)), Integer::from(&x + &y) % &m);
        assert_eq!(
            integer(&field.subtract(&a, &b)),
            (Integer::from(&x - &y) + &m) % &m
        );
        let product = field.multiply(&a, &b);
        assert!(integer(&product) < m);
        assert_eq!(integer(&product) * &radix % &m, Integer::from(&x * &y) % &m);
        assert_eq!(field.multiply(&field.form(&x, &m), &b), {
            let mut words = [0; N];
            (Integer::from(&x * &y) % &m).write_digits(&mut words, Order::Lsf);
            words
        });

        for (exponent, whole) in [
            (
                Exponent::odd_part_of_predecessor(&modulus),
                Integer::from(&m - 1),
            ),
            (
                Exponent::odd_part_of_successor(&modulus),
                Integer::from(&m + 1),
            ),
        ] {
            let odd = Integer::from(&whole >> exponent.twos);
            assert!(odd.is_odd());
            assert_eq!(exponent.bits, odd.significant_bits());
            assert_eq!(integer(&exponent.words), odd);
            for low in (0..exponent.bits).step_by(7) {
                for width in [1, 4, 5] {
                    let digit = Integer::from(&odd >> low).keep_bits(width);
                    assert_eq!(exponent.digit(low, width), digit);
                }
            }
        }
    }

    #[test]
    fn extremes() {
        fn all<const N: usize>() {
            for modulus in [[u64::MAX; N], [0; N], [1 << 63; N]] {
                check(modulus, [u64::MAX; N], [u64::MAX; N]);
                check(modulus, [0; N], [1; N]);
            }
        }
        all::<1>();
        all::<2>();
        all::<7>();
        all::<16>();
    }

    proptest! {
        #[test]
        fn one_word(m in [word(); 1], a in [word(); 1], b in [word(); 1]) {
            check(m, a, b);
        }

        #[test]
        fn two_words(m in [word(), word()], a in [word(), word()], b in [word(), word()]) {
            check(m, a, b);
        }

        #[test]
        fn four_words(
            m in prop::array::uniform4(word()),
            a in prop::array::uniform4(word()),
            b in prop::array::uniform4(word()),
        ) {
            check(m, a, b);
        }

        #[test]
        fn seven_words(
            m in prop::array::uniform7(word()),
            a in prop::array::uniform7(word()),
            b in prop::array::uniform7(word()),
        ) {
            check(m, a, b);
        }

        #[test]
        fn sixteen_words(
            m in prop::array::uniform16(word()),
            a in prop::array::uniform16(word()),
            b in prop::array::uniform16(word()),
        ) {
            check(m, a, b);
        }
    }
}
