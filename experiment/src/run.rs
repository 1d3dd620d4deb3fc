//! `experiment run`: measures the ceiling, then all configurations.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use primepool_common::{broker::BrokerError, clock::unix_time, exit::Exit, output::print};

use crate::{
    archive::Archive,
    baseline, cli,
    launcher::Launcher,
    machine,
    process::{Stop, programs},
    queue::JobsQueue,
    record::{self, Baseline, Kind, Outcome, Record, Settings},
    sweep::{Sweep, order},
    terminal::{complain, new_folder, say},
};

/// Longest duration of each bare loop of the ceiling.
const BASELINE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &cli::RunArgs, stop: &Stop) -> Result<Exit, (Exit, Error)> {
    let (dir, settings) = prepare(args).map_err(|error| (Exit::Usage, error))?;
    sweep(args, &dir, &settings, stop).map_err(|error| match stop.asked() {
        true => (Exit::Interrupted, error),
        false if error.is::<BrokerError>() => (Exit::Unreachable, error),
        false => (Exit::Incomplete, error),
    })
}

/// The folder and the settings of a new experiment, or of the one to resume.
fn prepare(args: &cli::RunArgs) -> Result<(PathBuf, Settings)> {
    if let Some(dir) = &args.resume {
        return Ok((dir.clone(), Settings::read(dir)?));
    }
    let launcher = Launcher::new(
        &args.launcher,
        &args.image,
        &args.docker_options,
        &args.hosts,
    )
    .map_err(Error::msg)?;
    let most = args.nodes.0.iter().max().copied().unwrap_or_default();
    launcher
        .check_capacity(most, args.cpus_per_node)
        .map_err(Error::msg)?;
    let now = unix_time();
    let dir = args.dir.clone().unwrap_or_else(|| new_folder("experiment"));
    if dir.join(Settings::FILE).exists() {
        bail!(
            "{} holds an experiment: go on with it by --resume, or name another folder",
            dir.display()
        );
    }
    let settings = Settings {
        nodes: args.nodes.0.clone(),
        workers: args.workers.0.clone(),
        kind: args.kind,
        bits: args.bits.unwrap_or(match args.kind {
            Kind::Prime => 1024,
            Kind::Factor => 128,
        }),
        count: args.count,
        repeat: args.repeat,
        seed: args.seed,
        min_time_s: args.min_time.as_secs_f64(),
        cpus_per_node: args.cpus_per_node,
        launcher,
        started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        machine: machine::here(),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    record::write(&dir, Settings::FILE, &settings)?;
    Ok((dir, settings))
}

fn sweep(args: &cli::RunArgs, dir: &Path, settings: &Settings, stop: &Stop) -> Result<Exit> {
    let programs = programs()?;
    // An absolute path means the same to every program that is started.
    let dir = fs::canonicalize(dir).with_context(|| dir.display().to_string())?;
    let queue = JobsQueue::from_environment(settings.kind.job())?;
    queue.is_free()?;
    let mut archive = Archive::open(&dir)?;
    if args.resume.is_none() {
        archive.settings(settings)?;
    }
    if !dir.join(Baseline::FILE).exists() {
        match measure_baseline(&dir, settings, &mut archive) {
            Ok(ceiling) => say(&ceiling),
            // Nodes that are processes of this machine would fail for the same reason.
            Err(error) if settings.launcher.is_process() => return Err(error),
            Err(error) => complain(&format!(
                "no ceiling, efficiency is told of the smallest configuration ({error:#}): does the program experiment stand beside consumer there?"
            )),
        }
    }
    let done = Record::succeeded(&dir)?;
    let order = order(settings);
    let left: Vec<_> = order.iter().filter(|key| !done.contains(key)).collect();
    let bar = bar(order.len() as u64, order.len() as u64 - left.len() as u64);
    let sweep = Sweep {
        settings,
        dir: &dir,
        programs: &programs,
        queue: &queue,
        broker: args.broker_pid,
        verify: &args.verify,
        stop,
    };
    let mut failed = 0;
    for &key in left {
        bar.set_message(format!("{} node(s) with {} worker(s)", key.0, key.1));
        let record = sweep.measure(key);
        if stop.asked() {
            bar.abandon();
            bail!(
                "interrupted; go on with: experiment run --resume {}",
                dir.display()
            );
        }
        record.append(&dir)?;
        archive.record(&record)?;
        failed += u32::from(record.outcome.has_failed());
        bar.inc(1);
        bar.suspend(|| say(&line(&record, settings.kind)));
    }
    bar.finish_and_clear();
    let waiting = archive.close();
    if waiting > 0 {
        complain(&format!(
            "{waiting} points wait for InfluxDB in the experiment's folder; experiment run --resume sends them"
        ));
    }
    print(&format!("measured: {}", dir.display()))?;
    Ok(if failed == 0 {
        Exit::Ok
    } else {
        Exit::Incomplete
    })
}

fn line(record: &Record, kind: Kind) -> String {
    let what = format!(
        "{:>3} node(s) × {:>2} worker(s), #{}: ",
        record.nodes, record.workers, record.repeat
    );
    what + &match &record.outcome {
        Outcome::Measured(figures) => format!(
            "{:>8.1} {}, {} jobs in {:.1} s, CPU {:.0} %, latency p50 {:.0} ms",
            figures.jobs_per_s,
            kind.unit(),
            figures.jobs,
            figures.elapsed_s,
            figures.cpu_pct,
            figures.times_ms.get("latency_p50_ms").unwrap_or(&f64::NAN)
        ),
        Outcome::Failed(reason) => format!("FAILED: {reason}"),
    }
}

fn bar(length: u64, done: u64) -> ProgressBar {
    // The bar is hidden unless standard error is a terminal.
    let bar = ProgressBar::new(length).with_position(done);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta_precise} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Measures and stores the ceiling; returns it as text.
fn measure_baseline(dir: &Path, settings: &Settings, archive: &mut Archive) -> Result<String> {
    let time = Duration::from_secs_f64(settings.min_time_s).min(BASELINE);
    let ceiling = baseline::measure(settings, time)?;
    record::write(dir, Baseline::FILE, &ceiling)?;
    archive.baseline(&ceiling)?;
    let rates: Vec<String> = ceiling
        .jobs_per_s
        .iter()
        .map(|rate| format!("{rate:.1}"))
        .collect();
    Ok(format!(
        "ceiling: {} {} in a bare loop of {} thread(s) on {} core(s)",
        rates.join(", "),
        settings.kind.unit(),
        ceiling.threads,
        ceiling.cores
    ))
}
