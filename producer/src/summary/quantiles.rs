//! Quantiles of a figure.

use serde::Serialize;

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

impl Quantiles {
    /// By nearest rank, of values that each stand for so many jobs; nothing of nothing.
    #[must_use]
    pub(crate) fn of(mut values: Vec<(f64, u64)>) -> Option<Self> {
        values.retain(|(_, jobs)| *jobs > 0);
        values.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let &(max, _) = values.last()?;
        let count: u64 = values.iter().map(|(_, jobs)| jobs).sum();
        let (mut passed, mut ranked) = (0, values.iter());
        let mut value = max;
        let mut rank = |q: f64| {
            // Asked for in rising order: one walk along the values.
            let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
            while passed < rank
                && let Some(&(next, jobs)) = ranked.next()
            {
                value = next;
                passed += jobs;
            }
            value
        };
        Some(Self {
            p50: rank(0.50),
            p95: rank(0.95),
            p99: rank(0.99),
            max,
            mean: values.iter().map(|(v, jobs)| v * *jobs as f64).sum::<f64>() / count as f64,
        })
    }
}
