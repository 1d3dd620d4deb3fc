//! The search for primes with all lanes busy.
//!
//! The search of each stream is a job that gets lanes of its own: one lane while there are jobs for
//! all lanes, more when there are fewer jobs. In every round each job puts its next candidates, in
//! ascending order, into its lanes, and all lanes are tested. A hit is a candidate that passes. A
//! job's least hit is its probable prime, because all of its earlier candidates have failed, in
//! this round or before. Hits wait for confirmation until they fill all lanes; meanwhile other jobs
//! use their lanes.

mod provable_search;

pub(crate) use provable_search::ProvenPrime;

use rug::{Assign, Integer};

use super::MIN_BITS;
use super::batch::{Batch, Lanes, MAX_SPREAD, bit_length};
use super::digits::{add, add_to, double, integer, write_digits};
use super::interval_sieve::IntervalSieve;
use super::vector_plan::{VectorPlan, vector_plan, vector_trial_bound};
use crate::kernel::{DIGIT_BITS, MAX_BITS, VectorKernel};
use crate::portable_plan::portable_plan;
use crate::primality::{Assurance, Confirmation};
use crate::progression_sieve::ProgressionSieve;
use crate::stream::Place;
use crate::{Cancel, Error, Form, Found, Stream};

/// Prime search with a vector kernel, and its working memory.
pub(crate) struct PrimeSearch {
    kernel: &'static dyn VectorKernel,
    batch: Option<Batch>,
    sieve: IntervalSieve,
    /// For safe primes, which are searched for one stream at a time.
    pair_sieve: ProgressionSieve,
    jobs: Vec<Job>,
    /// How random primes are confirmed.
    pub(crate) confirmation: Confirmation,
    /// Source of random bases, keyed by the operating system at first use.
    bases: Option<Stream>,
    number: Integer,
}

/// The search for the prime of one stream.
#[derive(Default)]
struct Job {
    /// Index of the stream.
    stream: usize,
    /// The digits of the interval's first number.
    first: Vec<u64>,
    /// One bit per odd number of the interval, set if the number has a small factor.
    marks: Vec<u64>,
    /// Index of the next word of `marks`.
    word: usize,
    /// The candidates of the previous word of `marks` that were not yet returned.
    open: u64,
    /// Primes of the job have at most this many bits.
    limit: u32,
    /// Number of candidates tested, up to and including the hit if there is one.
    candidates: u64,
    /// The digits of the hit that awaits confirmation.
    hit: Vec<u64>,
    /// For independent candidates: the stream's position after each candidate that is in a lane.
    /// `place` is the position after the hit.
    places: Vec<Place>,
    place: Place,
}

/// Outcome of a request for a job's next candidate.
enum NextCandidate {
    /// The candidate was written to the caller's buffer.
    Written,
    /// There is no candidate left below the limit.
    Exhausted,
}

/// Supplies the jobs of [`PrimeSearch::run`] and their candidates.
trait CandidateSource {
    /// Begins the next search in `job`; returns `false` if there are no more.
    fn begin(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<bool, Error>;

    /// Gives the job a new start, because there is no prime from the last one on. Independent
    /// candidates have no start.
    fn again(&mut self, _: &mut PrimeSearch, _: &mut Job) -> Result<(), Error> {
        Ok(())
    }

    /// Writes the digits of the job's next candidate.
    fn next(
        &mut self,
        search: &mut PrimeSearch,
        job: &mut Job,
        candidate: &mut [u64],
        cancel: &Cancel,
    ) -> Result<NextCandidate, Error> {
        search.next(job, candidate, cancel)
    }

    /// Which of the jobs' hits lead to a prime. The hits have passed the test to base 2; they are
    /// in the first lanes, and the other lanes repeat them.
    fn confirm(
        &mut self,
        search: &mut PrimeSearch,
        batch: &mut Batch,
        hits: &[&Job],
        cancel: &Cancel,
    ) -> Result<Lanes, Error>;

    /// Lets the job continue after its hit, which did not lead to a prime.
    fn resume(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<(), Error> {
        search.number = integer(&job.hit) + 2_u32;
        search.begin(job);
        Ok(())
    }

    /// Reports the job's hit, which leads to a prime.
    fn done(&mut self, job: &Job);
}

/// The streams of a search; there is one job per stream.
struct Streams<'a> {
    all: &'a mut [Stream],
    /// Index of the next stream without a job.
    next: usize,
}

impl<'a> Streams<'a> {
    fn new(all: &'a mut [Stream]) -> Self {
        Self { all, next: 0 }
    }

