//! What a comparison measures, and what follows from it.

use crate::system::System;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::processes::Peak;
use crate::record::Machine;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Bits of each prime.
    pub bits: u32,
    /// Seed of the jobs and of the order.
    pub seed: u64,
    /// Rounds.
    pub repeat: u32,
    /// Least time of a measurement of a rate, in seconds.
    pub min_time_s: f64,
    /// Single tasks that are timed.
    pub round_trips: u32,
    /// Workers of each system: the cores.
    pub cores: u32,
    /// Whether the memory of Primepool and Celery includes the broker's.
    pub broker_is_counted: bool,
    /// Milliseconds since 1970.
    pub started_ms: u64,
}

/// So many tasks in so many seconds, from the first submission to the last result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Tasks.
    pub tasks: u64,
    /// Seconds.
    pub seconds: f64,
    /// Tasks per second.
    pub per_s: f64,
    /// How they were put together, if they were.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
}

/// Single tasks, one after another: milliseconds from submission to result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrip {
    /// How many.
    pub count: u32,
    /// The median.
    pub p50: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The mean.
    pub mean: f64,
}

/// What was measured of a system in a round. A ceiling has `primes` only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Versions of what it is made of.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// How it was run.
    pub how: String,
    /// Seconds from the start of its first process to its first result.
    pub startup_s: Option<f64>,
    /// Primes, one a task.
    pub primes: Rate,
    /// Primes as the pool itself packs them.
    pub primes_packed: Option<Rate>,
    /// Tasks that do nothing, one at a time.
    pub empty: Option<Rate>,
    /// Tasks that do nothing, in batches.
    pub empty_batched: Option<Rate>,
    /// Single tasks that do nothing.
    pub round_trip_ms: Option<RoundTrip>,
    /// The most memory that it had.
    pub memory: Option<Peak>,
}

/// A measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which round, from 0.
    pub round: u32,
    /// Of what.
    pub system: System,
    /// The figures, or why there are none.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a measurement ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// What was measured.
    Measured(Box<Figures>),
    /// Why nothing was, for people.
    Failed(String),
}

impl Record {
    /// The figures, if it did not fail.
    #[must_use]
    pub(crate) fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured(figures) => Some(figures),
            Outcome::Failed(_) => None,
        }
    }

    /// In a line, while others are still measured.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        let what = match &self.outcome {
            Outcome::Failed(reason) => format!("FAILED: {reason}"),
            Outcome::Measured(figures) => {
                let rate = |rate: &Option<Rate>| rate.as_ref().map_or(0.0, |rate| rate.per_s);
                let mut line = format!("{:.1} primes/s", figures.primes.per_s);
                if !self.system.is_ceiling() {
                    line += &format!(", {:.0} empty tasks/s", rate(&figures.empty));
                }
                line
            }
        };
        format!("round {}, {}: {what}", self.round + 1, self.system.name())
    }
}

/// A figure of a system in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Primes per second, one a task.
    Primes,
    /// Primes per second as users get them: packed, where the pool packs by itself.
    PrimesPacked,
    /// [`Metric::Primes`] per cent of the same arithmetic in a bare loop.
    ShareOfLoop,
    /// [`Metric::PrimesPacked`] per cent of the same arithmetic in a bare loop.
    SharePacked,
    /// Empty tasks per second.
    Empty,
    /// Empty tasks per second in batches.
    EmptyBatched,
    /// Round trip, median, ms.
    RoundTripP50,
    /// Round trip, 99th percentile, ms.
    RoundTripP99,
    /// Seconds to the first result.
    Startup,
    /// Largest resident memory, MB.
    Memory,
}

impl Metric {
    /// All, in the order of tables.
    pub(crate) const ALL: [Self; 10] = [
        Self::Primes,
        Self::PrimesPacked,
        Self::ShareOfLoop,
        Self::SharePacked,
        Self::Empty,
        Self::EmptyBatched,
        Self::RoundTripP50,
        Self::RoundTripP99,
        Self::Startup,
        Self::Memory,
    ];

