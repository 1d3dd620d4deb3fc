//! Certificates of primality by the n − 1 method, and their structure.
//!
//! A [`Step`] proves a number n from known prime factors of n − 1. Let F be the product of the full
//! powers of these primes q that divide n − 1. If a^(n − 1) ≡ 1 (mod n) and
//! gcd(a^((n − 1)/q) − 1, n) = 1 for every q, then every prime factor of n is 1 modulo F
//! (Pocklington 1914). If F² > n, then n is prime. If F³ ≥ n, write n = c₂F² + c₁F + 1 with digits
//! below F; then n is prime exactly if c₁² − 4c₂ is not a square (Brillhart, Lehmer & Selfridge,
//! *New primality criteria and factorizations of 2^m ± 1*, Mathematics of Computation 29, 1975;
//! Crandall & Pomerance, *Prime Numbers*, theorem 4.1.5).
//!
//! With a single q, and F = q^e, the condition a^((n − 1)/q) ≢ 1 (mod n) is enough instead of the
//! greatest common divisor. Then a^((n − 1)/F) has order F modulo some prime power that divides n,
//! so F divides p − 1 for the prime p of that power. So p and n are both 1 modulo F, and so is n/p.
//! If n is not p, it is a product (uF + 1)(vF + 1) with u, v ≥ 1, and then c₁² − 4c₂ = (u − v)² is
//! a square.
//!
//! Each prime q is below 2^64, where [`small::is_prime`] is exact, or has a later step of its own.
//! So every step depends only on later steps, and a certificate cannot be circular.

use rug::{Integer, ops::Pow};

use crate::primality::Tester;
use crate::{Cancel, Error, small};

/// The greatest number of steps in a certificate.
pub const MAX_STEPS: usize = 64;

/// The greatest number of prime factors of n − 1 that a step names.
pub const MAX_STEP_FACTORS: usize = 64;

/// Greatest ratio of the bits of all steps' numbers together to the bits of the primes to be
/// proven. It bounds the time that a forged certificate costs.
pub const MAX_RELATIVE_BITS: u64 = 16;

/// The greatest base that [`Step::base_for`] tries. A base works for a prime n with a probability
/// of ∏(1 − 1/q), so if no base up to this one works, n is composite.
const MAX_BASE: u32 = 1000;

/// The proof that one number above 2^64 is prime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number n that the step proves prime.
    pub n: Integer,
    /// The base a.
    pub base: u32,
    /// Prime factors q of n − 1, all different.
    pub factors: Vec<Integer>,
}

/// A proof that numbers are prime: a list of steps, each before the steps of its factors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The steps, at most [`MAX_STEPS`].
    pub steps: Vec<Step>,
}

/// Why a certificate does not prove what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// More than [`MAX_STEPS`] steps, or more than [`MAX_STEP_FACTORS`] factors in one.
    #[error("its certificate is too long")]
    TooLong,
    /// The numbers of the steps have too many bits; see [`MAX_RELATIVE_BITS`].
    #[error("the numbers in its certificate are too large")]
    TooLarge,
    /// No step is about this number.
    #[error("its certificate does not prove {0}")]
    Unproven(Brief),
    /// A step about a number that the method cannot prove: even, below 2^64, or proven before.
    #[error("its certificate has a step for {0}, which needs none or can have none")]
    Needless(Brief),
    /// A base below 2.
    #[error("its certificate has base {1} for {0}")]
    Base(Brief, u32),
    /// A factor that does not divide n − 1.
    #[error("its certificate names {1}, which does not divide {0} - 1")]
    NoDivisor(Brief, Brief),
    /// A factor that is neither a prime below 2^64 nor proven by a later step.
    #[error("its certificate names the factor {0}, which is not proven")]
    Factor(Brief),
    /// The factored part F of n − 1 is below the cube root of n.
    #[error("its certificate factors too little of {0} - 1")]
    TooLittle(Brief),
    /// c₁² − 4c₂ is a square, or a condition on powers does not hold: n may be composite.
    #[error("its certificate does not hold for {0}")]
    Fails(Brief),
}

/// A number for an error message, cut to its first digits if it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief(String);

impl Brief {
    /// The number in hexadecimal, with at most 24 characters and `...` if it was cut.
    #[must_use]
    pub fn of(n: &Integer) -> Self {
        const DIGITS: usize = 24;
        let mut text = format!("{n:#x}");
        if text.len() > DIGITS {
            text.truncate(DIGITS);
            text.push_str("...");
        }
        Self(text)
    }
}

impl std::fmt::Display for Brief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Flaw {
    /// The flaw that the conditions on powers do not hold for this number.
    pub(crate) fn fails(n: &Integer) -> Self {
        Self::Fails(Brief::of(n))
    }
}

impl Certificate {
    /// Whether a number needs a step; below 2^64, primality tests are exact.
    #[must_use]
    pub fn is_needed(n: &Integer) -> bool {
        n.significant_bits() > u64::BITS
    }

    /// Whether a step is about this number.
    #[must_use]
    pub fn has_step(&self, n: &Integer) -> bool {
        are_in(&self.steps, n)
    }

