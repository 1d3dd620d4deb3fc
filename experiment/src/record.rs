//! What an experiment leaves in its folder, for the report (`experiment/report`) and for anybody else.
//!
//! ```text
//! DIR/settings.json            what was asked for, and of which machine
//! DIR/records.jsonl            a line for each measurement, in the order in which they were taken
//! DIR/baseline.json            the ceiling: the same jobs in a bare loop (`experiment baseline`)
//! DIR/runs/<name>/<run>/       the producer's folder of each measured run, with its metrics.lp
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use primepool_common::message::JobKind;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::launcher::Launcher;

/// What the jobs of an experiment are.
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
    /// As the command line says it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        self.job().as_str()
    }

    /// As messages say it.
    #[must_use]
    pub(crate) fn job(self) -> JobKind {
        match self {
            Self::Prime => JobKind::Prime,
            Self::Factor => JobKind::Factor,
        }
    }

    /// What is counted.
    #[must_use]
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Prime => "primes/s",
            Self::Factor => "numbers/s",
        }
    }
}

/// What a sweep was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Numbers of nodes, ascending.
    pub nodes: Vec<u32>,
    /// Workers of each node, ascending.
    pub workers: Vec<u32>,
    /// What the jobs are.
    #[serde(default)]
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
    /// Cores that each node may use; all of the machine's without.
    pub cpus_per_node: Option<f64>,
    /// What a node is.
    #[serde(default)]
    pub launcher: Launcher,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Where.
    pub machine: Machine,
}

/// The machine that an experiment ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Cores that the experiment may use.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Operating system and its kernel.
    pub system: String,
    /// Version of this program.
    pub version: String,
    /// The engine's kernel.
    pub kernel: String,
}

/// One measurement: a seeded run on so many nodes with so many workers each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Nodes: consumer processes.
    pub nodes: u32,
    /// Workers of each.
    pub workers: u32,
    /// Which measurement of this pair, from 0.
    pub repeat: u32,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// What was measured, or why nothing was.
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

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The producer's folder of the run, relative to the experiment's.
    pub folder: String,
    /// Jobs, all of which ended well.
    pub jobs: u64,
    /// Seconds from the first publication to the last result.
    pub elapsed_s: f64,
    /// Primes per second.
    pub primes_per_s: f64,
    /// Publication of a job to its result, milliseconds.
    pub latency_ms: Percentiles,
    /// The part of it in which nobody worked on the job, milliseconds.
    pub queue_wait_ms: Percentiles,
    /// Failed and rejected jobs per job.
    pub error_rate: f64,
    /// Busy time of all workers per time that they were there, 0 to 1.
    pub node_efficiency: f64,
    /// CPU use of the consumers, per cent of the cores that they may use; mean of the nodes.
    pub cpu_pct: f64,
    /// Largest resident memory of a consumer, bytes; mean of the nodes.
    pub rss_bytes: f64,
    /// CPU seconds of the consumers.
    pub consumer_cpu_s: f64,
    /// CPU seconds of the producer.
    pub producer_cpu_s: f64,
    /// CPU seconds of the broker, where it runs on this machine.
    pub broker_cpu_s: Option<f64>,
    /// Seconds until all nodes had joined.
    pub joined_s: f64,
    /// Jobs that each node did, by name.
    pub jobs_by_node: Vec<(String, u64)>,
}

/// Of a distribution over jobs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// The same jobs in a bare loop of the engine: the ceiling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Bits of each prime.
    pub bits: u32,
    /// Seed of the jobs.
    pub seed: u64,
    /// Cores that the loop had: those of the machine (the first, if nodes have machines of their own), or the share of one node.
    pub cores: f64,
    /// Threads of the loop.
    pub threads: u32,
    /// Primes per second of each repetition.
    pub primes_per_s: Vec<f64>,
    /// The same with so many loops at once, each on a share or a machine of its own: primes per second of all of them, of each repetition. What a
    /// machine does in a CPU second falls when more of it is busy.
    #[serde(default)]
    pub together: BTreeMap<u32, Vec<f64>>,
}

impl Settings {
    /// Name of their file.
    pub(crate) const FILE: &str = "settings.json";
}

impl Record {
    /// Name of their file.
    pub(crate) const FILE: &str = "records.jsonl";

    /// Which measurement it is.
    #[must_use]
    pub(crate) fn key(&self) -> (u32, u32, u32) {
        (self.nodes, self.workers, self.repeat)
    }

    /// The figures, of a measurement that did not fail.
    #[must_use]
    pub(crate) fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured(figures) => Some(figures),
            Outcome::Failed(_) => None,
        }
    }

    /// Adds it to the records of an experiment.
    ///
    /// # Errors
    /// The file cannot be written.
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

    /// The records of an experiment; none if there is no file. A last line that was cut short does not count.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of records.
    pub(crate) fn read_all(dir: &Path) -> Result<Vec<Self>> {
        let path = dir.join(Self::FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let lines: Vec<String> = BufReader::new(file).lines().collect::<Result<_, _>>()?;
        let mut records = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(record) => records.push(record),
                Err(_) if index + 1 == lines.len() => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{}, line {}", path.display(), index + 1));
                }
            }
        }
        Ok(records)
    }
}

impl Baseline {
    /// Name of its file.
    pub(crate) const FILE: &str = "baseline.json";

    /// The median of the repetitions, primes per second and core.
    #[must_use]
    pub(crate) fn per_core(&self) -> f64 {
        median(&self.primes_per_s) / self.cores
    }

    /// The same beside others: of so many loops at once, for each number of them that was measured.
    #[must_use]
    pub(crate) fn per_core_together(&self) -> BTreeMap<u32, f64> {
        let each = |(&nodes, rates): (&u32, &Vec<f64>)| {
            (nodes, median(rates) / (f64::from(nodes) * self.cores))
        };
        self.together.iter().map(each).collect()
    }
}

/// The upper of the two in the middle of an even number; 0 of nothing.
fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Reads a file of an experiment's folder; nothing if it is not there.
///
/// # Errors
/// It cannot be read, or is not what it should be.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, file: &str) -> Result<Option<T>> {
    let path = dir.join(file);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| path.display().to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file of an experiment's folder.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write<T: Serialize>(dir: &Path, file: &str, value: &T) -> Result<()> {
    let path = dir.join(file);
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
