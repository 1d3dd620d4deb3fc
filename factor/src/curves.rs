//! Pollard's p − 1 method and elliptic curves, by the crate `ecm`; how much of them is worth while.

use std::ops::ControlFlow;

use ecm::{Algorithm, Event, Factorizer};
use rug::Integer;

use crate::{Cancel, Error};

/// A run of p − 1, and curves with one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Decimal digits of the factors that all the curves together find with probability 1 − 1/e.
    pub digits: u32,
    /// Bound of p − 1; 0 for none.
    pub p_minus_1: u32,
    /// Bound of the curves.
    pub b1: u32,
    /// How many.
    pub curves: u32,
}

const fn level(digits: u32, p_minus_1: u32, b1: u32, curves: u32) -> Level {
    Level {
        digits,
        p_minus_1,
        b1,
        curves,
    }
}

/// Bounds as in GMP-ECM's README, from 20 digits on with the curves that the crate's model expects.
/// A run of p − 1 with five times the bound of the curves costs as much as four of them.
const LEVELS: [Level; 6] = [
    level(10, 0, 200, 10),
    level(15, 10_000, 2_000, 30),
    level(20, 55_000, 11_000, 107),
    level(25, 250_000, 50_000, 261),
    level(30, 1_250_000, 250_000, 513),
    level(35, 5_000_000, 1_000_000, 1_071),
];

/// For composites below [`SIEVE_FROM_BITS`]: enough to find their smaller factor.
const SHORT_LEVELS: [Level; 2] = [level(10, 0, 200, 15), level(13, 0, 1_000, 40)];

/// From this many bits on the sieve is faster than the curves that find a factor of half the bits.
const SIEVE_FROM_BITS: u32 = 76;

/// Milliseconds that the sieve takes for so many bits, linear algebra included: measured up to 256
/// bits on one core of an Intel Xeon (Sapphire Rapids) with AVX-512, estimated above.
const SIEVE_MS: [(u32, u64); 15] = [
    (76, 2),
    (92, 3),
    (112, 7),
    (128, 13),
    (144, 38),
    (160, 72),
    (176, 210),
    (192, 540),
    (208, 1_300),
    (224, 3_000),
    (240, 8_500),
    (256, 28_000),
    (288, 300_000),
    (320, 3_500_000),
    (400, 600_000_000),
];

/// The share of the sieve's time that p − 1 and curves may take before it: a sixteenth. A composite
/// of two factors of equal size loses that; one with a small factor, as a random number has, gains
/// most of the sieve's time.
const SHARE: u64 = 16;

/// Microseconds that a call costs beside its curves.
const CALL_US: u64 = 300;

/// A proper divisor of a composite by p − 1, if there is one of which it is seen.
pub(super) fn p_minus_1(n: &Integer, b1: u32, cancel: &Cancel) -> Result<Option<Integer>, Error> {
    let mut method = Factorizer::new()
        .algorithm(Algorithm::Pm1)
        .b1(b1 as usize)
        .interrupt_flag(cancel.flag());
    outcome(n, method.find_factor(n))
}

/// A proper divisor of a composite by elliptic curves, if one of them finds it. `seed` decides
/// which curves they are; `done` is told after each.
pub(super) fn curves(
    n: &Integer,
    b1: u32,
    count: u32,
    seed: u64,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    let mut method = Factorizer::new()
        .b1(b1 as usize)
        .curves(count as usize)
        .seed(seed)
        .interrupt_flag(cancel.flag())
        .on_event(|event: &Event<'_>| {
            if let Event::Curve { index, .. } = *event {
                done(index as u64);
            }
            ControlFlow::Continue(())
        });
    outcome(n, method.find_factor(n))
}

fn outcome(n: &Integer, found: Result<Integer, ecm::Error>) -> Result<Option<Integer>, Error> {
    match found {
        Ok(divisor) if divisor > 1 && divisor < *n && n.is_divisible(&divisor) => Ok(Some(divisor)),
        Ok(divisor) => Err(Error::fault(format!("{divisor} as a divisor of {n}"))),
        Err(ecm::Error::ECMFailed) => Ok(None),
        Err(ecm::Error::Interrupted) => Err(Error::Cancelled),
        Err(error) => Err(Error::fault(format!("elliptic curves on {n}: {error}"))),
    }
}

/// What is tried before the sieve on a composite of so many bits.
pub(super) fn before_sieve(bits: u32) -> Vec<Level> {
    if bits < SIEVE_FROM_BITS {
        return SHORT_LEVELS.to_vec();
    }
    let mut budget = 1000 * sieve_ms(bits) / SHARE;
    let mut levels = Vec::new();
    for mut level in LEVELS {
        let curve = curve_us(level.b1, bits);
        let fixed = if level.p_minus_1 == 0 {
            CALL_US
        } else {
            2 * CALL_US + 4 * curve
        };
        // At most the number of curves of the level, so it fits.
        let curves = budget.saturating_sub(fixed) / curve;
        level.curves = curves.min(level.curves.into()) as u32;
        if level.curves == 0 {
            break;
        }
        budget -= fixed + u64::from(level.curves) * curve;
        levels.push(level);
    }
    levels
}

/// Everything up to factors of so many digits.
pub(super) fn up_to(digits: u32) -> Vec<Level> {
    LEVELS
        .into_iter()
        .filter(|level| level.digits <= digits)
        .collect()
}

/// See [`SIEVE_MS`], with a straight line between neighbours.
pub(crate) fn sieve_ms(bits: u32) -> u64 {
    let after = SIEVE_MS.partition_point(|&(size, _)| size <= bits);
    match (SIEVE_MS.get(after.wrapping_sub(1)), SIEVE_MS.get(after)) {
        (Some(&(b0, t0)), Some(&(b1, t1))) => {
            t0 + (t1 - t0) * u64::from(bits - b0) / u64::from(b1 - b0)
        }
        (Some(&(_, ms)), None) | (None, Some(&(_, ms))) => ms,
        (None, None) => 0,
    }
}

/// Microseconds that a curve takes, measured from 128 to 400 bits on one core of an AMD EPYC that
/// other work shared.
pub(super) fn curve_us(b1: u32, bits: u32) -> u64 {
    let words = u64::from(bits.div_ceil(u64::BITS));
    40 + u64::from(b1) * (5 * words * words + 2 * words + 8) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sieve_waits_for_a_sixteenth_of_its_time() {
        for bits in SIEVE_FROM_BITS..=crate::MAX_SIEVE_BITS {
            let curves = before_sieve(bits);
            let cost = |level: &Level| {
                let runs = if level.p_minus_1 == 0 { 0 } else { 4 };
                curve_us(level.b1, bits) * u64::from(level.curves + runs)
            };
            let cost: u64 = curves.iter().map(cost).sum();
            assert!(cost <= 1000 * sieve_ms(bits) / SHARE, "{bits}");
            // And there is something worth while from the size on where it takes more than an
            // instant, unless that is all there is.
            let is_worth_while = cost >= 1000 * sieve_ms(bits) / 100;
            assert!(bits < 128 || is_worth_while || curves == LEVELS, "{bits}");
        }
        assert!(before_sieve(200).len() > before_sieve(128).len());
    }

    #[test]
    fn levels_ascend() {
        assert_eq!(up_to(0), []);
        assert_eq!(up_to(35), LEVELS);
        assert_eq!(up_to(29).last().map(|level| level.digits), Some(25));
        let b1 = |levels: &[Level]| levels.iter().map(|level| level.b1).is_sorted();
        assert!(b1(&LEVELS) && b1(&SHORT_LEVELS));
    }
}
