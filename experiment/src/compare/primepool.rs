//! Measures Primepool with the real consumer and producer, on the broker of the environment.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use primepool_common::{
    broker::{declare_results, delete_results, refusal},
    clock::unix_time,
    message::{CONTENT_TYPE, JobKind, NoopJobs, RunId, VERSION, Work, WorkUnit},
    topology,
};

use super::figures::{Figures, Rate, RoundTrip, Settings};
use crate::{
    cluster::{Cluster, ClusterOptions},
    launcher::Launcher,
    process::{SPOOL, Stop, produce},
    queue::JobsQueue,
    sweep::{read_summary, runs_below},
};

/// Most empty jobs in a run: the producer writes a line for each, and more could fill a disk.
const MOST_EMPTY: u64 = 5_000_000;

/// Prefetch for each worker, the same as Celery's. Only units of one short job need it.
const PREFETCH: u32 = 64;

/// How often a measurement that turned out too short is taken again with more tasks.
const TRIES: u32 = 3;

/// Time limit of a single task.
const LOST: Duration = Duration::from_secs(10);

/// Measures all figures, from the start of the consumers on.
pub(crate) fn measure(
    settings: &Settings,
    nodes: u32,
    dir: &Path,
    programs: &Path,
    queue: &JobsQueue,
    stop: &Stop,
) -> Result<Figures> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let workers = match settings.cpus_per_node {
        Some(_) => 1,
        None => settings.cores,
    };
    let spool = dir.join(SPOOL);
    let options = ClusterOptions {
        launcher: &Launcher::Process,
        programs,
        queue,
        cores: settings.cpus_per_node,
        prefetch: Some(PREFETCH * workers),
        spool: &spool,
    };
    let start = Instant::now();
    let mut cluster = Cluster::start(options, dir, nodes, workers, stop)?;
    let mut driver = PrimepoolDriver {
        settings,
        dir,
        options,
        stop,
        runs: 0,
    };
    let figures = driver.figures(&mut cluster, start);
    cluster.end();
    if figures.is_err() {
        queue.clear(&runs_below(dir))?;
    }
    figures
}

struct PrimepoolDriver<'a> {
    settings: &'a Settings,
    dir: &'a Path,
    options: ClusterOptions<'a>,
    stop: &'a Stop,
    runs: u32,
}

