//! Perfect powers.

use rug::{Assign, Integer};

use crate::{Cancel, Error};

/// The root and the prime exponent if `n` is a perfect power, and the number of exponents tried.
/// `n` is odd, above 1, and has no prime factor below 2^`factor_bits`. The root may be a perfect
/// power again.
pub(super) fn root(
    n: &Integer,
    factor_bits: u32,
    cancel: &Cancel,
) -> Result<(Option<(Integer, u32)>, u64), Error> {
    let (mut root, mut remainder, mut tried) = (Integer::new(), Integer::new(), 0);
    // The root has more than `factor_bits` bits.
    for exponent in 2..=n.significant_bits() / factor_bits {
        if !primepool_engine::small::is_prime(exponent.into()) {
            continue;
        }
        cancel.check()?;
        tried += 1;
        if exponent == 2 {
            // Most numbers are recognised as non-squares by their residues, without a square root.
            if n.is_perfect_square() {
                root.assign(n.sqrt_ref());
                return Ok((Some((root, 2)), tried));
            }
            continue;
        }
        (&mut root, &mut remainder).assign(n.root_rem_ref(exponent));
        if remainder.is_zero() {
            return Ok((Some((root, exponent)), tried));
        }
    }
    Ok((None, tried))
}
