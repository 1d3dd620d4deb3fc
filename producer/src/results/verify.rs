//! The producer's own check of what consumers say.
//!
//! Each prime is put to a strong probable-prime (Miller–Rabin) test to a base that the consumer cannot know. A composite
//! passes with a probability of at most 1/4 whatever a liar does, and of practically none if it came about by a fault: the
//! consumer's own tests, which a fault would have to get past first, are far stronger. Who does not trust the consumers asks
//! for [`STRICT_BASES`] bases, all independent, so that at most one composite in 2⁶⁴ passes (M. O. Rabin, Probabilistic algorithm
//! for testing primality, J. Number Theory 12, 1980). For `next-prime` it is checked that the
//! number is prime and above the start, not that nothing lies between: that would be the search again.
//!
//! A pool finds primes on many machines, and one core checks those of ten or twenty others. What has piled up is shared among the
//! cores of this machine; as long as one keeps up, the others are left alone.

use std::{num::NonZero, thread};

use primepool_common::message::JobKind;
use primepool_engine::{Engine, Error, Integer};

use crate::{
    request::{Ask, LEAVE_ABOVE_BITS, Verify},
    run_dir::{Factored, Hex},
};

/// What a consumer says of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The job.
    pub job: u64,
    /// Its result, where that is one integer.
    pub value: Option<&'a Integer>,
    /// Its result, where that is a factorisation.
    pub factored: Option<&'a Factored>,
    /// Whether composites that are left were left to be taken apart by the whole pool.
    pub leaves_to_us: bool,
    /// Whether to check it whatever the policy: its node has been wrong before.
    pub always: bool,
}

/// Checks results of one run.
pub(crate) struct Verifier {
    policy: Verify,
    /// One for each core.
    engines: Vec<Engine>,
}

/// Work that a thread of its own is worth, in cubed bits, to which the time of a test is in proportion: some milliseconds.
const SHARE: f64 = 1e11;

/// Numbers that the engine tests side by side at most; a share is a multiple of them.
const SIDE_BY_SIDE: usize = 16;

/// Bases with `--verify strict`.
const STRICT_BASES: usize = 32;

/// One in so many is checked with `--verify sample`.
const SAMPLE_ONE_IN: u32 = 16;

impl Verifier {
    /// A verifier of this policy.
    #[must_use]
    pub(crate) fn new(policy: Verify) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            policy,
            engines: (0..cores).map(|_| Engine::default()).collect(),
        }
    }

    /// For each claim nothing if it may count, else what is wrong with it.
    ///
    /// # Errors
    /// The operating system gives no random bits.
    pub(crate) fn check(
        &mut self,
        ask: &Ask,
        claims: &[Claim<'_>],
    ) -> Result<Vec<Option<String>>, Error> {
        let mut verdicts = Vec::with_capacity(claims.len());
        let mut numbers = Vec::new();
        let mut owners: Vec<usize> = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            let mut verdict = shape(ask, claim);
            if verdict.is_none()
                && claim.leaves_to_us
                && let Some(factored) = claim.factored
            {
                verdict = self.wrongly_left(factored)?;
            }
            if verdict.is_none() && (claim.always || self.is_chosen()?) {
                let before = numbers.len();
                if let Some(value) = claim.value {
                    numbers.push(value.clone());
                    if ask.kind == JobKind::SafePrime {
                        numbers.push(Integer::from(value >> 1));
                    }
                }
                if let Some(factored) = claim.factored {
                    let primes = factored.factors.iter().map(|(prime, _)| &prime.0.0);
                    numbers.extend(primes.cloned());
                }
                owners.resize(owners.len() + numbers.len() - before, place);
            }
            verdicts.push(verdict);
        }
        let bases = if self.policy == Verify::Strict {
            STRICT_BASES
        } else {
            1
        };
        for _ in 0..bases {
            for (place, is_prime) in owners.iter().zip(self.are_prime(&numbers)?) {
                if !is_prime {
                    verdicts[*place] = Some("it is not prime".to_owned());
                }
            }
            let mut places = owners.iter();
            numbers.retain(|_| places.next().is_some_and(|at| verdicts[*at].is_none()));
            owners.retain(|place| verdicts[*place].is_none());
        }
        Ok(verdicts)
    }

    /// What is wrong with composites that were left to be taken apart by the whole pool: they are too small for that, or prime.
    fn wrongly_left(&mut self, factored: &Factored) -> Result<Option<String>, Error> {
        let left = factored.composites.iter().map(|(left, _)| left.0.0.clone());
        let left: Vec<Integer> = left.collect();
        let bits = left.iter().map(Integer::significant_bits).min();
        if let Some(bits) = bits.filter(|bits| *bits <= LEAVE_ABOVE_BITS) {
            return Ok(Some(format!("it leaves a composite of {bits} bits")));
        }
        let is_prime = self.are_prime(&left)?.contains(&true);
        Ok(is_prime.then(|| "it leaves a prime as a composite".to_owned()))
    }

    /// Tests on as many threads as the work is worth.
    fn are_prime(&mut self, numbers: &[Integer]) -> Result<Vec<bool>, Error> {
        let cubed = |number: &Integer| f64::from(number.significant_bits()).powi(3);
        let work: f64 = numbers.iter().map(cubed).sum();
        let threads = ((work / SHARE) as usize).clamp(1, self.engines.len());
        let share = numbers
            .len()
            .div_ceil(threads)
            .next_multiple_of(if threads == 1 { 1 } else { SIDE_BY_SIDE })
            .max(1);
        let mut shares = numbers.chunks(share).zip(&mut self.engines);
        let Some((own, engine)) = shares.next() else {
            return Ok(Vec::new());
        };
        thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|(share, engine)| scope.spawn(move || engine.verify(share)))
                .collect();
            let mut all = engine.verify(own)?;
            for other in others {
                match other.join() {
                    Ok(tested) => all.extend(tested?),
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
            // The engine's error says the same of its own bits: the system has none to give.
            Verify::Sample => getrandom::u32().map_err(Error::from)? % SAMPLE_ONE_IN == 0,
        })
    }
}

