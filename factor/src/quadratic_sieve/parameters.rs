//! Parameters by size of the number.
//!
//! Factor base, large primes and factors of a polynomial's leading coefficient determine which
//! relations a family index stands for, so all machines must agree on them: they are computed with
//! integers.

/// Half the length of the interval that each polynomial is sieved over.
pub(super) const HALF: u32 = BLOCK as u32 / 2;

/// Values that each polynomial is sieved for: one block, which fits the first level of the cache.
pub(super) const BLOCK: usize = 1 << 15;

/// Relations between two polls of the cancellation flag: some milliseconds.
pub(super) const RELATIONS_PER_POLL: usize = 4096;

/// Parameters of the sieve of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Number of primes in the factor base, 2 among them.
    pub base: usize,
    /// A large prime is below this, which is at most 2^32.
    pub large_bound: u64,
    /// The product of two large primes is below this; 0 if relations have at most one.
    pub double_bound: u64,
    /// Primes below this are not sieved with: reports are scored again with them.
    pub scored_below: u32,
    /// Number of prime factors of a polynomial's leading coefficient.
    pub factors: usize,
    /// Number of primes that the factors are chosen from.
    pub pool: usize,
    /// Bits that a value may lack at the sieve's threshold. The primes that are not sieved with
    /// have to supply them.
    pub lacking_bits: u32,
}

/// A row of [`TABLE`].
struct Row {
    bits: u32,
    base: u32,
    /// log2 of the bound of large primes, in sixteenths.
    large: u32,
    scored_below: u32,
    factors: u32,
    lacking: u32,
}

const fn row(
    bits: u32,
    base: u32,
    large: u32,
    scored_below: u32,
    factors: u32,
    lacking: u32,
) -> Row {
    Row {
        bits,
        base,
        large,
        scored_below,
        factors,
        lacking,
    }
}

/// Each value was the best, or within the noise of the best, when one of them was changed at a
/// time: `make tune-factor`, on an AMD EPYC (Zen 4) from 128 to 256 bits and on an Intel Xeon
/// (Sapphire Rapids) from 96 to 208 bits. At 272, 288 and 304 bits, they are the best of some that
/// were tried on an Intel Xeon (Emerald Rapids). Below and above, they are estimates. The optimum
/// is flat: a factor base that is a third larger or smaller costs some 3 %.
///
/// Bases are smaller again from [`DOUBLE_FROM`] bits on, where relations may have two large primes.
const TABLE: [Row; 17] = [
    row(64, 50, 12 * 16, 100, 3, 12),
    row(80, 90, 13 * 16, 120, 3, 14),
    row(96, 150, 14 * 16, 160, 4, 16),
    row(112, 260, 16 * 16, 200, 4, 18),
    row(128, 450, 18 * 16, 200, 5, 20),
    row(160, 1_700, 21 * 16, 400, 6, 25),
    row(192, 5_500, 23 * 16 + 8, 1_100, 7, 34),
    row(208, 8_500, 24 * 16 + 8, 1_300, 8, 36),
    row(224, 14_000, 26 * 16, 1_300, 9, 37),
    row(240, 22_000, 27 * 16, 1_300, 9, 37),
    row(256, 35_000, 28 * 16, 1_300, 10, 37),
    row(271, 58_000, 29 * 16, 1_300, 10, 37),
    row(272, 38_000, 27 * 16 + 8, 1_300, 10, 33),
    row(288, 52_000, 28 * 16, 1_300, 11, 33),
    row(304, 75_000, 28 * 16 + 8, 1_300, 11, 35),
    row(330, 115_000, 29 * 16 + 8, 1_300, 12, 37),
    row(400, 500_000, 32 * 16, 1_300, 15, 37),
];

/// From this many bits on, relations may have two large primes.
const DOUBLE_FROM: u32 = 272;

/// The product of two large primes is below their bound to the power of this many sixteenths: if a
/// product is near the bound's square, hardly ever are both primes below the bound (yafu uses 1.8).
const DOUBLE_EXPONENT: u32 = 29;

impl Parameters {
    /// The parameters for a number of this many bits.
    #[must_use]
    pub fn for_bits(bits: u32) -> Self {
        let after = TABLE
            .partition_point(|row| row.bits <= bits)
            .clamp(1, TABLE.len() - 1);
        let (low, high) = (&TABLE[after - 1], &TABLE[after]);
        let span = high.bits - low.bits;
        let above = bits.clamp(low.bits, high.bits) - low.bits;
        // Interpolated linearly between the neighbours, and rounded to the nearest integer.
        let between = |a: u32, b: u32| (a * (span - above) + b * above + span / 2) / span;
        let large = between(low.large, high.large);
        // Linear from one power of 2 to the next.
        let power = |sixteenths: u32| u64::from(16 + sixteenths % 16) << (sixteenths / 16) >> 4;
        let factors = between(low.factors, high.factors) as usize;
        Self {
            base: between(low.base, high.base) as usize,
            large_bound: power(large),
            double_bound: if bits < DOUBLE_FROM {
                0
            } else {
                power(large * DOUBLE_EXPONENT / 16)
            },
            scored_below: between(low.scored_below, high.scored_below),
            factors,
            pool: pool(bits, factors),
            lacking_bits: between(low.lacking, high.lacking),
        }
    }
}

/// Number of primes from which `factors` factors of a leading coefficient are chosen: ten times as
/// many, so that different polynomials rarely have values in common. For large numbers it is less,
/// because the tables of inverses would take too much memory.
fn pool(bits: u32, factors: usize) -> usize {
    match bits {
        0..=256 => (10 * factors).max(24),
        _ => 5 * factors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_met_and_sizes_between_them_are_between() {
        for row in &TABLE {
            let parameters = Parameters::for_bits(row.bits);
            assert_eq!(parameters.base, row.base as usize);
            assert_eq!(parameters.factors, row.factors as usize);
        }
        let sizes: Vec<_> = (64..=400).map(Parameters::for_bits).collect();
        let (single, double) = sizes.split_at((DOUBLE_FROM - 64) as usize);
        for sizes in [single, double] {
            assert!(sizes.is_sorted_by_key(|size| size.base));
            assert!(sizes.is_sorted_by_key(|size| size.large_bound));
            assert!(sizes.is_sorted_by_key(|size| size.factors));
        }
        assert!(single.iter().all(|size| size.double_bound == 0));
        for size in double {
            let square = u128::from(size.large_bound).pow(2);
            assert!(u128::from(size.double_bound) < square && size.large_bound <= 1 << 32);
            // There is room between the square of the base's largest prime and the bound.
            let greatest = 30 * size.base as u64;
            assert!(size.double_bound > 16 * greatest.pow(2), "{size:?}");
        }
        assert_eq!(Parameters::for_bits(256).large_bound, 1 << 28);
        // Halfway between 2^26 and 2^27.
        assert_eq!(Parameters::for_bits(232).large_bound, 3 << 25);
    }
}
