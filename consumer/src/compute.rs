//! Computes the answers to a work unit: the only module that maps kinds of jobs to the engine.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use primepool_common::{
    jobs::Jobs as _,
    message::{Certificate, HexInteger, JobAnswer, JobOutcome, Method, Work, WorkUnit},
};
use primepool_engine::{Cancel, Confirmation, Engine, Error, Form, Found, Integer, Kernel, Stream};
use primepool_factor::{Factorizer, quadratic_sieve::Families};
use tracing::error;

use crate::factor;

/// The answer to a job, still without its compute time.
#[derive(Debug)]
pub(crate) struct UntimedAnswer {
    pub outcome: JobOutcome,
    /// Number of integers that were given a probable-prime test.
    pub candidates: u64,
    /// Certificate of the primes, if the unit asks for one.
    pub certificate: Option<Certificate>,
}

impl From<JobOutcome> for UntimedAnswer {
    fn from(outcome: JobOutcome) -> Self {
        Self {
            outcome,
            candidates: 0,
            certificate: None,
        }
    }
}

impl UntimedAnswer {
    /// A prime as returned by the engine.
    fn prime(found: Found, certificate: Option<primepool_engine::Certificate>) -> Self {
        Self {
            outcome: JobOutcome::Ok {
                value: Some(HexInteger(found.prime)),
            },
            candidates: found.candidates,
            certificate: certificate.map(Certificate),
        }
    }

    /// The answer to the job.
    fn answer(self, compute_us: u64) -> JobAnswer {
        JobAnswer {
            outcome: self.outcome,
            compute_us,
            candidates: self.candidates,
            certificate: self.certificate,
        }
    }
}

/// Processes the jobs of units; each worker thread has its own.
pub(crate) trait Compute {
    /// Processes these jobs of `unit`, and passes each result to `answer`, with the index of its
    /// job in the run.
    ///
    /// # Errors
    /// [`Error::Cancelled`], or the reason why the remaining jobs cannot be processed.
    fn run(
        &mut self,
        unit: &WorkUnit,
        jobs: JobRange,
        cancel: &Cancel,
        answer: &mut dyn FnMut(u64, UntimedAnswer),
    ) -> Result<(), Error>;

    /// Processes all jobs of several units of one run that search for primes of the same size by
    /// the same method. Passes each result to `answer`, with its position among the jobs of all
    /// units.
    ///
    /// # Errors
    /// The same as for [`Compute::run`].
    fn search_together(
        &mut self,
        units: &[&WorkUnit],
        cancel: &Cancel,
        answer: &mut dyn FnMut(usize, UntimedAnswer),
    ) -> Result<(), Error>;

    /// Resets the state after a panic.
    fn renew(&mut self);
}

/// A range of a unit's jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobRange {
    /// Position of the first job in the unit.
    pub offset: u64,
    pub count: u64,
}

/// The implementation with the prime search engine and the factoring engine.
pub(crate) struct EngineCompute {
    engine: Engine,
    factorizer: Factorizer,
    /// Kept for the next share of the same sieve.
    families: Option<Families>,
}

impl EngineCompute {
    /// Creates the engines with this kernel.
    ///
    /// # Errors
    /// This processor does not support the kernel.
    pub(crate) fn new(kernel: Kernel) -> Result<Self, Error> {
        Ok(Self {
            engine: Engine::with_kernel(kernel)?,
            factorizer: Factorizer::with_kernel(kernel),
            families: None,
        })
    }

    /// Searches for a prime in each stream, and passes each prime with the position of its stream
    /// to `answer`.
    fn primes(
        &mut self,
        search: Search,
        mut streams: Vec<Stream>,
        cancel: &Cancel,
        answer: &mut dyn FnMut(usize, UntimedAnswer),
    ) -> Result<(), Error> {
        let Search { form, bits, .. } = search;
        let engine = &mut self.engine;
        engine.set_confirmation(search.confirmation());
        let mut by = |method| {
            let found = &mut |place, found| answer(place, UntimedAnswer::prime(found, None));
            engine.primes_by(method, form, bits, &mut streams, cancel, found)
        };
        match search.method {
            Method::Incremental => by(primepool_engine::Method::Incremental),
            Method::Uniform => by(primepool_engine::Method::Uniform),
            Method::Provable => {
                let found = &mut |place, found, certificate| {
                    answer(place, UntimedAnswer::prime(found, Some(certificate)));
                };
                engine.provable_primes(form, bits, &mut streams, cancel, found)
            }
        }
    }

