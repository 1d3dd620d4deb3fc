//! The probability that curves find a factor.

use std::f64::consts::LN_10;

use primepool_curves::plan::CurveBounds;

use crate::levels::Level;

/// Entries of the table of Dickman's function between two integers.
const STEPS: usize = 256;

/// Dickman's function ρ: the share of the numbers near x that have no prime factor above x^(1/u) is
/// ρ(u) (Dickman, *On the frequency of numbers containing prime factors of a certain relative
/// magnitude*, 1930). ρ(u) = 1 up to u = 1. Beyond, u · ρ(u) is the integral of ρ from u − 1 to u.
struct Dickman(Vec<f64>);

impl Dickman {
    /// The table for u from 0 to `most`.
    fn up_to(most: f64) -> Self {
        let places = STEPS * most.max(1.0).ceil() as usize + 2;
        let mut values = vec![1.0; STEPS + 1];
        // The sum of the last `STEPS` values.
        let mut sum = STEPS as f64;
        for place in STEPS + 1..places {
            // The trapezoidal rule, in which the new value itself has half the weight.
            let value = (sum - values[place - STEPS] / 2.0) / (place as f64 - 0.5);
            sum += value - values[place - STEPS];
            values.push(value);
        }
        Self(values)
    }

    /// ρ(u) for u from 0 to the end of the table, interpolated linearly.
    fn at(&self, u: f64) -> f64 {
        let place = u.max(0.0) * STEPS as f64;
        let below = (place as usize).min(self.0.len() - 2);
        let part = place - below as f64;
        self.0[below] * (1.0 - part) + self.0[below + 1] * part
    }
}

/// The order of a curve is smooth as often as a number that is smaller than the prime by this
/// factor: 12 divides the order, and higher powers of 2 and 3 do on average. Measured with random
/// primes of 15 to 30 digits.
const SMALLER: f64 = 23.0;

/// Probability that one curve with bound `b1` finds a prime factor near 10^`digits`: that the
/// curve's order is smooth to B1 except for one prime up to B2 (Brent, *Some integer factorization
/// algorithms using elliptic curves*, 1986).
fn of_curve(digits: u32, b1: u32) -> f64 {
    let bounds = CurveBounds::new(b1);
    let (ln_b1, ln_b2) = (f64::from(bounds.b1).ln(), f64::from(bounds.b2).ln());
    let alpha = (f64::from(digits) * LN_10 - SMALLER.ln()) / ln_b1;
    let rho = Dickman::up_to(alpha);
    let last = (ln_b2 / ln_b1).min(alpha);
    let steps = 1000;
    let step = (last - 1.0) / f64::from(steps);
    let second: f64 = (0..steps)
        .map(|i| 1.0 + (f64::from(i) + 0.5) * step)
        .map(|beta| rho.at(alpha - beta) / beta * step)
        .sum();
    (rho.at(alpha) + second).clamp(0.0, 1.0)
}

/// Probability that the curves of these levels miss a prime factor near 10^`digits`. The
/// contribution of p ± 1 is ignored.
pub(crate) fn missed(digits: u32, levels: &[Level]) -> f64 {
    let each = levels.iter().map(|level| {
        let curves = i32::try_from(level.curves).unwrap_or(i32::MAX);
        (1.0 - of_curve(digits, level.b1)).powi(curves)
    });
    each.product()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_curves::Ecm;
    use primepool_engine::Kernel;

    use super::*;
    use crate::{Cancel, Integer, levels};

    #[test]
    fn dickmans_function_has_its_known_values() {
        let rho = Dickman::up_to(10.0);
        // van de Lune and Wattel, On the numerical solution of a differential-difference equation
        // arising in analytic number theory, 1969.
        for (u, expected) in [
            (0.5, 1.0),
            (1.0, 1.0),
            (2.0, 1.0 - std::f64::consts::LN_2),
            (3.0, 4.860_838_829e-2),
            (5.0, 3.547_247_005e-4),
            (10.0, 2.770_171_838e-11),
        ] {
            assert!((rho.at(u) / expected - 1.0).abs() < 1e-3, "{u}");
        }
    }

    #[test]
    fn each_level_finds_its_factors_as_often_as_it_says() {
        let missed_by_one = 1.0 / std::f64::consts::E;
        for level in levels::up_to(40).into_iter().filter(|l| l.digits >= 15) {
            let missed = missed(level.digits, &[level]);
            assert!(
                (missed - missed_by_one).abs() < 0.1,
                "{} digits: {missed}",
                level.digits
            );
        }
        let all = levels::up_to(40);
        assert!(missed(40, &all) < missed_by_one);
        assert!(missed(20, &all) < 1e-6);
        assert!(missed(60, &all) > 0.9);
        assert!((missed(20, &[]) - 1.0).abs() < 1e-9);
    }

    /// For primes just below a power of 10: how many the curves of a level find, and the expected
    /// number.
    fn found_and_expected(digits: u32, primes: u32) -> (f64, f64) {
        let level = levels::up_to(digits).pop().unwrap();
        let mut ecm = Ecm::new(Kernel::fastest());
        let (top, cofactor) = (Integer::u_pow_u(10, digits), Integer::u_pow_u(10, 30));
        let cofactor = Integer::from(cofactor).next_prime();
        let mut prime: Integer = Integer::from(top) * 9 / 10;
        let mut found = 0.0;
        for _ in 0..primes {
            prime += 1_000_003;
            prime = prime.next_prime();
            let n = Integer::from(&prime * &cofactor);
            let curves = 0..u64::from(level.curves);
            let divisor = ecm.curves(&n, level.b1, curves, &Cancel::new(), &mut |_| {});
            found += f64::from(u8::from(divisor.unwrap() == Some(prime.clone())));
        }
        (found, f64::from(primes) * (1.0 - missed(digits, &[level])))
    }

    /// A fault in a stage of the curves would not give wrong divisors, but fewer divisors.
    #[test]
    fn curves_find_as_many_factors_as_they_should() {
        let mut cases = vec![(15, 400), (20, 100)];
        if std::env::var_os("PRIMEPOOL_TEST_FULL").is_some() {
            cases.push((25, 200));
        }
        for (digits, primes) in cases {
            let (found, expected) = found_and_expected(digits, primes);
            assert!(
                (found / expected - 1.0).abs() < 0.15,
                "{digits} digits: {found} of {primes}, not {expected}"
            );
        }
    }
}
