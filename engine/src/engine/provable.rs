//! Search for primes with a certificate, and check of certificates.

use rug::{Assign, Integer};

use super::{Engine, Form, Found, Method, check_bits};
use crate::certificate::{Certificate, Flaw, Step};
use crate::portable_plan::progression_plan;
use crate::progression::{Progression, sizes};
use crate::search::{PrimeSearch, ProvenPrime};
use crate::{Cancel, Error, Stream};

/// Numbers that are claimed to be prime, and their certificate.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The numbers.
    pub primes: &'a [Integer],
    /// The certificate that should prove all of them.
    pub certificate: &'a Certificate,
}

/// The chain of primes that leads to a stream's result: its last prime so far, and the steps that
/// prove it, in ascending order.
#[derive(Default)]
struct PrimeChain {
    prime: Integer,
    steps: Vec<Step>,
    candidates: u64,
}

/// For the last prime q of each chain, the progression of numbers 2kq + 1 with `bits` bits.
fn progressions(chains: &[PrimeChain], bits: u32) -> Vec<Progression> {
    let roots = chains.iter().map(|chain| chain.prime.clone());
    roots.map(|q| Progression::new(q, bits)).collect()
}

impl PrimeChain {
    /// For a prime below 2^64, which needs no step.
    fn new(found: Found) -> Self {
        Self {
            prime: found.prime,
            steps: Vec::new(),
            candidates: found.candidates,
        }
    }

    /// Makes `made` the current prime, and adds the step that proves it from the previous one.
    fn add(&mut self, made: ProvenPrime) {
        let q = std::mem::replace(&mut self.prime, made.n.clone());
        self.candidates += made.candidates;
        self.steps.push(Step {
            n: made.n,
            base: made.base,
            factors: vec![q],
        });
    }

    /// The result of the search: the prime itself, or for [`Form::SafePrime`] the safe prime of
    /// which it is the half.
    fn finish(mut self, form: Form) -> (Found, Certificate) {
        if form == Form::SafePrime {
            let p = Integer::from(&self.prime << 1_u32) + 1_u32;
            // p is a strong probable prime to base 2, so 2^(p − 1) ≡ 1 (mod p); and 3 does not
            // divide p: see `Engine::is_prime`.
            self.add(ProvenPrime {
                n: p,
                base: 2,
                candidates: 0,
            });
        }
        let mut steps = self.steps;
        steps.retain(|step| Certificate::is_needed(&step.n));
        steps.reverse();
        let found = Found {
            prime: self.prime,
            candidates: self.candidates,
        };
        (found, Certificate { steps })
    }
}

