//! The search for provable primes in lanes, and the check of certificates in lanes.

use rug::Integer;

use super::{Batch, CandidateSource, Job, Lanes, NextCandidate, PrimeSearch, Streams, digits_of};
use crate::certificate::Sufficiency;
use crate::portable_plan::progression_plan;
use crate::primality::Tester;
use crate::progression::Progression;
use crate::search::digits::{integer, write_digits};
use crate::search::vector_plan::vector_trial_bound;
use crate::{Cancel, Error, Stream};

/// A prime n = 2kq + 1, the base that proves it, and the number of candidates tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProvenPrime {
    pub(crate) n: Integer,
    pub(crate) base: u32,
    pub(crate) candidates: u64,
}

/// Source of the first prime from each stream's own progression.
struct ProgressionCandidates<'a> {
    progressions: &'a [Progression],
    streams: Streams<'a>,
    /// The bases that prove the hits, indexed by stream.
    bases: Vec<u32>,
    /// The digits of the number in trial division.
    digits: Vec<u64>,
    found: &'a mut dyn FnMut(usize, ProvenPrime),
}

impl CandidateSource for ProgressionCandidates<'_> {
    fn begin(&mut self, _: &mut PrimeSearch, job: &mut Job) -> Result<bool, Error> {
        Ok(self.streams.begin(job))
    }

    fn next(
        &mut self,
        search: &mut PrimeSearch,
        job: &mut Job,
        candidate: &mut [u64],
        cancel: &Cancel,
    ) -> Result<NextCandidate, Error> {
        let stream = self.streams.of(job);
        self.digits.resize(search.sieve.digits(), 0);
        loop {
            cancel.check()?;
            self.progressions[job.stream].draw(stream, &mut search.number)?;
            write_digits(&search.number, &mut self.digits);
            if !search.sieve.has_factor(&self.digits) {
                write_digits(&search.number, candidate);
                job.places.push(stream.place());
                return Ok(NextCandidate::Written);
            }
        }
    }

    fn confirm(
        &mut self,
        _: &mut PrimeSearch,
        batch: &mut Batch,
        hits: &[&Job],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let numbers: Vec<Integer> = hits.iter().map(|job| integer(&job.hit)).collect();
        let roots = hits.iter().map(|job| &self.progressions[job.stream].q);
        let pairs: Vec<(&Integer, &Integer)> = numbers.iter().zip(roots).collect();
        let mut proven = 0;
        for (place, base) in bases(batch, &pairs, cancel)?.into_iter().enumerate() {
            if let Some(base) = base {
                proven |= 1 << place;
                self.bases[hits[place].stream] = base;
            }
        }
        Ok(proven)
    }

    fn resume(&mut self, _: &mut PrimeSearch, job: &mut Job) -> Result<(), Error> {
        self.streams.return_to_hit(job);
        Ok(())
    }

    fn done(&mut self, job: &Job) {
        self.streams.return_to_hit(job);
        let proven = ProvenPrime {
            n: integer(&job.hit),
            base: self.bases[job.stream],
            candidates: job.candidates,
        };
        (self.found)(job.stream, proven);
    }
}

