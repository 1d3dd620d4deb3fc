//! Fermat's method, for products of two close factors.

use rug::Integer;

use crate::{Cancel, Error};

/// Number of squares tried. Factors p and q of n are found if (p − q)² ≤ 8 · [`STEPS`] · √n.
pub(super) const STEPS: u64 = 256;

/// A proper divisor of an odd composite `n` that is not a square, and the number of integers tried.
/// The divisor is found if the difference a² − n is a square b² for one of the first `steps`
/// integers a above √n; then n = (a − b)(a + b).
pub(super) fn split(
    n: &Integer,
    steps: u64,
    cancel: &Cancel,
) -> Result<(Option<Integer>, u64), Error> {
    let mut a = Integer::from(n.sqrt_ref()) + 1u32;
    let mut difference = Integer::from(a.square_ref()) - n;
    let mut tried = 0;
    while tried < steps {
        tried += 1;
        cancel.check()?;
        // Most numbers are recognised as non-squares by their residues, without a square root.
        if difference.is_perfect_square() {
            let divisor = a - difference.sqrt();
            return Ok(((divisor > 1).then_some(divisor), tried));
        }
        difference += &a;
        difference += &a;
        difference += 1;
        a += 1;
    }
    Ok((None, tried))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn close_factors_are_found_at_once_at_any_size() {
        let never = Cancel::new();
        for bits in [40_u32, 330, 2000] {
            let p = (Integer::from(1) << bits).next_prime();
            // As far apart as possible for the first step to find them.
            let q = (Integer::from(&p) + (Integer::from(1) << (bits / 2))).next_prime();
            let n = Integer::from(&p * &q);
            let (divisor, step) = split(&n, STEPS, &never).unwrap();
            assert_eq!((divisor, step), (Some(p), 1), "{bits}");
        }
    }

    #[test]
    fn the_last_step_is_tried_and_none_after_it() {
        let never = Cancel::new();
        let p = Integer::from(1_000_003);
        let q = Integer::from(1_400_017);
        let n = Integer::from(&p * &q);
        let (_, needed) = split(&n, 1 << 40, &never).unwrap();
        assert!(needed > STEPS, "{needed}");
        assert_eq!(split(&n, needed, &never).unwrap().0, Some(p));
        assert_eq!(split(&n, needed - 1, &never).unwrap(), (None, needed - 1));
    }
}
