//! The verdict on one line of a results file: pure decisions, no input or output.

use std::{borrow::Cow, mem};

use primepool_common::{
    jobs::{Claims, FactorJobs, Finding, Jobs as _, NextPrimeJobs, PrimeJobs, SafePrimeJobs},
    message::{FiledCertificate, Hex, Method},
    text::json_error,
};
use primepool_engine::{
    Cancel, Certificate, Claim, Engine, Error, Integer, certificate::Brief, primality::Tester,
    small,
};
use serde::Deserialize;

/// The fields of a line that are checked. Files of other programs need only `prime`, or `n` and
/// `factors`.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(default)]
    prime: Option<Hex>,
    #[serde(default)]
    bits: Option<u32>,
    #[serde(default)]
    after: Option<Hex>,
    #[serde(default)]
    n: Option<Hex>,
    #[serde(default)]
    factors: Vec<(Hex, u32)>,
    #[serde(default)]
    composites: Vec<(Hex, u32)>,
    #[serde(default)]
    certificate: Option<FiledCertificate>,
}

/// The verdict on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every prime of the result is proven.
    Proven,
    /// All primes have passed the primality tests, but some are not proven.
    Probable,
    /// The job has no result, or only a valid part of one.
    Incomplete,
    /// The line is wrong, for this reason.
    Wrong(String),
}

/// A well-formed result, and what remains to be verified.
struct Claimed {
    claims: Claims,
    certificate: Certificate,
    is_complete: bool,
}

/// Judges lines; each thread has its own.
pub(crate) struct Judge {
    engine: Engine,
    tester: Tester,
    /// Whether (p − 1)/2 must be prime too for each prime p.
    are_safe: bool,
}

impl Judge {
    pub(crate) fn new(are_safe: bool) -> Self {
        Self {
            engine: Engine::new(),
            tester: Tester::default(),
            are_safe,
        }
    }

    /// Judges lines: one verdict for each, in order.
    ///
    /// # Errors
    /// The operating system provides no random bits.
    pub(crate) fn judge(&mut self, lines: &[&[u8]]) -> Result<Vec<Verdict>, Error> {
        let mut verdicts = Vec::with_capacity(lines.len());
        let mut certified = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            verdicts.push(match self.read(line) {
                Err(fault) => Verdict::Wrong(fault),
                Ok(None) => Verdict::Incomplete,
                Ok(Some(mut result)) => {
                    let primes = mem::take(&mut result.claims.primes).into_iter();
                    let (proven, probable) = primes.partition(|n| result.certificate.has_step(n));
                    result.claims.primes = probable;
                    let verdict = self.test(&result)?;
                    if !result.certificate.steps.is_empty() {
                        certified.push((place, proven, result.certificate));
                    }
                    verdict
                }
            });
        }
        let claims: Vec<Claim<'_>> = certified
            .iter()
            .map(
                |(_, primes, certificate): &(usize, Vec<Integer>, _)| Claim {
                    primes,
                    certificate,
                },
            )
            .collect();
        let checked = self.engine.check_certificates(&claims, &Cancel::new())?;
        for ((place, ..), checked) in certified.iter().zip(checked) {
            if let Err(flaw) = checked {
                verdicts[*place] = Verdict::Wrong(flaw.to_string());
            }
        }
        Ok(verdicts)
    }

    /// Reads a line; `None` if the job has no result.
    fn read(&self, line: &[u8]) -> Result<Option<Claimed>, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| json_error(&error))?;
        if matches!(line.outcome.as_deref(), Some("failed" | "rejected")) {
            return Ok(None);
        }
        let is_complete = line.composites.is_empty();
        let claims = match (&line.prime, &line.n) {
            (Some(prime), None) => self.prime(prime, line.bits, line.after.as_ref())?,
            (None, Some(n)) => factors(n, &line.factors, &line.composites)?,
            _ => return Err("it has neither a prime nor a number with its factors".to_owned()),
        };
        let certificate = line.certificate.unwrap_or_default().0;
        Ok(Some(Claimed {
            claims,
            certificate,
            is_complete,
        }))
    }

    fn prime(&self, prime: &Hex, bits: Option<u32>, after: Option<&Hex>) -> Result<Claims, String> {
        let value = &prime.0.0;
        let bits = bits.unwrap_or_else(|| value.significant_bits());
        let (count, method) = (1, Method::default());
        if let Some(after) = after {
            let after = &after.0.0;
            let jobs = NextPrimeJobs {
                after: Vec::new().into(),
                prove: false,
            };
            return jobs.check(&Finding::Next { after, value });
        }
        let finding = Finding::Integer(value);
        if self.are_safe {
            let jobs = SafePrimeJobs {
                bits,
                count,
                method,
            };
            jobs.check(&finding)
        } else {
            let jobs = PrimeJobs {
                bits,
                count,
                method,
            };
            jobs.check(&finding)
        }
    }

    /// Tests the numbers that no certificate covers.
    fn test(&mut self, result: &Claimed) -> Result<Verdict, Error> {
        let claims = &result.claims;
        let composite = |n: &dyn std::fmt::Display| Ok(Verdict::Wrong(format!("{n} is not prime")));
        if let Some(n) = claims.small_primes.iter().find(|&&n| !small::is_prime(n)) {
            return composite(n);
        }
        for n in &claims.primes {
            if !self.tester.is_probable_prime(n, &Cancel::new())? {
                return composite(&Brief::of(n));
            }
        }
        for n in &claims.composites {
            if self.tester.is_probable_prime(n, &Cancel::new())? {
                let n = Brief::of(n);
                return Ok(Verdict::Wrong(format!("{n} is prime, not composite")));
            }
        }
        Ok(if !result.is_complete {
            Verdict::Incomplete
        } else if claims.primes.is_empty() {
            Verdict::Proven
        } else {
            Verdict::Probable
        })
    }
}

