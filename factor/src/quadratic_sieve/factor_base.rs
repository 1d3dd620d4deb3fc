//! The factor base: primes that can divide the values of polynomials, with square roots of the
//! number modulo each.

use primepool_engine::table::Table;
use rug::Integer;

use super::multiplier::multiplier;
use super::parameters::Parameters;
use super::{MAX_BITS, MIN_BITS};
use crate::{Cancel, Error};

/// Primes between two polls of the cancellation flag: some milliseconds.
const PRIMES_PER_POLL: usize = 4096;

/// The factor base of one number.
#[derive(Clone, Debug)]
pub(super) struct FactorBase {
    /// 2, and odd primes modulo which the multiple is a square, ascending.
    pub(super) primes: Vec<u32>,
    /// A square root of the multiple modulo each prime; 0 where the prime divides the multiplier.
    pub(super) roots: Vec<u32>,
    pub(super) multiplier: u32,
    /// The number times the multiplier, which is 1 modulo 8.
    pub(super) multiple: Integer,
}

/// The factor base of a number, or why there is none.
pub(super) enum Base {
    Ready(FactorBase),
    /// This prime divides the number.
    Divisor(u32),
}

impl FactorBase {
    /// Builds the factor base of a number.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other numbers, and [`Error::Cancelled`].
    pub(super) fn build(
        number: &Integer,
        parameters: &Parameters,
        cancel: &Cancel,
    ) -> Result<Base, Error> {
        check_size(number)?;
        let (mut table, mut residues) = (Table::default(), Vec::new());
        // Half of the primes are in the base. The bound is the prime with this index by the prime
        // number theorem, with a margin.
        let index = 2.0 * parameters.base as f64 + 100.0;
        let mut bound = (index * (index.ln() + 2.0)) as u32;
        loop {
            table.grow(bound, cancel)?;
            table.negative_residues(number, bound, &mut residues, cancel)?;
            let multiplier = multiplier(number);
            let mut base = Self {
                primes: vec![2],
                roots: vec![1],
                multiplier,
                multiple: Integer::from(number * multiplier),
            };
            for (i, (&prime, &negative)) in table.primes().iter().zip(&residues).enumerate() {
                if i % PRIMES_PER_POLL == 0 {
                    cancel.check()?;
                }
                if negative == 0 && !multiplier.is_multiple_of(prime) {
                    return Ok(Base::Divisor(prime));
                }
                let p = u64::from(prime);
                let residue = u64::from(prime - negative) * u64::from(multiplier) % p;
                if let Some(root) = square_root(residue, p) {
                    base.primes.push(prime);
                    base.roots.push(root as u32);
                    if base.primes.len() == parameters.base {
                        return Ok(Base::Ready(base));
                    }
                }
            }
            bound *= 2;
        }
    }

    /// The largest prime.
    pub(super) fn largest(&self) -> u32 {
        self.primes[self.primes.len() - 1]
    }
}

/// Checks that the sieve accepts numbers of this size and sign.
fn check_size(number: &Integer) -> Result<(), Error> {
    let bits = number.significant_bits();
    if number.is_negative() || number.is_even() || !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(Error::invalid(format!(
            "the sieve takes odd numbers of {MIN_BITS} to {MAX_BITS} bits, not {number}"
        )));
    }
    Ok(())
}

/// A square root of `n` modulo an odd prime below 2^32, if there is one: by a power, or by the
/// algorithm of Tonelli and Shanks (Cohen, *A course in computational algebraic number theory*,
/// 1993, section 1.5.1).
fn square_root(n: u64, prime: u64) -> Option<u64> {
    let multiply = |a: u64, b: u64| a * b % prime;
    if n == 0 {
        return Some(0);
    }
    if prime % 4 == 3 {
        let root = power(n, prime.div_ceil(4), prime);
        return (multiply(root, root) == n).then_some(root);
    }
    if power(n, prime / 2, prime) != 1 {
        return None;
    }
    let twos = (prime - 1).trailing_zeros();
    let odd = (prime - 1) >> twos;
    let non_residue = (2..).find(|&z| power(z, prime / 2, prime) == prime - 1)?;
    // Invariant: root² = n · rest; the order of rest divides 2^(order − 1), and the order of
    // `generator` is 2^order.
    let mut generator = power(non_residue, odd, prime);
    let mut order = twos;
    let half = power(n, odd / 2, prime);
    let mut root = multiply(half, n);
    let mut rest = multiply(root, half);
    while rest != 1 {
        let mut square = rest;
        let mut steps = 0;
        while square != 1 {
            square = multiply(square, square);
            steps += 1;
        }
        let factor = (0..order - steps - 1).fold(generator, |factor, _| multiply(factor, factor));
        root = multiply(root, factor);
        generator = multiply(factor, factor);
        rest = multiply(rest, generator);
        order = steps;
    }
    Some(root)
}

/// `base^exponent` modulo a modulus below 2^32.
pub(super) fn power(base: u64, exponent: u64, modulus: u64) -> u64 {
    let bits = u64::BITS - exponent.leading_zeros();
    (0..bits).rev().fold(1, |power, bit| {
        let square = power * power % modulus;
        if exponent >> bit & 1 == 1 {
            square * base % modulus
        } else {
            square
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn squares_and_nothing_else_have_roots() {
        for prime in (3..2000).filter(|&n| primepool_engine::small::is_prime(n)) {
            let squares: Vec<u64> = (0..prime).map(|x| x * x % prime).collect();
            for n in 0..prime {
                match square_root(n, prime) {
                    Some(root) => assert_eq!(root * root % prime, n),
                    None => assert!(!squares.contains(&n), "{n} mod {prime}"),
                }
            }
        }
        // 2^31 − 2^27 + 1: a high power of 2 divides p − 1.
        let prime = 2_013_265_921;
        let root = square_root(1_234_567_891 * 1_234_567_891 % prime, prime).unwrap();
        assert!([1_234_567_891, prime - 1_234_567_891].contains(&root));
    }

    #[test]
    fn a_base_has_the_primes_that_can_divide() {
        let n: Integer = Integer::from(Integer::u_pow_u(10, 40)) + 121;
        let parameters = Parameters::for_bits(n.significant_bits());
        let Ok(Base::Ready(base)) = FactorBase::build(&n, &parameters, &Cancel::new()) else {
            panic!()
        };
        assert_eq!(base.primes.len(), parameters.base);
        assert_eq!(base.multiple.mod_u(8), 1);
        assert!(base.primes.is_sorted());
        for (&prime, &root) in base.primes.iter().zip(&base.roots).skip(1) {
            let square = Integer::from(root).square();
            assert!((square - &base.multiple).is_divisible_u(prime));
            assert!(root != 0 || base.multiplier % prime == 0);
        }
        let multiple = Integer::from(&n * 1009);
        let divisor = FactorBase::build(&multiple, &parameters, &Cancel::new());
        assert!(matches!(divisor, Ok(Base::Divisor(1009))));
    }
}
