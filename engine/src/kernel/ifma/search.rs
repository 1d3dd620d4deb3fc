//! The search for primes with all lanes at work.
//!
//! Each stream's search is a job that gets lanes of its own: one while there are jobs for all lanes, more when there are
//! fewer. In every round each job puts its next candidates, in ascending order, into its lanes, and all are tested. A job's
//! least hit is then its prime, because all of its earlier candidates were refuted, in this round or before. Hits wait for
//! confirmation until there are enough of them for all lanes, while their lanes go on with other jobs.

use rug::{Assign, Integer};

use super::batch::{Batch, Lanes, MAX_SPREAD};
use super::field::MAX_BITS;
use super::plan::{Plan, plan};
use super::row::{DIGIT_BITS, DIGIT_MASK};
use super::sieve::Sieve;
use super::{Ifma, MIN_BITS, field, integer, write_digits};
use crate::primality::Assurance;
use crate::{Cancel, Error, Form, Found, Stream, plan as portable, sieve};

/// The memory of the searches with the vector kernel.
pub(crate) struct Search {
    proof: Ifma,
    batch: Option<Batch>,
    sieve: Sieve,
    /// For safe primes, which are searched for one at a time.
    pair_sieve: sieve::Sieve,
    jobs: Vec<Job>,
    /// Where random bases come from: keyed by the operating system at first use.
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
    /// One bit an odd number of the interval, set if it has a small factor.
    marks: Vec<u64>,
    /// The next word of the marks.
    word: usize,
    /// The candidates of the word before it that are still to come.
    open: u64,
    /// Primes of the job have at most so many bits.
    limit: u32,
    /// Candidates tested, up to and including the hit if there is one.
    candidates: u64,
    /// The digits of the hit that waits for confirmation.
    hit: Vec<u64>,
}

/// What a job has next.
enum Next {
    /// A candidate, which was written where it was wanted.
    Candidate,
    /// Nothing below the limit.
    Exhausted,
}

impl Search {
    pub(crate) fn new(proof: Ifma) -> Self {
        Self {
            proof,
            batch: None,
            sieve: Sieve::new(proof),
            pair_sieve: sieve::Sieve::default(),
            jobs: Vec::new(),
            bases: None,
            number: Integer::new(),
        }
    }

    /// Whether there is arithmetic for numbers of so many bits.
    pub(crate) fn handles(bits: u32) -> bool {
        (MIN_BITS..=MAX_BITS).contains(&bits)
    }

    /// Finds the prime of each stream; see [`Engine::primes`](crate::Engine::primes). The size is one that is handled.
    pub(crate) fn primes(
        &mut self,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        self.primes_by_plan(bits, plan(bits), streams, cancel, found)
    }

    fn primes_by_plan(
        &mut self,
        bits: u32,
        plan: Plan,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        self.with_batch(bits, |search, batch| {
            search
                .sieve
                .prepare(digits_of(bits), plan.bound, plan.interval, cancel)?;
            let mut waiting = 0..streams.len();
            search.run(
                batch,
                Assurance::at_random(bits),
                cancel,
                &mut |search, job, again| {
                    if !again {
                        let Some(stream) = waiting.next() else {
                            return Ok(false);
                        };
                        job.stream = stream;
                        job.limit = bits;
                        job.candidates = 0;
                    }
                    streams[job.stream].draw_start(&mut search.number, bits)?;
                    search.begin(job);
                    Ok(true)
                },
                &mut |job| {
                    let prime = integer(&job.hit);
                    let candidates = job.candidates;
                    found(job.stream, Found { prime, candidates });
                },
            )
        })
    }

    /// The least prime from `start` on, at least 2^64, and how many candidates were tested. The number of bits of the
    /// start, and one more, are handled.
    pub(crate) fn next_prime(&mut self, start: &Integer, cancel: &Cancel) -> Result<Found, Error> {
        let bits = start.significant_bits() + 1;
        let plan = plan(bits);
        let mut result = None;
        self.with_batch(bits, |search, batch| {
            search
                .sieve
                .prepare(digits_of(bits), plan.bound, plan.interval, cancel)?;
            let mut begun = false;
            search.run(
                batch,
                Assurance::against_anyone(bits),
                cancel,
                &mut |search, job, _| {
                    if begun {
                        return Ok(false);
                    }
                    begun = true;
                    search.number.assign(start);
                    job.candidates = 0;
                    job.limit = u32::MAX;
                    search.begin(job);
                    Ok(true)
                },
                &mut |job| {
                    let prime = integer(&job.hit);
                    let candidates = job.candidates;
                    result = Some(Found { prime, candidates });
                },
            )
        })?;
        // `run` returns without an error only when all jobs are done.
        result.ok_or(Error::Cancelled)
    }