    /// For people, with its unit.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Primes => "primes/s, one a task",
            Self::PrimesPacked => "primes/s, packed (Primepool's default)",
            Self::ShareOfLoop => "% of its bare loop, one a task",
            Self::SharePacked => "% of its bare loop, packed",
            Self::Empty => "empty tasks/s, one at a time",
            Self::EmptyBatched => "empty tasks/s, batched",
            Self::RoundTripP50 => "round trip p50, ms",
            Self::RoundTripP99 => "round trip p99, ms",
            Self::Startup => "start to first result, s",
            Self::Memory => "peak memory, MB",
        }
    }

    /// Whether less is better.
    #[must_use]
    pub(crate) fn is_cost(self) -> bool {
        matches!(
            self,
            Self::RoundTripP50 | Self::RoundTripP99 | Self::Startup | Self::Memory
        )
    }

    fn of(self, figures: &Figures, ceiling: Option<&Figures>) -> Option<f64> {
        let packed = figures.primes_packed.as_ref().map(|rate| rate.per_s);
        let share = |rate: f64| Some(100.0 * rate / ceiling?.primes.per_s);
        match self {
            Self::Primes => Some(figures.primes.per_s),
            Self::PrimesPacked => packed,
            Self::ShareOfLoop => share(figures.primes.per_s),
            Self::SharePacked => share(packed?),
            Self::Empty => Some(figures.empty.as_ref()?.per_s),
            Self::EmptyBatched => Some(figures.empty_batched.as_ref()?.per_s),
            Self::RoundTripP50 => Some(figures.round_trip_ms.as_ref()?.p50),
            Self::RoundTripP99 => Some(figures.round_trip_ms.as_ref()?.p99),
            Self::Startup => figures.startup_s,
            Self::Memory => Some(figures.memory.as_ref()?.bytes as f64 / 1e6),
        }
    }
}

/// Median of the rounds, with what they range over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The median; of an even number of rounds the upper of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Nothing of nothing.
    #[must_use]
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: *values.get(values.len() / 2)?,
            least: *values.first()?,
            most: *values.last()?,
        })
    }
}

/// Medians by system and metric.
pub(crate) type Table = BTreeMap<System, BTreeMap<Metric, Spread>>;

/// A comparison: what was asked for, what was measured, and what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// What was asked for.
    pub settings: Settings,
    /// Where.
    pub machine: Machine,
    /// All measurements, in the order in which they were taken.
    pub records: Vec<Record>,
    /// Of each system, over the rounds.
    pub medians: Table,
    /// How many times better Primepool is than each other pool: ratios within a round, over the rounds. Where Primepool packs primes
    /// by itself, that is compared with one a task of the others.
    pub ratios: Table,
}

impl Comparison {
    /// Name of its file.
    pub(crate) const FILE: &str = "compare.json";

    /// Fills in medians and ratios.
    pub(crate) fn summarise(&mut self) {
        let mut medians: BTreeMap<(System, Metric), Vec<f64>> = BTreeMap::new();
        let mut ratios: BTreeMap<(System, Metric), Vec<f64>> = BTreeMap::new();
        for round in 0..self.settings.repeat {
            let value = |system: System, metric: Metric| {
                let of = |system| self.figures(round, system);
                metric.of(of(system)?, of(system.ceiling()))
            };
            for system in System::ALL {
                for metric in Metric::ALL {
                    let Some(theirs) = value(system, metric) else {
                        continue;
                    };
                    medians.entry((system, metric)).or_default().push(theirs);
                }
                if system == System::Primepool || system.is_ceiling() {
                    continue;
                }
                for metric in Metric::ALL {
                    let like = match metric {
                        Metric::PrimesPacked => Metric::Primes,
                        Metric::SharePacked => Metric::ShareOfLoop,
                        same => same,
                    };
                    let (ours, theirs) = (value(System::Primepool, metric), value(system, like));
                    let (Some(ours), Some(theirs)) = (ours, theirs) else {
                        continue;
                    };
                    let ratio = if metric.is_cost() {
                        theirs / ours
                    } else {
                        ours / theirs
                    };
                    ratios.entry((system, metric)).or_default().push(ratio);
                }
            }
        }
        self.medians = spreads(medians);
        self.ratios = spreads(ratios);
    }

    fn figures(&self, round: u32, system: System) -> Option<&Figures> {
        let mut records = self.records.iter();
        records
            .find(|record| (record.round, record.system) == (round, system))?
            .figures()
    }

