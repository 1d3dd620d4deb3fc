//! How the jobs of a run are packed into work units.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use primepool_common::message::{JobKind, MAX_UNIT_JOBS};
use primepool_engine::Kernel;
use serde::{Deserialize, Serialize};

use super::{Bounds, Request, Weights};

/// Value of `--unit-size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitSize {
    /// Sizes that depend on the expected work.
    Auto,
    /// Exactly this number of jobs in each unit; the last one may have fewer.
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

/// Work of one unit that `auto` aims at, in seconds: long compared with the cost of a message,
/// short compared with the run. A unit costs the broker about 2 ms of a core; in a long run, units
/// can be long enough to make this negligible.
const UNIT_SECONDS: RangeInclusive<f64> = 0.05..=0.2;

/// Number of units for each worker that a run has before its units exceed the shortest duration.
const UNITS_A_WORKER: f64 = 25.0;

/// Largest number of units of a run: the index of a unit has 32 bits.
pub(crate) const MAX_UNITS: u64 = 1 << 32;

/// Factor by which the right size must differ from the present one before the units are repacked.
const WORTHWHILE: f64 = 1.5;

/// Largest size of a unit's answer, in bytes, for `auto` and for fixed sizes.
const ANSWER_BYTES: u64 = 8 << 20;

/// How the jobs are packed into units.
///
/// The units get smaller towards the end of the run, so that all workers finish together: each unit
/// has 1/`workers` of the remaining jobs (Polychronopoulos and Kuck, "Guided Self-Scheduling", IEEE
/// Trans. Computers 36(12), 1987), limited to the range from `least` to `most` jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Number of jobs in a full unit.
    pub most: u64,
    /// Number of jobs in the smallest unit, except for the run's last one.
    pub least: u64,
    /// Number of workers that are expected.
    pub workers: u64,
    /// Largest number of jobs in a unit if jobs are weighted by their work. In that case `most` and
    /// `least` are sums of weights, where the largest job has weight 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_jobs: Option<u64>,
}

impl Packing {
    /// Chooses the sizes. `workers`: number of workers at present; `kernel`: arithmetic kernel that
    /// they are expected to use.
    ///
    /// # Errors
    /// The answers of units of a fixed size would be too large for one message, or the run would
    /// have too many units.
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
                // More workers may come: assume at least two nodes of two cores.
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

    /// Checks that `count` jobs do not need more units than can be numbered.
    ///
    /// # Errors
    /// They need more units.
    pub(super) fn check_units(&self, count: u64) -> Result<(), String> {
        let units = count.div_ceil(self.most_jobs.unwrap_or(self.most));
        // The other half of the numbers is for the smaller units at the end.
        if count > MAX_UNITS && units > MAX_UNITS / 2 {
            return Err(format!(
                "{count} jobs in units of {} are too many for one run: start several of {MAX_UNITS} \
                 jobs at most",
                self.most
            ));
        }
        Ok(())
    }

    /// Expected time of a worker for a full unit with this kernel.
    #[must_use]
    pub fn unit_time(&self, request: &Request, kernel: Kernel) -> Duration {
        let job_s = request.work.jobs().expected_seconds(Some(kernel));
        let seconds = job_s * self.most as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Whether the sizes follow the pace measured during the run; they do not if the user fixed
    /// them.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.workers > 1
    }

    /// New sizes for the jobs that are not published yet, or `None` if the present sizes are good
    /// enough. `job_s`: measured seconds of a worker for one of the largest jobs; `left`: work of
    /// these jobs; `workers`: number of workers at present.
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
        // With one worker, all remaining jobs would become one unit.
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

    /// Whether jobs are weighted by their work.
    #[must_use]
    pub fn is_by_work(&self) -> bool {
        self.most_jobs.is_some()
    }

    /// Adds units for all jobs from the end of `bounds` to the last job.
    pub fn extend(&self, bounds: &mut Bounds, weights: &Weights) {
        let count = weights.count();
        if weights.are_equal() {
            // Full units, as long as a worker's share of the remaining jobs is a full unit.
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

/// Largest number of jobs in a unit that keeps its answer within [`ANSWER_BYTES`].
fn answer_limit(request: &Request) -> u64 {
    (ANSWER_BYTES / request.work.jobs().answer_bytes()).clamp(1, MAX_UNIT_JOBS)
}

impl Packing {
    /// Largest number of jobs that a unit may have at any time in the run.
    #[must_use]
    pub(crate) fn most_ever(&self, request: &Request) -> u64 {
        if self.is_adaptive() {
            self.most.max(answer_limit(request))
        } else {
            self.most
        }
    }

    /// Checks that the sizes are valid.
    ///
    /// # Errors
    /// Returns which sizes are invalid.
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

    /// Number of jobs in each unit, from job `first` on.
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
            // For blocks of equal work, the units are computed one by one.
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
        // A unit of 100 jobs already takes 50 to 200 ms.
        assert_eq!(adapted(2e-3, 1_000_000, 4), None);
        // Jobs take ten times as long: units of 200 ms again in a long run.
        let slow = adapted(20e-3, 1_000_000, 4).unwrap();
        assert_eq!((slow.most, slow.least), (10, 1));
        // Units of 50 ms in a short run.
        assert_eq!(adapted(20e-3, 200, 4).unwrap().most, 2);
        let fast = adapted(20e-6, 1_000_000, 4).unwrap();
        assert_eq!(fast.most, 10_000);
        // More workers need smaller units at the end to finish together.
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
        // 6,400 small numbers and 64 large ones: all small numbers together cost as much as ten
        // large ones.
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
        // Repacked from a job on: 400 small numbers and three large ones.
        assert_eq!(self::sizes(&packing, &weights, 6000)[0], 403);
    }
}
