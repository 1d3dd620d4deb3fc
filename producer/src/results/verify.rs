//! The producer's own check of the consumers' results.
//!
//! A claim that a number is prime is checked with a strong probable-prime (Miller–Rabin) test to a
//! base that the consumer cannot know. A composite passes with a probability of at most 1/4, even
//! one chosen by an attacker. A composite caused by a hardware or software fault hardly ever
//! passes, since it would first have to pass the consumer's own tests, which are far stronger.
//! `--verify strict` uses [`STRICT_BASES`] independent bases, so that at most one composite in 2⁶⁴
//! passes (M. O. Rabin, Probabilistic algorithm for testing primality, J. Number Theory 12, 1980).
//!
//! A claim that a number is composite is proven by one base that fails, and refuted only by the
//! whole Baillie–PSW test: some composites pass a strong test to a quarter of all bases.
//!
//! A certificate is always checked; the primes that it proves need no test.
//!
//! Below 2⁶⁴ the tests are exact, and each vector lane tests one number.
//!
//! One core checks the primes that ten or twenty others find. A backlog is shared among the cores
//! of this machine; as long as one core keeps up, the others are idle.

use std::{mem, num::NonZero, thread};

use primepool_common::jobs::Finding;
use primepool_engine::{
    Cancel, Certificate, Engine, Error, Integer, Kernel, certificate::Flaw, primality,
};
use primepool_factor::{Factorizer, WordPrimality};

use crate::{
    request::{Request, Verify},
    run_dir::Factored,
};

/// A consumer's claim about a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The result, if it is an integer.
    pub value: Option<&'a Integer>,
    /// For `next-prime`: the integer above which the prime was requested.
    pub after: Option<&'a Integer>,
    /// The result, if it is a factorisation.
    pub factored: Option<&'a Factored>,
    /// The certificate of its primes, or of some of them, if the run requests proofs.
    pub certificate: Option<&'a Certificate>,
    /// Whether the remaining composites are left to the whole pool.
    pub leaves_to_us: bool,
    /// Whether to check it regardless of the policy, since its node has been wrong before.
    pub always: bool,
}

impl<'a> Claim<'a> {
    fn finding(&self) -> Finding<'a> {
        match (self.value, self.after, self.factored) {
            (Some(value), Some(after), _) => Finding::Next { after, value },
            (Some(value), None, _) => Finding::Integer(value),
            (None, _, Some(factored)) => factored.finding(self.leaves_to_us),
            (None, _, None) => Finding::Nothing,
        }
    }
}

/// A certificate, the index of its claim, and the primes that it must prove.
struct Certified<'a> {
    place: usize,
    primes: Vec<Integer>,
    certificate: &'a Certificate,
}

/// Checks the results of one run.
pub(crate) struct Verifier {
    policy: Verify,
    kernel: Kernel,
    /// Proves primes that the whole pool has found; created when first needed.
    factorizer: Option<Factorizer>,
    /// One engine for each core.
    engines: Vec<Engine>,
    small: WordPrimality,
}

/// Work that justifies another thread, in cubed bits (the time of a test is proportional to them):
/// some milliseconds.
const SHARE: f64 = 1e11;

/// Largest number of integers that the engine tests in parallel lanes; the size of a share is a
/// multiple of it.
const SIDE_BY_SIDE: usize = 16;

/// Number of bases with `--verify strict`.
const STRICT_BASES: usize = 32;

/// Bound of the probability that a composite passes [`STRICT_BASES`] bases.
const STRICT_BOUND: &str = "2^-64";

/// With `--verify sample`, one in this number of results is checked.
const SAMPLE_ONE_IN: u32 = 16;