    /// Gives the job the next stream; returns `false` if there are no more.
    fn begin(&mut self, job: &mut Job) -> bool {
        if self.next == self.all.len() {
            return false;
        }
        job.stream = self.next;
        job.candidates = 0;
        self.next += 1;
        true
    }

    fn of(&mut self, job: &Job) -> &mut Stream {
        &mut self.all[job.stream]
    }

    /// Returns to the stream's position after the job's hit: later candidates may have been drawn
    /// to fill the lanes.
    fn return_to_hit(&mut self, job: &Job) {
        self.of(job).return_to(job.place);
    }
}

/// Source of each stream's first prime from its start on.
struct Incremental<'a> {
    bits: u32,
    streams: Streams<'a>,
    found: &'a mut dyn FnMut(usize, Found),
}

impl CandidateSource for Incremental<'_> {
    fn begin(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<bool, Error> {
        if !self.streams.begin(job) {
            return Ok(false);
        }
        job.limit = self.bits;
        self.again(search, job)?;
        Ok(true)
    }

    fn again(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<(), Error> {
        let stream = self.streams.of(job);
        stream.draw_start(&mut search.number, self.bits)?;
        search.begin(job);
        Ok(())
    }

    fn confirm(
        &mut self,
        search: &mut PrimeSearch,
        batch: &mut Batch,
        hits: &[&Job],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        search.confirm_random(batch, hits.len(), self.bits, cancel)
    }

    fn done(&mut self, job: &Job) {
        let prime = integer(&job.hit);
        let candidates = job.candidates;
        (self.found)(job.stream, Found { prime, candidates });
    }
}

/// Source of the first prime from a given number on.
struct Following<'a> {
    start: &'a Integer,
    begun: bool,
    result: Option<Found>,
}

impl CandidateSource for Following<'_> {
    fn begin(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<bool, Error> {
        if self.begun {
            return Ok(false);
        }
        self.begun = true;
        job.candidates = 0;
        job.limit = u32::MAX;
        self.again(search, job)?;
        Ok(true)
    }

    fn again(&mut self, search: &mut PrimeSearch, job: &mut Job) -> Result<(), Error> {
        search.number.assign(self.start);
        search.begin(job);
        Ok(())
    }

    fn confirm(
        &mut self,
        search: &mut PrimeSearch,
        batch: &mut Batch,
        hits: &[&Job],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let bits = self.start.significant_bits() + 1;
        search.confirm_loaded(batch, hits.len(), Assurance::against_anyone(bits), cancel)
    }

    fn done(&mut self, job: &Job) {
        let prime = integer(&job.hit);
        let candidates = job.candidates;
        self.result = Some(Found { prime, candidates });
    }
}

/// Source of the first prime among each stream's independent candidates.
///
/// For safe primes p, the lanes test (p − 1)/2. If it passes, p is tested as part of the
/// confirmation.
struct Independent<'a> {
    form: Form,
    bits: u32,
    streams: Streams<'a>,
    /// The digits of the number in trial division.
    digits: Vec<u64>,
    found: &'a mut dyn FnMut(usize, Found),
}

