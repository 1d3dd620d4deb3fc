//! Integers of 256 bits, for the polynomials of the sieve.

use primepool_engine::small;
use rug::Integer;
use rug::integer::Order;

const WORDS: usize = 4;

/// An integer modulo 2^256, in two's complement if it has a sign; least significant word first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wide([u64; WORDS]);

impl Wide {
    /// Residue of an integer of any size.
    pub(super) fn of(n: &Integer) -> Self {
        let mut words = [0; WORDS];
        let magnitude = Integer::from(n.abs_ref()).keep_bits(256);
        for (word, digit) in words.iter_mut().zip(magnitude.to_digits::<u64>(Order::Lsf)) {
            *word = digit;
        }
        let wide = Self(words);
        if n.is_negative() { wide.neg() } else { wide }
    }

    /// The integer in [0, 2^256).
    pub(super) fn to_integer(self) -> Integer {
        Integer::from_digits(&self.0, Order::Lsf)
    }

    /// The lowest word.
    pub(super) fn low(self) -> u64 {
        self.0[0]
    }

    /// The lowest two words.
    pub(super) fn lowest(self) -> [u64; 2] {
        [self.0[0], self.0[1]]
    }

    /// The number, if it fits in a word.
    pub(super) fn to_word(self) -> Option<u64> {
        (self.0[1..] == [0; WORDS - 1]).then_some(self.0[0])
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(super) fn is_negative(self) -> bool {
        self.0[WORDS - 1] >> 63 == 1
    }

    /// Number of significant bits of an unsigned integer.
    pub(super) fn bits(self) -> u32 {
        let top = self.0.iter().rposition(|&word| word != 0);
        top.map_or(0, |top| {
            (top as u32 + 1) * u64::BITS - self.0[top].leading_zeros()
        })
    }

    /// Number of zero bits below the lowest one that is set; 256 for 0.
    pub(super) fn trailing_zeros(self) -> u32 {
        let low = self.0.iter().position(|&word| word != 0);
        low.map_or(256, |low| {
            low as u32 * u64::BITS + self.0[low].trailing_zeros()
        })
    }

    pub(super) fn add(self, other: Self) -> Self {
        let mut sum = [0; WORDS];
        let mut carry = false;
        for (i, word) in sum.iter_mut().enumerate() {
            let (a, first) = self.0[i].overflowing_add(other.0[i]);
            let (b, second) = a.overflowing_add(carry.into());
            (*word, carry) = (b, first | second);
        }
        Self(sum)
    }

    pub(super) fn neg(self) -> Self {
        Self(self.0.map(|word| !word)).add(Self([1, 0, 0, 0]))
    }

    pub(super) fn sub(self, other: Self) -> Self {
        self.add(other.neg())
    }

    pub(super) fn abs(self) -> Self {
        if self.is_negative() { self.neg() } else { self }
    }

    pub(super) fn mul(self, other: Self) -> Self {
        let mut product = [0_u64; WORDS];
        for i in 0..WORDS {
            let mut carry = 0;
            for j in 0..WORDS - i {
                let term = u128::from(self.0[i]) * u128::from(other.0[j])
                    + u128::from(product[i + j])
                    + carry;
                product[i + j] = term as u64;
                carry = term >> u64::BITS;
            }
        }
        Self(product)
    }

    /// The product with a small integer.
    pub(super) fn mul_small(self, factor: i64) -> Self {
        let mut product = [0; WORDS];
        let mut carry = 0;
        for (word, digit) in product.iter_mut().zip(self.0) {
            let term = u128::from(digit) * u128::from(factor.unsigned_abs()) + carry;
            *word = term as u64;
            carry = term >> u64::BITS;
        }
        let product = Self(product);
        if factor < 0 { product.neg() } else { product }
    }

    /// Shifts an unsigned integer right by less than 256 bits.
    pub(super) fn shift_right(self, by: u32) -> Self {
        let (skipped, by) = ((by / u64::BITS) as usize, by % u64::BITS);
        let word = |i: usize| self.0.get(i).copied().unwrap_or(0);
        Self(std::array::from_fn(|i| {
            let i = i + skipped;
            // In two steps, because a shift by 64 bits is not allowed.
            word(i) >> by | word(i + 1) << 1 << (u64::BITS - 1 - by)
        }))
    }

    /// The integer in [−2^(bits − 1), 2^(bits − 1)) with the same `bits` low bits; `bits` is above
    /// 192.
    pub(super) fn sign_extend(mut self, bits: u32) -> Self {
        let above = 256 - bits;
        self.0[WORDS - 1] = ((self.0[WORDS - 1] << above).cast_signed() >> above).cast_unsigned();
        self
    }

    /// Inverse of an odd number modulo 2^256, by Newton's iteration.
    pub(super) fn inverse(self) -> Self {
        let mut inverse = Self([small::inverse(self.0[0]), 0, 0, 0]);
        for _ in 0..2 {
            inverse = inverse.mul(Self([2, 0, 0, 0]).sub(self.mul(inverse)));
        }
        inverse
    }

    /// The quotient of an unsigned integer by an odd `divisor` with this inverse modulo 2^64, if it
    /// is divisible (Jebelean, *An algorithm for exact division*, 1993).
    pub(super) fn divide(self, divisor: u32, inverse: u64) -> Option<Self> {
        let mut quotient = [0; WORDS];
        let mut borrow = 0;
        for (word, digit) in quotient.iter_mut().zip(self.0) {
            let (difference, below) = digit.overflowing_sub(borrow);
            *word = difference.wrapping_mul(inverse);
            let product = u128::from(*word) * u128::from(divisor);
            borrow = (product >> u64::BITS) as u64 + u64::from(below);
        }
        (borrow == 0).then_some(Self(quotient))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any integer of 256 bits.
    fn wide() -> impl Strategy<Value = Wide> {
        any::<[u64; WORDS]>().prop_map(Wide)
    }

    fn modulo(n: Integer) -> Integer {
        let n = n.keep_bits(256);
        if n.is_negative() {
            n + (Integer::from(1) << 256)
        } else {
            n
        }
    }

    proptest! {
        #[test]
        fn operations_are_those_of_integers_modulo_2_256(a in wide(), b in wide(), small: i32, by in 0..256_u32) {
            let (x, y) = (a.to_integer(), b.to_integer());
            prop_assert_eq!(Wide::of(&x), a);
            prop_assert_eq!(Wide::of(&Integer::from(-&x)), a.neg());
            prop_assert_eq!(a.add(b).to_integer(), modulo(Integer::from(&x + &y)));
            prop_assert_eq!(a.sub(b).to_integer(), modulo(Integer::from(&x - &y)));
            prop_assert_eq!(a.mul(b).to_integer(), modulo(Integer::from(&x * &y)));
            prop_assert_eq!(a.mul_small(small.into()).to_integer(), modulo(Integer::from(&x * small)));
            prop_assert_eq!(a.shift_right(by).to_integer(), Integer::from(&x >> by));
            prop_assert_eq!(a.bits(), x.significant_bits());
            prop_assert_eq!(Some(a.trailing_zeros()), x.find_one(0).or(Some(256)));
        }

        #[test]
        fn an_odd_number_times_its_inverse_is_one(mut a in wide()) {
            a.0[0] |= 1;
            prop_assert_eq!(a.mul(a.inverse()), Wide([1, 0, 0, 0]));
        }

        #[test]
        fn only_multiples_are_divided(a in wide(), divisor: u32) {
            let divisor = divisor | 1;
            let inverse = small::inverse(divisor.into());
            let n = a.to_integer();
            let quotient = n.is_divisible_u(divisor).then(|| Integer::from(&n / divisor));
            prop_assert_eq!(a.divide(divisor, inverse).map(Wide::to_integer), quotient);
            let multiple = Wide::of(&Integer::from(&n / divisor)).mul_small(divisor.into());
            prop_assert!(multiple.divide(divisor, inverse).is_some());
        }

        #[test]
        fn the_sign_is_that_of_the_highest_bit_kept(a in wide()) {
            let n = a.to_integer().keep_bits(254);
            let signed = if n.get_bit(253) { n - (Integer::from(1) << 254) } else { n };
            prop_assert_eq!(a.sign_extend(254), Wide::of(&signed));
        }
    }
}
