//! The greatest common divisor of words.

/// The greatest common divisor of `a` and an odd number `b`, without divisions; `b` if `a` is 0.
/// Stein, *Computational problems associated with Racah algebra*, 1967.
#[must_use]
pub fn gcd(mut a: u64, mut b: u64) -> u64 {
    if a == 0 {
        return b;
    }
    a >>= a.trailing_zeros();
    while a != b {
        let (difference, is_negative) = a.overflowing_sub(b);
        b = if is_negative { a } else { b };
        let size = if is_negative {
            difference.wrapping_neg()
        } else {
            difference
        };
        a = size >> difference.trailing_zeros();
    }
    b
}