/// What can be seen without a test.
fn shape(ask: &Ask, claim: &Claim<'_>) -> Option<String> {
    let Claim {
        job,
        value,
        factored,
        ..
    } = *claim;
    let value = match (ask.kind, value) {
        (JobKind::Factor, None) => {
            return match factored {
                Some(factored) => wrong_product(factored),
                None => Some("the factors are missing".to_owned()),
            };
        }
        (JobKind::Factor, Some(_)) => return Some("it has one value, not factors".to_owned()),
        (JobKind::Noop, None) => return None,
        (JobKind::Noop, Some(_)) => return Some("an empty job has no value".to_owned()),
        (_, None) => return Some("the value is missing".to_owned()),
        (_, Some(value)) => value,
    };
    if value.is_negative() {
        return Some("it is negative".to_owned());
    }
    let start = usize::try_from(job).ok().and_then(|i| ask.after.get(i));
    match (ask.kind, start) {
        (JobKind::NextPrime, Some(start)) => {
            (*value <= start.0).then(|| "it is not above the start".to_owned())
        }
        _ => (value.significant_bits() != ask.bits)
            .then(|| format!("it has {} bits, not {}", value.significant_bits(), ask.bits)),
    }
}

/// What is wrong with a factorisation, primality aside: each factor must be above 1, in rising order, and together they must be the
/// number without its sign. Takes no more time than the size of the number allows, whatever the exponents say.
fn wrong_product(factored: &Factored) -> Option<String> {
    let Factored {
        n,
        factors,
        composites,
        ..
    } = factored;
    let is_rising =
        |powers: &[(Hex, u32)]| powers.windows(2).all(|two| two[0].0.0.0 < two[1].0.0.0);
    if !is_rising(factors) || !is_rising(composites) {
        return Some("its factors are not in rising order".to_owned());
    }
    let mut left = Integer::from(n.0.0.abs_ref());
    for (factor, exponent) in factors.iter().chain(composites) {
        let factor = &factor.0.0;
        if *factor <= 1 || *exponent == 0 {
            return Some("it has a factor that is none".to_owned());
        }
        for _ in 0..*exponent {
            if left == 0 || !left.is_divisible(factor) {
                return Some("its factors do not multiply to the number".to_owned());
            }
            left.div_exact_mut(factor);
        }
    }
    (left != 1).then(|| "its factors do not multiply to the number".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{Factorization, HexInteger, Method, Power};
    use rug::integer::IsPrime;

    use super::*;

    fn ask(kind: JobKind, bits: u32) -> Ask {
        Ask {
            kind,
            bits,
            count: 100,
            method: Method::Incremental,
            seed: None,
            deadline_ms: None,
            after: vec![HexInteger(90.into())],
            numbers: vec![],
            is_balanced: false,
        }
    }

    fn claim(job: u64, value: &Integer) -> Claim<'_> {
        Claim {
            job,
            value: Some(value),
            factored: None,
            leaves_to_us: false,
            always: false,
        }
    }

    fn verdict(policy: Verify, ask: &Ask, value: i64) -> Option<String> {
        let value = Integer::from(value);
        Verifier::new(policy)
            .check(ask, &[claim(0, &value)])
            .unwrap()
            .remove(0)
    }

    #[test]
    fn primes_pass_and_others_do_not() {
        let ask = ask(JobKind::Prime, 7);
        assert_eq!(verdict(Verify::All, &ask, 97), None);
        for wrong in [91, 127 * 2, 31, -97] {
            assert!(verdict(Verify::All, &ask, wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn both_halves_of_a_safe_prime_are_checked() {
        let ask = ask(JobKind::SafePrime, 7);
        assert_eq!(verdict(Verify::All, &ask, 107), None);
        assert!(verdict(Verify::All, &ask, 97).is_some());
    }

    #[test]
    fn a_next_prime_lies_above_its_start() {
        let ask = ask(JobKind::NextPrime, 0);
        assert_eq!(verdict(Verify::All, &ask, 97), None);
        assert!(verdict(Verify::All, &ask, 89).is_some());
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
            job: 0,
            value: None,
            factored: Some(&factored),
            leaves_to_us: false,
            always: false,
        };
        let verdicts = Verifier::new(Verify::All).check(&ask(JobKind::Factor, 0), &[claim]);
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
        let verdicts =
            Verifier::new(Verify::All).check(&ask(JobKind::Factor, 0), &[claim(0, &prime)]);
        assert_ne!(verdicts.unwrap(), [None], "an integer is no factorisation");
    }

    #[test]
    fn the_size_is_checked_whatever_the_policy() {
        let ask = ask(JobKind::Prime, 7);
        assert_eq!(verdict(Verify::None, &ask, 91), None);
        assert!(verdict(Verify::None, &ask, 31).is_some());
    }

    #[test]
    fn verdicts_stay_with_their_jobs_on_several_threads() {
        // Two thousand numbers of 512 bits: work for several threads.
        let mut numbers = Vec::new();
        let mut number: Integer = Integer::from(1) << 511;
        for at in 0..2000 {
            number += 2 * at + 1;
            numbers.push(number.clone());
        }
        let results: Vec<_> = (0..).zip(&numbers).map(|(job, n)| claim(job, n)).collect();
        let mut verifier = Verifier::new(Verify::All);
        verifier.engines.resize_with(3, Engine::default);
        let verdicts = verifier.check(&ask(JobKind::Prime, 512), &results).unwrap();
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
        // (2r + 1)(4r + 1) with both prime passes a strong test to 3 of 16 bases: nearly as many as any composite.
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
        let claims: Vec<_> = (0..200).map(|job| claim(job, &composite)).collect();
        let passed = |policy| {
            let ask = ask(JobKind::Prime, composite.significant_bits());
            let verdicts = Verifier::new(policy).check(&ask, &claims).unwrap();
            verdicts.iter().filter(|verdict| verdict.is_none()).count()
        };
        assert!((1..199).contains(&passed(Verify::All)));
        assert_eq!(passed(Verify::Strict), 0);
        let ask = ask(JobKind::Prime, prime.significant_bits());
        let claims: Vec<_> = (0..200).map(|job| claim(job, prime)).collect();
        let verdicts = Verifier::new(Verify::Strict).check(&ask, &claims).unwrap();
        assert!(verdicts.iter().all(Option::is_none));
    }

    #[test]
    fn a_sample_finds_a_liar_sooner_or_later() {
        let ask = ask(JobKind::Prime, 7);
        let composite = Integer::from(91);
        let results: Vec<_> = (0..100).map(|job| claim(job, &composite)).collect();
        let mut verifier = Verifier::new(Verify::Sample);
        let found = (0..20).any(|_| {
            let verdicts = verifier.check(&ask, &results).unwrap();
            let caught = verdicts.iter().flatten().count();
            (1..100).contains(&caught)
        });
        assert!(found);
        // From then on nothing of that node goes unchecked.
        let mut caught = results.clone();
        caught.iter_mut().for_each(|claim| claim.always = true);
        let verdicts = verifier.check(&ask, &caught).unwrap();
        assert_eq!(verdicts.iter().flatten().count(), 100);
    }
}
