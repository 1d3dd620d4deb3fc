//! Polynomials, in families that share their leading coefficient.
//!
//! Let N be the number times its multiplier, which is 1 modulo 8. For odd a and b with b² ≡ N
//! modulo 4a, the values y = 2ax + b satisfy y² − N = 4a · v(x) with v(x) = ax² + bx + (b² − N)/4a.
//! If a = Π q is a product of s primes of the base, there are 2^(s − 1) such b up to their sign: b
//! = Σ ±B_i, with B_i² ≡ N modulo q_i and B_i ≡ 0 modulo the others (Contini, *Factoring integers
//! with the self-initializing quadratic sieve*, 1997; the form 2ax + b is from Silverman, 1987).
//!
//! A family follows from the number and an index alone, on all machines, so that no machine has to
//! tell another one which families it uses.

use std::ops::Range;

use rug::Integer;

use super::factor_base::{FactorBase, power};
use super::parameters::{HALF, Parameters};
use super::wide::Wide;

/// Number of attempts to choose a leading coefficient; the best one is taken.
const TRIES: u32 = 8;

/// The search ends at a leading coefficient that differs from the target by at most this factor.
const NEAR: f64 = 1.015;

/// All families of a number.
#[derive(Clone, Debug)]
pub(super) struct Polynomials {
    /// The number times its multiplier.
    pub(super) multiple: Wide,
    /// The leading coefficient that gives the smallest values.
    pub(super) target: Integer,
    /// The indices in the factor base from which the factors of leading coefficients are chosen.
    pool: Range<usize>,
    factors: usize,
    /// Seed of the random choice of families.
    seed: u64,
}

/// Polynomials with the same leading coefficient.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// Indices of the prime factors q of the leading coefficient in the factor base, ascending.
    pub(super) factors: Vec<u32>,
    /// For each q, γ with B = (a/q) · γ, below q/2.
    pub(super) gammas: Vec<u32>,
    /// Whether a was added to the sum of all B to make the first b odd.
    pub(super) is_a_added: bool,
    a: Wide,
    /// Inverse of a modulo 2^256.
    a_inverse: Wide,
    /// Twice each B.
    terms: Vec<Wide>,
    /// b of the first polynomial.
    b: Wide,
}

/// A value of a polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// |2ax + b|: its square is 4a times the value modulo the number.
    pub(super) root: Wide,
    /// The value, with its sign.
    pub(super) value: Wide,
}

impl Polynomials {
    pub(super) fn new(base: &FactorBase, parameters: &Parameters) -> Self {
        let target = Integer::from(&base.multiple >> 1).sqrt() / HALF;
        let typical = Integer::from(target.root_ref(parameters.factors as u32))
            .to_u32()
            .unwrap_or(u32::MAX);
        let middle = base.primes.partition_point(|&prime| prime < typical);
        // The smallest primes are worth more as divisors of values. Primes of the pool are below
        // the block's length.
        let least = base.primes.partition_point(|&prime| prime < LEAST_FACTOR);
        let most = base.primes.partition_point(|&prime| prime < 2 * HALF);
        let start = middle.saturating_sub(parameters.pool / 2).max(least);
        let end = (start + parameters.pool).min(most);
        Self {
            multiple: Wide::of(&base.multiple),
            target,
            pool: end.saturating_sub(parameters.pool).max(least)..end,
            factors: parameters.factors,
            seed: base.multiple.to_u64_wrapping(),
        }
    }

    /// Number of polynomials in each family.
    pub(super) fn in_family(&self) -> u32 {
        1 << (self.factors - 1)
    }

    /// Family number `index`.
    pub(super) fn family(&self, base: &FactorBase, index: u64) -> Family {
        let factors = self.choose(base, index);
        let primes = || factors.iter().map(|&factor| base.primes[factor as usize]);
        let a = primes().fold(Integer::from(1), |a, q| a * q);
        let (mut gammas, mut terms) = (Vec::new(), Vec::new());
        let mut sum = Integer::new();
        for (&factor, q) in factors.iter().zip(primes()) {
            let others = Integer::from(&a / q);
            let root = u64::from(base.roots[factor as usize]);
            let modulus = u64::from(q);
            let inverse = power(others.mod_u(q).into(), modulus - 2, modulus);
            let gamma = root * inverse % modulus;
            let gamma = gamma.min(modulus - gamma) as u32;
            let term = others * gamma;
            sum += &term;
            gammas.push(gamma);
            terms.push(Wide::of(&(term * 2)));
        }
        let is_a_added = sum.is_even();
        if is_a_added {
            sum += &a;
        }
        let a = Wide::of(&a);
        Family {
            factors,
            gammas,
            is_a_added,
            a,
            a_inverse: a.inverse(),
            terms,
            b: Wide::of(&sum),
        }
    }