impl CandidateSource for Independent<'_> {
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
            stream.draw_candidate(&mut search.number, self.form, self.bits)?;
            write_digits(&search.number, &mut self.digits);
            if search.sieve.has_factor(&self.digits) {
                continue;
            }
            if self.form == Form::SafePrime {
                search.number >>= 1;
                write_digits(&search.number, &mut self.digits);
                if search.sieve.has_factor(&self.digits) {
                    continue;
                }
            }
            write_digits(&search.number, candidate);
            job.places.push(stream.place());
            return Ok(NextCandidate::Written);
        }
    }

    fn confirm(
        &mut self,
        search: &mut PrimeSearch,
        batch: &mut Batch,
        hits: &[&Job],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let count = hits.len();
        if self.form == Form::Prime {
            return search.confirm_random(batch, count, self.bits, cancel);
        }
        let mut halves = vec![vec![0; batch.limbs()]; count];
        let mut digits = vec![0; batch.limbs()];
        for (lane, half) in halves.iter_mut().enumerate() {
            batch.number(lane, half);
        }
        for lane in 0..batch.lanes() {
            double(&halves[lane % count], &mut digits);
            batch.load(lane, &digits);
        }
        let passed = batch.strong_2(cancel)?;
        if passed & ((1 << count) - 1) == 0 {
            return Ok(0);
        }
        for lane in 0..batch.lanes() {
            batch.load(lane, &halves[lane % count]);
        }
        // Once (p − 1)/2 is prime, p is proven prime: see `Engine::is_prime`.
        Ok(passed & search.confirm_random(batch, count, self.bits - 1, cancel)?)
    }

    fn resume(&mut self, _: &mut PrimeSearch, job: &mut Job) -> Result<(), Error> {
        self.streams.return_to_hit(job);
        Ok(())
    }

    fn done(&mut self, job: &Job) {
        self.streams.return_to_hit(job);
        let mut prime = integer(&job.hit);
        if self.form == Form::SafePrime {
            prime = (prime << 1_u32) + 1_u32;
        }
        let candidates = job.candidates;
        (self.found)(job.stream, Found { prime, candidates });
    }
}

impl PrimeSearch {
    pub(crate) fn new(kernel: &'static dyn VectorKernel) -> Self {
        Self {
            kernel,
            batch: None,
            sieve: IntervalSieve::new(kernel),
            pair_sieve: ProgressionSieve::default(),
            jobs: Vec::new(),
            confirmation: Confirmation::default(),
            bases: None,
            number: Integer::new(),
        }
    }

    /// Whether the vector kernels support numbers of `bits` bits.
    pub(crate) fn handles(bits: u32) -> bool {
        (MIN_BITS..=MAX_BITS).contains(&bits)
    }

    /// Finds the prime of each stream; see [`Engine::primes`](crate::Engine::primes).
    /// [`Self::handles`] must be true for `bits`.
    pub(crate) fn primes(
        &mut self,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        let VectorPlan { bound, interval } = vector_plan(bits);
        let mut source = Incremental {
            bits,
            streams: Streams::new(streams),
            found,
        };
        self.with_batch(bits, |search, batch| {
            search
                .sieve
                .prepare(digits_of(bits), bound, interval, cancel)?;
            search.run(batch, cancel, &mut source)
        })
    }