    /// Certifies the primes of a result, as far as possible. If it is cancelled, the certificate is
    /// empty.
    fn certify(
        &mut self,
        mut done: UntimedAnswer,
        cancel: &Cancel,
    ) -> Result<UntimedAnswer, Error> {
        let primes: Vec<Integer> = match &done.outcome {
            JobOutcome::Ok { value: Some(value) } => vec![value.0.clone()],
            JobOutcome::Factored(found) => {
                let primes = found.factors.iter().map(|power| power.0.0.clone());
                primes.collect()
            }
            _ => return Ok(done),
        };
        let certificate = match self.factorizer.certify(&primes, cancel) {
            // The code that follows also checks the cancel flag.
            Err(Error::Cancelled) => primepool_engine::Certificate::default(),
            certificate => certificate?,
        };
        done.certificate = Some(Certificate(certificate));
        Ok(done)
    }
}

/// A search for random primes. The engine runs equal searches side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search {
    form: Form,
    bits: u32,
    method: Method,
    /// See [`WorkUnit::verified`].
    is_verified: bool,
}

impl Search {
    /// The search that the jobs of a unit need; `None` if they are not searches for random primes.
    pub(crate) fn of(unit: &WorkUnit) -> Option<Self> {
        let (form, bits, method) = match &unit.work {
            Work::Prime(work) => (Form::Prime, work.bits, work.method),
            Work::SafePrime(work) => (Form::SafePrime, work.bits, work.method),
            _ => return None,
        };
        Some(Self {
            form,
            bits,
            method,
            is_verified: unit.verified,
        })
    }

    fn confirmation(self) -> Confirmation {
        if self.is_verified && self.method != Method::Provable {
            Confirmation::OneRoundLeft
        } else {
            Confirmation::Complete
        }
    }
}

/// The random stream that the candidates of a job are drawn from.
fn stream(unit: &WorkUnit, job: u64) -> Stream {
    unit.seed
        .map_or_else(Stream::os, |seed| Stream::seeded(seed, job))
}

impl Compute for EngineCompute {
    fn search_together(
        &mut self,
        units: &[&WorkUnit],
        cancel: &Cancel,
        answer: &mut dyn FnMut(usize, UntimedAnswer),
    ) -> Result<(), Error> {
        let Some(search) = units.first().copied().and_then(Search::of) else {
            return Ok(());
        };
        let streams = units.iter().flat_map(|unit| {
            let jobs = unit.first..unit.first + unit.work.count();
            jobs.map(|job| stream(unit, job))
        });
        self.primes(search, streams.collect(), cancel, answer)
    }

    fn renew(&mut self) {
        // This cannot fail: the processor supported the kernel before.
        if let Ok(new) = Self::new(self.engine.kernel()) {
            *self = new;
        }
    }

