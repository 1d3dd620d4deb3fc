//! The subcommands.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, stderr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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

/// Longest time of a repetition of the ceiling, for each number of nodes.
const BASELINE: Duration = Duration::from_secs(5);

/// `experiment run`.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub(crate) fn run(args: &cli::RunArgs, stop: &Stop) -> Result<Exit, (Exit, Error)> {
    let (dir, settings) = prepare(args).map_err(|error| (Exit::Usage, error))?;
    sweep(args, &dir, &settings, stop).map_err(|error| match stop.asked() {
        true => (Exit::Interrupted, error),
        false if error.is::<BrokerError>() => (Exit::Unreachable, error),
        false => (Exit::Incomplete, error),
    })
}

/// The folder and the settings: new ones, or those of an experiment to go on with.
fn prepare(args: &cli::RunArgs) -> Result<(PathBuf, Settings)> {
    if let Some(dir) = &args.resume {
        let settings = settings_of(dir)?;
        return Ok((dir.clone(), settings));
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
        .suffices(most, args.cpus_per_node)
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

fn settings_of(dir: &Path) -> Result<Settings> {
    record::read(dir, Settings::FILE)?
        .with_context(|| format!("{} holds no experiment", dir.display()))
}

fn sweep(args: &cli::RunArgs, dir: &Path, settings: &Settings, stop: &Stop) -> Result<Exit> {
    let programs = programs()?;
    // Relative paths would mean something else to the programs that are started.
    let dir = fs::canonicalize(dir).with_context(|| dir.display().to_string())?;
    let queue = JobsQueue::from_environment(settings.kind.job())?;
    queue.is_free()?;
    let mut archive = Archive::open(&dir)?;
    if args.resume.is_none() {
        archive.settings(settings)?;
    }
    if record::read::<Baseline>(&dir, Baseline::FILE)?.is_none() {
        match measure_baseline(&dir, settings, &mut archive) {
            Ok(ceiling) => say(&ceiling),
            // Where nodes are processes of this machine, what stops the loop stops them too.
            Err(error) if settings.launcher.is_process() => return Err(error),
            Err(error) => complain(&format!(
                "no ceiling, efficiency is told of the smallest configuration ({error:#}): does the program experiment stand beside consumer there?"
            )),
        }
    }
    let done: BTreeMap<_, _> = Record::read_all(&dir)?
        .into_iter()
        .map(|record| (record.key(), record.figures().is_some()))
        .collect();
    let order = order(settings);
    let left: Vec<_> = order
        .iter()
        .filter(|&key| done.get(key) != Some(&true))
        .collect();
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
        failed += u32::from(record.figures().is_none());
        bar.inc(1);
        bar.suspend(|| say(&line(&record, settings.kind)));
    }
    bar.finish_and_clear();
    close(archive);
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
            figures.primes_per_s,
            kind.unit(),
            figures.jobs,
            figures.elapsed_s,
            figures.cpu_pct,
            figures.latency_ms.p50
        ),
        Outcome::Failed(reason) => format!("FAILED: {reason}"),
    }
}

fn bar(length: u64, done: u64) -> ProgressBar {
    let target = if stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target).with_position(done);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta_precise} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Sends what is left.
fn close(archive: Archive) {
    let left = archive.close();
    if left > 0 {
        complain(&format!(
            "{left} points of the experiment wait for InfluxDB in its folder; the next experiment run --resume there sends them"
        ));
    }
}

/// Measures the ceiling and keeps it; gives it as text.
fn measure_baseline(dir: &Path, settings: &Settings, archive: &mut Archive) -> Result<String> {
    let time = Duration::from_secs_f64(settings.min_time_s).min(BASELINE);
    let ceiling = baseline::measure(settings, time)?;
    record::write(dir, Baseline::FILE, &ceiling)?;
    archive.baseline(&ceiling)?;
    let mut text = format!(
        "ceiling: {:.1} {} a core in a bare loop of {} thread(s) on {} core(s)",
        ceiling.per_core(),
        settings.kind.unit(),
        ceiling.threads,
        ceiling.cores
    );
    for (nodes, rate) in ceiling.per_core_together() {
        text.push_str(&format!("\n         {rate:.1} in {nodes} of them at once"));
    }
    Ok(text)
}

/// `experiment baseline`.
///
/// # Errors
/// There is no experiment, or the loop fails.
pub(crate) fn baseline(dir: &Path) -> Result<Exit> {
    let settings = settings_of(dir)?;
    let dir = fs::canonicalize(dir).with_context(|| dir.display().to_string())?;
    let mut archive = Archive::open(&dir)?;
    let ceiling = measure_baseline(&dir, &settings, &mut archive)?;
    close(archive);
    print(&ceiling)?;
    Ok(Exit::Ok)
}
