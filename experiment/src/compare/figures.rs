//! The figures of a comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::processes::Peak;
use crate::{
    record::{Machine, Outcome},
    system::System,
};

/// The settings of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Settings {
    pub bits: u32,
    /// Seed of the jobs and of the order.
    pub seed: u64,
    /// Number of rounds.
    pub repeat: u32,
    /// Least time of a measurement of a rate, in seconds.
    pub min_time_s: f64,
    /// Number of single tasks that are timed.
    pub round_trips: u32,
    /// Workers of each system; on nodes, each node has one worker instead.
    pub cores: u32,
    /// Cores of each node; none where a system has the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_per_node: Option<f64>,
    /// Whether the memory of Primepool and Celery includes the broker's.
    pub broker_is_counted: bool,
    /// Milliseconds since 1970.
    pub started_ms: u64,
}

/// A rate, measured from the first submission to the last result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub tasks: u64,
    pub seconds: f64,
    pub per_s: f64,
    /// How tasks were packed; empty for one task per message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
}

/// Single tasks, one after another: milliseconds from submission to result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrip {
    pub count: u32,
    pub p50: f64,
    pub p99: f64,
    pub mean: f64,
}

/// The figures of a system in one round. A ceiling has only `primes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Versions of its parts, by name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    pub how: String,
    /// Seconds from the start of its first process to its first result.
    pub startup_s: Option<f64>,
    /// One prime per task.
    pub primes: Rate,
    /// Primes packed as the pool itself does.
    pub primes_packed: Option<Rate>,
    /// Tasks that do nothing, one at a time.
    pub empty: Option<Rate>,
    /// Tasks that do nothing, in batches.
    pub empty_batched: Option<Rate>,
    pub round_trip_ms: Option<RoundTrip>,
    pub memory: Option<Peak>,
}

/// A measurement of one system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Record {
    /// Number of the round, from 0.
    pub round: u32,
    pub system: System,
    pub nodes: u32,
    #[serde(flatten)]
    pub outcome: Outcome<Figures>,
}

impl Record {
    /// The measurement in a line, for progress.
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
            1 => format!("{:?}", self.system),
            nodes => format!("{:?} on {nodes} nodes", self.system),
        };
        format!("round {}, {system}: {what}", self.round + 1)
    }
}

/// All that a comparison measured, in `compare.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub settings: Settings,
    pub machine: Machine,
    /// In the order of the measurements.
    pub records: Vec<Record>,
}

impl Comparison {
    pub(crate) const FILE: &str = "compare.json";
}