impl Verifier {
    /// A verifier with this policy; this processor must support `kernel`.
    ///
    /// # Errors
    /// This processor does not support the kernel.
    pub(crate) fn new(policy: Verify, kernel: Kernel) -> Result<Self, Error> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let engines: Result<_, _> = (0..cores).map(|_| Engine::with_kernel(kernel)).collect();
        Ok(Self {
            policy,
            kernel,
            factorizer: None,
            engines: engines?,
            small: WordPrimality::new(kernel),
        })
    }

    /// Bound of the probability that a composite is accepted as a prime, even one chosen by an
    /// attacker. `None` if not all results are tested.
    pub(crate) fn bound(&self) -> Option<&'static str> {
        match self.policy {
            Verify::Strict => Some(STRICT_BOUND),
            Verify::All => Some("2^-2"),
            Verify::Sample | Verify::None => None,
        }
    }

    /// A certificate of as many of these primes as can be proven; takes up to some seconds of a
    /// core.
    ///
    /// # Errors
    /// The operating system provides no random bits.
    pub(crate) fn certify(&mut self, primes: &[Integer]) -> Result<Certificate, Error> {
        let kernel = self.kernel;
        let factorizer = self
            .factorizer
            .get_or_insert_with(|| Factorizer::with_kernel(kernel));
        factorizer.certify(primes, &Cancel::new())
    }

    /// Checks claims. For each claim, returns `None` if it is accepted, or else what is wrong with
    /// it.
    ///
    /// # Errors
    /// The operating system provides no random bits.
    pub(crate) fn check(
        &mut self,
        request: &Request,
        claims: &[Claim<'_>],
    ) -> Result<Vec<Option<String>>, Error> {
        let mut verdicts = Vec::with_capacity(claims.len());
        let mut numbers = Vec::new();
        let mut owners: Vec<usize> = Vec::new();
        let (mut small, mut small_owners) = (Vec::new(), Vec::new());
        let mut certified = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            let checked = request.work.jobs().check(&claim.finding());
            verdicts.push(match checked {
                Err(fault) => Some(fault),
                Ok(mut claimed) => {
                    if let Some(certificate) = claim.certificate {
                        let rest = mem::take(&mut claimed.primes);
                        let (primes, rest) = if request.is_proven_by_all() {
                            (rest, Vec::new())
                        } else {
                            rest.into_iter().partition(|n| certificate.has_step(n))
                        };
                        claimed.primes = rest;
                        certified.push(Certified {
                            place,
                            primes,
                            certificate,
                        });
                    }
                    let refuted = first_prime(&claimed.composites)?;
                    if refuted.is_none() && (claim.always || self.is_chosen()?) {
                        owners.resize(owners.len() + claimed.primes.len(), place);
                        numbers.append(&mut claimed.primes);
                        small_owners.resize(small.len() + claimed.small_primes.len(), place);
                        small.append(&mut claimed.small_primes);
                    }
                    refuted.map(|_| "it leaves a prime as a composite".to_owned())
                }
            });
        }
        let not_prime = || Some("it is not prime".to_owned());
        for (place, is_prime) in small_owners.into_iter().zip(self.small.are_prime(&small)) {
            if !is_prime {
                verdicts[place] = not_prime();
            }
        }
        for (certified, verdict) in certified.iter().zip(self.check_certificates(&certified)?) {
            if let Err(flaw) = verdict {
                verdicts[certified.place] = Some(flaw.to_string());
            }
        }
        let bases = if self.policy == Verify::Strict {
            STRICT_BASES
        } else {
            1
        };
        for _ in 0..bases {
            for (place, is_prime) in owners.iter().zip(self.are_prime(&numbers)?) {
                if !is_prime {
                    verdicts[*place] = not_prime();
                }
            }
            let mut places = owners.iter();
            numbers.retain(|_| places.next().is_some_and(|at| verdicts[*at].is_none()));
            owners.retain(|place| verdicts[*place].is_none());
        }
        Ok(verdicts)
    }

    fn are_prime(&mut self, numbers: &[Integer]) -> Result<Vec<bool>, Error> {
        let work = numbers.iter().map(cubed_bits).sum();
        self.on_threads(numbers, work, Engine::verify)
    }

    fn check_certificates(
        &mut self,
        certified: &[Certified<'_>],
    ) -> Result<Vec<Result<(), Flaw>>, Error> {
        let steps = certified.iter().flat_map(|one| &one.certificate.steps);
        let work = steps.map(|step| cubed_bits(&step.n)).sum();
        self.on_threads(certified, work, |engine, share| {
            let claims = share.iter().map(|one| primepool_engine::Claim {
                primes: &one.primes,
                certificate: one.certificate,
            });
            engine.check_certificates(&claims.collect::<Vec<_>>(), &Cancel::new())
        })
    }

    /// Calls `run` on shares of the items, on as many threads as the work, in cubed bits,
    /// justifies.
    fn on_threads<T: Sync, R: Send>(
        &mut self,
        items: &[T],
        work: f64,
        run: impl Fn(&mut Engine, &[T]) -> Result<Vec<R>, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        let threads = ((work / SHARE) as usize).clamp(1, self.engines.len());
        let share = items
            .len()
            .div_ceil(threads)
            .next_multiple_of(if threads == 1 { 1 } else { SIDE_BY_SIDE })
            .max(1);
        let mut shares = items.chunks(share).zip(&mut self.engines);
        let Some((own, engine)) = shares.next() else {
            return Ok(Vec::new());
        };
        let run = &run;
        thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|(share, engine)| scope.spawn(move || run(engine, share)))
                .collect();
            let mut all = run(engine, own)?;
            for other in others {
                match other.join() {
                    Ok(done) => all.extend(done?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(all)
        })
    }

    fn is_chosen(&self) -> Result<bool, Error> {
        Ok(match self.policy {
            Verify::All | Verify::Strict => true,
            Verify::None => false,
            // The engine has the same error for its own random bits: the system provides none.
            Verify::Sample => getrandom::u32().map_err(Error::from)? % SAMPLE_ONE_IN == 0,
        })
    }
}

