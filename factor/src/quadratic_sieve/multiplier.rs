//! The multiplier: a small factor that makes more small primes divide the values of polynomials.

use rug::Integer;

/// Multipliers are below this.
const BOUND: u32 = 200;

/// Number of odd primes that rate a multiplier.
const PRIMES: usize = 350;

/// The best multiplier k with k · `n` ≡ 1 mod 8, by the measure of Silverman, *The multiple
/// polynomial quadratic sieve*, 1987, section 5. `primes` are the odd primes from 3 on, `n` is odd.
pub(super) fn multiplier(n: &Integer, primes: &[u32]) -> u32 {
    let primes = &primes[..PRIMES.min(primes.len())];
    let symbols: Vec<i32> = primes.iter().map(|&p| n.jacobi(&p.into())).collect();
    let score = |k: u32| {
        let terms = primes.iter().zip(&symbols).map(|(&p, symbol)| {
            let log = log(p);
            if k.is_multiple_of(p) {
                log / i64::from(p)
            } else if symbol * Integer::from(k).jacobi(&p.into()) == 1 {
                2 * log / i64::from(p - 1)
            } else {
                0
            }
        });
        terms.sum::<i64>() - log(k) / 2
    };
    let residue = n.mod_u(8);
    let is_square_free = |k: &u32| {
        primes
            .iter()
            .take_while(|&&p| p * p <= *k)
            .all(|&p| !k.is_multiple_of(p * p))
    };
    (1..BOUND)
        .filter(|k| k * residue % 8 == 1)
        .filter(is_square_free)
        // The smallest of those with the best score.
        .max_by_key(|&k| (score(k), BOUND - k))
        .unwrap_or(1)
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
        assert_eq!(multiplier(&n, &primes), 1);
        for n in 1_000_001..1_000_101_u32 {
            if n % 2 == 1 {
                let k = multiplier(&n.into(), &primes);
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
