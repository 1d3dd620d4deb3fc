//! Sets of jobs of a run.

use std::ops::Range;

use rangemap::RangeSet;

/// A set of jobs of one run, stored as ranges. Jobs end nearly in order, so there are few ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSet {
    /// All jobs of the run.
    all: Range<u64>,
    ranges: RangeSet<u64>,
}

impl JobSet {
    /// The empty set, for a run of `count` jobs.
    #[must_use]
    pub fn none_of(count: u64) -> Self {
        Self {
            all: 0..count,
            ranges: RangeSet::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with(count: u64, jobs: impl IntoIterator<Item = u64>) -> Self {
        let mut set = Self::none_of(count);
        jobs.into_iter().for_each(|job| set.insert(job..job + 1));
        set
    }

    /// Whether the run has this job.
    #[must_use]
    pub fn is_of_run(&self, job: u64) -> bool {
        self.all.contains(&job)
    }

    /// Number of jobs in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// Whether no job is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of jobs of the run that are not in the set.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.all.end - self.len()
    }

    /// Whether all jobs of the run are in the set.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.has_all(&self.all)
    }

    /// Whether a job is in the set.
    #[must_use]
    pub fn contains(&self, job: u64) -> bool {
        self.ranges.contains(&job)
    }

    /// Whether all of these jobs are in the set.
    #[must_use]
    pub fn has_all(&self, jobs: &Range<u64>) -> bool {
        self.missing_of(jobs).next().is_none()
    }

    /// Whether one of these jobs is in the set.
    #[must_use]
    pub fn has_any(&self, jobs: &Range<u64>) -> bool {
        !jobs.is_empty() && self.ranges.overlaps(jobs)
    }

    /// The last job in the set.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.end - 1)
    }

    /// The jobs in `jobs` that are not in the set, as ranges in order.
    pub fn missing_of<'a>(&'a self, jobs: &'a Range<u64>) -> impl Iterator<Item = Range<u64>> + 'a {
        self.ranges.gaps(jobs)
    }

    /// Adds jobs of the run.
    pub fn insert(&mut self, jobs: Range<u64>) {
        debug_assert!(jobs.end <= self.all.end, "{jobs:?} of {:?}", self.all);
        if !jobs.is_empty() {
            self.ranges.insert(jobs);
        }
    }

    /// Removes a job.
    pub fn remove(&mut self, job: u64) {
        self.ranges.remove(job..job + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const COUNT: u64 = 40;

    proptest! {
        #[test]
        fn it_is_the_set_of_its_jobs(
            steps in prop::collection::vec((any::<bool>(), 0..COUNT, 0..10_u64), 0..60),
            asked in (0..COUNT, 0..10_u64),
        ) {
            let (mut set, mut jobs) = (JobSet::none_of(COUNT), BTreeSet::new());
            for (is_added, first, count) in steps {
                if is_added {
                    let range = first..(first + count).min(COUNT);
                    set.insert(range.clone());
                    jobs.extend(range);
                } else {
                    set.remove(first);
                    jobs.remove(&first);
                }
            }
            prop_assert_eq!(set.len(), jobs.len() as u64);
            prop_assert_eq!(set.missing(), COUNT - jobs.len() as u64);
            prop_assert_eq!(set.is_empty(), jobs.is_empty());
            prop_assert_eq!(set.is_complete(), jobs.len() as u64 == COUNT);
            let asked = asked.0..(asked.0 + asked.1).min(COUNT);
            prop_assert_eq!(set.has_all(&asked), asked.clone().all(|job| jobs.contains(&job)));
            prop_assert_eq!(set.has_any(&asked), asked.clone().any(|job| jobs.contains(&job)));
            prop_assert!((0..COUNT).all(|job| set.contains(job) == jobs.contains(&job)));
        }
    }

    #[test]
    fn a_run_that_went_well_is_one_range() {
        let count = 100_000_000;
        let mut set = JobSet::none_of(count);
        for first in (0..count).step_by(50_000) {
            set.insert(first..first + 50_000);
        }
        assert!(set.is_complete());
        assert_eq!(set.ranges.len(), 1);
        assert!(!set.is_of_run(count));
    }
}
