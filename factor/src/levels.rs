//! Levels of p ± 1 and curves, and how many of them are worthwhile.

use crate::factor_many::{self, MOST_CURVES};
use crate::spread::CURVES_AT_ONCE;

/// p ± 1, then curves with one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Decimal digits of the factors that all curves of the level find with probability 1 − 1/e.
    pub digits: u32,
    /// Bound B1 of p ± 1; 0 if the level has no p ± 1.
    pub p_minus_1: u32,
    /// Bound B1 of the curves.
    pub b1: u32,
    /// Number of curves.
    pub curves: u32,
}

/// Number of curves that take as long as p ± 1.
const PLUS_MINUS_CURVES: u32 = 8;

impl Level {
    /// Number of curves that take as long as the whole level.
    pub(crate) fn cost_in_curves(&self) -> u32 {
        let plus_minus = if self.p_minus_1 == 0 {
            0
        } else {
            PLUS_MINUS_CURVES
        };
        self.curves + plus_minus
    }
}

const fn level(digits: u32, p_minus_1: u32, b1: u32, curves: u32) -> Level {
    Level {
        digits,
        p_minus_1,
        b1,
        curves,
    }
}

/// The curves of a level find a factor of its number of digits with probability 1 − 1/e. Up to 30
/// digits, the number of curves follows from the share of curves that found random primes of 15 to
/// 30 digits. Beyond, it follows from Dickman's function for numbers 23 times smaller than the
/// prime, plus a fifth, which was needed up to 30 digits. p ± 1 with five times the bound of the
/// curves costs as much as eight of them.
const LEVELS: [Level; 7] = [
    level(10, 0, 200, 10),
    level(15, 10_000, 2_000, 30),
    level(20, 75_000, 15_000, 65),
    level(25, 500_000, 100_000, 164),
    level(30, 2_500_000, 500_000, 512),
    level(35, 10_000_000, 2_000_000, 1_100),
    level(40, 30_000_000, 6_000_000, 3_100),
];

/// From this many bits on, the sieve is faster than curves that find a factor of half the bits.
const SIEVE_FROM_BITS: u32 = 119;

/// Size in bits, and milliseconds that the sieve takes, linear algebra included: measured up to 256
/// bits on one core of an AMD EPYC (Zen 4) with AVX-512, estimated above.
const SIEVE_MS: [(u32, u64); 15] = [
    (112, 4),
    (128, 6),
    (144, 16),
    (160, 36),
    (176, 100),
    (192, 310),
    (208, 650),
    (224, 2_400),
    (240, 5_000),
    (256, 16_000),
    (272, 55_000),
    (288, 170_000),
    (304, 420_000),
    (330, 2_000_000),
    (400, 200_000_000),
];

/// Before the sieve, p ± 1 and curves may take the sieve's time divided by this. A composite of two
/// factors of equal size loses that time; one with a small factor, as a random number has, gains
/// most of the sieve's time.
const SIEVE_TIME_DIVISOR: u64 = 16;

/// Microseconds that a call costs in addition to its curves.
const CALL_US: u64 = 30;

/// The levels to try before the sieve on a composite of this many bits.
pub(crate) fn before_sieve(bits: u32) -> Vec<Level> {
    if bits < SIEVE_FROM_BITS {
        // Enough to find the smaller factor.
        let b1 = factor_many::curve_bound(bits);
        return vec![
            level(10, 0, b1, MOST_CURVES),
            level(13, 0, 4 * b1, MOST_CURVES),
        ];
    }
    let mut budget = 1000 * sieve_ms(bits) / SIEVE_TIME_DIVISOR;
    let mut levels = Vec::new();
    for mut level in LEVELS {
        let curve = curve_us(level.b1, bits);
        // A part of the curves that run at once would take as long as all of them.
        let most = level.curves.next_multiple_of(CURVES_AT_ONCE);
        let affordable = |fixed: u64| {
            let curves = budget.saturating_sub(fixed) / curve;
            // At most `most`, so it fits `u32`.
            curves.min(most.into()) as u32 / CURVES_AT_ONCE * CURVES_AT_ONCE
        };
        let mut fixed = CALL_US;
        if level.p_minus_1 > 0 {
            fixed += CALL_US + u64::from(PLUS_MINUS_CURVES) * curve;
            if affordable(fixed) == 0 {
                (level.p_minus_1, fixed) = (0, CALL_US);
            }
        }
        level.curves = affordable(fixed);
        if level.curves == 0 {
            break;
        }
        budget -= fixed + u64::from(level.curves) * curve;
        levels.push(level);
    }
    levels
}