fn cubed_bits(number: &Integer) -> f64 {
    f64::from(number.significant_bits()).powi(3)
}

/// The first of these numbers that passes the Baillie–PSW test.
fn first_prime(numbers: &[Integer]) -> Result<Option<&Integer>, Error> {
    for number in numbers {
        if primality::is_probable_prime(number, &Cancel::new())? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{
        FactorJobs, Factorization, HexInteger, Method, NextPrimeJobs, Power, PrimeJobs,
        SafePrimeJobs, Work,
    };
    use rug::integer::IsPrime;

    use crate::request::LEAVE_ABOVE_BITS;

    use super::*;

    fn primes(bits: u32) -> Request {
        Request::new(Work::Prime(PrimeJobs {
            bits,
            count: 2000,
            method: Method::Incremental,
        }))
    }

    fn factorizations() -> Request {
        Request::new(Work::Factor(FactorJobs {
            numbers: vec![].into(),
            leave_above: None,
            share: None,
            prove: false,
        }))
    }

    fn verifier(policy: Verify) -> Verifier {
        Verifier::new(policy, Kernel::fastest()).unwrap()
    }

    fn claim(value: &Integer) -> Claim<'_> {
        Claim {
            value: Some(value),
            after: None,
            factored: None,
            leaves_to_us: false,
            certificate: None,
            always: false,
        }
    }

    fn verdict(policy: Verify, request: &Request, value: i64) -> Option<String> {
        let value = Integer::from(value);
        verifier(policy)
            .check(request, &[claim(&value)])
            .unwrap()
            .remove(0)
    }

    #[test]
    fn primes_pass_and_others_do_not() {
        let request = primes(7);
        assert_eq!(verdict(Verify::All, &request, 97), None);
        for wrong in [91, 127 * 2, 31, -97] {
            assert!(verdict(Verify::All, &request, wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn both_halves_of_a_safe_prime_are_checked() {
        let request = Request::new(Work::SafePrime(SafePrimeJobs {
            bits: 7,
            count: 1,
            method: Method::Incremental,
        }));
        assert_eq!(verdict(Verify::All, &request, 107), None);
        assert!(verdict(Verify::All, &request, 97).is_some());
    }

    #[test]
    fn a_next_prime_lies_above_its_start() {
        let start = Integer::from(90);
        let after = vec![HexInteger(start.clone())].into();
        let request = Request::new(Work::NextPrime(NextPrimeJobs {
            after,
            prove: false,
        }));
        let verdict = |value| {
            let value = Integer::from(value);
            let claim = Claim {
                after: Some(&start),
                ..claim(&value)
            };
            let verdicts = verifier(Verify::All).check(&request, &[claim]);
            verdicts.unwrap().remove(0)
        };
        assert_eq!(verdict(97), None);
        for wrong in [89, 90, 91, -97] {
            assert!(verdict(wrong).is_some(), "{wrong}");
        }
    }

    fn factored(n: i64, factors: &[(i64, u32)], composites: &[(i64, u32)]) -> Factored {
        let powers = |list: &[(i64, u32)]| {
            let list = list.iter();
            list.map(|&(value, exponent)| Power(HexInteger(value.into()), exponent))
                .collect()
        };
        let found = Factorization {
            factors: powers(factors),
            composites: powers(composites),
            ..Factorization::default()
        };
        Factored::new(HexInteger(n.into()), found)
    }

    fn is_right(n: i64, factors: &[(i64, u32)], composites: &[(i64, u32)]) -> bool {
        let factored = factored(n, factors, composites);
        let claim = Claim {
            value: None,
            after: None,
            factored: Some(&factored),
            leaves_to_us: false,
            certificate: None,
            always: false,
        };
        let verdicts = verifier(Verify::All).check(&factorizations(), &[claim]);
        verdicts.unwrap() == [None]
    }

    #[test]
    fn factors_multiply_to_the_number_and_are_prime() {
        for (n, factors, composites) in [
            (360, &[(2, 3), (3, 2), (5, 1)][..], &[][..]),
            (-12, &[(2, 2), (3, 1)], &[]),
            (1, &[], &[]),
            (91, &[], &[(91, 1)]),
            (2 * 91 * 91, &[(2, 1)], &[(91, 2)]),
        ] {
            assert!(is_right(n, factors, composites), "{n}");
        }
        for (n, factors) in [
            (360, &[(2, 3), (3, 2)][..]),
            (360, &[(2, 3), (3, 2), (5, 2)]),
            (360, &[(2, 3), (45, 1)]),
            (12, &[(3, 1), (2, 2)]),
            (12, &[(2, 1), (2, 1), (3, 1)]),
            (12, &[(2, 2), (3, 1), (7, 0)]),
            (12, &[(1, 1), (2, 2), (3, 1)]),
            (12, &[(-3, 1), (2, 2)]),
            (4, &[(2, u32::MAX)]),
            (1, &[(2, 1)]),
            (0, &[(2, u32::MAX)]),
            (0, &[]),
        ] {
            assert!(!is_right(n, factors, &[]), "{n} {factors:?}");
        }
        let prime = Integer::from(97);
        let verdicts = verifier(Verify::All).check(&factorizations(), &[claim(&prime)]);
        assert_ne!(verdicts.unwrap(), [None], "an integer is no factorisation");
    }

    #[test]
    fn the_size_is_checked_whatever_the_policy() {
        let request = primes(7);
        assert_eq!(verdict(Verify::None, &request, 91), None);
        assert!(verdict(Verify::None, &request, 31).is_some());
    }

    #[test]
    fn verdicts_stay_with_their_jobs_on_several_threads() {
        // Two thousand numbers of 512 bits are work for several threads.
        let mut numbers = Vec::new();
        let mut number: Integer = Integer::from(1) << 511;
        for at in 0..2000 {
            number += 2 * at + 1;
            numbers.push(number.clone());
        }
        let results: Vec<_> = numbers.iter().map(claim).collect();
        let mut verifier = verifier(Verify::All);
        verifier.engines.resize_with(3, Engine::default);
        let verdicts = verifier.check(&primes(512), &results).unwrap();
        assert_eq!(verdicts.len(), numbers.len());
        let mut primes = 0;
        for (number, verdict) in numbers.iter().zip(&verdicts) {
            let is_prime = number.is_probably_prime(30) != IsPrime::No;
            assert_eq!(verdict.is_none(), is_prime, "{number}");
            primes += u32::from(is_prime);
        }
        assert!(primes > 2, "{primes}");
    }

    #[test]
    fn a_composite_made_to_deceive_is_found_by_the_strict_check() {
        // If 2r + 1 and 4r + 1 are prime, their product passes a strong test to 3 in 16 bases:
        // nearly the maximum for a composite.
        let mut r: Integer = (Integer::from(1) << 80) + 1;
        let is_prime = |n: &Integer| n.is_probably_prime(30) != IsPrime::No;
        let (p, q) = loop {
            let (p, q) = (Integer::from(&r * 2) + 1, Integer::from(&r * 4) + 1);
            if is_prime(&p) && is_prime(&q) {
                break (p, q);
            }
            r += 2;
        };
        let prime = &p;
        let composite = Integer::from(&p * &q);
        let claims: Vec<_> = (0..200).map(|_| claim(&composite)).collect();
        let passed = |policy| {
            let request = primes(composite.significant_bits());
            let verdicts = verifier(policy).check(&request, &claims).unwrap();
            verdicts.iter().filter(|verdict| verdict.is_none()).count()
        };
        assert!((1..199).contains(&passed(Verify::All)));
        assert_eq!(passed(Verify::Strict), 0);
        let request = primes(prime.significant_bits());
        let claims: Vec<_> = (0..200).map(|_| claim(prime)).collect();
        let verdicts = verifier(Verify::Strict).check(&request, &claims).unwrap();
        assert!(verdicts.iter().all(Option::is_none));
    }

    /// Such a number passes a strong test to about one base in four: a producer that took one pass
    /// as a proof of primality would reject a correct answer.
    #[test]
    fn a_composite_that_deceives_a_strong_test_may_be_left_as_a_composite() {
        let p: Integer = ARNAULT_P.parse().unwrap();
        let times = |k: u32| Integer::from(&p - 1) * k + 1;
        let carmichael = &p * times(313) * times(353);
        let twice = Integer::from(&p * 2) - 1;
        for n in [carmichael, Integer::from(&p * &twice), Integer::from(91)] {
            let found = Factorization {
                composites: vec![Power(HexInteger(n.clone()), 1)],
                ..Factorization::default()
            };
            let factored = Factored::new(HexInteger(n.clone()), found);
            let claims = [true, false].map(|leaves_to_us| Claim {
                value: None,
                after: None,
                factored: Some(&factored),
                leaves_to_us,
                certificate: None,
                always: true,
            });
            let is_large = n.significant_bits() > LEAVE_ABOVE_BITS;
            for policy in [Verify::All, Verify::Strict, Verify::None] {
                for _ in 0..20 {
                    let verdicts = verifier(policy).check(&factorizations(), &claims).unwrap();
                    assert_eq!(verdicts[0].is_none(), is_large, "{verdicts:?}");
                    assert_eq!(verdicts[1], None);
                }
            }
        }
        // A prime is not a composite, and the whole test always detects it.
        let found = Factorization {
            composites: vec![Power(HexInteger(p.clone()), 1)],
            ..Factorization::default()
        };
        let factored = Factored::new(HexInteger(p.clone()), found);
        let claim = Claim {
            value: None,
            after: None,
            factored: Some(&factored),
            leaves_to_us: true,
            certificate: None,
            always: false,
        };
        let verdicts = verifier(Verify::None).check(&factorizations(), &[claim]);
        assert!(
            verdicts.unwrap()[0]
                .as_ref()
                .unwrap()
                .contains("leaves a prime")
        );
    }

    /// From F. Arnault, Constructing Carmichael numbers which are strong pseudoprimes to several
    /// bases, J. Symbolic Computation 20, 1995: p · (313 (p − 1) + 1) · (353 (p − 1) + 1).
    const ARNAULT_P: &str = "29674495668685510550154174642905332730771991799853043350995075531276838753171770199594238596428121188033664754218345562493168782883";

    #[test]
    fn a_sample_finds_a_liar_sooner_or_later() {
        let request = primes(7);
        let composite = Integer::from(91);
        let results: Vec<_> = (0..100).map(|_| claim(&composite)).collect();
        let mut verifier = verifier(Verify::Sample);
        let found = (0..20).any(|_| {
            let verdicts = verifier.check(&request, &results).unwrap();
            let caught = verdicts.iter().flatten().count();
            (1..100).contains(&caught)
        });
        assert!(found);
        // From then on, every result of that node is checked.
        let mut caught = results.clone();
        caught.iter_mut().for_each(|claim| claim.always = true);
        let verdicts = verifier.check(&request, &caught).unwrap();
        assert_eq!(verdicts.iter().flatten().count(), 100);
    }

    /// Two provable primes with their certificates.
    fn proven() -> Vec<(Integer, Certificate)> {
        let mut streams = [1, 2].map(|index| primepool_engine::Stream::seeded(7, index));
        let mut all = Vec::new();
        let found = &mut |_, found: primepool_engine::Found, certificate| {
            all.push((found.prime, certificate));
        };
        Engine::new()
            .provable_primes(
                primepool_engine::Form::Prime,
                200,
                &mut streams,
                &Cancel::new(),
                found,
            )
            .unwrap();
        all
    }

    #[test]
    fn certificates_are_checked_whatever_the_policy() {
        let request = Request::new(Work::Prime(PrimeJobs {
            bits: 200,
            count: 2,
            method: Method::Provable,
        }));
        let [(first, proof), (second, _)] = &proven()[..] else {
            panic!("two primes");
        };
        for policy in [Verify::All, Verify::Strict, Verify::Sample, Verify::None] {
            let with = |value, certificate| Claim {
                certificate,
                ..claim(value)
            };
            let claims = [with(first, Some(proof)), with(second, Some(proof))];
            let verdicts = verifier(policy).check(&request, &claims).unwrap();
            assert_eq!(verdicts[0], None);
            assert!(verdicts[1].is_some(), "the proof of another prime");
        }
        assert_eq!(verifier(Verify::Strict).bound(), Some(STRICT_BOUND));
        assert_eq!(STRICT_BOUND, format!("2^-{}", 2 * STRICT_BASES));
        assert_eq!(verifier(Verify::None).bound(), None);
    }

    #[test]
    fn factors_may_be_probable_but_no_certificate_may_be_wrong() {
        let [(first, proof), (second, _)] = &proven()[..] else {
            panic!("two primes");
        };
        let n = Integer::from(first * second);
        let mut factors = [first, second].map(|prime| Power(HexInteger(prime.clone()), 1));
        factors.sort_by(|a, b| a.0.0.cmp(&b.0.0));
        let found = Factorization {
            factors: factors.into(),
            ..Factorization::default()
        };
        let factored = Factored::new(HexInteger(n), found);
        let mut forged = proof.clone();
        forged.steps[0].base = 0;
        for (certificate, is_right) in [(proof, true), (&forged, false)] {
            let claim = Claim {
                value: None,
                after: None,
                factored: Some(&factored),
                leaves_to_us: false,
                certificate: Some(certificate),
                always: false,
            };
            let verdicts = verifier(Verify::All).check(&factorizations(), &[claim]);
            assert_eq!(verdicts.unwrap()[0].is_none(), is_right);
        }
    }
}
