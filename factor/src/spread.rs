//! Work on one hard composite for many machines: batches of curves, and the expected time of curves
//! and of the sieve's families.
//!
//! The coordinator creates the batches and keeps a
//! [`Collector`](crate::quadratic_sieve::Collector); workers call [`curves`] or hold
//! [`Families`](crate::quadratic_sieve::Families). They exchange only the composite, ranges of
//! numbers, and packets of relations. Any batch is as good as any other, so that a lost one is
//! replaced by another and none has to be waited for.

use std::ops::{Range, RangeInclusive};

use rug::Integer;

use crate::{Cancel, Error, MAX_CURVE_BITS, MAX_SIEVE_BITS};

/// A level of curves: p ± 1, and curves with one bound.
pub use crate::levels::Level;
pub use primepool_curves::Ecm;

/// The levels that are worth trying before the sieve on a composite of this many bits whose factors
/// are unknown. For a composite too large for the sieve, these are all levels up to factors of
/// `effort` digits; beyond [`MAX_CURVE_BITS`], there are none. The level that one worker tries
/// first is left out; see [`Limits::before_spreading`](crate::Limits::before_spreading).
#[must_use]
pub fn levels(bits: u32, effort: u32) -> Vec<Level> {
    let mut levels = all_levels(bits, effort);
    levels.retain(|level| level.digits > TRIED_DIGITS);
    levels
}

/// The same, including the level that one worker tries first.
fn all_levels(bits: u32, effort: u32) -> Vec<Level> {
    if bits <= MAX_SIEVE_BITS {
        crate::levels::before_sieve(bits)
    } else if bits <= MAX_CURVE_BITS {
        crate::levels::up_to(effort.next_multiple_of(DIGITS_APART))
    } else {
        Vec::new()
    }
}

/// Expected seconds that one worker needs for p ± 1 and the curves of [`levels`].
#[must_use]
pub fn levels_seconds(bits: u32, effort: u32) -> f64 {
    let all = levels(bits, effort).into_iter();
    let each = all.map(|level| f64::from(level.cost_in_curves()) * curve_seconds(level.b1, bits));
    each.sum()
}

/// Probability that all levels tried on a composite of `bits` bits miss a prime factor of `digits`
/// digits.
#[must_use]
pub fn missed(digits: u32, bits: u32, effort: u32) -> f64 {
    crate::chance::missed(digits, &all_levels(bits, effort))
}

/// The level for factors of `digits` digits, with the number of curves that [`levels`] has for a
/// composite of `bits` bits: 0 if it has no such level. `None` if there is no level for that number
/// of digits.
#[must_use]
pub fn level(bits: u32, effort: u32, digits: u32) -> Option<Level> {
    let without_curves = |level| Level { curves: 0, ..level };
    let others = crate::levels::up_to(digits).into_iter().map(without_curves);
    let mut all = levels(bits, effort).into_iter().chain(others);
    all.find(|level| level.digits == digits)
}

/// Number of curves that a worker runs at once; ranges of curves are multiples of it.
pub const CURVES_AT_ONCE: u32 = 8;

/// Default number of digits of the factors searched for in composites too large for the sieve:
/// takes some minutes of one core at 400 bits, half an hour at 1024 bits.
pub const DEFAULT_EFFORT: u32 = 30;

/// The efforts that a user can ask for, in decimal digits.
pub const EFFORTS: RangeInclusive<u32> = 15..=40;

/// Digits between two levels.
const DIGITS_APART: u32 = 5;

/// One worker has searched for factors of up to this many digits before the composite is shared;
/// see [`Limits::before_spreading`].
///
/// [`Limits::before_spreading`]: crate::Limits::before_spreading
pub(super) const TRIED_DIGITS: u32 = 10;

/// Expected seconds of one curve with bound `b1` on a composite of `bits` bits.
#[must_use]
pub fn curve_seconds(b1: u32, bits: u32) -> f64 {
    crate::levels::curve_us(b1, bits) as f64 / 1e6
}

/// Expected seconds of the whole sieve on one core: measured up to 256 bits, estimated above.
#[must_use]
pub fn sieve_seconds(bits: u32) -> f64 {
    crate::levels::sieve_ms(bits) as f64 / 1e3
}

/// Expected seconds of one family of polynomials: measured from 192 to 330 bits.
#[must_use]
pub fn family_seconds(bits: u32) -> f64 {
    match bits {
        0..=200 => 0.002,
        201..=216 => 0.004,
        217..=248 => 0.008,
        249..=272 => 0.014,
        273..=304 => 0.06,
        305..=340 => 0.12,
        _ => 2.0,
    }
}

/// A proper divisor of a composite, if one of the curves `range` of a level finds it. A range that
/// begins with the first curve also runs p ± 1 with bound `p_minus_1` before it, unless that is 0.
/// `done` receives the number of curves finished.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub fn curves(
    ecm: &mut Ecm,
    n: &Integer,
    b1: u32,
    p_minus_1: u32,
    range: Range<u32>,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    if range.start == 0 && p_minus_1 > 0 {
        let divisor = ecm.plus_minus(n, p_minus_1, cancel)?;
        if divisor.is_some() {
            return Ok(divisor);
        }
    }
    let first = crate::levels::first_curve(b1);
    let range = first + u64::from(range.start)..first + u64::from(range.end);
    ecm.curves(n, b1, range, cancel, done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_engine::Kernel;
    use rug::ops::Pow;

    use super::*;

    fn next_prime(base: u32, power: u32) -> Integer {
        Integer::from(base).pow(power).next_prime()
    }

    #[test]
    fn curves_find_what_their_level_is_for() {
        // A factor of 17 digits.
        let p = next_prime(10, 16);
        let n = &p * next_prime(7, 70);
        let levels = levels(n.significant_bits(), DEFAULT_EFFORT);
        let level = levels.iter().find(|level| level.digits == 20).unwrap();
        let mut ecm = Ecm::new(Kernel::fastest());
        let found = (0..level.curves).step_by(20).find_map(|first| {
            let range = first..first + 20;
            curves(
                &mut ecm,
                &n,
                level.b1,
                level.p_minus_1,
                range,
                &Cancel::new(),
                &mut |_| {},
            )
            .unwrap()
        });
        assert_eq!(found, Some(p));
    }

    #[test]
    fn a_cancel_ends_curves() {
        let n = next_prime(10, 16) * next_prime(7, 70);
        let cancel = Cancel::new();
        cancel.cancel();
        let mut ecm = Ecm::new(Kernel::fastest());
        let cancelled = curves(&mut ecm, &n, 11_000, 0, 0..9, &cancel, &mut |_| {});
        assert!(matches!(cancelled, Err(Error::Cancelled)));
    }
}
