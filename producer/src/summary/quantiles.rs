//! How a figure is distributed over the jobs of a run.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Digits that the histogram keeps.
const DIGITS: u8 = 3;

/// How a time is distributed over jobs, to three digits: its memory does not depend on their number.
#[derive(Debug)]
pub(crate) struct Distribution {
    microseconds: Histogram<u64>,
    sum_ms: f64,
    max_ms: f64,
}

impl Default for Distribution {
    fn default() -> Self {
        // The digits are within its limits, and it grows with the values.
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
    /// Adds a time that each of so many jobs took.
    pub(super) fn add(&mut self, ms: f64, jobs: u64) {
        // One that grows has a place for any value.
        let _ = self.microseconds.record_n((ms * 1e3).round() as u64, jobs);
        self.sum_ms += ms * jobs as f64;
        if jobs > 0 {
            self.max_ms = self.max_ms.max(ms);
        }
    }

    /// The quantiles; nothing of nothing.
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

/// Quantiles of a figure, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// Half of them are below.
    pub p50: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    pub max: f64,
    pub mean: f64,
}