    fn run(
        &mut self,
        unit: &WorkUnit,
        jobs: JobRange,
        cancel: &Cancel,
        answer: &mut dyn FnMut(u64, UntimedAnswer),
    ) -> Result<(), Error> {
        let first = unit.first + jobs.offset;
        if let Some(search) = Search::of(unit) {
            let streams = (first..first + jobs.count).map(|job| stream(unit, job));
            let mut found = |i: usize, done| answer(first + i as u64, done);
            return self.primes(search, streams.collect(), cancel, &mut found);
        }
        let range = jobs.offset as usize..(jobs.offset + jobs.count) as usize;
        match &unit.work {
            // Already handled above.
            Work::Prime(_) | Work::SafePrime(_) => Ok(()),
            Work::NextPrime(work) => {
                for (n, job) in work.after.listed()[range].iter().zip(first..) {
                    let mut done =
                        UntimedAnswer::prime(self.engine.next_prime(&n.0, cancel)?, None);
                    if work.prove {
                        done = self.certify(done, cancel)?;
                    }
                    answer(job, done);
                }
                Ok(())
            }
            Work::Factor(work) => {
                let (mut places, mut small) = (Vec::new(), Vec::new());
                for (n, place) in work.numbers.listed()[range].iter().zip(jobs.offset..) {
                    let job = unit.first + place;
                    if work.shares_time(place) {
                        places.push(job);
                        small.push(n.0.clone());
                        continue;
                    }
                    if let Some(share) = work.share {
                        let (factorizer, families) = (&mut self.factorizer, &mut self.families);
                        let (outcome, done) =
                            factor::share(factorizer, families, &n.0, share, cancel)?;
                        let candidates = done;
                        let done = UntimedAnswer {
                            candidates,
                            ..outcome.into()
                        };
                        answer(job, done);
                        continue;
                    }
                    let (outcome, is_cancelled) =
                        factor::outcome(&mut self.factorizer, &n.0, work.leave_above, cancel)?;
                    if is_cancelled {
                        answer(job, outcome.into());
                        return Err(Error::Cancelled);
                    }
                    let mut done = outcome.into();
                    if work.prove {
                        done = self.certify(done, cancel)?;
                    }
                    answer(job, done);
                }
                let mut unproven = Vec::new();
                factor::outcomes(
                    &mut self.factorizer,
                    &small,
                    work.leave_above,
                    cancel,
                    &mut |place, outcome| {
                        if work.prove {
                            unproven.push((places[place], outcome));
                        } else {
                            answer(places[place], outcome.into());
                        }
                    },
                )?;
                for (job, outcome) in unproven {
                    answer(job, self.certify(outcome.into(), cancel)?);
                }
                Ok(())
            }
            Work::Noop(_) => {
                for job in first..first + jobs.count {
                    answer(job, JobOutcome::Ok { value: None }.into());
                }
                Ok(())
            }
        }
    }
}

/// Processes several units together, and returns the answers of each, in order. Returns `None` if
/// that fails or there are fewer than two units; each unit must then be processed alone.
pub(crate) fn run_together<C: Compute>(
    compute: &mut C,
    units: &[&WorkUnit],
    cancel: &Cancel,
) -> Option<Vec<Vec<JobAnswer>>> {
    if units.len() < 2 {
        return None;
    }
    let start = Instant::now();
    let counts = units.iter().map(|unit| unit.work.count());
    let count = counts.clone().sum();
    let mut answers = PartialAnswers(vec![None; count as usize]);
    let mut answer = |place: usize, done: UntimedAnswer| answers.0[place] = Some(done.answer(0));
    let run = || compute.search_together(units, cancel, &mut answer);
    // Unwind safe: after a panic, `compute` is renewed and the answers are dropped.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return None,
        Err(_) => {
            compute.renew();
            return None;
        }
    }
    let all = JobRange { offset: 0, count };
    answers.share_time(all, |_| true, start.elapsed().as_secs_f64() * 1e6);
    let mut answers = answers.finish().into_iter();
    let each = counts.map(|count| answers.by_ref().take(count as usize).collect());
    Some(each.collect())
}

/// Processes a whole unit and answers its jobs in order. If a job panics, only that job fails: the
/// remaining jobs of the unit are then processed one at a time, each with a renewed `Compute`.
///
/// # Errors
/// The work was cancelled; the error contains the answers so far.
pub(crate) fn run_unit<C: Compute>(
    compute: &mut C,
    unit: &WorkUnit,
    cancel: &Cancel,
) -> Result<Vec<JobAnswer>, CancelledUnit> {
    let start = Instant::now();
    let count = unit.work.count();
    let whole = JobRange { offset: 0, count };
    let mut answers = PartialAnswers(vec![None; count as usize]);
    match attempt(compute, unit, whole, cancel, &mut answers) {
        Attempt::Done => return Ok(answers.finish()),
        Attempt::Cancelled => return Err(CancelledUnit { answers, start }),
        Attempt::Unable(outcome) => {
            answers.answer_rest(whole, &outcome);
            return Ok(answers.finish());
        }
        Attempt::Panicked(_) => {}
    }
    for offset in 0..count {
        if answers.0[offset as usize].is_some() {
            continue;
        }
        compute.renew();
        let one = JobRange { offset, count: 1 };
        match attempt(compute, unit, one, cancel, &mut answers) {
            Attempt::Done => {}
            Attempt::Cancelled => return Err(CancelledUnit { answers, start }),
            Attempt::Unable(outcome) => answers.answer_rest(one, &outcome),
            Attempt::Panicked(message) => {
                let job = unit.first + offset;
                error!(job, error = %message, "the engine panicked");
                let reason = format!("the engine panicked: {message}");
                answers.answer_rest(one, &JobOutcome::Failed { reason });
            }
        }
    }
    compute.renew();
    Ok(answers.finish())
}

