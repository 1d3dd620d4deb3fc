//! The relative cost of the jobs of a run.

use std::ops::Range;

/// Number of jobs in a block, for which only the total work is stored.
pub(crate) const BLOCK: u64 = 64;

/// Microseconds of a worker for a product of two primes of equal size, by its bits. Only the ratios
/// count. The table is part of the format of run folders: with other figures, the numbers of the
/// units would mean other jobs. Composites above the last size are left to the pool.
const WORK_US: [(u32, f64); 12] = [
    (16, 1.0),
    (40, 2.0),
    (48, 3.0),
    (64, 20.0),
    (80, 100.0),
    (96, 400.0),
    (112, 3_000.0),
    (128, 13_000.0),
    (144, 38_000.0),
    (160, 72_000.0),
    (176, 210_000.0),
    (200, 700_000.0),
];

/// Work of factoring a number of `bits` bits, in microseconds; see [`WORK_US`].
pub(crate) fn work_us(bits: u32) -> f64 {
    let after = WORK_US.partition_point(|&(size, _)| size <= bits);
    match (WORK_US.get(after.wrapping_sub(1)), WORK_US.get(after)) {
        (Some(&(b0, t0)), Some(&(b1, t1))) => {
            t0 + (t1 - t0) * f64::from(bits - b0) / f64::from(b1 - b0)
        }
        (Some(&(_, us)), None) | (None, Some(&(_, us))) => us,
        (None, None) => 0.0,
    }
}

/// The work of each job of a run, in units of the work of one of the largest jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    count: u64,
    /// Sum of the work of all jobs up to the end of each block of [`BLOCK`] jobs; within a block,
    /// all jobs count as equal. Empty if all jobs of the run are equal.
    sums: Vec<f64>,
}

impl Weights {
    /// The weights of `count` equal jobs.
    #[must_use]
    pub fn equal(count: u64) -> Self {
        Self {
            count,
            sums: Vec::new(),
        }
    }

    /// The weights of jobs in blocks. `work`: work of each block of [`BLOCK`] jobs; `largest`: work
    /// of one of the largest jobs, in the same unit.
    #[must_use]
    pub(crate) fn of_blocks(count: u64, work: &[f64], largest: f64) -> Self {
        let mut sum = 0.0;
        let sums = work.iter().map(|work| {
            sum += work / largest;
            sum
        });
        Self {
            count,
            sums: sums.collect(),
        }
    }

    /// Number of jobs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether all jobs have the same work.
    #[must_use]
    pub(crate) fn are_equal(&self) -> bool {
        self.sums.is_empty()
    }

    /// Work of all jobs before this one.
    fn before(&self, job: u64) -> f64 {
        let block = (job / BLOCK) as usize;
        let Some(&sum) = self.sums.get(block) else {
            return self.sums.last().copied().unwrap_or(job as f64);
        };
        let (start, jobs) = self.block(block);
        start + (sum - start) * (job % BLOCK) as f64 / jobs as f64
    }

    /// Work of all jobs before a block, and the number of jobs in the block.
    fn block(&self, block: usize) -> (f64, u64) {
        let start = if block == 0 {
            0.0
        } else {
            self.sums[block - 1]
        };
        (start, BLOCK.min(self.count - block as u64 * BLOCK))
    }

    /// Work of a range of jobs.
    #[must_use]
    pub(crate) fn of(&self, jobs: Range<u64>) -> f64 {
        self.before(jobs.end) - self.before(jobs.start)
    }

    /// The end of a range of jobs from `first` on with a total work of `work`; the range has at
    /// least one job.
    #[must_use]
    pub(crate) fn end(&self, first: u64, work: u64) -> u64 {
        let end = if self.are_equal() {
            first.saturating_add(work)
        } else {
            let sum = self.before(first) + work as f64;
            let block = self.sums.partition_point(|&end| end <= sum);
            match self.sums.get(block) {
                Some(&end) => {
                    let (start, jobs) = self.block(block);
                    let part = ((sum - start) / (end - start)).clamp(0.0, 1.0);
                    block as u64 * BLOCK + (part * jobs as f64) as u64
                }
                None => self.count,
            }
        };
        end.max(first + 1).min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rises_with_the_size() {
        let all: Vec<f64> = (0..300).map(work_us).collect();
        assert!(all.is_sorted());
        assert_eq!((all[0], all[64], all[299]), (1.0, 20.0, 700_000.0));
    }

    #[test]
    fn equal_jobs_are_counted() {
        let equal = Weights::equal(100);
        assert_eq!(equal.of(3..10), 7.0);
        assert_eq!((equal.end(3, 7), equal.end(97, 7)), (10, 100));
        // Blocks of equal work give the same sums, apart from rounding.
        let blocks = Weights::of_blocks(100, &[64.0 * 5.0, 36.0 * 5.0], 5.0);
        assert_eq!(blocks.of(0..100), 100.0);
        assert_eq!(blocks.of(60..70), 10.0);
        assert_eq!((blocks.end(60, 10), blocks.end(97, 7)), (70, 100));
    }

    #[test]
    fn small_jobs_weigh_less() {
        // 128 small jobs, then 64 large jobs, each with a thousand times as much work.
        let weights = Weights::of_blocks(192, &[64.0, 64.0, 64_000.0], 1_000.0);
        assert!((weights.of(0..128) - 0.128).abs() < 1e-9);
        assert!((weights.of(128..192) - 64.0).abs() < 1e-9);
        // All small jobs together cost less than one large job.
        assert_eq!(weights.end(0, 1), 128);
        assert_eq!(weights.end(128, 10), 138);
        assert_eq!(weights.end(191, 1), 192);
    }
}