    /// Chooses all factors but one at random, and the last one so that the product is near the
    /// target. The best of several attempts is taken.
    fn choose(&self, base: &FactorBase, index: u64) -> Vec<u32> {
        let mut random = Random(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let pool = &base.primes[self.pool.clone()];
        let may_be = |place: usize| !base.multiplier.is_multiple_of(pool[place]);
        let mut best = (f64::INFINITY, Vec::new());
        for _ in 0..TRIES {
            let mut chosen: Vec<usize> = Vec::with_capacity(self.factors);
            while chosen.len() + 1 < self.factors {
                let place = (random.next() % pool.len() as u64) as usize;
                if may_be(place) && !chosen.contains(&place) {
                    chosen.push(place);
                }
            }
            let product = chosen
                .iter()
                .fold(Integer::from(1), |product, &place| product * pool[place]);
            let wanted = Integer::from(&self.target / &product)
                .to_u32()
                .unwrap_or(u32::MAX);
            let mut last = pool
                .partition_point(|&prime| prime < wanted)
                .min(pool.len() - 1);
            while !may_be(last) || chosen.contains(&last) {
                last = (last + 1) % pool.len();
            }
            chosen.push(last);
            let ratio = (product * pool[last]).to_f64() / self.target.to_f64();
            let distance = ratio.max(1.0 / ratio);
            if distance < best.0 {
                best = (distance, chosen);
            }
            if distance < NEAR {
                break;
            }
        }
        let mut factors: Vec<u32> = best
            .1
            .iter()
            .map(|place| (self.pool.start + place) as u32)
            .collect();
        factors.sort_unstable();
        factors
    }
}

/// Smallest factor of a leading coefficient.
const LEAST_FACTOR: u32 = 13;

impl Family {
    /// The coefficient b of a polynomial. The polynomials are in the order of Gray code, so that
    /// one sign changes from each to the next.
    pub(super) fn b(&self, polynomial: u32) -> Wide {
        let negative = polynomial ^ polynomial >> 1;
        let terms = self.terms.iter().enumerate();
        terms
            .filter(|(i, _)| negative >> i & 1 == 1)
            .fold(self.b, |b, (_, term)| b.sub(*term))
    }

    /// Root and value of the polynomial with this b at a place in the block. Computed modulo 2^254;
    /// values have fewer bits.
    pub(super) fn value(&self, multiple: Wide, b: Wide, place: u16) -> Value {
        let x = i64::from(place) - i64::from(HALF);
        let root = self.a.mul_small(2 * x).add(b);
        let difference = root.mul(root).sub(multiple);
        let value = difference
            .shift_right(2)
            .mul(self.a_inverse)
            .sign_extend(254);
        Value {
            root: root.abs(),
            value,
        }
    }

    /// The exponent of 2 in the value at a place, at most 62, from the low words alone.
    pub(super) fn twos(&self, multiple: Wide, b: Wide, place: u16) -> u32 {
        let x = i64::from(place) - i64::from(HALF);
        let root = (2 * x)
            .cast_unsigned()
            .wrapping_mul(self.a.low())
            .wrapping_add(b.low());
        let difference = root.wrapping_mul(root).wrapping_sub(multiple.low());
        difference.trailing_zeros() - 2
    }
}

/// SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factor_base::Base;
    use super::*;
    use crate::Cancel;

    /// Base and polynomials of a product of two primes, each the first one after a number 3 · 2^k.
    fn polynomials(bits: u32) -> (FactorBase, Polynomials) {
        let half = |bits: u32| (Integer::from(3) << (bits - 2)).next_prime();
        let number = half(bits / 2) * half(bits - bits / 2);
        let parameters = Parameters::for_bits(number.significant_bits());
        let Ok(Base::Ready(base)) = FactorBase::build(&number, &parameters, &Cancel::new()) else {
            panic!("no factor base for {bits} bits")
        };
        let polynomials = Polynomials::new(&base, &parameters);
        (base, polynomials)
    }

    #[test]
    fn values_are_what_the_squares_of_roots_leave() {
        for bits in [66, 96, 128, 200, 256, 330, 400] {
            let (base, polynomials) = polynomials(bits);
            let n = &base.multiple;
            for index in [0, 1, 77, u64::MAX] {
                let family = polynomials.family(&base, index);
                let a = family.a.to_integer();
                let mut bs = Vec::new();
                for polynomial in [0, 1, 2, polynomials.in_family() - 1] {
                    let b = family.b(polynomial);
                    bs.push(b.abs());
                    for place in [0, 1, 9_999, 16_384, 32_767] {
                        let Value { root, value } = family.value(polynomials.multiple, b, place);
                        let magnitude = value.abs().to_integer();
                        let signed = if value.is_negative() {
                            -magnitude
                        } else {
                            magnitude
                        };
                        let x = Integer::from(i64::from(place) - i64::from(HALF));
                        let left = root.to_integer().square() - n;
                        assert_eq!(left, Integer::from(&a * &signed) * 4, "{bits} bits");
                        // y = 2ax + b up to its sign.
                        let magnitude = b.abs().to_integer();
                        let b = if b.is_negative() {
                            -magnitude
                        } else {
                            magnitude
                        };
                        let y: Integer = Integer::from(&a * &x) * 2 + b;
                        assert_eq!(y.abs(), root.to_integer());
                        // Values are not larger than necessary.
                        let most = Integer::from(n.sqrt_ref()) * HALF;
                        assert!(signed.abs() < most, "{bits} bits, family {index}");
                    }
                }
                let all = bs.len();
                bs.dedup();
                assert_eq!(bs.len(), all, "{bits} bits");
            }
        }
    }

    #[test]
    fn families_differ() {
        for bits in [80, 128, 256] {
            let (base, polynomials) = polynomials(bits);
            let mut all: Vec<_> = (0..100)
                .map(|i| polynomials.family(&base, i).factors)
                .collect();
            all.sort();
            all.dedup();
            // Small numbers have few families.
            assert!(all.len() > 60, "{bits} bits: {}", all.len());
            let again = polynomials.family(&base, 5).factors;
            assert!(all.contains(&again));
        }
    }
}