/// The number of a level's first curve: each level has curves of its own.
pub(crate) fn first_curve(b1: u32) -> u64 {
    (b1 / 4).into()
}

/// All levels up to factors of this many decimal digits.
pub(crate) fn up_to(digits: u32) -> Vec<Level> {
    LEVELS
        .into_iter()
        .filter(|level| level.digits <= digits)
        .collect()
}

/// Size in bits, and microseconds for a product of two primes of equal size that is factored side
/// by side with others, below [`SIEVE_FROM_BITS`].
const MANY_US: [(u32, u64); 8] = [
    (16, 1),
    (40, 1),
    (48, 2),
    (64, 13),
    (80, 75),
    (96, 320),
    (112, 3_000),
    (118, 5_000),
];

/// Expected seconds to factor a product of two primes of equal size with this many bits.
#[must_use]
pub fn expected_seconds(bits: u32) -> f64 {
    if bits < SIEVE_FROM_BITS {
        interpolate(&MANY_US, bits) as f64 / 1e6
    } else {
        sieve_ms(bits) as f64 / 1e3
    }
}

/// Milliseconds that the sieve takes: [`SIEVE_MS`], interpolated linearly.
pub(crate) fn sieve_ms(bits: u32) -> u64 {
    interpolate(&SIEVE_MS, bits)
}

fn interpolate(table: &[(u32, u64)], bits: u32) -> u64 {
    let after = table.partition_point(|&(size, _)| size <= bits);
    match (table.get(after.wrapping_sub(1)), table.get(after)) {
        (Some(&(b0, t0)), Some(&(b1, t1))) => {
            t0 + (t1 - t0) * u64::from(bits - b0) / u64::from(b1 - b0)
        }
        (Some(&(_, time)), None) | (None, Some(&(_, time))) => time,
        (None, None) => 0,
    }
}

/// Microseconds per curve if a kernel runs eight of them in its lanes: measured from 166 to 512
/// bits on one core of an Intel Xeon (Sapphire Rapids) with AVX-512 IFMA.
pub(crate) fn curve_us(b1: u32, bits: u32) -> u64 {
    let digits = u64::from(bits.div_ceil(52));
    2 + u64::from(b1) * (3 * digits * digits + 2) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sieve_waits_for_a_sixteenth_of_its_time() {
        for bits in SIEVE_FROM_BITS..=crate::MAX_SIEVE_BITS {
            let curves = before_sieve(bits);
            let cost = |level: &Level| curve_us(level.b1, bits) * u64::from(level.cost_in_curves());
            let cost: u64 = curves.iter().map(cost).sum();
            assert!(cost <= 1000 * sieve_ms(bits) / SIEVE_TIME_DIVISOR, "{bits}");
            // From 128 bits on, the curves take at least a hundredth of the sieve's time, unless
            // all levels are in use.
            let is_worth_while = cost >= 1000 * sieve_ms(bits) / 100;
            let are_all = curves.len() == LEVELS.len();
            assert!(bits < 128 || is_worth_while || are_all, "{bits}");
        }
        assert!(before_sieve(200).len() > before_sieve(128).len());
    }

    #[test]
    fn levels_ascend() {
        assert_eq!(up_to(0), []);
        assert_eq!(up_to(40), LEVELS);
        assert_eq!(up_to(29).last().map(|level| level.digits), Some(25));
        assert!(LEVELS.map(|level| level.b1).is_sorted());
    }
}
