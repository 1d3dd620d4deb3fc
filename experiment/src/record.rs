//! The files in the folder of an experiment, which `experiment/report` reads.
//!
//! ```text
//! DIR/settings.json            the settings, and the machine
//! DIR/records.jsonl            a line for each measurement, in the order of time
//! DIR/baseline.json            the ceiling: the same jobs in a bare loop
//! DIR/metrics.lp               the same three as points
//! DIR/runs/<name>/<run>/       the producer's folder of each measured run, with its metrics.lp
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use primepool_common::message::JobKind;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{launcher::Launcher, sweep::Key};

/// The kind of jobs of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Random primes to find.
    #[default]
    Prime,
    /// Random products of two primes to factor.
    Factor,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        self.job().as_str()
    }

    pub(crate) fn job(self) -> JobKind {
        match self {
            Self::Prime => JobKind::Prime,
            Self::Factor => JobKind::Factor,
        }
    }

    /// Unit of throughput.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Prime => "primes/s",
            Self::Factor => "numbers/s",
        }
    }
}

/// The settings of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Numbers of nodes, ascending.
    pub nodes: Vec<u32>,
    /// Workers of each node, ascending.
    pub workers: Vec<u32>,
    pub kind: Kind,
    /// Bits of each prime, or of each number to factor.
    pub bits: u32,
    /// Least number of jobs of a measurement.
    pub count: u64,
    /// Measurements of each pair.
    pub repeat: u32,
    /// Seed of the jobs and of the order of the measurements.
    pub seed: u64,
    /// Least time of a measurement, in seconds.
    pub min_time_s: f64,
    /// Cores that each node may use; without it all cores of its machine.
    pub cpus_per_node: Option<f64>,
    pub launcher: Launcher,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    pub machine: Machine,
}

/// The machine that an experiment ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model name of the processor.
    pub processor: String,
    /// Cores that the experiment may use.
    pub cores: u32,
    pub memory_bytes: u64,
    /// Operating system and its kernel.
    pub system: String,
    pub version: String,
    /// The engine's kernel.
    pub kernel: String,
}

/// One measurement: a seeded run on some nodes with some workers each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Record {
    pub nodes: u32,
    /// Workers of each node.
    pub workers: u32,
    /// Number of the measurement of this pair, from 0.
    pub repeat: u32,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    #[serde(flatten)]
    pub outcome: Outcome<Figures>,
}

/// How a measurement ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome<F> {
    Measured(Box<F>),
    /// The reason, as a message for the user.
    Failed(String),
}