impl PrimeSearch {
    /// Finds for each stream the first prime of its progression, whose numbers have `bits` bits.
    /// [`Self::handles`] must be true for `bits`.
    pub(crate) fn provable_primes(
        &mut self,
        bits: u32,
        progressions: &[Progression],
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, ProvenPrime),
    ) -> Result<(), Error> {
        let mut source = ProgressionCandidates {
            progressions,
            bases: vec![0; streams.len()],
            streams: Streams::new(streams),
            digits: Vec::new(),
            found,
        };
        self.with_batch(bits, |search, batch| {
            search
                .sieve
                .prepare(digits_of(bits), vector_trial_bound(bits), 64, cancel)?;
            search.run(batch, cancel, &mut source)
        })
    }

    /// Finds for each stream the first safe prime from a number of its progression on. The safe
    /// primes have `bits` bits, and the numbers of the progressions are their halves.
    /// [`Self::handles`] must be true for `bits` and for `bits − 1`.
    pub(crate) fn provable_safe_primes(
        &mut self,
        bits: u32,
        progressions: &[Progression],
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, ProvenPrime),
    ) -> Result<(), Error> {
        let plan = progression_plan(bits);
        self.with_batch(bits, |search, batch| {
            for (index, stream) in streams.iter_mut().enumerate() {
                let Progression { q, step, .. } = &progressions[index];
                let step = Integer::from(step << 1_u32);
                let (mut candidates, mut base) = (0, 0);
                let prime = loop {
                    progressions[index].draw(stream, &mut search.number)?;
                    search.number <<= 1;
                    search.number += 1_u32;
                    search
                        .pair_sieve
                        .begin_progression(&search.number, &step, plan, cancel)?;
                    let confirm = &mut |search: &mut Self, batch: &mut Batch| {
                        let proof = bases(batch, &[(&search.number, q)], cancel)?[0];
                        base = proof.unwrap_or(0);
                        Ok(proof.is_some())
                    };
                    let (prime, tested) = search.safe_prime(batch, bits, confirm, cancel)?;
                    candidates += tested;
                    if let Some(prime) = prime {
                        break prime;
                    }
                };
                let proven = ProvenPrime {
                    n: prime,
                    base,
                    candidates,
                };
                found(index, proven);
            }
            Ok(())
        })
    }

    /// Checks pairs of an odd number n above 2^64 and a prime q that divides n − 1, each given with
    /// its place: calls `decided(place, holds)`, which says whether the conditions of a
    /// [`certificate`](crate::certificate) hold with base 2. [`Self::handles`] must be true for the
    /// size of n.
    pub(crate) fn check_base_2(
        &mut self,
        pairs: &mut [(usize, &Integer, &Integer)],
        cancel: &Cancel,
        decided: &mut dyn FnMut(usize, bool),
    ) -> Result<(), Error> {
        self.in_batches(
            pairs,
            |(_, n, _)| n,
            |batch, now| {
                let pairs: Vec<_> = now.iter().map(|&(_, n, q)| (n, q)).collect();
                let too_early = are_one(batch, &pairs, cancel)?;
                let roots: Vec<Integer> = (0..batch.lanes())
                    .map(|lane| pairs[lane % pairs.len()].1.clone())
                    .collect();
                let holds = batch.becomes_one(&roots, cancel)? & !too_early;
                for (lane, &(place, ..)) in now.iter().enumerate() {
                    decided(place, holds >> lane & 1 == 1);
                }
                Ok(())
            },
        )
    }
}

/// For each pair (n, q) whether 2^((n − 1)/q) is 1 modulo n, as a set of lanes. The numbers n are
/// in the first lanes, and the other lanes repeat them.
fn are_one(
    batch: &mut Batch,
    pairs: &[(&Integer, &Integer)],
    cancel: &Cancel,
) -> Result<Lanes, Error> {
    let cofactor = |&(n, q): &(&Integer, &Integer)| Integer::from(n - 1_u32).div_exact(q);
    let mut exponents: Vec<Integer> = pairs.iter().map(cofactor).collect();
    for lane in pairs.len()..batch.lanes() {
        exponents.push(exponents[lane % pairs.len()].clone());
    }
    batch.power_of_two(&exponents, cancel)
}

/// For each pair of a strong probable prime n to base 2 and a prime q that divides n − 1, the base
/// that proves n, or `None` if n is composite. The numbers are in the lanes as for [`are_one`].
fn bases(
    batch: &mut Batch,
    pairs: &[(&Integer, &Integer)],
    cancel: &Cancel,
) -> Result<Vec<Option<u32>>, Error> {
    let are_one = are_one(batch, pairs, cancel)?;
    let bases = pairs.iter().enumerate().map(|(lane, (n, q))| {
        if are_one >> lane & 1 == 1 {
            // This is very rare, so it need not be fast.
            return Tester::default().base_that_proves(n, q, cancel);
        }
        let is_enough = Sufficiency::of_one(n, q) == Sufficiency::Proves;
        Ok(is_enough.then_some(2))
    });
    bases.collect()
}
