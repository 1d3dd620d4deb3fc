//! How the jobs of a run are packed into work units.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use primepool_common::message::{JobKind, MAX_UNIT_JOBS};
use primepool_engine::Kernel;
use serde::{Deserialize, Serialize};

use super::{Bounds, Request, Weights};

/// `--unit-size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitSize {
    /// By the expected work.
    Auto,
    /// Exactly so many, but for the last one.
    Fixed(u64),
}

impl FromStr for UnitSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(jobs) if (1..=MAX_UNIT_JOBS).contains(&jobs) => Ok(Self::Fixed(jobs)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err(format!("write auto, or a number from 1 to {MAX_UNIT_JOBS}")),
        }
    }
}

/// Work in one unit that `auto` aims at, in seconds: long against the cost of a message, short against the run. A unit costs
/// the broker about 2 ms of a core; a long run has room for units in which that does not count.
const UNIT_SECONDS: RangeInclusive<f64> = 0.05..=0.2;

/// Units of each worker that a run is cut into before they get longer than the least.
const UNITS_A_WORKER: f64 = 25.0;

/// Most units of a run: the index of a unit has 32 bits.
pub(crate) const MAX_UNITS: u64 = 1 << 32;

/// How many times larger or smaller the right size has to be before the units are packed anew.
const WORTHWHILE: f64 = 1.5;

/// Most bytes of a unit's answer that `auto` aims at, and the most that a fixed size may come to.
const ANSWER_BYTES: u64 = 8 << 20;

/// How the jobs are packed into units.
///
/// The units get smaller towards the end of the run, so that the workers finish together: each takes 1/`workers` of what is
/// left (Polychronopoulos and Kuck, "Guided Self-Scheduling", IEEE Trans. Computers 36(12), 1987), but between `least` and
/// `most` jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Jobs in a full unit.
    pub most: u64,
    /// Jobs in the smallest one, the run's last excepted.
    pub least: u64,
    /// Workers that are counted on.
    pub workers: u64,
    /// Most jobs in a unit, where jobs count by their work: one of the largest is 1 then, and
    /// `most` and `least` are sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_jobs: Option<u64>,
}

impl Packing {
    /// Chooses the sizes; `workers` is how many are there now, `kernel` what they are expected to
    /// compute with.
    ///
    /// # Errors
    /// A fixed size whose answers would be too large for one message.
    pub fn choose(
        request: &Request,
        size: UnitSize,
        workers: u32,
        kernel: Kernel,
    ) -> Result<Self, String> {
        let bits = request.work.bits();
        let answer_limit = answer_limit(request);
        let packing = match size {
            UnitSize::Fixed(jobs) if jobs > answer_limit => Err(format!(
                "--unit-size {jobs} makes the answers of {bits} bits too large for one message: {answer_limit} at most"
            )),
            UnitSize::Fixed(jobs) => Ok(Self {
                most: jobs,
                least: jobs,
                workers: 1,
                most_jobs: None,
            }),
            UnitSize::Auto => {
                // More may come: two nodes of two cores are the least.
                let workers = u64::from(workers).max(4);
                let job_s = request.work.jobs().expected_seconds(Some(kernel));
                let by_work = request.kind() == JobKind::Factor;
                let most_jobs = by_work.then_some(answer_limit);
                let work = request.count() as f64;
                Ok(Self {
                    most_jobs,
                    ..Self::of_pace(request, job_s, work, workers)
                })
            }
        }?;
        packing.check_units(request.count())?;
        Ok(packing)
    }

    /// Whether so many jobs make no more units than have a number.
    ///
    /// # Errors
    /// They make more.
    pub(super) fn check_units(&self, count: u64) -> Result<(), String> {
        let units = count.div_ceil(self.most_jobs.unwrap_or(self.most));
        // Twice as many have room for the smaller ones at the end.
        if count > MAX_UNITS && units > MAX_UNITS / 2 {
            return Err(format!(
                "{count} jobs in units of {} are too many for one run: start several of {MAX_UNITS} \
                 jobs at most",
                self.most
            ));
        }
        Ok(())
    }

    /// Expected time of a full unit with this kernel.
    #[must_use]
    pub fn unit_time(&self, request: &Request, kernel: Kernel) -> Duration {
        let job_s = request.work.jobs().expected_seconds(Some(kernel));
        let seconds = job_s * self.most as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Whether the sizes follow the pace that is measured while the run goes on: not if the user
    /// fixed them.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.workers > 1
    }