/// The answers to the jobs of a unit; `None` for jobs without an answer yet.
#[derive(Debug)]
struct PartialAnswers(Vec<Option<JobAnswer>>);

impl PartialAnswers {
    /// Gives `outcome` to each of `jobs` that has no answer yet.
    fn answer_rest(&mut self, jobs: JobRange, outcome: &JobOutcome) {
        let range = jobs.offset as usize..(jobs.offset + jobs.count) as usize;
        for answer in &mut self.0[range] {
            answer.get_or_insert_with(|| JobAnswer {
                outcome: outcome.clone(),
                compute_us: 0,
                candidates: 0,
                certificate: None,
            });
        }
    }

    /// All answers. Jobs without an answer have failed; an engine that omits an answer has a bug.
    fn finish(mut self) -> Vec<JobAnswer> {
        let count = self.0.len() as u64;
        let outcome = JobOutcome::Failed {
            reason: "the engine gave no answer".to_owned(),
        };
        self.answer_rest(JobRange { offset: 0, count }, &outcome);
        self.0.into_iter().flatten().collect()
    }

    /// Distributes `us` microseconds over the jobs that were processed side by side, in proportion
    /// to the candidates of each.
    fn share_time(&mut self, jobs: JobRange, shares: impl Fn(u64) -> bool, us: f64) {
        let range = jobs.offset as usize..(jobs.offset + jobs.count) as usize;
        let answers = self.0[range].iter_mut().zip(jobs.offset..);
        let mut answers: Vec<&mut JobAnswer> = answers
            .filter(|(_, place)| shares(*place))
            .filter_map(|(answer, _)| answer.as_mut())
            .collect();
        let weight = |answer: &JobAnswer| (answer.candidates + 1) as f64;
        let whole: f64 = answers.iter().map(|answer| weight(answer)).sum();
        let mut passed = 0.0;
        for answer in &mut answers {
            // Rounded so that the sum equals the total time.
            let until = passed + us * weight(answer) / whole;
            answer.compute_us = (until.round() - passed.round()) as u64;
            passed = until;
        }
    }
}

/// A unit whose work was cancelled before its end: the answers so far.
#[derive(Debug)]
pub(crate) struct CancelledUnit {
    answers: PartialAnswers,
    start: Instant,
}

impl CancelledUnit {
    /// The final answers if the unit is not tried again. Unfinished jobs have failed for this
    /// reason, and the time is distributed over all jobs.
    #[must_use]
    pub(crate) fn fail(self, reason: String) -> Vec<JobAnswer> {
        let Self { mut answers, start } = self;
        let count = answers.0.len() as u64;
        let whole = JobRange { offset: 0, count };
        for answer in answers.0.iter_mut().flatten() {
            if let JobOutcome::Factored(found) = &mut answer.outcome
                && !found.is_complete()
            {
                found.reason.get_or_insert_with(|| reason.clone());
            }
        }
        answers.answer_rest(whole, &JobOutcome::Failed { reason });
        answers.share_time(whole, |_| true, start.elapsed().as_secs_f64() * 1e6);
        answers.finish()
    }
}

enum Attempt {
    Done,
    Cancelled,
    Unable(JobOutcome),
    Panicked(String),
}