    /// The last figures of a system: how it was run, of what, and which processes it had.
    #[must_use]
    pub(crate) fn last(&self, system: System) -> Option<&Figures> {
        let records = self.records.iter().rev();
        records
            .filter(|record| record.system == system)
            .find_map(Record::figures)
    }

    /// What failed, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&Record, &str)> {
        self.records
            .iter()
            .filter_map(|record| match &record.outcome {
                Outcome::Failed(reason) => Some((record, reason.as_str())),
                Outcome::Measured(_) => None,
            })
    }

    /// The systems that something was asked of, in the order of tables.
    #[must_use]
    pub(crate) fn systems(&self) -> Vec<System> {
        let asked = |system: &System| self.records.iter().any(|record| record.system == *system);
        System::ALL.into_iter().filter(asked).collect()
    }

    /// A figure of a system, if it was measured.
    #[must_use]
    pub(crate) fn median(&self, system: System, metric: Metric) -> Option<Spread> {
        self.medians.get(&system)?.get(&metric).copied()
    }
}

fn spreads(values: BTreeMap<(System, Metric), Vec<f64>>) -> Table {
    let mut table = Table::new();
    for ((system, metric), values) in values {
        if let Some(spread) = Spread::of(values) {
            table.entry(system).or_default().insert(metric, spread);
        }
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn record(round: u32, system: System, primes: f64, ms: f64) -> Record {
        let rate = |per_s: f64| Rate {
            per_s,
            ..Rate::default()
        };
        let pool = !system.is_ceiling();
        Record {
            round,
            system,
            outcome: Outcome::Measured(Box::new(Figures {
                primes: rate(primes),
                primes_packed: (system == System::Primepool).then(|| rate(2.0 * primes)),
                round_trip_ms: pool.then(|| RoundTrip {
                    p50: ms,
                    p99: 2.0 * ms,
                    ..RoundTrip::default()
                }),
                ..Figures::default()
            })),
        }
    }

    pub(crate) fn comparison(records: Vec<Record>) -> Comparison {
        let mut comparison = Comparison {
            settings: Settings {
                bits: 1024,
                seed: 7,
                repeat: 3,
                min_time_s: 1.0,
                round_trips: 10,
                cores: 2,
                broker_is_counted: true,
                started_ms: 0,
            },
            machine: crate::machine::here(),
            records,
            medians: Table::new(),
            ratios: Table::new(),
        };
        comparison.summarise();
        comparison
    }

    #[test]
    fn ratios_are_of_a_round_and_say_how_much_better() {
        let mut records = Vec::new();
        // The machine is twice as fast in the second round: the ratio must not notice.
        for (round, speed) in [(0, 1.0), (1, 2.0), (2, 1.0)] {
            records.push(record(round, System::Primepool, 400.0 * speed, 1.0 / speed));
            records.push(record(round, System::Ray, 40.0 * speed, 3.0 / speed));
            records.push(record(round, System::Engine, 1000.0 * speed, 0.0));
            records.push(record(round, System::Gmpy2, 50.0 * speed, 0.0));
        }
        records.push(Record {
            round: 0,
            system: System::Dask,
            outcome: Outcome::Failed("not there".into()),
        });
        let comparison = comparison(records);
        let ratio = |metric| comparison.ratios[&System::Ray][&metric];
        for (metric, expected) in [
            (Metric::Primes, 10.0),
            (Metric::PrimesPacked, 20.0),
            (Metric::ShareOfLoop, 0.5),
            (Metric::SharePacked, 1.0),
            (Metric::RoundTripP50, 3.0),
        ] {
            let Spread {
                median,
                least,
                most,
            } = ratio(metric);
            for value in [median, least, most] {
                assert!((value - expected).abs() < 1e-9, "{metric:?}: {value}");
            }
        }
        let share = comparison.median(System::Ray, Metric::ShareOfLoop).unwrap();
        assert!((share.median - 80.0).abs() < 1e-9);
        let rate = comparison.median(System::Ray, Metric::Primes).unwrap();
        assert_eq!((rate.median, rate.least, rate.most), (40.0, 40.0, 80.0));
        assert_eq!(comparison.median(System::Dask, Metric::Primes), None);
        assert_eq!(comparison.failures().count(), 1);
        let text = serde_json::to_string(&comparison).unwrap();
        assert_eq!(
            serde_json::from_str::<Comparison>(&text).unwrap(),
            comparison
        );
    }
}