    /// Checks everything but the conditions on powers: the factors that the steps name are proven,
    /// and the steps prove each of `primes` if those conditions hold. The time is bounded by the
    /// size of the certificate.
    ///
    /// # Errors
    ///
    /// The first flaw.
    pub fn check_structure(&self, primes: &[Integer]) -> Result<(), Flaw> {
        if self.steps.len() > MAX_STEPS {
            return Err(Flaw::TooLong);
        }
        let bits = |n: &Integer| u64::from(n.significant_bits());
        let whole: u64 = self.steps.iter().map(|step| bits(&step.n)).sum();
        if whole > MAX_RELATIVE_BITS * primes.iter().map(bits).sum::<u64>() {
            return Err(Flaw::TooLarge);
        }
        for (place, step) in self.steps.iter().enumerate() {
            let later = &self.steps[place + 1..];
            step.check_structure(|q| are_in(later, q))?;
            if are_in(later, &step.n) {
                return Err(Flaw::Needless(Brief::of(&step.n)));
            }
        }
        for prime in primes {
            let is_proven = match prime.to_u64() {
                Some(word) => small::is_prime(word),
                None => self.has_step(prime),
            };
            if !is_proven {
                return Err(Flaw::Unproven(Brief::of(prime)));
            }
        }
        Ok(())
    }
}

/// Whether one of the steps is about this number.
fn are_in(steps: &[Step], n: &Integer) -> bool {
    steps.iter().any(|step| step.n == *n)
}

impl Step {
    fn check_structure(&self, is_proven: impl Fn(&Integer) -> bool) -> Result<(), Flaw> {
        let n = &self.n;
        if self.factors.len() > MAX_STEP_FACTORS {
            return Err(Flaw::TooLong);
        }
        if !n.is_positive() || n.is_even() || !Certificate::is_needed(n) {
            return Err(Flaw::Needless(Brief::of(n)));
        }
        if self.base < 2 {
            return Err(Flaw::Base(Brief::of(n), self.base));
        }
        let minus_one = Integer::from(n - 1_u32);
        for q in &self.factors {
            // A factor above 2^64 has a step, whose number is positive.
            let is_prime = match q.to_u64() {
                Some(word) => small::is_prime(word),
                None => is_proven(q),
            };
            if !is_prime {
                return Err(Flaw::Factor(Brief::of(q)));
            }
            if !minus_one.is_divisible(q) {
                return Err(Flaw::NoDivisor(Brief::of(n), Brief::of(q)));
            }
        }
        let sufficiency = match &self.factors[..] {
            // A higher power of q almost never divides n − 1.
            [q] if Sufficiency::of_one(n, q) == Sufficiency::Proves => Sufficiency::Proves,
            factors => Sufficiency::of(n, factors),
        };
        match sufficiency {
            Sufficiency::Proves => Ok(()),
            Sufficiency::TooLittle => Err(Flaw::TooLittle(Brief::of(n))),
            Sufficiency::Composite => Err(Flaw::fails(n)),
        }
    }