fn attempt(
    compute: &mut impl Compute,
    unit: &WorkUnit,
    jobs: JobRange,
    cancel: &Cancel,
    answers: &mut PartialAnswers,
) -> Attempt {
    let mut since = Instant::now();
    let shares_time = |place: u64| unit.work.jobs().shares_time(place);
    // Jobs that share their time come last.
    let mut answer = |job: u64, done: UntimedAnswer| {
        let mut compute_us = 0;
        if !shares_time(job - unit.first) {
            let now = Instant::now();
            compute_us = (now - since).as_micros() as u64;
            since = now;
        }
        answers.0[(job - unit.first) as usize] = Some(done.answer(compute_us));
    };
    let run = || compute.run(unit, jobs, cancel, &mut answer);
    // Unwind safe: after a panic, `compute` is renewed, and `answers` only ever receives complete
    // answers.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {
            answers.share_time(jobs, shares_time, since.elapsed().as_secs_f64() * 1e6);
            Attempt::Done
        }
        Ok(Err(Error::Cancelled)) => Attempt::Cancelled,
        Ok(Err(Error::Invalid { reason })) => Attempt::Unable(JobOutcome::Rejected { reason }),
        Ok(Err(error)) => Attempt::Unable(JobOutcome::Failed {
            reason: error.to_string(),
        }),
        Err(payload) => Attempt::Panicked(panic_message(&*payload)),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{
        FactorJobs, NextPrimeJobs, NoopJobs, PrimeJobs, SafePrimeJobs,
    };

    use super::*;

    fn unit(work: Work) -> WorkUnit {
        WorkUnit {
            version: 1,
            run: "r".parse().unwrap(),
            unit: 0,
            first: 10,
            published_ns: 0,
            seed: Some(1),
            avoid: vec![],
            deadline_ms: None,
            hand_back: false,
            verified: false,
            work,
        }
    }

    fn prime(bits: u32, count: u64, method: Method) -> Work {
        Work::Prime(PrimeJobs {
            bits,
            count,
            method,
        })
    }

    fn safe_prime(bits: u32, count: u64) -> Work {
        Work::SafePrime(SafePrimeJobs {
            bits,
            count,
            method: Method::Incremental,
        })
    }

    fn run(work: Work) -> Vec<JobAnswer> {
        run_unit(
            &mut EngineCompute::new(Kernel::fastest()).unwrap(),
            &unit(work),
            &Cancel::new(),
        )
        .unwrap()
    }

    #[test]
    fn every_kind_is_answered() {
        for (work, count) in [
            (prime(64, 9, Method::Incremental), 9),
            (prime(256, 5, Method::Uniform), 5),
            (safe_prime(32, 3), 3),
            (Work::Noop(NoopJobs { count: 5 }), 5),
        ] {
            let answers = run(work);
            assert_eq!(answers.len(), count);
            for answer in answers {
                assert!(matches!(answer.outcome, JobOutcome::Ok { .. }));
            }
        }
        let answers = run(Work::NextPrime(NextPrimeJobs {
            after: vec![HexInteger(7.into()), HexInteger(13.into())].into(),
            prove: false,
        }));
        let value = |n: u32| JobOutcome::Ok {
            value: Some(HexInteger(n.into())),
        };
        assert_eq!(answers[0].outcome, value(11));
        assert_eq!(answers[1].outcome, value(17));
        let answers = run(Work::Factor(FactorJobs {
            numbers: [15, 0, -8].map(|n| HexInteger(n.into())).to_vec().into(),
            leave_above: None,
            share: None,
            prove: false,
        }));
        let factors = |answer: &JobAnswer| answer.factorization().map(|found| found.factors.len());
        let counts: Vec<_> = answers.iter().map(factors).collect();
        assert_eq!(counts, [Some(2), None, Some(1)]);
        assert!(matches!(answers[1].outcome, JobOutcome::Rejected { .. }));
    }

    #[test]
    fn the_units_time_is_shared_out_by_candidates() {
        let start = Instant::now();
        let answers = run(prime(512, 20, Method::Incremental));
        let whole = start.elapsed().as_micros() as u64;
        let shared: u64 = answers.iter().map(|answer| answer.compute_us).sum();
        assert!(shared <= whole && shared > whole / 2, "{shared} of {whole}");
        for one in &answers {
            for other in &answers {
                let more = one.candidates > other.candidates;
                assert!(!more || one.compute_us + 1 >= other.compute_us);
            }
        }
    }

    #[test]
    fn the_method_decides_which_prime_a_seed_gives() {
        let values = |method| {
            let answers = run(prime(128, 8, method));
            let values = answers.iter().map(|answer| answer.value().cloned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(values(Method::Uniform), values(Method::Uniform));
        assert_ne!(values(Method::Uniform), values(Method::Incremental));
    }

    #[test]
    fn what_cannot_exist_is_rejected() {
        let answers = run(safe_prime(2, 2));
        assert_eq!(answers.len(), 2);
        assert!(
            answers
                .iter()
                .all(|a| matches!(a.outcome, JobOutcome::Rejected { .. }))
        );
    }

    /// Panics on one job, and then on every job until it is renewed.
    struct Fragile {
        bad: u64,
        broken: bool,
    }

    impl Compute for Fragile {
        fn search_together(
            &mut self,
            units: &[&WorkUnit],
            _: &Cancel,
            answer: &mut dyn FnMut(usize, UntimedAnswer),
        ) -> Result<(), Error> {
            let jobs: u64 = units.iter().map(|unit| unit.work.count()).sum();
            for place in 0..jobs {
                self.broken |= place == self.bad;
                assert!(!self.broken, "out of luck");
                answer(place as usize, JobOutcome::Ok { value: None }.into());
            }
            Ok(())
        }

        fn renew(&mut self) {
            self.broken = false;
        }

        fn run(
            &mut self,
            unit: &WorkUnit,
            jobs: JobRange,
            cancel: &Cancel,
            answer: &mut dyn FnMut(u64, UntimedAnswer),
        ) -> Result<(), Error> {
            for offset in jobs.offset..jobs.offset + jobs.count {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                self.broken |= offset == self.bad;
                assert!(!self.broken, "out of luck");
                answer(unit.first + offset, JobOutcome::Ok { value: None }.into());
            }
            Ok(())
        }
    }

    fn fragile(bad: u64) -> Fragile {
        Fragile { bad, broken: false }
    }

    #[test]
    fn a_panic_is_one_jobs_failure() {
        let unit = unit(Work::Noop(NoopJobs { count: 5 }));
        let mut compute = fragile(2);
        let answers = run_unit(&mut compute, &unit, &Cancel::new()).unwrap();
        assert_eq!(answers.len(), 5);
        for (i, answer) in answers.iter().enumerate() {
            let failed = matches!(&answer.outcome, JobOutcome::Failed { reason } if reason.contains("out of luck"));
            assert_eq!(failed, i == 2, "{answer:?}");
        }
        assert!(!compute.broken, "the next unit gets a new one");
    }

    #[test]
    fn units_together_give_what_each_gives_alone() {
        let mut compute = EngineCompute::new(Kernel::fastest()).unwrap();
        let cancel = Cancel::new();
        for method in [Method::Incremental, Method::Uniform] {
            let mut units: Vec<_> = (0..3).map(|_| unit(prime(256, 2, method))).collect();
            for (number, unit) in units.iter_mut().enumerate() {
                unit.first = 5 * number as u64;
            }
            let units: Vec<&WorkUnit> = units.iter().collect();
            let together = run_together(&mut compute, &units, &cancel).unwrap();
            assert_eq!(together.len(), 3);
            for (unit, answers) in units.iter().zip(together) {
                let alone = run_unit(&mut compute, unit, &cancel).unwrap();
                let outcome = |answer: &JobAnswer| answer.outcome.clone();
                let together: Vec<_> = answers.iter().map(outcome).collect();
                assert_eq!(together, alone.iter().map(outcome).collect::<Vec<_>>());
                assert!(answers.iter().all(|answer| answer.compute_us > 0));
            }
        }
        assert!(
            run_together(
                &mut compute,
                &[&unit(prime(64, 1, Method::Uniform))],
                &cancel
            )
            .is_none()
        );
        cancel.cancel();
        let long = [&unit(safe_prime(4096, 1)), &unit(safe_prime(4096, 1))];
        assert!(run_together(&mut compute, &long, &cancel).is_none());
    }

    #[test]
    fn a_panic_in_one_of_several_units_leaves_them_to_be_done_alone() {
        let unit = unit(prime(64, 2, Method::Uniform));
        let mut compute = fragile(3);
        assert!(run_together(&mut compute, &[&unit, &unit], &Cancel::new()).is_none());
        assert!(!compute.broken, "renewed");
        let mut compute = fragile(9);
        let answers = run_together(&mut compute, &[&unit, &unit], &Cancel::new()).unwrap();
        assert_eq!((answers.len(), answers[1].len()), (2, 2));
    }

    #[test]
    fn a_unit_that_is_broken_off_keeps_what_it_has() {
        let cancel = Cancel::new();
        cancel.cancel();
        let unit = unit(Work::Noop(NoopJobs { count: 5 }));
        let cancelled = run_unit(&mut fragile(9), &unit, &cancel).unwrap_err();
        let answers = cancelled.fail("too late".to_owned());
        assert_eq!(answers.len(), 5);
        let late = |answer: &JobAnswer| matches!(&answer.outcome, JobOutcome::Failed { reason } if reason == "too late");
        assert!(answers.iter().all(late), "{answers:?}");
    }
}