impl PrimepoolDriver<'_> {
    fn figures(&mut self, cluster: &mut Cluster<'_>, start: Instant) -> Result<Figures> {
        let (bits, seed) = (self.settings.bits, self.settings.seed);
        let prime = format!("--kind prime --bits {bits} --seed {seed}");
        let one = " --unit-size 1";
        self.run(cluster, &format!("--kind noop{one}"), 1)?;
        let startup_s = start.elapsed().as_secs_f64();
        let least = u64::from(2 * self.settings.cores);
        let primes = self.rate(cluster, &format!("{prime}{one}"), least, u64::MAX)?;
        let packed = self.rate(cluster, &prime, least, u64::MAX)?;
        let (mut empty, mut batched, mut round_trip) = (None, None, None);
        if self.settings.cpus_per_node.is_none() {
            empty = Some(self.rate(cluster, &format!("--kind noop{one}"), 100, MOST_EMPTY)?);
            batched = Some(self.rate(cluster, "--kind noop", 100_000, MOST_EMPTY)?);
            round_trip = Some(round_trips(self.options.queue, self.settings.round_trips)?);
        }
        let how = "one consumer with as many workers as cores (on nodes: one consumer each, with one worker) and one producer, which verifies every prime and writes every result to disk; \
                   prefetch of 64 for each worker, as Celery; quorum queue, persistent messages, publisher confirms, acknowledged after the \
                   answer is confirmed";
        Ok(Figures {
            versions: [("primepool".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
            how: how.into(),
            startup_s: Some(startup_s),
            primes,
            primes_packed: Some(Rate {
                how: "units of the default size (--unit-size auto)".into(),
                ..packed
            }),
            empty,
            empty_batched: batched.map(|rate| Rate {
                how: format!(
                    "--unit-size auto, at most {MOST_EMPTY} jobs, as each has a line in the results' file"
                ),
                ..rate
            }),
            round_trip_ms: round_trip,
            memory: None,
        })
    }

    /// Warms up with more and more jobs, to learn how many take the least time; then measures.
    fn rate(
        &mut self,
        cluster: &mut Cluster<'_>,
        args: &str,
        least: u64,
        most: u64,
    ) -> Result<Rate> {
        let min_time = self.settings.min_time_s;
        let mut count = least;
        let mut rate = self.run(cluster, args, count)?;
        while rate.seconds < min_time / 4.0 && count < most {
            let enough = (count as f64 * min_time / 2.0 / rate.seconds.max(1e-4)).ceil();
            count = (enough as u64).clamp(count + 1, 10 * count).min(most);
            rate = self.run(cluster, args, count)?;
        }
        for _ in 0..TRIES {
            let enough = 1.1 * count as f64 * min_time / rate.seconds.max(1e-4);
            count = (enough.ceil() as u64).clamp(1, most);
            rate = self.run(cluster, args, count)?;
            if rate.seconds >= min_time || count == most {
                break;
            }
        }
        Ok(rate)
    }

    /// Measures a run of `count` jobs, from the first publication to the last result.
    fn run(&mut self, cluster: &mut Cluster<'_>, args: &str, count: u64) -> Result<Rate> {
        self.runs += 1;
        let runs = self.dir.join(format!("run-{}", self.runs));
        fs::create_dir_all(&runs).with_context(|| runs.display().to_string())?;
        let mut all: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        all.push(format!("--count={count}"));
        let place = (&*runs, self.options.spool);
        produce(self.options.programs, place, &all, self.stop, || {
            cluster.live()
        })?;
        let (_, summary) = read_summary(&runs)?;
        fs::remove_dir_all(&runs).with_context(|| runs.display().to_string())?;
        Ok(Rate {
            tasks: count,
            seconds: summary.elapsed_s,
            per_s: summary.jobs_per_s,
            how: String::new(),
        })
    }
}

/// Times single empty jobs, one after another, from the publication of each to its answer.
fn round_trips(queue: &JobsQueue, count: u32) -> Result<RoundTrip> {
    let run = RunId::generate().context("the operating system gives no random bits")?;
    let mut times = queue.with_connection(async |connection| {
        declare_results(connection, &run).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let answers = topology::results_queue(&run);
        let mut answers = channel
            .basic_consume(answers.into(), "".into(), no_ack, FieldTable::default())
            .await?;
        let mut times = Vec::new();
        for unit in 0..u64::from(count + count / 10 + 1) {
            let start = Instant::now();
            let body = serde_json::to_vec(&WorkUnit {
                version: VERSION,
                run: run.clone(),
                unit,
                first: unit,
                published_ns: u64::try_from(unix_time().as_nanos())?,
                seed: None,
                avoid: Vec::new(),
                deadline_ms: None,
                hand_back: false,
                verified: false,
                work: Work::Noop(NoopJobs { count: 1 }),
            })?;
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type(CONTENT_TYPE.into());
            let confirm = channel
                .basic_publish(
                    topology::JOBS_EXCHANGE.into(),
                    JobKind::Noop.as_str().into(),
                    BasicPublishOptions::default(),
                    &body,
                    properties,
                )
                .await?;
            match tokio::time::timeout(LOST, answers.next()).await {
                Ok(Some(answer)) => drop(answer?),
                Ok(None) => bail!("the broker ended the subscription to the answers"),
                Err(_) => bail!("no answer to a single job within {} s", LOST.as_secs()),
            }
            times.push(1000.0 * start.elapsed().as_secs_f64());
            if let Some(error) = refusal(&confirm.await?) {
                return Err(error.into());
            }
        }
        delete_results(connection, &run).await?;
        Ok(times)
    })?;
    // The first of them warm up.
    times.drain(..times.len() - count as usize);
    times.sort_unstable_by(f64::total_cmp);
    let rank = |q: f64| {
        let rank = (q * times.len() as f64).ceil() as usize;
        times.get(rank.max(1) - 1).copied().unwrap_or_default()
    };
    Ok(RoundTrip {
        count,
        p50: rank(0.50),
        p99: rank(0.99),
        mean: times.iter().sum::<f64>() / times.len() as f64,
    })
}
