//! An experiment as points: what its folder holds besides the runs, whose points the producers write themselves. They go to
//! `metrics.lp` in the folder, and to InfluxDB where there is one, from which the report can be made too.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use primepool_common::{
    clock::unix_ns,
    metrics::{InfluxArgs, LineProtocolFile, MetricsWriter, Point, Source},
};

use crate::{
    process::SPOOL,
    record::{Baseline, Outcome, Percentiles, Record, Settings},
};

/// The measurement of these points.
const MEASUREMENT: &str = "experiment";

/// Their file in the folder of an experiment, as in that of a run.
const FILE: &str = "metrics.lp";

/// Longest time that the end waits for the server; what it has not taken by then stays on disk.
const CLOSING: Duration = Duration::from_secs(10);

/// What a point tells of an experiment; its tag `part`.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// [`Settings`]; what was written before belongs to an earlier experiment of the same name.
    Settings,
    /// [`Baseline`].
    Baseline,
    /// [`Record`].
    Record,
}

impl Part {
    /// As the tag says it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Baseline => "baseline",
            Self::Record => "record",
        }
    }
}

/// The options of InfluxDB, of which only the environment is read: it is what consumers and producers get.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    influx: InfluxArgs,
}

/// Which InfluxDB the environment names, if it names one.
///
/// # Errors
/// What it says cannot be used.
fn influx() -> Result<InfluxArgs> {
    Ok(Environment::try_parse_from(["experiment"])?.influx)
}

/// Takes the points of an experiment.
pub(crate) struct Archive {
    name: String,
    file: LineProtocolFile,
    server: MetricsWriter,
}

impl Archive {
    /// Goes on with the file in the experiment's folder; the name of the folder is that of the experiment.
    ///
    /// # Errors
    /// The file cannot be written, or the environment names an InfluxDB that cannot be used.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let name = name.to_string_lossy().into_owned();
        Ok(Self {
            file: LineProtocolFile::open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?,
            server: influx()?.writer(Source::Experiment, &name, Some(dir.join(SPOOL)))?,
            name,
        })
    }

    /// Notes what was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn settings(&mut self, settings: &Settings) -> Result<()> {
        let list = |numbers: &[u32]| {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            numbers.join(",")
        };
        let machine = &settings.machine;
        let point = self
            .point(Part::Settings)
            .field("all_nodes", list(&settings.nodes))
            .field("all_workers", list(&settings.workers))
            .field("kind", settings.kind.as_str().to_owned())
            .field("bits", u64::from(settings.bits))
            .field("count", settings.count)
            .field("repeat", u64::from(settings.repeat))
            .field("seed", settings.seed.to_string())
            .field("min_time_s", settings.min_time_s)
            .field("cpus_per_node", settings.cpus_per_node.unwrap_or(f64::NAN))
            .field("launcher", serde_json::to_string(&settings.launcher)?)
            .field("is_elsewhere", settings.launcher.is_elsewhere())
            .field("started_ms", settings.started_ms)
            .field("processor", machine.processor.clone())
            .field("cores", u64::from(machine.cores))
            .field("memory_bytes", machine.memory_bytes)
            .field("system", machine.system.clone())
            .field("version", machine.version.clone())
            .field("kernel", machine.kernel.clone());
        self.write(&point)
    }

    /// Notes the ceiling.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn baseline(&mut self, baseline: &Baseline) -> Result<()> {
        let rates = |rates: &[f64]| {
            let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
            rates.join(",")
        };
        let together = baseline.together.iter();
        let together: Vec<String> = together
            .map(|(nodes, all)| format!("{nodes}:{}", rates(all)))
            .collect();
        let point = self
            .point(Part::Baseline)
            .field("bits", u64::from(baseline.bits))
            .field("seed", baseline.seed.to_string())
            .field("share_cores", baseline.cores)
            .field("threads", u64::from(baseline.threads))
            .field("primes_per_core_s", baseline.per_core())
            .field("rates", rates(&baseline.primes_per_s))
            .field("together", together.join(";"));
        self.write(&point)
    }

    /// Notes a measurement.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let mut point = self
            .point(Part::Record)
            .tag("nodes", record.nodes.to_string())
            .tag("workers", record.workers.to_string())
            .field("failed", record.figures().is_none())
            .field("repeat", u64::from(record.repeat))
            .field("started_ms", record.started_ms);
        match &record.outcome {
            Outcome::Failed(reason) => point = point.field("reason", reason.clone()),
            Outcome::Measured(figures) => {
                let dispatch = Dispatch::of(&figures.jobs_by_node, record.nodes);
                point = point
                    .field("folder", figures.folder.clone())
                    .field("jobs", figures.jobs)
                    .field("jobs_per_s", figures.primes_per_s)
                    .field("elapsed_s", figures.elapsed_s)
                    .field("efficiency", figures.node_efficiency)
                    .field("error_rate", figures.error_rate)
                    .field("cpu_pct", figures.cpu_pct)
                    .field("rss_bytes", figures.rss_bytes)
                    .field("joined_s", figures.joined_s)
                    .field("consumer_cpu_s", figures.consumer_cpu_s)
                    .field("producer_cpu_s", figures.producer_cpu_s)
                    .field("broker_cpu_s", figures.broker_cpu_s.unwrap_or(f64::NAN))
                    .field("node_jobs_least", dispatch.least)
                    .field("node_jobs_median", dispatch.median)
                    .field("node_jobs_most", dispatch.most)
                    .field("node_jobs_deviation", dispatch.deviation)
                    .field("nodes_idle", dispatch.idle);
                for (fields, all) in [
                    (LATENCY, &figures.latency_ms),
                    (QUEUE_WAIT, &figures.queue_wait_ms),
                ] {
                    for (field, value) in fields.into_iter().zip(values(all)) {
                        point = point.field(field, value);
                    }
                }
            }
        }
        self.write(&point)
    }

    fn point(&self, part: Part) -> Point<'static> {
        Point::new(MEASUREMENT, unix_ns())
            .tag("experiment", self.name.clone())
            .tag("part", part.as_str())
    }

    fn write(&mut self, point: &Point<'_>) -> Result<()> {
        self.server.write(point);
        self.file
            .write(point)
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {FILE} of the experiment"))
    }

    /// Sends the rest; how many points wait on disk for a server that did not take them. Blocks.
    pub(crate) fn close(self) -> u64 {
        self.server.close(CLOSING).spooled
    }
}

