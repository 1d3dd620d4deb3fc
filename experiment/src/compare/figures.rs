//! What a comparison measures.

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
    /// Workers of each system: the cores; on nodes, one each.
    pub cores: u32,
    /// Cores of each node; none where a system has the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_per_node: Option<f64>,
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
    /// On how many nodes.
    #[serde(default = "one")]
    pub nodes: u32,
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

fn one() -> u32 {
    1
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
                let mut line = format!("{:.1} primes/s", figures.primes.per_s);
                if let Some(empty) = &figures.empty {
                    line += &format!(", {:.0} empty tasks/s", empty.per_s);
                }
                line
            }
        };
        let system = match self.nodes {
            1 => self.system.name().to_owned(),
            nodes => format!("{} on {nodes} nodes", self.system.name()),
        };
        format!("round {}, {system}: {what}", self.round + 1)
    }
}

/// A comparison: what was asked for and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// What was asked for.
    pub settings: Settings,
    /// Where.
    pub machine: Machine,
    /// All measurements, in the order in which they were taken.
    pub records: Vec<Record>,
}

impl Comparison {
    /// Name of its file.
    pub(crate) const FILE: &str = "compare.json";
}
