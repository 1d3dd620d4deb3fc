//! The distribution of a time over the jobs of a run.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Number of significant decimal digits that the histogram keeps.
const DIGITS: u8 = 3;

/// The distribution of a time over jobs, to three digits. Its memory does not depend on the number
/// of jobs.
#[derive(Debug)]
pub(crate) struct Distribution {
    microseconds: Histogram<u64>,
    sum_ms: f64,
    max_ms: f64,
}

impl Default for Distribution {
    fn default() -> Self {
        // This histogram grows with its values.
        #[expect(clippy::expect_used, reason = "a constant within the limits")]
        let microseconds = Histogram::new(DIGITS).expect("0 to 5 digits are allowed");
        Self {
            microseconds,
            sum_ms: 0.0,
            max_ms: 0.0,
        }
    }
}

impl Distribution {
    /// Adds a time, in milliseconds, that each of `jobs` jobs took.
    pub(super) fn add(&mut self, ms: f64, jobs: u64) {
        // Recording cannot fail, since the histogram grows.
        let _ = self.microseconds.record_n((ms * 1e3).round() as u64, jobs);
        self.sum_ms += ms * jobs as f64;
        if jobs > 0 {
            self.max_ms = self.max_ms.max(ms);
        }
    }

    /// The quantiles; `None` without any job.
    #[must_use]
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let jobs = self.microseconds.len();
        let value = |quantile: f64| {
            let microseconds = self.microseconds.value_at_quantile(quantile);
            (microseconds as f64 / 1e3).min(self.max_ms)
        };
        (jobs > 0).then(|| Quantiles {
            p50: value(0.50),
            p95: value(0.95),
            p99: value(0.99),
            max: self.max_ms,
            mean: self.sum_ms / jobs as f64,
        })
    }
}

/// Quantiles of a time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    pub max: f64,
    pub mean: f64,
}