    /// Finds the prime of each stream among independent candidates; see
    /// [`Engine::primes_by`](crate::Engine::primes_by). [`Self::handles`] must be true for `bits`,
    /// and for safe primes also for `bits − 1`.
    pub(crate) fn uniform(
        &mut self,
        form: Form,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        let mut source = Independent {
            form,
            bits,
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

    /// The least prime from `start` (at least 2^64) on, and the number of candidates tested.
    /// [`Self::handles`] must be true for the number of bits of `start`, and for one bit more.
    pub(crate) fn next_prime(&mut self, start: &Integer, cancel: &Cancel) -> Result<Found, Error> {
        let bits = start.significant_bits() + 1;
        let VectorPlan { bound, interval } = vector_plan(bits);
        let mut source = Following {
            start,
            begun: false,
            result: None,
        };
        self.with_batch(bits, |search, batch| {
            search
                .sieve
                .prepare(digits_of(bits), bound, interval, cancel)?;
            search.run(batch, cancel, &mut source)
        })?;
        // `run` returns without an error only when all jobs are done.
        source.result.ok_or(Error::Cancelled)
    }

    /// Finds the safe prime of each stream; see [`Engine::primes`](crate::Engine::primes).
    /// [`Self::handles`] must be true for `bits` and for `bits − 1`.
    pub(crate) fn safe_primes(
        &mut self,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        let plan = portable_plan(Form::SafePrime, bits);
        self.with_batch(bits, |search, batch| {
            for (index, stream) in streams.iter_mut().enumerate() {
                let mut candidates = 0;
                let prime = loop {
                    stream.draw_start(&mut search.number, bits)?;
                    search
                        .pair_sieve
                        .begin(Form::SafePrime, &search.number, plan, cancel)?;
                    let confirm = &mut |search: &mut Self, batch: &mut Batch| {
                        Ok(search.confirm_random(batch, 1, bits - 1, cancel)? & 1 == 1)
                    };
                    let (prime, tested) = search.safe_prime(batch, bits, confirm, cancel)?;
                    candidates += tested;
                    if let Some(prime) = prime {
                        break prime;
                    }
                };
                found(index, Found { prime, candidates });
            }
            Ok(())
        })
    }

    /// The first safe prime of `bits` bits among the numbers of `self.pair_sieve`, or `None`, and
    /// the number of pairs tested.
    ///
    /// All lanes test candidates (p − 1)/2, and in the next round p for those that passed.
    /// `confirm` decides whether a number that passed is prime; the number is in all lanes and in
    /// `self.number`.
    fn safe_prime(
        &mut self,
        batch: &mut Batch,
        bits: u32,
        confirm: &mut dyn FnMut(&mut Self, &mut Batch) -> Result<bool, Error>,
        cancel: &Cancel,
    ) -> Result<(Option<Integer>, u64), Error> {
        let lanes = batch.lanes();
        let mut digits = vec![0; batch.limbs()];
        // Candidates p with their places in the search: `tested` are in the lanes, and `halves` are
        // those whose half has passed. The flag says whether p itself is tested, not its half.
        let mut tested: Vec<(u64, Integer, bool)> = Vec::with_capacity(lanes);
        let mut halves: Vec<(u64, Integer)> = Vec::with_capacity(lanes);
        // The least p that passed, and whose half passed too.
        let mut least: Option<(u64, Integer)> = None;
        let mut next = 0;
        let mut exhausted = false;
        loop {
            cancel.check()?;
            let undecided = |place: u64| least.as_ref().is_none_or(|&(least, _)| place < least);
            tested.clear();
            let (now, later) = halves.drain(..).partition(|&(place, _)| undecided(place));
            halves = later;
            let now: Vec<(u64, Integer)> = now;
            tested.extend(now.into_iter().map(|(place, p)| (place, p, true)));
            if tested.is_empty()
                && let Some((place, p)) = least.take()
            {
                // Once (p − 1)/2 is prime, p is proven prime: see `Engine::is_prime`.
                self.number.assign(&p >> 1_u32);
                write_digits(&self.number, &mut digits);
                (0..lanes).for_each(|lane| batch.load(lane, &digits));
                if confirm(self, batch)? {
                    return Ok((Some(p), place + 1));
                }
                continue;
            }
            while least.is_none() && !exhausted && tested.len() < lanes {
                let mut p = Integer::new();
                self.pair_sieve.next(&mut p);
                exhausted = p.significant_bits() > bits;
                if !exhausted {
                    tested.push((next, p, false));
                    next += 1;
                }
            }
            if tested.is_empty() {
                return Ok((None, next));
            }
            for lane in 0..lanes {
                // Spare lanes repeat the others.
                let (_, p, whole) = &tested[lane % tested.len()];
                self.number.assign(p >> u32::from(!whole));
                write_digits(&self.number, &mut digits);
                batch.load(lane, &digits);
            }
            let passed = batch.strong_2(cancel)?;
            for (lane, (place, p, whole)) in tested.drain(..).enumerate() {
                if passed >> lane & 1 == 0 {
                    continue;
                }
                if !whole {
                    halves.push((place, p));
                } else if least.as_ref().is_none_or(|&(least, _)| place < least) {
                    least = Some((place, p));
                }
            }
        }
    }

    /// Tests odd numbers above 2^64, each given with its index, to one random base each, and calls
    /// `decided(index, passed)`. [`Self::handles`] must be true for their sizes.
    pub(crate) fn verify(
        &mut self,
        numbers: &mut [(usize, &Integer)],
        bases: &mut Stream,
        decided: &mut dyn FnMut(usize, bool),
    ) -> Result<(), Error> {
        self.in_batches(
            numbers,
            |(_, n)| n,
            |batch, now| {
                let passed = batch.strong_random(bases, &Cancel::new())?;
                for (lane, &(index, _)) in now.iter().enumerate() {
                    decided(index, passed >> lane & 1 == 1);
                }
                Ok(())
            },
        )
    }

    /// Sorts items by the size of their odd numbers above 2^64, and tests them in batches: the
    /// numbers are in the first lanes, and the other lanes repeat them. [`Self::handles`] must be
    /// true for the sizes.
    fn in_batches<T>(
        &mut self,
        items: &mut [T],
        number: impl Fn(&T) -> &Integer,
        mut test: impl FnMut(&mut Batch, &[T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let bits_of = |item: &T| number(item).significant_bits();
        items.sort_by_key(bits_of);
        let kernel = self.kernel;
        let mut rest = &*items;
        let mut digits = Vec::new();
        while let Some(shortest) = rest.first() {
            let bits = bits_of(shortest);
            let limbs = kernel.limbs_for(bits);
            rest = self.with_batch(bits, |_, batch| {
                let fits = |item: &&T| {
                    let size = bits_of(item);
                    kernel.limbs_for(size) == limbs && size - bits <= MAX_SPREAD
                };
                let count = rest.iter().take(batch.lanes()).take_while(fits).count();
                let (now, later) = rest.split_at(count);
                digits.resize(batch.limbs(), 0);
                for lane in 0..batch.lanes() {
                    write_digits(number(&now[lane % count]), &mut digits);
                    batch.load(lane, &digits);
                }
                test(batch, now)?;
                Ok(later)
            })?;
        }
        Ok(())
    }

    /// Runs jobs until the source has no more.
    fn run(
        &mut self,
        batch: &mut Batch,
        cancel: &Cancel,
        source: &mut dyn CandidateSource,
    ) -> Result<(), Error> {
        let lanes = batch.lanes();
        let mut jobs = std::mem::take(&mut self.jobs);
        // Every job is active, pending (it awaits confirmation) or idle. Between rounds there are
        // at most as many active jobs as lanes, and fewer pending ones. A round turns active jobs
        // into pending ones.
        jobs.resize_with(2 * lanes, Job::default);
        let mut idle: Vec<usize> = (0..jobs.len()).collect();
        let mut active: Vec<usize> = Vec::with_capacity(jobs.len());
        let mut pending: Vec<usize> = Vec::with_capacity(jobs.len());
        // The job of each lane.
        let mut slots: Vec<usize> = Vec::with_capacity(lanes);
        let mut candidate = vec![0; batch.limbs()];
        let mut more = true;

        loop {
            cancel.check()?;
            while more && active.len() < lanes {
                let Some(job) = idle.pop() else { break };
                more = source.begin(self, &mut jobs[job])?;
                if more {
                    active.push(job);
                } else {
                    idle.push(job);
                }
            }
            if pending.len() >= lanes || active.is_empty() {
                if pending.is_empty() {
                    break;
                }
                let count = pending.len().min(lanes);
                for lane in 0..lanes {
                    batch.load(lane, &jobs[pending[lane % count]].hit);
                }
                let hits: Vec<&Job> = pending[..count].iter().map(|&job| &jobs[job]).collect();
                let passed = source.confirm(self, batch, &hits, cancel)?;
                for (index, job) in pending.drain(..count).enumerate() {
                    if passed >> index & 1 == 1 {
                        source.done(&jobs[job]);
                        idle.push(job);
                    } else {
                        source.resume(self, &mut jobs[job])?;
                        active.push(job);
                    }
                }
                continue;
            }

            slots.clear();
            for (index, &job) in active.iter().take(lanes).enumerate() {
                // Shares that are as even as possible.
                let share = (lanes + active.len() - 1 - index) / active.len();
                let mut taken = 0;
                jobs[job].places.clear();
                while taken < share {
                    match source.next(self, &mut jobs[job], &mut candidate, cancel)? {
                        NextCandidate::Written => {
                            batch.load(slots.len(), &candidate);
                            slots.push(job);
                            taken += 1;
                        }
                        // If none of the job's candidates is in a lane, all of them have failed.
                        NextCandidate::Exhausted if taken == 0 => {
                            source.again(self, &mut jobs[job])?;
                        }
                        NextCandidate::Exhausted => break,
                    }
                }
            }
            // Spare lanes repeat the first one.
            batch.number(0, &mut candidate);
            for lane in slots.len()..lanes {
                batch.load(lane, &candidate);
            }
            let hits = batch.strong_2(cancel)?;
            active.retain(|&job| {
                let mut lanes = slots.iter().enumerate().filter(|&(_, &slot)| slot == job);
                let state = &mut jobs[job];
                let mut nth = 0;
                let hit = lanes.find(|(lane, _)| {
                    nth += 1;
                    hits >> lane & 1 == 1
                });
                state.candidates += nth as u64;
                if let Some((lane, _)) = hit {
                    state.place = state.places.get(nth - 1).copied().unwrap_or_default();
                    state.hit.resize(candidate.len(), 0);
                    batch.number(lane, &mut state.hit);
                    pending.push(job);
                }
                hit.is_none()
            });
        }
        self.jobs = jobs;
        Ok(())
    }

    /// Begins the job's search at `self.number`, which is above 2^64.
    fn begin(&mut self, job: &mut Job) {
        self.number.set_bit(0, true);
        job.first.resize(self.sieve.digits(), 0);
        write_digits(&self.number, &mut job.first);
        self.mark(job);
    }

    /// Sieves the job's interval.
    fn mark(&mut self, job: &mut Job) {
        job.marks.resize(self.sieve.words(), 0);
        self.sieve.mark(&job.first, &mut job.marks);
        job.word = 0;
        job.open = 0;
    }

    /// Writes the digits of the job's next candidate.
    fn next(
        &mut self,
        job: &mut Job,
        candidate: &mut [u64],
        cancel: &Cancel,
    ) -> Result<NextCandidate, Error> {
        while job.open == 0 {
            if job.word == job.marks.len() {
                cancel.check()?;
                let length = 2 * 64 * job.marks.len() as u64;
                add_to(&mut job.first, length);
                if job.is_beyond(&job.first) {
                    return Ok(NextCandidate::Exhausted);
                }
                self.mark(job);
            }
            job.open = !job.marks[job.word];
            job.word += 1;
        }
        let index = 64 * (job.word as u64 - 1) + u64::from(job.open.trailing_zeros());
        add(&job.first, 2 * index, candidate);
        if job.is_beyond(candidate) {
            return Ok(NextCandidate::Exhausted);
        }
        job.open &= job.open - 1;
        Ok(NextCandidate::Written)
    }

    /// [`Self::confirm_loaded`] for random numbers of `bits` bits, as [`Self::confirmation`] says.
    fn confirm_random(
        &mut self,
        batch: &mut Batch,
        count: usize,
        bits: u32,
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let assurance = Assurance::at_random(bits, self.confirmation);
        self.confirm_loaded(batch, count, assurance, cancel)
    }

    /// Which of the numbers in the first `count` lanes are prime. The other lanes repeat them, so
    /// that each test does more rounds for each number.
    fn confirm_loaded(
        &mut self,
        batch: &mut Batch,
        count: usize,
        assurance: Assurance,
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let mut passed = Lanes::MAX;
        if assurance.lucas {
            passed &= batch.strong_lucas(cancel)?;
        }
        let mut bases = match self.bases.take() {
            Some(bases) => bases,
            None => Stream::from_os_key()?,
        };
        // Every number is in at least this many lanes.
        let at_once = (batch.lanes() / count) as u32;
        for _ in 0..assurance.rounds.div_ceil(at_once) {
            passed &= batch.strong_random(&mut bases, cancel)?;
        }
        self.bases = Some(bases);
        let failed = !passed;
        let mut composite = 0;
        for lane in (0..batch.lanes()).filter(|lane| failed >> lane & 1 == 1) {
            composite |= 1 << (lane % count);
        }
        Ok(!composite)
    }

    /// Calls `work` with a batch for numbers of up to `bits` bits. [`Self::handles`] must be true
    /// for `bits`.
    fn with_batch<T>(
        &mut self,
        bits: u32,
        work: impl FnOnce(&mut Self, &mut Batch) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let limbs = self.kernel.limbs_for(bits);
        let kept = self
            .batch
            .take()
            .filter(|batch| Some(batch.limbs()) == limbs);
        let Some(mut batch) = kept.or_else(|| Batch::new(self.kernel, bits)) else {
            return Err(Error::invalid(format!(
                "{bits} bits are too many for this kernel"
            )));
        };
        let result = work(self, &mut batch);
        self.batch = Some(batch);
        result
    }
}

impl Job {
    /// Whether a number is above the job's limit.
    fn is_beyond(&self, digits: &[u64]) -> bool {
        bit_length(digits) > self.limit
    }
}

/// Digits of a start of `bits` bits and of the numbers that follow it: the interval may cross a
/// power of two.
fn digits_of(bits: u32) -> usize {
    (bits + 1).div_ceil(DIGIT_BITS) as usize
}
