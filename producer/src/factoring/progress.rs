//! Progress of the current stage of a campaign, as a line for the terminal and a metric point.

use std::time::Duration;

use primepool_common::{cli::show_duration, clock::unix_ns, metrics::Point};

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
    /// Seconds until the end of the stage at the recent pace, if it is known.
    pub left_s: Option<f64>,
    /// Number of units that were issued and have no answer.
    pub outstanding: usize,
}

impl StageProgress {
    /// The progress as one line, such as
    /// `256 bits: sieve, 8123 of 20666 relations, 55 % of the work, 42.00 s left at this pace`.
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
        let left = || match left_s {
            Some(seconds) if seconds < 1e7 => {
                let left = Duration::from_secs(seconds.ceil() as u64);
                format!(", {} left at this pace", show_duration(left))
            }
            _ => String::new(),
        };
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
    use super::*;

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
            "256 bits: sieve, 8123 of 20666 relations, 55 % of the work, 42.00 s left at this pace"
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