impl<F> Outcome<F> {
    pub(crate) fn of(result: Result<F>) -> Self {
        match result {
            Ok(figures) => Self::Measured(Box::new(figures)),
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// The figures of a measurement. Points have fields of the same names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// The producer's folder of the run, relative to the experiment's.
    pub folder: String,
    /// Number of jobs; all of them succeeded.
    pub jobs: u64,
    /// Seconds from the first publication to the last result.
    pub elapsed_s: f64,
    pub jobs_per_s: f64,
    /// `latency_p50_ms` and so on: from the publication of a job to its result; `queue_wait_…`: the
    /// part of that in which no worker was at the job.
    #[serde(flatten)]
    pub times_ms: BTreeMap<String, f64>,
    /// Failed and rejected jobs per job.
    pub error_rate: f64,
    /// Busy time of all workers divided by the time that they were present, 0 to 1.
    pub efficiency: f64,
    /// CPU use of the consumers, per cent of the cores that they may use; mean of the nodes.
    pub cpu_pct: f64,
    /// Largest resident memory of a consumer; mean of the nodes.
    pub rss_bytes: f64,
    pub consumer_cpu_s: f64,
    pub producer_cpu_s: f64,
    /// If the broker runs on this machine.
    pub broker_cpu_s: Option<f64>,
    /// Ready messages, mean of one sample per second.
    pub queue_length: Option<f64>,
    /// Seconds until all nodes had joined.
    pub joined_s: f64,
    #[serde(flatten)]
    pub dispatch: Dispatch,
}

/// How evenly the jobs were distributed over the nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Dispatch {
    node_jobs_least: u64,
    node_jobs_median: u64,
    node_jobs_most: u64,
    /// Standard deviation divided by the mean.
    node_jobs_deviation: f64,
    /// Nodes without any job.
    nodes_idle: u64,
}

impl Dispatch {
    /// From the jobs of each node that answered; `nodes` were started.
    pub(crate) fn of(mut jobs: Vec<u64>, nodes: u32) -> Self {
        jobs.resize(jobs.len().max(nodes as usize).max(1), 0);
        jobs.sort_unstable();
        let count = jobs.len() as f64;
        let mean = jobs.iter().sum::<u64>() as f64 / count;
        let squares: f64 = jobs.iter().map(|jobs| (*jobs as f64 - mean).powi(2)).sum();
        Self {
            node_jobs_least: jobs[0],
            node_jobs_median: jobs[jobs.len() / 2],
            node_jobs_most: jobs[jobs.len() - 1],
            node_jobs_deviation: (squares / count).sqrt() / mean.max(f64::MIN_POSITIVE),
            nodes_idle: jobs.iter().filter(|jobs| **jobs == 0).count() as u64,
        }
    }
}

/// The same jobs in a bare loop of the engine: the ceiling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Baseline {
    pub bits: u32,
    pub seed: u64,
    /// Cores that the loop had: those of the machine (the first, if nodes have machines of their
    /// own), or the share of one node.
    pub cores: f64,
    pub threads: u32,
    /// Throughput of each repetition.
    pub jobs_per_s: Vec<f64>,
    /// Total throughput of several loops at once, each on a share or a machine of its own, by their
    /// number: the work per CPU second falls when more cores of a machine are busy.
    pub together: BTreeMap<u32, Vec<f64>>,
}

impl Settings {
    pub(crate) const FILE: &str = "settings.json";

    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::FILE);
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "{} holds no experiment: cannot read {}",
                dir.display(),
                Self::FILE
            )
        })?;
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }
}

/// The part of a record that shows whether its measurement succeeded.
#[derive(Deserialize)]
struct Taken {
    nodes: u32,
    workers: u32,
    repeat: u32,
    measured: Option<IgnoredAny>,
}

impl Record {
    pub(crate) const FILE: &str = "records.jsonl";

    pub(crate) fn append(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&line))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The measurements that succeeded; none without a file. Fails if a line is no record, except
    /// the last one, which may be truncated.
    pub(crate) fn succeeded(dir: &Path) -> Result<BTreeSet<Key>> {
        let path = dir.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut keys = BTreeSet::new();
        let count = text.lines().count();
        for (number, line) in (1..).zip(text.lines()) {
            match serde_json::from_str::<Taken>(line) {
                Ok(taken) if taken.measured.is_some() => {
                    keys.insert((taken.nodes, taken.workers, taken.repeat));
                }
                Err(error) if number < count => {
                    return Err(error)
                        .with_context(|| format!("{}, line {number}", path.display()));
                }
                _ => {}
            }
        }
        Ok(keys)
    }
}

impl Baseline {
    pub(crate) const FILE: &str = "baseline.json";
}

/// Writes a value as JSON to a file in the folder `dir`.
pub(crate) fn write<T: Serialize>(dir: &Path, file: &str, value: &T) -> Result<()> {
    let path = dir.join(file);
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_jobs_counts() {
        let dispatch = Dispatch::of(vec![3, 3], 3);
        assert_eq!((dispatch.node_jobs_least, dispatch.node_jobs_most), (0, 3));
        assert_eq!((dispatch.node_jobs_median, dispatch.nodes_idle), (3, 1));
        assert!((dispatch.node_jobs_deviation - 0.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Dispatch::of(Vec::new(), 1).nodes_idle, 1);
    }
}