    /// Finds the safe prime of each stream; see [`Engine::primes`](crate::Engine::primes). The size is one that is
    /// handled, and so is one bit less.
    pub(crate) fn safe_primes(
        &mut self,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        self.with_batch(bits, |search, batch| {
            for (index, stream) in streams.iter_mut().enumerate() {
                let mut candidates = 0;
                let prime = loop {
                    stream.draw_start(&mut search.number, bits)?;
                    let (prime, tested) = search.safe_prime(batch, bits, cancel)?;
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

    /// The least safe prime of so many bits from `self.number` on, if any, and how many pairs were tested.
    ///
    /// All lanes test candidates (p − 1)/2, and in the next round p for those that passed.
    fn safe_prime(
        &mut self,
        batch: &mut Batch,
        bits: u32,
        cancel: &Cancel,
    ) -> Result<(Option<Integer>, u64), Error> {
        let lanes = batch.lanes();
        let plan = portable::plan(Form::SafePrime, bits);
        self.pair_sieve
            .begin(Form::SafePrime, &self.number, plan, cancel)?;
        let mut digits = vec![0; batch.limbs()];
        // Candidates for p, with their places in the search: in the lanes, and those whose half has passed.
        let mut tested: Vec<(u64, Integer, bool)> = Vec::with_capacity(lanes);
        let mut halves: Vec<(u64, Integer)> = Vec::with_capacity(lanes);
        // The least p that passed together with its half.
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
                // Once q is prime, p is proven: see `Engine::is_prime`.
                self.number.assign(&p >> 1_u32);
                write_digits(&self.number, &mut digits);
                (0..lanes).for_each(|lane| batch.load(lane, &digits));
                let assurance = Assurance::at_random(bits - 1);
                if self.confirm_loaded(batch, 1, assurance, cancel)? & 1 == 1 {
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
                // Lanes that are left over repeat what others do.
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

    /// For each of some odd numbers above 2^64 of sizes that are handled, given with their indices, whether it passes a
    /// strong test to a random base; tells `decided(index, passed)`.
    pub(crate) fn verify(
        &mut self,
        numbers: &mut [(usize, &Integer)],
        bases: &mut Stream,
        decided: &mut dyn FnMut(usize, bool),
    ) -> Result<(), Error> {
        numbers.sort_by_key(|(_, n)| n.significant_bits());
        let mut rest = &*numbers;
        while let Some((_, shortest)) = rest.first() {
            let bits = shortest.significant_bits();
            let limbs = field::limbs_for(bits);
            rest = self.with_batch(bits, |_, batch| {
                let fits = |&&(_, n): &&(usize, &Integer)| {
                    let size = n.significant_bits();
                    field::limbs_for(size) == limbs && size - bits <= MAX_SPREAD
                };
                let count = rest.iter().take(batch.lanes()).take_while(fits).count();
                let (now, later) = rest.split_at(count);
                let mut digits = vec![0; batch.limbs()];
                for lane in 0..batch.lanes() {
                    write_digits(now[lane % count].1, &mut digits);
                    batch.load(lane, &digits);
                }
                let passed = batch.strong_random(bases, &Cancel::new())?;
                for (lane, &(index, _)) in now.iter().enumerate() {
                    decided(index, passed >> lane & 1 == 1);
                }
                Ok(later)
            })?;
        }
        Ok(())
    }

    /// Runs jobs until there are no more.
    ///
    /// `supply(search, job, again)` makes the job the next one, if there is one; or, with `again`, gives the same job a
    /// new start. `done` is called with every job that has its prime.
    fn run(
        &mut self,
        batch: &mut Batch,
        assurance: Assurance,
        cancel: &Cancel,
        supply: &mut dyn FnMut(&mut Self, &mut Job, bool) -> Result<bool, Error>,
        done: &mut dyn FnMut(&Job),
    ) -> Result<(), Error> {
        let lanes = batch.lanes();
        let mut jobs = std::mem::take(&mut self.jobs);
        // Every job is active, pending or idle. Between rounds there are at most as many active ones as lanes, and fewer
        // pending ones; a round makes active ones pending.
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
                more = supply(self, &mut jobs[job], false)?;
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
                let passed = self.confirm(batch, &jobs, &pending[..count], assurance, cancel)?;
                for (index, job) in pending.drain(..count).enumerate() {
                    if passed >> index & 1 == 1 {
                        done(&jobs[job]);
                        idle.push(job);
                    } else {
                        // The search goes on after what was no prime.
                        self.number = integer(&jobs[job].hit) + 2_u32;
                        self.begin(&mut jobs[job]);
                        active.push(job);
                    }
                }
                continue;
            }

            slots.clear();
            for (index, &job) in active.iter().take(lanes).enumerate() {
                // As even as it goes.
                let share = (lanes + active.len() - 1 - index) / active.len();
                let mut taken = 0;
                while taken < share {
                    match self.next(&mut jobs[job], &mut candidate, cancel)? {
                        Next::Candidate => {
                            batch.load(slots.len(), &candidate);
                            slots.push(job);
                            taken += 1;
                        }
                        // With none in the lanes all of the job's candidates are refuted.
                        Next::Exhausted if taken == 0 => {
                            supply(self, &mut jobs[job], true)?;
                        }
                        Next::Exhausted => break,
                    }
                }
            }
            // Lanes that are left over do what the first one does.
            batch.number(0, &mut candidate);
            for lane in slots.len()..lanes {
                batch.load(lane, &candidate);
            }
            let hits = batch.strong_2(cancel)?;
            active.retain(|&job| {
                let mut lanes = slots.iter().enumerate().filter(|&(_, &slot)| slot == job);
                let hit = lanes.find(|(lane, _)| {
                    jobs[job].candidates += 1;
                    hits >> lane & 1 == 1
                });
                if let Some((lane, _)) = hit {
                    let hit = &mut jobs[job].hit;
                    hit.resize(candidate.len(), 0);
                    batch.number(lane, hit);
                    pending.push(job);
                }
                hit.is_none()
            });
        }
        self.jobs = jobs;
        Ok(())
    }

    /// Begins a job's search at `self.number`, above 2^64.
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
    ) -> Result<Next, Error> {
        while job.open == 0 {
            if job.word == job.marks.len() {
                cancel.check()?;
                let length = 2 * 64 * job.marks.len() as u64;
                let sum = job.first.clone();
                add(&sum, length, &mut job.first);
                if job.is_beyond(&job.first) {
                    return Ok(Next::Exhausted);
                }
                self.mark(job);
            }
            job.open = !job.marks[job.word];
            job.word += 1;
        }
        let index = 64 * (job.word as u64 - 1) + u64::from(job.open.trailing_zeros());
        add(&job.first, 2 * index, candidate);
        if job.is_beyond(candidate) {
            return Ok(Next::Exhausted);
        }
        job.open &= job.open - 1;
        Ok(Next::Candidate)
    }

    /// Which of the pending jobs' hits, at most as many as lanes, are prime.
    fn confirm(
        &mut self,
        batch: &mut Batch,
        jobs: &[Job],
        pending: &[usize],
        assurance: Assurance,
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        for lane in 0..batch.lanes() {
            batch.load(lane, &jobs[pending[lane % pending.len()]].hit);
        }
        self.confirm_loaded(batch, pending.len(), assurance, cancel)
    }

    /// Which of the numbers in the first `count` lanes are prime. The others hold the same, over and over, and are more
    /// rounds for them.
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
        // Every number is in so many lanes at least.
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

    /// The batch for numbers of up to so many bits, which are handled.
    fn with_batch<T>(
        &mut self,
        bits: u32,
        work: impl FnOnce(&mut Self, &mut Batch) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let limbs = field::limbs_for(bits);
        let kept = self
            .batch
            .take()
            .filter(|batch| Some(batch.limbs()) == limbs);
        let Some(mut batch) = kept.or_else(|| Batch::new(self.proof, bits)) else {
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
    /// Whether a number is beyond the job's limit.
    fn is_beyond(&self, digits: &[u64]) -> bool {
        super::batch::bit_length(digits) > self.limit
    }
}

/// Digits of a start of so many bits, and of what follows it: the interval may cross a power of two.
fn digits_of(bits: u32) -> usize {
    (bits + 1).div_ceil(DIGIT_BITS) as usize
}

/// Writes number + addend.
fn add(number: &[u64], addend: u64, sum: &mut [u64]) {
    let mut carry = addend;
    for (index, digit) in sum.iter_mut().enumerate() {
        carry += number.get(index).copied().unwrap_or(0);
        *digit = carry & DIGIT_MASK;
        carry >>= DIGIT_BITS;
    }
}
