//! A sweep: measures every pair of numbers of nodes and workers several times, in a shuffled order.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use primepool_common::{clock::unix_time, message::RunId};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::Deserialize;

use crate::{
    cluster::{Cluster, ClusterOptions},
    process::{SPOOL, Stop, cpu_s, produce},
    queue::JobsQueue,
    record::{Dispatch, Figures, Kind, Outcome, Record, Settings},
};

/// Duration of the warm-up before a measurement; it shows how many jobs the measurement needs.
const WARM_UP: Duration = Duration::from_secs(2);

/// How often a measurement that turned out too short is taken again with more jobs.
const RETRIES: u32 = 3;

/// A measurement: nodes, workers of each node, number of the repetition from 0.
pub(crate) type Key = (u32, u32, u32);

/// All measurements, shuffled by the seed: drift of the machine must not look like an effect.
pub(crate) fn order(settings: &Settings) -> Vec<Key> {
    let mut keys = Vec::new();
    for repeat in 0..settings.repeat {
        for &nodes in &settings.nodes {
            for &workers in &settings.workers {
                keys.push((nodes, workers, repeat));
            }
        }
    }
    shuffle(&mut keys, &mut ChaCha8Rng::seed_from_u64(settings.seed));
    keys
}

/// The shuffle of Fisher and Yates.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// What all measurements of a sweep share.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    pub settings: &'a Settings,
    pub dir: &'a Path,
    /// Folder of `consumer` and `producer`.
    pub programs: &'a Path,
    pub queue: &'a JobsQueue,
    /// Process of the broker, if it runs on this machine.
    pub broker: Option<u32>,
    /// Which results the producer verifies.
    pub verify: &'a str,
    pub stop: &'a Stop,
}

impl Sweep<'_> {
    /// Takes one measurement. A failure is recorded too.
    pub(crate) fn measure(&self, (nodes, workers, repeat): Key) -> Record {
        let started_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
        Record {
            nodes,
            workers,
            repeat,
            started_ms,
            outcome: Outcome::of(self.figures(nodes, workers, repeat)),
        }
    }

    fn figures(&self, nodes: u32, workers: u32, repeat: u32) -> Result<Figures> {
        let name = format!("nodes-{nodes}-workers-{workers}-{repeat}");
        let dir = self.dir.join("runs").join(&name);
        // Left by an interrupted measurement.
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;

        let spool = self.dir.join(SPOOL);
        let options = ClusterOptions {
            launcher: &self.settings.launcher,
            programs: self.programs,
            queue: self.queue,
            cores: self.settings.cpus_per_node,
            prefetch: None,
            spool: &spool,
        };
        let start = Instant::now();
        let mut cluster = Cluster::start(options, &dir, nodes, workers, self.stop)?;
        let joined_s = start.elapsed().as_secs_f64();
        let figures = self.measured_run(&mut cluster, nodes, &name, &dir, joined_s);
        cluster.end();
        if figures.is_err()
            && let Err(error) = self.queue.clear(&runs_below(&dir))
        {
            return figures.with_context(|| format!("{error:#}; and before that"));
        }
        figures
    }

    fn measured_run(
        &self,
        cluster: &mut Cluster<'_>,
        nodes: u32,
        name: &str,
        dir: &Path,
        joined_s: f64,
    ) -> Result<Figures> {
        let mut jobs = self.warm_up(cluster, dir)?;
        for attempt in 0.. {
            let runs = dir.join(format!("try-{attempt}"));
            fs::create_dir_all(&runs).with_context(|| runs.display().to_string())?;
            let before = (cluster.cpu_s(), self.broker.and_then(cpu_s));
            let (producer_cpu_s, queue_length) = self.produce(cluster, &runs, jobs)?;
            let after = (cluster.cpu_s(), self.broker.and_then(cpu_s));
            let (folder, summary) = read_summary(&runs)?;
            let enough = summary.elapsed_s >= self.settings.min_time_s;
            if enough || attempt == RETRIES {
                let place = folder.strip_prefix(dir).unwrap_or(&folder);
                let folder = Path::new("runs").join(name).join(place);
                let used = |before: Option<f64>, after: Option<f64>| Some(after? - before?);
                return Ok(Figures {
                    folder: folder.to_string_lossy().into_owned(),
                    jobs,
                    elapsed_s: summary.elapsed_s,
                    jobs_per_s: summary.jobs_per_s,
                    times_ms: summary.times_ms(),
                    error_rate: summary.error_rate,
                    efficiency: summary.efficiency.unwrap_or_default(),
                    cpu_pct: mean(summary.nodes.iter().filter_map(|node| node.pool_cpu_pct)),
                    rss_bytes: mean(summary.nodes.iter().map(|node| node.rss_bytes as f64)),
                    consumer_cpu_s: used(before.0, after.0).unwrap_or_else(|| summary.cpu_s()),
                    producer_cpu_s,
                    broker_cpu_s: used(before.1, after.1),
                    queue_length,
                    joined_s,
                    dispatch: Dispatch::of(
                        summary.nodes.iter().map(|node| node.jobs_ok).collect(),
                        nodes,
                    ),
                });
            }
            fs::remove_dir_all(&runs).with_context(|| runs.display().to_string())?;
            let factor = self.settings.min_time_s / summary.elapsed_s.max(0.01);
            jobs = (jobs as f64 * (1.15 * factor).min(100.0)) as u64 + 1;
        }
        bail!("no measurement was long enough")
    }

    /// Runs a producer; returns its CPU seconds and the mean length of the queue.
    fn produce(
        &self,
        cluster: &mut Cluster<'_>,
        runs: &Path,
        jobs: u64,
    ) -> Result<(f64, Option<f64>)> {
        let args = self.producer_args(jobs);
        let spool = self.dir.join(SPOOL);
        let places = (runs, spool.as_path());
        let mut lengths = Vec::new();
        let cpu_s = produce(self.programs, places, &args, self.stop, || {
            lengths.push(f64::from(self.queue.state()?.ready));
            cluster.live()
        })?;
        let queue_length = (!lengths.is_empty()).then(|| mean(lengths.into_iter()));
        Ok((cpu_s, queue_length))
    }

    /// Runs more and more jobs until they take about [`WARM_UP`]; returns how many to measure with.
    fn warm_up(&self, cluster: &mut Cluster<'_>, dir: &Path) -> Result<u64> {
        let (mut jobs, mut rate) = (self.settings.count.min(50), 0.0);
        for attempt in 0..4 {
            let runs = dir.join(format!("warm-up-{attempt}"));
            fs::create_dir_all(&runs).with_context(|| runs.display().to_string())?;
            self.produce(cluster, &runs, jobs)?;
            let (_, summary) = read_summary(&runs)?;
            fs::remove_dir_all(&runs).with_context(|| runs.display().to_string())?;
            rate = jobs as f64 / summary.elapsed_s.max(0.001);
            if summary.elapsed_s >= WARM_UP.as_secs_f64() / 3.0 {
                break;
            }
            let more = (rate * WARM_UP.as_secs_f64()) as u64;
            jobs = more.clamp(jobs + 1, 100 * jobs);
        }
        let needed = (1.15 * rate * self.settings.min_time_s) as u64 + 1;
        Ok(needed.max(self.settings.count))
    }

    fn producer_args(&self, jobs: u64) -> Vec<String> {
        let flags = [
            ("--bits", self.settings.bits.to_string()),
            ("--count", jobs.to_string()),
            ("--seed", self.settings.seed.to_string()),
            ("--verify", self.verify.to_owned()),
            ("--log", "warn".to_owned()),
        ];
        let flags = flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value]);
        match self.settings.kind {
            Kind::Prime => flags.collect(),
            Kind::Factor => ["factor".to_owned()].into_iter().chain(flags).collect(),
        }
    }
}