    /// The step that proves an odd n above 2^64 from different prime factors of n − 1. `None` if
    /// they are not enough, or if n is composite.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn prove(
        n: &Integer,
        factors: Vec<Integer>,
        tester: &mut Tester,
        cancel: &Cancel,
    ) -> Result<Option<Self>, Error> {
        if Sufficiency::of(n, &factors) != Sufficiency::Proves {
            return Ok(None);
        }
        let base = Self::base_for(|base| tester.proves(n, base, &factors, cancel))?;
        Ok(base.map(|base| Self {
            n: n.clone(),
            base,
            factors,
        }))
    }

    /// The least prime base for which the conditions of a step hold; `holds(base)` says whether
    /// they do. `None` if no base up to 1000 works: then the number is composite.
    ///
    /// # Errors
    ///
    /// Those of `holds`.
    pub(crate) fn base_for<E>(
        mut holds: impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<Option<u32>, E> {
        for base in (2..=MAX_BASE).filter(|&base| small::is_prime(base.into())) {
            if holds(base)? {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }
}

/// Whether the known prime factors of n − 1 suffice, given that the conditions on powers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sufficiency {
    /// n is prime.
    Proves,
    /// F³ < n: too little of n − 1 is factored.
    TooLittle,
    /// n is the product of two primes.
    Composite,
}

impl Sufficiency {
    /// For n above 1 and different primes that divide n − 1.
    #[must_use]
    pub fn of(n: &Integer, factors: &[Integer]) -> Self {
        let mut cofactor = Integer::from(n - 1_u32);
        for q in factors {
            cofactor.remove_factor_mut(q);
        }
        let factored = Integer::from(n - 1_u32) / &cofactor;
        Self::of_split(n, &factored, cofactor)
    }

    /// For n above 1 and one prime that divides n − 1, ignoring higher powers of it.
    pub(crate) fn of_one(n: &Integer, q: &Integer) -> Self {
        let cofactor = Integer::from(n - 1_u32).div_exact(q);
        Self::of_split(n, q, cofactor)
    }

    /// For n = factored · cofactor + 1.
    fn of_split(n: &Integer, factored: &Integer, cofactor: Integer) -> Self {
        // The cube has more bits than this, so it is not always computed.
        let least = 3 * (u64::from(factored.significant_bits()) - 1);
        if least < u64::from(n.significant_bits()) && Integer::from(factored.pow(3)) < *n {
            return Self::TooLittle;
        }
        if cofactor < *factored {
            return Self::Proves;
        }
        // The digits of the cofactor to base F are c₁ and c₂.
        let (c2, c1) = cofactor.div_rem_ref(factored).into();
        let (c2, c1): (Integer, Integer) = (c2, c1);
        let discriminant = c1.square() - 4_u32 * c2;
        if !discriminant.is_negative() && discriminant.is_perfect_square() {
            Self::Composite
        } else {
            Self::Proves
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn step(n: &Integer, base: u32, factors: &[&Integer]) -> Step {
        Step {
            n: n.clone(),
            base,
            factors: factors.iter().map(|&q| q.clone()).collect(),
        }
    }

    /// A prime n = 2kq + 1 for the least k from `k` on.
    fn above(q: &Integer, mut k: Integer) -> Integer {
        loop {
            let n = Integer::from(&k * q) * 2_u32 + 1_u32;
            if n.is_probably_prime(30) != rug::integer::IsPrime::No {
                return n;
            }
            k += 1;
        }
    }

    #[test]
    fn the_structure_is_checked() {
        let small = Integer::from(u64::MAX - 58);
        let n = above(&small, Integer::from(1_u64 << 40));
        let large = above(&n, Integer::from(&n << 3_u32));
        let good = |steps: &[Step]| Certificate {
            steps: steps.to_vec(),
        };
        let first = step(&large, 2, &[&n]);
        let second = step(&n, 2, &[&small]);
        let primes = [large.clone()];
        let both = [first.clone(), second.clone()];
        assert_eq!(good(&both).check_structure(&primes), Ok(()));
        assert_eq!(
            good(&both).check_structure(&[large.clone(), n.clone(), 97.into()]),
            Ok(())
        );
        let flaw =
            |steps: &[Step], primes: &[Integer]| good(steps).check_structure(primes).unwrap_err();
        assert_eq!(flaw(&[], &primes), Flaw::Unproven(Brief::of(&large)));
        assert_eq!(flaw(&both, &[91.into()]), Flaw::TooLarge);
        let many = [large.clone(), 91.into()];
        assert_eq!(flaw(&both, &many), Flaw::Unproven(Brief::of(&91.into())));
        assert_eq!(
            flaw(std::slice::from_ref(&first), &primes),
            Flaw::Factor(Brief::of(&n))
        );
        let turned = [second.clone(), first.clone()];
        assert_eq!(flaw(&turned, &primes), Flaw::Factor(Brief::of(&n)));
        let twice = [first.clone(), first.clone(), second.clone()];
        assert_eq!(flaw(&twice, &primes), Flaw::Needless(Brief::of(&large)));
        let circular = [step(&large, 2, &[&large]), second.clone()];
        assert_eq!(flaw(&circular, &primes), Flaw::Factor(Brief::of(&large)));
        let zero = [step(&large, 0, &[&n]), second.clone()];
        assert_eq!(flaw(&zero, &primes), Flaw::Base(Brief::of(&large), 0));
        let even = Integer::from(&large + 1_u32);
        let steps = [step(&even, 2, &[&n]), second.clone()];
        assert_eq!(flaw(&steps, &primes), Flaw::Needless(Brief::of(&even)));
        let other = above(&n, Integer::from(&n << 4_u32));
        let foreign = [
            step(&large, 2, &[&other]),
            step(&other, 2, &[&n]),
            second.clone(),
        ];
        assert_eq!(
            flaw(&foreign, &primes),
            Flaw::NoDivisor(Brief::of(&large), Brief::of(&other))
        );
        let little = [step(&large, 2, &[&2.into()])];
        assert_eq!(flaw(&little, &primes), Flaw::TooLittle(Brief::of(&large)));
        let composite = [step(&n, 2, &[&91.into()])];
        assert_eq!(
            flaw(&composite, std::slice::from_ref(&n)),
            Flaw::Factor(Brief::of(&91.into()))
        );
        let long = vec![second; MAX_STEPS + 1];
        assert_eq!(flaw(&long, &[n]), Flaw::TooLong);
    }

    #[test]
    fn products_of_two_primes_that_are_1_modulo_f_are_seen() {
        let q = Integer::from((1_u64 << 40) + 15);
        let first = above(&q, Integer::from(1));
        let second = above(&q, first.clone() / &q);
        let n = Integer::from(&first * &second);
        assert_eq!(Sufficiency::of(&n, &[q]), Sufficiency::Composite);
    }

    #[test]
    fn messages_are_short() {
        let n = Integer::from(1) << 60_000_u32;
        assert!(Flaw::fails(&n).to_string().len() < 80);
    }
}