impl Engine {
    /// Finds for each stream a random prime with exactly `bits` bits and its certificate. The
    /// crate's documentation defines which prime a stream gives.
    ///
    /// Calls `found(i, ...)` as soon as the prime of `streams[i]` is known, in no particular order.
    /// After an error the primes that were already passed to `found` are valid.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::primes_by`].
    pub fn provable_primes(
        &mut self,
        form: Form,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found, Certificate),
    ) -> Result<(), Error> {
        check_bits(form, bits)?;
        let sizes = sizes(form, bits);
        let [first, between @ .., last] = &sizes[..] else {
            // Below 2^64 a test is a proof.
            let found = &mut |index, mut prime: Found| {
                if form == Form::SafePrime {
                    prime.prime >>= 1;
                }
                let (prime, certificate) = PrimeChain::new(prime).finish(form);
                found(index, prime, certificate);
            };
            return self.primes_by(Method::Uniform, form, bits, streams, cancel, found);
        };
        let mut primes = vec![None; streams.len()];
        let keep = &mut |index: usize, prime| primes[index] = Some(prime);
        self.primes_by(Method::Uniform, Form::Prime, *first, streams, cancel, keep)?;
        let mut chains: Vec<PrimeChain> =
            primes.into_iter().flatten().map(PrimeChain::new).collect();
        for &bits in between {
            let progressions = progressions(&chains, bits);
            let add = &mut |index: usize, made| chains[index].add(made);
            self.primes_of_progressions(Form::Prime, bits, &progressions, streams, cancel, add)?;
        }
        let progressions = progressions(&chains, *last);
        let finish = &mut |index: usize, made| {
            let mut chain = std::mem::take(&mut chains[index]);
            chain.add(made);
            let (prime, certificate) = chain.finish(form);
            found(index, prime, certificate);
        };
        self.primes_of_progressions(form, *last, &progressions, streams, cancel, finish)
    }

    /// Finds for each stream the prime of its progression, whose numbers have `bits` bits. For safe
    /// primes, finds the half of one.
    fn primes_of_progressions(
        &mut self,
        form: Form,
        bits: u32,
        progressions: &[Progression],
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, ProvenPrime),
    ) -> Result<(), Error> {
        if let Some(vector) = &mut self.vector
            && PrimeSearch::handles(bits)
        {
            match form {
                Form::Prime => {
                    return vector.provable_primes(bits, progressions, streams, cancel, found);
                }
                Form::SafePrime if PrimeSearch::handles(bits + 1) => {
                    let halve = &mut |index, mut made: ProvenPrime| {
                        made.n >>= 1;
                        found(index, made);
                    };
                    return vector.provable_safe_primes(
                        bits + 1,
                        progressions,
                        streams,
                        cancel,
                        halve,
                    );
                }
                Form::SafePrime => {}
            }
        }
        for (index, (stream, progression)) in streams.iter_mut().zip(progressions).enumerate() {
            let made = match form {
                Form::Prime => self.construct(progression, stream, cancel)?,
                Form::SafePrime => self.construct_pair(bits, progression, stream, cancel)?,
            };
            found(index, made);
        }
        Ok(())
    }

    fn construct(
        &mut self,
        progression: &Progression,
        stream: &mut Stream,
        cancel: &Cancel,
    ) -> Result<ProvenPrime, Error> {
        let mut candidates = 0;
        loop {
            cancel.check()?;
            progression.draw(stream, &mut self.candidate)?;
            if self.divides(Form::Prime, cancel)? {
                continue;
            }
            candidates += 1;
            let n = &self.candidate;
            if self.tester.is_strong_probable_prime_2(n, cancel)?
                && let Some(base) = self.tester.base_that_proves(n, &progression.q, cancel)?
            {
                return Ok(ProvenPrime {
                    n: n.clone(),
                    base,
                    candidates,
                });
            }
        }
    }

    fn construct_pair(
        &mut self,
        bits: u32,
        progression: &Progression,
        stream: &mut Stream,
        cancel: &Cancel,
    ) -> Result<ProvenPrime, Error> {
        let step = Integer::from(&progression.step << 1_u32);
        let plan = progression_plan(bits + 1);
        let mut candidates = 0;
        loop {
            progression.draw(stream, &mut self.start)?;
            self.start <<= 1;
            self.start += 1_u32;
            self.sieve
                .begin_progression(&self.start, &step, plan, cancel)?;
            loop {
                cancel.check()?;
                self.sieve.next(&mut self.candidate);
                if self.candidate.significant_bits() > bits + 1 {
                    break;
                }
                candidates += 1;
                self.half.assign(&self.candidate >> 1_u32);
                let tester = &mut self.tester;
                if tester.is_strong_probable_prime_2(&self.half, cancel)?
                    && tester.is_strong_probable_prime_2(&self.candidate, cancel)?
                    && let Some(base) =
                        tester.base_that_proves(&self.half, &progression.q, cancel)?
                {
                    return Ok(ProvenPrime {
                        n: self.half.clone(),
                        base,
                        candidates,
                    });
                }
            }
        }
    }

    /// For each claim, in order, whether its certificate proves it. If each step has one factor and
    /// base 2, this costs about as much as testing the numbers to one random base.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check_certificates(
        &mut self,
        claims: &[Claim<'_>],
        cancel: &Cancel,
    ) -> Result<Vec<Result<(), Flaw>>, Error> {
        let structures = claims.iter();
        let mut verdicts: Vec<Result<(), Flaw>> = structures
            .map(|claim| claim.certificate.check_structure(claim.primes))
            .collect();
        let mut in_lanes = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            if verdicts[place].is_err() {
                continue;
            }
            for step in &claim.certificate.steps {
                let bits = step.n.significant_bits();
                if let ([q], 2) = (&step.factors[..], step.base)
                    && self.vector.is_some()
                    && PrimeSearch::handles(bits)
                {
                    in_lanes.push((place, &step.n, q));
                } else if !self
                    .tester
                    .proves(&step.n, step.base, &step.factors, cancel)?
                {
                    verdicts[place] = Err(Flaw::fails(&step.n));
                    break;
                }
            }
        }
        if let Some(vector) = &mut self.vector {
            let numbers: Vec<(usize, &Integer)> =
                in_lanes.iter().map(|&(place, n, _)| (place, n)).collect();
            for (index, pair) in in_lanes.iter_mut().enumerate() {
                pair.0 = index;
            }
            vector.check_base_2(&mut in_lanes, cancel, &mut |index, holds| {
                let (place, n) = numbers[index];
                if !holds {
                    verdicts[place] = Err(Flaw::fails(n));
                }
            })?;
        }
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rug::integer::IsPrime;

    use super::*;
    use crate::Kernel;
    use crate::primality::tests::arnault;

    fn engines() -> Vec<Engine> {
        let kernels = Kernel::ALL.into_iter();
        kernels
            .filter_map(|kernel| Engine::with_kernel(kernel).ok())
            .collect()
    }

    fn find(engine: &mut Engine, form: Form, bits: u32, count: u64) -> Vec<(Integer, Certificate)> {
        let mut streams: Vec<Stream> = (0..count).map(|i| Stream::seeded(3, i)).collect();
        let mut all = vec![None; 2 * count as usize];
        let cancel = Cancel::new();
        // A stream is left just after its prime, so its next prime is the same on every kernel too.
        for all in all.chunks_mut(count as usize) {
            let found = &mut |index: usize, found: Found, certificate| {
                all[index] = Some((found.prime, certificate));
            };
            engine
                .provable_primes(form, bits, &mut streams, &cancel, found)
                .unwrap();
        }
        all.into_iter().flatten().collect()
    }

    fn check(
        engine: &mut Engine,
        primes: &[Integer],
        certificate: &Certificate,
    ) -> Result<(), Flaw> {
        let claim = Claim {
            primes,
            certificate,
        };
        engine
            .check_certificates(&[claim], &Cancel::new())
            .unwrap()
            .remove(0)
    }

    #[test]
    fn every_kernel_finds_the_same_and_accepts_the_proof() {
        let mut engines = engines();
        for (form, sizes) in [
            (
                Form::Prime,
                &[2, 3, 20, 63, 64, 65, 66, 100, 128, 256, 400, 513, 1024][..],
            ),
            (Form::SafePrime, &[3, 4, 20, 64, 65, 66, 67, 128, 200, 256]),
        ] {
            for &bits in sizes {
                let count = if bits > 300 { 3 } else { 9 };
                let first = find(&mut engines[0], form, bits, count);
                assert_eq!(first.len(), 2 * count as usize);
                for (prime, certificate) in &first {
                    assert_eq!(prime.significant_bits(), bits);
                    let mut primes = vec![prime.clone()];
                    if form == Form::SafePrime {
                        primes.push(Integer::from(prime >> 1_u32));
                    }
                    for n in &primes {
                        assert_ne!(n.is_probably_prime(30), IsPrime::No);
                    }
                    assert_eq!(certificate.steps.is_empty(), bits <= 64);
                    for engine in &mut engines {
                        assert_eq!(check(engine, &primes, certificate), Ok(()));
                    }
                }
                for engine in &mut engines[1..] {
                    let kernel = engine.kernel();
                    assert_eq!(find(engine, form, bits, count), first, "{kernel:?} {bits}");
                }
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_primes_for_ever() {
        let mut engine = Engine::new();
        let mut hex = |form, bits| {
            let (prime, certificate) = find(&mut engine, form, bits, 1).remove(0);
            let steps = certificate.steps.iter();
            let steps = steps.map(|step| format!("{} {:x?}", step.base, step.factors));
            format!("{prime:x} {}", steps.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(hex(Form::Prime, 64), "8d9a7dcb38092b7d ");
        assert_eq!(
            hex(Form::Prime, 200),
            "cb25e1ca12b3952a2bc437441e9037f34104e7e6715403ff2f 2 [282572251479712855601] 2 [12375641]"
        );
        assert_eq!(
            hex(Form::SafePrime, 100),
            "e360f1fc68cc5b19abfca13fb 2 [562962374836653792012894800381] 2 [14457558617]"
        );
    }

    #[test]
    fn the_proof_of_another_number_is_refused() {
        for mut engine in engines() {
            let [(p, proof), (other, _)] = &find(&mut engine, Form::Prime, 300, 1)[..] else {
                panic!("two primes");
            };
            assert!(matches!(
                check(&mut engine, std::slice::from_ref(other), proof),
                Err(Flaw::Unproven(_))
            ));
            // n + 2q is also 1 modulo q, and very unlikely to be prime.
            let mut forged = proof.clone();
            forged.steps[0].n += Integer::from(&proof.steps[0].factors[0] << 1_u32);
            let n = forged.steps[0].n.clone();
            assert_eq!(n.is_probably_prime(30), IsPrime::No);
            assert_eq!(
                check(&mut engine, std::slice::from_ref(&n), &forged),
                Err(Flaw::fails(&n))
            );
            // Without its last step, the certificate leaves a factor unproven.
            let mut truncated = proof.clone();
            truncated.steps.pop();
            assert!(matches!(
                check(&mut engine, std::slice::from_ref(p), &truncated),
                Err(Flaw::Factor(_))
            ));
        }
    }

    /// Checks that every certificate of a composite is refused, with true factors of n − 1 and each
    /// of many bases.
    fn is_refused(engine: &mut Engine, n: &Integer, factors: &[Integer]) {
        for base in 2..60 {
            let step = Step {
                n: n.clone(),
                base,
                factors: factors.to_vec(),
            };
            let certificate = Certificate { steps: vec![step] };
            assert!(
                check(engine, std::slice::from_ref(n), &certificate).is_err(),
                "{n} {base}"
            );
        }
    }

    /// The prime factors below 2^64 of n − 1: those that trial division finds, and the cofactor if
    /// it is a prime below 2^64.
    fn small_factors(n: &Integer) -> Vec<Integer> {
        let mut rest = Integer::from(n - 1_u32);
        let mut factors = Vec::new();
        for p in (2..3000_u32).filter(|&p| crate::small::is_prime(p.into())) {
            if rest.remove_factor_mut(&p.into()) > 0 {
                factors.push(p.into());
            }
        }
        if rest > 1 && rest.to_u64().is_some_and(crate::small::is_prime) {
            factors.push(rest);
        }
        factors
    }

    #[test]
    fn pseudoprimes_have_no_proof() {
        let carmichael = |k: u64| {
            // Chernick: (6k + 1)(12k + 1)(18k + 1), where all three are prime.
            let parts = [6 * k + 1, 12 * k + 1, 18 * k + 1];
            let are_prime = parts.iter().all(|&p| crate::small::is_prime(p));
            are_prime.then(|| parts.iter().fold(Integer::from(1), |n, &p| n * p))
        };
        let numbers: Vec<Integer> = (1_000_000..1_004_000).filter_map(carmichael).collect();
        assert!(numbers.len() > 3);
        for mut engine in engines() {
            for n in numbers.iter().take(4).chain([&arnault()]) {
                is_refused(&mut engine, n, &small_factors(n));
                let proof = Step::prove(n, small_factors(n), &mut engine.tester, &Cancel::new());
                assert_eq!(proof, Ok(None));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Products of two primes that are 1 modulo a known prime q: an attacker's best chance.
        #[test]
        fn composites_have_no_proof(seed: u64, bits in 20_u32..60) {
            let mut stream = Stream::seeded(seed, 0);
            let mut engine = Engine::new();
            let q = engine.uniform_prime(Form::Prime, bits, &mut stream, &Cancel::new()).unwrap().prime;
            let mut prime = |bits| {
                let progression = Progression::new(q.clone(), bits);
                let mut n = Integer::new();
                loop {
                    progression.draw(&mut stream, &mut n).unwrap();
                    if n.is_probably_prime(30) != IsPrime::No {
                        return n.clone();
                    }
                }
            };
            // With fewer extra bits beyond those of q, the progression may hold no prime at all.
            let n = prime(bits + 14) * prime(bits + 24);
            prop_assume!(Certificate::is_needed(&n));
            for base in [2, 3, 5, 7] {
                let step = Step { n: n.clone(), base, factors: vec![q.clone()] };
                let certificate = Certificate { steps: vec![step] };
                prop_assert!(check(&mut engine, std::slice::from_ref(&n), &certificate).is_err());
            }
            let proof = Step::prove(&n, vec![q], &mut engine.tester, &Cancel::new());
            prop_assert_eq!(proof, Ok(None));
        }
    }

    #[test]
    fn a_cancel_ends_the_search() {
        for mut engine in engines() {
            let cancel = Cancel::new();
            cancel.cancel();
            for form in [Form::Prime, Form::SafePrime] {
                let streams = &mut [Stream::seeded(1, 1)];
                let found = &mut |_, _, _| panic!("found");
                let result = engine.provable_primes(form, 2048, streams, &cancel, found);
                assert_eq!(result, Err(Error::Cancelled));
            }
        }
    }
}
