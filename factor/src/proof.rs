//! Primality certificates from the factors of n − 1.

use primepool_engine::Certificate;
use primepool_engine::certificate::{MAX_RELATIVE_BITS, MAX_STEPS, Step, Sufficiency};
use rug::Integer;

use crate::{Cancel, Error, Factorizer, Limits};

/// To prove a prime n, composite divisors of n − 1 of up to this many bits are sieved, which takes
/// about a second of one core. In larger ones, only factors of up to 10 digits are searched for.
pub const PROOF_SIEVE_BITS: u32 = 200;

/// Decimal digits of the factors searched for in composites above [`PROOF_SIEVE_BITS`].
const PROOF_CURVE_DIGITS: u32 = 10;

impl Factorizer {
    /// Certifies as many of the probable primes as the factors of n − 1 can prove; see
    /// [`primepool_engine::certificate`]. A prime is left out if it is too large or if n − 1 cannot
    /// be factored far enough. Primes below 2^64 need no proof.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] and [`Error::Randomness`].
    pub fn certify(&mut self, primes: &[Integer], cancel: &Cancel) -> Result<Certificate, Error> {
        let bits = |n: &Integer| u64::from(n.significant_bits());
        let mut proven: Vec<Step> = Vec::new();
        let mut proven_bits = 0;
        for prime in primes.iter().filter(|prime| Certificate::is_needed(prime)) {
            let mut steps = Vec::new();
            if !self.add_steps(prime, &proven, &mut steps, cancel)? {
                continue;
            }
            // A verifier rejects certificates beyond these limits.
            let all = proven.iter().chain(&steps);
            let needed: u64 = all.map(|step| bits(&step.n)).sum();
            let is_small = needed <= MAX_RELATIVE_BITS * (proven_bits + bits(prime));
            if is_small && proven.len() + steps.len() <= MAX_STEPS {
                proven.append(&mut steps);
                proven_bits += bits(prime);
            }
        }
        // Descending: the factors of n − 1, which are less than n, come after n.
        proven.sort_unstable_by(|a, b| b.n.cmp(&a.n));
        Ok(Certificate { steps: proven })
    }

    /// Appends to `steps` the steps that prove n, except those already in `proven` or `steps`.
    /// Returns whether n is proven.
    fn add_steps(
        &mut self,
        n: &Integer,
        proven: &[Step],
        steps: &mut Vec<Step>,
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        if !Certificate::is_needed(n) || proven.iter().chain(&*steps).any(|step| step.n == *n) {
            return Ok(true);
        }
        let limits = Limits {
            sieve_bits: PROOF_SIEVE_BITS,
            curve_digits: PROOF_CURVE_DIGITS,
        };
        let minus_one = Integer::from(n - 1_u32);
        let found = match self.factor(&minus_one, &limits, cancel, &mut |_| {}) {
            // A fault in one number must not discard the proofs found before.
            Err(Error::Fault { .. } | Error::Invalid { .. }) => return Ok(false),
            found => found?,
        };
        if found.is_cancelled() {
            return Err(Error::Cancelled);
        }
        // Largest first: fewer factors are needed then.
        let mut factors: Vec<Integer> = Vec::new();
        for factor in found.factors.into_iter().rev() {
            let before = steps.len();
            if !self.add_steps(&factor.prime, proven, steps, cancel)? {
                steps.truncate(before);
                continue;
            }
            factors.push(factor.prime);
            match Sufficiency::of(n, &factors) {
                Sufficiency::TooLittle => {}
                Sufficiency::Composite => return Ok(false),
                Sufficiency::Proves => {
                    let step = Step::prove(n, factors, &mut self.tester, cancel)?;
                    let is_proven = step.is_some();
                    steps.extend(step);
                    return Ok(is_proven);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use primepool_engine::{Claim, Engine, Form, Method, Stream};

    use super::*;

    fn prime(bits: u32, index: u64) -> Integer {
        let mut streams = [Stream::seeded(u64::from(bits), index)];
        let mut prime = Integer::new();
        Engine::new()
            .primes_by(
                Method::Uniform,
                Form::Prime,
                bits,
                &mut streams,
                &Cancel::new(),
                &mut |_, found| {
                    prime = found.prime;
                },
            )
            .unwrap();
        prime
    }

    #[test]
    fn primes_of_up_to_160_bits_are_proven() {
        let (mut factorizer, mut engine) = (Factorizer::new(), Engine::new());
        for (bits, count) in [(60, 3), (65, 40), (80, 40), (100, 30), (128, 10), (160, 3)] {
            for index in 0..count {
                let primes = [prime(bits, index), prime(bits, index + 1000)];
                let certificate = factorizer.certify(&primes, &Cancel::new()).unwrap();
                let claim = Claim {
                    primes: &primes,
                    certificate: &certificate,
                };
                let verdicts = engine.check_certificates(&[claim], &Cancel::new()).unwrap();
                assert_eq!(verdicts, [Ok(())], "{primes:?}");
            }
        }
    }

    #[test]
    fn what_resists_is_left_out() {
        let mut factorizer = Factorizer::new();
        // The predecessor of this prime has two large factors.
        let hard = prime(700, 1);
        let easy = prime(100, 2);
        let certificate = factorizer
            .certify(&[hard, easy.clone()], &Cancel::new())
            .unwrap();
        assert_eq!(certificate.steps[0].n, easy);
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(
            factorizer.certify(&[easy], &cancel),
            Err(Error::Cancelled)
        ));
    }

    #[test]
    fn composites_are_not_certified() {
        let n = prime(50, 1) * prime(50, 2);
        let certificate = Factorizer::new().certify(&[n], &Cancel::new()).unwrap();
        assert_eq!(certificate, Certificate::default());
    }
}