/// The parts of a run's `summary.json` that are recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    jobs: u64,
    jobs_ok: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) jobs_per_s: f64,
    latency_ms: Option<BTreeMap<String, f64>>,
    queue_wait_ms: Option<BTreeMap<String, f64>>,
    error_rate: f64,
    efficiency: Option<f64>,
    nodes: Vec<NodeSummary>,
}

#[derive(Debug, Deserialize)]
struct NodeSummary {
    jobs_ok: u64,
    cores: f64,
    pool_cpu_pct: Option<f64>,
    rss_bytes: u64,
}

impl Summary {
    /// Times by name: `latency_p50_ms` and so on, and `queue_wait_…`.
    fn times_ms(&self) -> BTreeMap<String, f64> {
        [
            ("latency", &self.latency_ms),
            ("queue_wait", &self.queue_wait_ms),
        ]
        .into_iter()
        .flat_map(|(of, quantiles)| {
            let quantiles = quantiles.iter().flatten();
            quantiles.map(move |(which, ms)| (format!("{of}_{which}_ms"), *ms))
        })
        .collect()
    }

    /// CPU seconds of the consumers, from the CPU use that they reported.
    fn cpu_s(&self) -> f64 {
        let used = |node: &NodeSummary| node.pool_cpu_pct.unwrap_or_default() / 100.0 * node.cores;
        self.elapsed_s * self.nodes.iter().map(used).sum::<f64>()
    }
}

/// The runs whose folders are below `dir`, the folder of a measurement.
pub(crate) fn runs_below(dir: &Path) -> Vec<RunId> {
    let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    below(dir.to_owned())
        .flat_map(|entry| below(entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The only run below `runs`, and its summary.
pub(crate) fn read_summary(runs: &Path) -> Result<(PathBuf, Summary)> {
    let entries = fs::read_dir(runs).with_context(|| runs.display().to_string())?;
    let file = entries
        .flatten()
        .map(|entry| entry.path().join("summary.json"))
        .find(|file| file.exists())
        .with_context(|| format!("the producer left no summary in {}", runs.display()))?;
    let text = fs::read(&file).with_context(|| file.display().to_string())?;
    let summary: Summary =
        serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    if summary.jobs_ok != summary.jobs {
        bail!("{} of {} jobs ended well", summary.jobs_ok, summary.jobs);
    }
    Ok((file.parent().unwrap_or(runs).to_owned(), summary))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count.max(1))
}