    /// The sizes for the jobs that are not published yet, of which the work is `left`, if they should
    /// differ from these: `job_s` are seconds of a worker for one of the largest, as measured,
    /// `workers` is how many are there.
    #[must_use]
    pub(crate) fn adapted(
        &self,
        request: &Request,
        job_s: f64,
        left: f64,
        workers: u32,
    ) -> Option<Self> {
        if !self.is_adaptive() || left <= 0.0 || job_s <= 0.0 {
            return None;
        }
        // One worker would get the rest as one unit.
        let workers = u64::from(workers).max(2);
        let new = Self {
            most_jobs: self.most_jobs,
            ..Self::of_pace(request, job_s, left, workers)
        };
        let is_far = |a: u64, b: u64| {
            let (a, b) = (a.max(1) as f64, b.max(1) as f64);
            a / b > WORTHWHILE || b / a > WORTHWHILE
        };
        (is_far(new.most, self.most) || is_far(new.workers, self.workers)).then_some(new)
    }

    fn of_pace(request: &Request, job_s: f64, work: f64, workers: u64) -> Self {
        let (least, most) = UNIT_SECONDS.into_inner();
        let run_s = job_s * work;
        let unit_s = (run_s / workers as f64 / UNITS_A_WORKER).clamp(least, most);
        let most = ((unit_s / job_s) as u64).clamp(1, answer_limit(request));
        Self {
            most,
            least: most.div_ceil(10),
            workers,
            most_jobs: None,
        }
    }

    /// Whether jobs count by their work.
    #[must_use]
    pub fn is_by_work(&self) -> bool {
        self.most_jobs.is_some()
    }

    /// Adds units of the jobs from the bounds' end on, up to the last one.
    pub fn extend(&self, bounds: &mut Bounds, weights: &Weights) {
        let count = weights.count();
        if weights.are_equal() {
            // Full units, as long as a worker's share of what is left is one.
            let size = self.most.min(self.most_jobs.unwrap_or(u64::MAX));
            let enough = self.workers.saturating_mul(self.most - 1);
            let surplus = (count - bounds.end()).saturating_sub(enough);
            bounds.add(surplus.div_ceil(size), size);
        }
        while bounds.end() < count {
            let first = bounds.end();
            let left = weights.of(first..count);
            let share = (left / self.workers as f64).ceil() as u64;
            let end = weights.end(first, share.clamp(self.least, self.most));
            let size = (end - first).min(self.most_jobs.unwrap_or(u64::MAX));
            bounds.add(1, size);
        }
    }
}

/// Most jobs of a unit, for the length of its answer.
fn answer_limit(request: &Request) -> u64 {
    (ANSWER_BYTES / request.work.jobs().answer_bytes()).clamp(1, MAX_UNIT_JOBS)
}

impl Packing {
    /// Most jobs that a unit may have in the course of the run.
    #[must_use]
    pub(crate) fn most_ever(&self, request: &Request) -> u64 {
        if self.is_adaptive() {
            self.most.max(answer_limit(request))
        } else {
            self.most
        }
    }

