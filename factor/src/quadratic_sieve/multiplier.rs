//! The multiplier: a small factor that makes more small primes divide the values of polynomials.

use std::sync::{LazyLock, OnceLock};

use primepool_engine::small;
use rug::Integer;

/// Multipliers are below this.
const BOUND: u32 = 200;

/// Number of odd primes that rate a multiplier.
const PRIMES: usize = 350;

/// The odd primes that rate multipliers, each with its logarithm.
static RATED_BY: LazyLock<Vec<(u32, i64)>> = LazyLock::new(|| {
    let primes = (3..).filter(|&n| small::is_prime(n.into()));
    primes.take(PRIMES).map(|p| (p, log(p))).collect()
});

/// A possible multiplier.
struct Candidate {
    k: u32,
    /// Its score for a number modulo which no prime is a square.
    score: i64,
    /// The Legendre symbol of the multiplier modulo each of the primes.
    symbols: Vec<i8>,
}

/// The candidates that are 1, 3, 5, 7 modulo 8: each group when it is first needed.
static CANDIDATES: [OnceLock<Vec<Candidate>>; 4] = [const { OnceLock::new() }; 4];

/// The square-free multipliers with this residue modulo 8.
fn candidates(residue: u32) -> Vec<Candidate> {
    let is_square_free = |k: &u32| {
        (3..)
            .step_by(2)
            .take_while(|q| q * q <= *k)
            .all(|q| !k.is_multiple_of(q * q))
    };
    let candidate = |k: u32| Candidate {
        k,
        score: RATED_BY
            .iter()
            .filter(|(p, _)| k.is_multiple_of(*p))
            .map(|&(p, log)| log / i64::from(p))
            .sum::<i64>()
            - log(k) / 2,
        symbols: RATED_BY
            .iter()
            .map(|&(p, _)| Integer::from(k).jacobi(&p.into()) as i8)
            .collect(),
    };
    (residue..BOUND)
        .step_by(8)
        .filter(is_square_free)
        .map(candidate)
        .collect()
}

/// The best multiplier k with k · `n` ≡ 1 mod 8, by the measure of Silverman, *The multiple
/// polynomial quadratic sieve*, 1987, section 5. `n` is odd.
pub(super) fn multiplier(n: &Integer) -> u32 {
    let primes = RATED_BY.iter();
    let rated: Vec<(i8, i64)> = primes
        .map(|&(p, log)| (n.jacobi(&p.into()) as i8, 2 * log / i64::from(p - 1)))
        .collect();
    let score = |candidate: &Candidate| {
        let pairs = candidate.symbols.iter().zip(&rated);
        let squares = pairs.filter(|(symbol, (of_n, _))| *symbol * of_n == 1);
        candidate.score + squares.map(|(_, (_, gain))| gain).sum::<i64>()
    };
    // The inverse of an odd number modulo 8 is the number itself.
    let residue = n.mod_u(8);
    let candidates = CANDIDATES[residue as usize / 2].get_or_init(|| candidates(residue));
    // The smallest of those with the best score.
    let best = candidates
        .iter()
        .max_by_key(|candidate| (score(candidate), BOUND - candidate.k));
    best.map_or(1, |best| best.k)
}

/// The natural logarithm in units of 2^-20. Rounding makes it the same on all machines, even if the
/// last bits of their logarithms differ.
fn log(n: u32) -> i64 {
    (f64::from(n).ln() * f64::from(1 << 20)).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiplier_is_the_one_with_the_most_small_primes() {
        let primes: Vec<u32> = (3..3000)
            .filter(|&n| primepool_engine::small::is_prime(n.into()))
            .collect();
        // 1 mod 8, and a square modulo all small primes: nothing to gain.
        let mut n = Integer::from(1);
        n += primes[..20]
            .iter()
            .fold(Integer::from(8), |product, &p| product * p);
        assert_eq!(multiplier(&n), 1);
        for n in 1_000_001..1_000_101_u32 {
            if n % 2 == 1 {
                let k = multiplier(&n.into());
                assert!(k < BOUND && k * n % 8 == 1, "{n}: {k}");
            }
        }
    }

    #[test]
    fn logarithms_are_not_near_where_rounding_turns() {
        for n in 1..4000 {
            let exact = f64::from(n).ln() * f64::from(1 << 20);
            assert!((exact.fract() - 0.5).abs() > 1e-6, "{n}");
        }
    }
}