fn factors(n: &Hex, factors: &[(Hex, u32)], composites: &[(Hex, u32)]) -> Result<Claims, String> {
    fn values(powers: &[(Hex, u32)]) -> Vec<(&Integer, u32)> {
        powers.iter().map(|(n, times)| (&n.0.0, *times)).collect()
    }
    let jobs = FactorJobs {
        numbers: Vec::new().into(),
        leave_above: None,
        share: None,
        prove: false,
    };
    jobs.check(&Finding::Factors {
        number: &n.0.0,
        factors: values(factors),
        composites: values(composites),
        is_left_to_pool: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judge(line: &str, are_safe: bool) -> Verdict {
        let lines = [line.as_bytes()];
        Judge::new(are_safe).judge(&lines).unwrap().remove(0)
    }

    /// 2^89 − 1 and 2^107 − 1.
    const M89: &str = "0x1ffffffffffffffffffffff";
    const M107: &str = "0x7ffffffffffffffffffffffffff";

    #[test]
    fn results_are_proven_probable_or_wrong() {
        for (line, are_safe, expected) in [
            (r#"{"prime":"0x61"}"#.to_owned(), false, Verdict::Proven),
            (
                r#"{"outcome":"ok","prime":"97","bits":7,"extra":[1]}"#.to_owned(),
                false,
                Verdict::Proven,
            ),
            (r#"{"prime":"0x6b"}"#.to_owned(), true, Verdict::Proven),
            (
                format!(r#"{{"prime":"{M89}","bits":89}}"#),
                false,
                Verdict::Probable,
            ),
            (
                r#"{"prime":"0x61","after":"0x5a"}"#.to_owned(),
                false,
                Verdict::Proven,
            ),
            (
                r#"{"n":"-0x168","factors":[["0x2",3],["0x3",2],["0x5",1]]}"#.to_owned(),
                false,
                Verdict::Proven,
            ),
            (
                r#"{"n":"182","factors":[["0x2",1]],"composites":[["91",1]]}"#.to_owned(),
                false,
                Verdict::Incomplete,
            ),
            (
                r#"{"outcome":"failed","reason":"x"}"#.to_owned(),
                false,
                Verdict::Incomplete,
            ),
        ] {
            assert_eq!(judge(&line, are_safe), expected, "{line}");
        }
        for (line, are_safe) in [
            (r#"{"prime":"91"}"#.to_owned(), false),
            (r#"{"prime":"97","bits":8}"#.to_owned(), false),
            (r#"{"prime":"97"}"#.to_owned(), true),
            (r#"{"prime":"97","after":"97"}"#.to_owned(), false),
            (
                r#"{"n":"182","factors":[["0x2",1],["0x7",1]]}"#.to_owned(),
                false,
            ),
            (
                r#"{"n":"182","factors":[["0x2",1],["91",1]]}"#.to_owned(),
                false,
            ),
            (
                r#"{"n":"14","factors":[["0x2",1]],"composites":[["7",1]]}"#.to_owned(),
                false,
            ),
            (
                r#"{"n":"14","factors":[["7",1],["2",1]]}"#.to_owned(),
                false,
            ),
            ("{}".to_owned(), false),
            ("[]".to_owned(), false),
            ("\u{0}".to_owned(), false),
        ] {
            assert!(
                matches!(judge(&line, are_safe), Verdict::Wrong(_)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_certificate_proves_and_is_checked_to_its_end() {
        let n: Integer = (Integer::from(1) << 89) - 1_u32;
        let certificate = primepool_factor::Factorizer::new()
            .certify(std::slice::from_ref(&n), &Cancel::new())
            .unwrap();
        let certificate = serde_json::to_string(&FiledCertificate(certificate)).unwrap();
        let line = format!(r#"{{"prime":"{M89}","certificate":{certificate}}}"#);
        assert_eq!(judge(&line, false), Verdict::Proven);
        let factored = format!(
            r#"{{"n":"0x3fffffffffffffffffffffe","factors":[["2",1],["{M89}",1]],"certificate":{certificate}}}"#
        );
        assert_eq!(judge(&factored, false), Verdict::Proven);
        // A certificate for another number makes the line wrong, although the number is prime.
        let other = format!(r#"{{"prime":"{M107}","certificate":{certificate}}}"#);
        assert!(matches!(judge(&other, false), Verdict::Wrong(_)));
        for (true_part, forged) in [
            (r#""a":3"#, r#""a":0"#),
            (r#""a":3"#, r#""a":2"#),
            (r#""q":["#, r#""q":["0x7","#),
        ] {
            assert!(line.contains(true_part), "{line}");
            let forged = line.replace(true_part, forged);
            assert!(
                matches!(judge(&forged, false), Verdict::Wrong(_)),
                "{forged}"
            );
        }
    }
}