/// How evenly the jobs were handed out to the nodes.
struct Dispatch {
    least: u64,
    median: u64,
    most: u64,
    /// Standard deviation, of the mean.
    deviation: f64,
    /// Nodes without any.
    idle: u64,
}

impl Dispatch {
    fn of(jobs_by_node: &[(String, u64)], nodes: u32) -> Self {
        let mut jobs: Vec<u64> = jobs_by_node.iter().map(|node| node.1).collect();
        // A node that did nothing has not been heard of.
        jobs.resize(jobs.len().max(nodes as usize).max(1), 0);
        jobs.sort_unstable();
        let count = jobs.len() as f64;
        let mean = jobs.iter().sum::<u64>() as f64 / count;
        let squares: f64 = jobs.iter().map(|jobs| (*jobs as f64 - mean).powi(2)).sum();
        Self {
            least: jobs[0],
            median: jobs[jobs.len() / 2],
            most: jobs[jobs.len() - 1],
            deviation: (squares / count).sqrt() / mean.max(f64::MIN_POSITIVE),
            idle: jobs.iter().filter(|jobs| **jobs == 0).count() as u64,
        }
    }
}

/// Fields of percentiles, in the order of [`values`].
type Fields = [&'static str; 5];

const LATENCY: Fields = [
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_max_ms",
    "latency_mean_ms",
];

const QUEUE_WAIT: Fields = [
    "queue_wait_p50_ms",
    "queue_wait_p95_ms",
    "queue_wait_p99_ms",
    "queue_wait_max_ms",
    "queue_wait_mean_ms",
];

fn values(all: &Percentiles) -> [f64; 5] {
    [all.p50, all.p95, all.p99, all.max, all.mean]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_jobs_counts() {
        let jobs = [("a".to_owned(), 3), ("b".to_owned(), 3)];
        let dispatch = Dispatch::of(&jobs, 3);
        assert_eq!((dispatch.least, dispatch.median, dispatch.most), (0, 3, 3));
        assert_eq!(dispatch.idle, 1);
        assert!((dispatch.deviation - 0.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Dispatch::of(&[], 1).idle, 1);
    }
}
