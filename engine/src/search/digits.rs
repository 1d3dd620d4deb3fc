//! Numbers in digits of 52 bits, the least significant first.

use rug::Integer;
use rug::integer::Order;

use crate::kernel::{DIGIT_BITS, DIGIT_MASK};

/// The number with these digits of 52 bits, the least significant first.
pub(crate) fn integer(digits: &[u64]) -> Integer {
    let mut words = vec![0_u64; (digits.len() * DIGIT_BITS as usize).div_ceil(64)];
    for (index, &digit) in digits.iter().enumerate() {
        let bit = index * DIGIT_BITS as usize;
        words[bit / 64] |= digit << (bit % 64);
        if bit % 64 > 12 {
            words[bit / 64 + 1] |= digit >> (64 - bit % 64);
        }
    }
    Integer::from_digits(&words, Order::Lsf)
}

/// Writes the 52-bit digits of a non-negative number, which must fit `digits`.
pub(crate) fn write_digits(n: &Integer, digits: &mut [u64]) {
    let words = n.as_limbs();
    for (index, digit) in digits.iter_mut().enumerate() {
        let bit = index * DIGIT_BITS as usize;
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let mut bits = word(bit / 64) >> (bit % 64);
        if bit % 64 > 12 {
            bits |= word(bit / 64 + 1) << (64 - bit % 64);
        }
        *digit = bits & DIGIT_MASK;
    }
}

/// Sets `to` to twice the number plus one.
pub(super) fn double(number: &[u64], to: &mut [u64]) {
    let mut carry = 1;
    for (to, digit) in to.iter_mut().zip(number) {
        *to = (digit << 1 | carry) & DIGIT_MASK;
        carry = digit >> (DIGIT_BITS - 1);
    }
}

/// Adds `addend` to a number.
pub(super) fn add_to(number: &mut [u64], addend: u64) {
    let mut carry = addend;
    for digit in number {
        carry += *digit;
        *digit = carry & DIGIT_MASK;
        carry >>= DIGIT_BITS;
    }
}

/// Sets `sum` to number + addend.
pub(super) fn add(number: &[u64], addend: u64, sum: &mut [u64]) {
    let mut carry = addend;
    for (index, digit) in sum.iter_mut().enumerate() {
        carry += number.get(index).copied().unwrap_or(0);
        *digit = carry & DIGIT_MASK;
        carry >>= DIGIT_BITS;
    }
}