    /// Whether it packs anything.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let fits = 1 <= self.least && self.least <= self.most && self.most <= MAX_UNIT_JOBS;
        if !fits
            || self.workers == 0
            || !self
                .most_jobs
                .is_none_or(|most| (1..=MAX_UNIT_JOBS).contains(&most))
        {
            return Err(format!(
                "units of {} to {} jobs for {} workers (1 to {MAX_UNIT_JOBS} jobs, a worker at least)",
                self.least, self.most, self.workers
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use primepool_common::message::{Method, PrimeJobs, Work};

    use super::{super::BLOCK, *};

    fn request(bits: u32, count: u64) -> Request {
        Request::new(Work::Prime(PrimeJobs {
            bits,
            count,
            method: Method::Incremental,
        }))
    }

    /// Jobs of each unit, from the one that begins with this job on.
    fn sizes(packing: &Packing, weights: &Weights, first: u64) -> Vec<u64> {
        let mut bounds = Bounds::from(first);
        packing.extend(&mut bounds, weights);
        assert_eq!(bounds.end(), weights.count());
        bounds.iter().map(|jobs| jobs.end - jobs.start).collect()
    }

    proptest! {
        #[test]
        fn every_job_is_in_one_unit(count in 1u64..5000, most in 1u64..300, workers in 1u64..64) {
            let packing = Packing {
                most, least: most.div_ceil(10), workers, most_jobs: None
            };
            let sizes = sizes(&packing, &Weights::equal(count), 0);
            prop_assert_eq!(sizes.iter().sum::<u64>(), count);
            prop_assert!(sizes.iter().all(|size| (1..=most).contains(size)));
            // Blocks of equal work are cut one unit after the other.
            let blocks = vec![BLOCK as f64; count.div_ceil(BLOCK) as usize];
            let count = blocks.len() as u64 * BLOCK;
            let equal = self::sizes(&packing, &Weights::equal(count), 0);
            let one_by_one = Weights::of_blocks(count, &blocks, 1.0);
            prop_assert_eq!(equal, self::sizes(&packing, &one_by_one, 0));
        }
    }

    #[test]
    fn units_shrink_towards_the_end() {
        let packing =
            Packing::choose(&request(256, 100_000), UnitSize::Auto, 2, Kernel::fastest()).unwrap();
        assert!(packing.most > 10, "{packing:?}");
        let sizes = sizes(&packing, &Weights::equal(100_000), 0);
        assert_eq!(sizes[0], packing.most);
        assert!(*sizes.last().unwrap() <= packing.least);
    }

    #[test]
    fn large_primes_go_one_by_one() {
        let packing =
            Packing::choose(&request(8192, 100), UnitSize::Auto, 6, Kernel::fastest()).unwrap();
        assert_eq!((packing.most, packing.least), (1, 1));
    }

    #[test]
    fn sizes_follow_the_pace_that_is_measured() {
        let request = request(256, 1_000_000);
        let packing = Packing {
            most: 100,
            least: 10,
            workers: 4,
            most_jobs: None,
        };
        let adapted =
            |job_s, left: u32, workers| packing.adapted(&request, job_s, f64::from(left), workers);
        // A unit of 100 jobs takes 50 to 200 ms as it is.
        assert_eq!(adapted(2e-3, 1_000_000, 4), None);
        // Jobs are ten times as long: 200 ms again, of a long run.
        let slow = adapted(20e-3, 1_000_000, 4).unwrap();
        assert_eq!((slow.most, slow.least), (10, 1));
        // Of a short one, 50 ms.
        assert_eq!(adapted(20e-3, 200, 4).unwrap().most, 2);
        let fast = adapted(20e-6, 1_000_000, 4).unwrap();
        assert_eq!(fast.most, 10_000);
        // More workers finish together with smaller units at the end.
        let many = adapted(2e-3, 1_000_000, 100).unwrap();
        assert_eq!((many.most, many.workers), (100, 100));
        assert_eq!(adapted(0.0, 1_000_000, 4), None, "not known yet");
        assert_eq!(adapted(20e-3, 0, 4), None);
        let fixed = Packing {
            least: 100,
            workers: 1,
            ..packing
        };
        assert_eq!(fixed.adapted(&request, 1.0, 1e6, 100), None);
        assert_eq!(
            (fixed.most_ever(&request), packing.most_ever(&request)),
            (100, 50_000)
        );
    }

    #[test]
    fn a_fixed_size_is_kept_or_refused() {
        let packing =
            Packing::choose(&request(1024, 10), UnitSize::Fixed(3), 1, Kernel::fastest()).unwrap();
        assert_eq!(sizes(&packing, &Weights::equal(10), 0), [3, 3, 3, 1]);
        assert!(
            Packing::choose(
                &request(65_536, 10),
                UnitSize::Fixed(10_000),
                1,
                Kernel::fastest()
            )
            .is_err()
        );
    }

    #[test]
    fn units_of_large_and_small_numbers_are_cut_by_work() {
        let packing = Packing {
            most: 4,
            least: 1,
            workers: 2,
            most_jobs: Some(1000),
        };
        // 6,400 small numbers, 64 large ones: all the small ones are as much as ten of these.
        let mut work = vec![0.1; 100];
        work.push(64.0);
        let weights = Weights::of_blocks(6464, &work, 1.0);
        let mut bounds = Bounds::from(0);
        packing.extend(&mut bounds, &weights);
        let sizes: Vec<u64> = bounds.iter().map(|jobs| jobs.end - jobs.start).collect();
        assert_eq!(sizes[..6], [1000; 6], "the most jobs of a unit");
        let large: Vec<_> = bounds.iter().filter(|jobs| jobs.start >= 6400).collect();
        assert!(large.len() > 16);
        for jobs in large {
            assert!(jobs.end - jobs.start <= 4, "{jobs:?}");
        }
        // Packed anew from a job on: 400 small numbers, and three large ones.
        assert_eq!(self::sizes(&packing, &weights, 6000)[0], 403);
    }
}
