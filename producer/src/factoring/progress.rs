//! Progress of the current stage of a campaign, as a line for the terminal and a metric point.

use std::time::Instant;

use primepool_common::{clock::unix_ns, metrics::Point};

use crate::progress::time_left;

/// Time constant of [`TimeLeft`], in seconds.
const SMOOTHING_S: f64 = 15.0;

/// Smooths estimates of the time left, which otherwise jump with each batch of answers: the shown
/// time runs down with the clock and follows the estimates slowly.
#[derive(Debug, Default)]
pub(super) struct TimeLeft {
    last: Option<(Instant, f64)>,
}

impl TimeLeft {
    /// Takes an estimate, in seconds, and returns the smoothed one.
    pub(super) fn update(&mut self, estimate_s: f64, now: Instant) -> f64 {
        let left_s = match self.last {
            None => estimate_s,
            Some((at, left_s)) => {
                let elapsed_s = now.duration_since(at).as_secs_f64();
                let weight = 1.0 - (-elapsed_s / SMOOTHING_S).exp();
                let expected = (left_s - elapsed_s).max(0.0);
                expected + weight * (estimate_s - expected)
            }
        };
        self.last = Some((now, left_s));
        left_s
    }
}

/// Progress of the current stage of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageProgress {
    /// Bits of the current divisor.
    pub bits: u32,
    /// Name of the stage.
    pub stage: &'static str,
    /// For curves: size in decimal digits of the factors that they search for.
    pub digits: u32,
    /// Number of curves or relations so far.
    pub done: u64,
    /// Largest number of curves that are run, or number of relations that are needed.
    pub expected: u64,
    /// Recent number of curves or relations per second.
    pub rate: f64,
    /// Share of the stage's work that is done, from 0 to 1.
    pub share: f64,
    /// Seconds until the end of the stage, smoothed; `None` while it is not known.
    pub left_s: Option<f64>,
    /// Number of units that were issued and have no answer.
    pub outstanding: usize,
}

impl StageProgress {
    /// The progress as one line, such as
    /// `256 bits: sieve, 8123 of 20666 relations, 55 % of the work, 42 seconds left`.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        let Self {
            bits,
            stage,
            digits,
            done,
            expected,
            share,
            left_s,
            ..
        } = *self;
        let left = || left_s.map_or_else(String::new, time_left);
        let percent = (100.0 * share) as u32;
        match stage {
            "ecm" => format!(
                "{bits} bits: curves for factors of {digits} digits, {done} of at most {expected}{}",
                left()
            ),
            "sieve" => format!(
                "{bits} bits: sieve, {done} of {expected} relations, {percent} % of the work{}",
                left()
            ),
            "linear-algebra" => format!("{bits} bits: linear algebra"),
            _ => format!("{bits} bits: small factors"),
        }
    }

    /// A point of the measurement `factor`.
    #[must_use]
    pub(crate) fn point(&self, run: &str, job: u64) -> Point<'static> {
        let mut point = Point::new("factor", unix_ns())
            .tag("run", run.to_owned())
            .tag("stage", self.stage)
            .field("job", job)
            .field("bits", u64::from(self.bits))
            .field("expected", self.expected)
            .field("rate", self.rate)
            .field("outstanding", self.outstanding as u64);
        if let Some(left_s) = self.left_s {
            point = point.field("left_s", left_s);
        }
        match self.stage {
            "ecm" => {
                point = point
                    .field("curves", self.done)
                    .field("digits", u64::from(self.digits));
            }
            "sieve" => point = point.field("relations", self.done),
            _ => {}
        }
        point
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_left_runs_down_with_the_clock_and_does_not_jump() {
        let (mut left, start) = (TimeLeft::default(), Instant::now());
        let mut shown = left.update(60.0, start);
        for s in 1..=50 {
            // The estimates alternate between 40 % too little and 40 % too much.
            let factor = if s % 2 == 0 { 0.6 } else { 1.4 };
            let now = start + Duration::from_secs(s);
            let next = left.update(factor * (60.0 - s as f64), now);
            assert!((next - (shown - 1.0)).abs() < 2.5, "{shown} then {next}");
            shown = next;
        }
        assert!((shown - 10.0).abs() < 3.0, "{shown}");
    }

    #[test]
    fn it_says_how_far_the_stage_is_and_what_is_left() {
        let mut progress = StageProgress {
            bits: 256,
            stage: "sieve",
            digits: 0,
            done: 8123,
            expected: 20_666,
            rate: 300.0,
            share: 0.559,
            left_s: Some(41.8),
            outstanding: 4,
        };
        assert_eq!(
            progress.describe(),
            "256 bits: sieve, 8123 of 20666 relations, 55 % of the work, 42 seconds left"
        );
        progress.left_s = None;
        assert_eq!(
            progress.describe(),
            "256 bits: sieve, 8123 of 20666 relations, 55 % of the work"
        );
        progress.stage = "linear-algebra";
        assert_eq!(progress.describe(), "256 bits: linear algebra");
    }
}
