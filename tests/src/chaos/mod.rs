//! Runs with faults injected on a schedule that follows from a seed, and checks of the promises
//! afterwards.
//!
//! `make chaos` does this at length, `tests/tests/e2e/long/chaos.rs` for some seconds. The promises
//! are listed in `docs/RELIABILITY.md`.

mod check;
mod memory;
mod pool;
mod proxy;
mod schedule;
mod strike;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, panic,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub use proxy::{NetworkState, Proxy};
pub use schedule::{Fault, Strike, schedule};

use crate::Results;
use check::{Poison, check_dead_letters, check_results, check_shutdown, count_duplicates};
use memory::Growth;
use pool::ChaosPool;

/// Options of a chaos run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seed of the schedule and of the jobs.
    pub seed: u64,
    /// Work units per run; each holds one job.
    pub units: u64,
    /// Number of consumer processes; each has one worker.
    pub consumers: usize,
    /// Bits of the primes, which determines how long a unit takes.
    pub bits: u32,
    /// Number of strikes of each fault per run.
    pub hits: u64,
    /// Further runs follow until this much time has passed.
    pub soak: Duration,
    /// Folder where logs and results are kept if a promise was broken.
    pub evidence: PathBuf,
}

/// Outcome of a series of runs with the same faults.
#[derive(Debug, Clone)]
pub struct Report {
    /// Name of the faults that were injected.
    pub name: String,
    /// Number of strikes of each fault.
    pub hits: BTreeMap<Fault, u64>,
    /// Number of jobs requested.
    pub jobs: u64,
    /// Number of distinct results.
    pub results: u64,
    /// Results that arrived again and were dropped, as far as a producer lived to report them.
    pub duplicates: u64,
    /// Results of units that were delivered more than once.
    pub redelivered: u64,
    /// Additional copies of malformed messages in the dead-letter queue.
    pub letters_again: u64,
    /// The process whose memory grew most.
    growth: Option<Growth>,
    /// Duration in seconds.
    pub seconds: f64,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// Folder with logs and results, if a promise was broken.
    pub evidence: Option<PathBuf>,
}

/// Longest time without a new result; on a busy machine a broker node may take minutes to start.
const PATIENCE: Duration = Duration::from_secs(300);

/// Does runs with these faults until the time is over, at least one, and checks the promises.
pub fn run(name: &str, faults: &[Fault], options: &Options) -> Report {
    let folder = options.evidence.join(name);
    fs::create_dir_all(&folder).unwrap();
    let start = Instant::now();
    let mut report = Report {
        name: name.to_owned(),
        hits: faults.iter().map(|fault| (*fault, 0)).collect(),
        jobs: 0,
        results: 0,
        duplicates: 0,
        redelivered: 0,
        letters_again: 0,
        growth: None,
        seconds: 0.0,
        broken: Vec::new(),
        evidence: None,
    };
    let played = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        play(faults, options, &folder, &mut report);
    }));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_default();
        report
            .broken
            .push(format!("the harness could not go on: {text}"));
    }
    report.seconds = start.elapsed().as_secs_f64();
    if report.broken.is_empty() {
        fs::remove_dir_all(&folder).unwrap();
        let _ = fs::remove_dir(&options.evidence); // it stays if another report left evidence
    } else {
        report.evidence = Some(folder);
    }
    report
}

fn play(faults: &[Fault], options: &Options, folder: &Path, report: &mut Report) {
    let start = Instant::now();
    let mut pool = ChaosPool::start(options, faults, folder);
    let mut round = 0;
    loop {
        let seed = options.seed.wrapping_add(round);
        let runs = pool
            .disk
            .as_deref()
            .unwrap_or(folder)
            .join(format!("round-{round}"));
        fs::create_dir(&runs).unwrap();
        let complete = play_round(&mut pool, faults, options, seed, &runs, report);
        if complete {
            check_results(&mut pool, options, &runs, report);
        }
        round += 1;
        if !complete || start.elapsed() >= options.soak {
            break;
        }
    }
    check_shutdown(&mut pool, report);
    report.duplicates = pool.duplicates;
    report.broken.append(&mut pool.broken);
    if !report.broken.is_empty() {
        pool.servers.keep_logs(folder);
        if let Some(disk) = &pool.disk {
            // The temporary file system is lost when it is unmounted.
            let kept = std::process::Command::new("cp")
                .arg("-r")
                .arg(disk)
                .arg(folder.join("kept"))
                .status();
            assert!(kept.unwrap().success(), "cannot keep {}", disk.display());
        }
    }
}

/// Does one run; false if it had to be given up.
fn play_round(
    pool: &mut ChaosPool,
    faults: &[Fault],
    options: &Options,
    seed: u64,
    dir: &Path,
    report: &mut Report,
) -> bool {
    let mut strikes = schedule(seed, faults, options.units, options.hits);
    let poison = Poison::new(seed);
    poison.publish(&pool.servers.admin());
    report.jobs += options.units;
    let units = options.units.to_string();
    let (bits, job_seed) = (options.bits.to_string(), seed.to_string());
    let runs = dir.join("runs");
    let runs_dir = ["--runs-dir", runs.to_str().unwrap()];
    let new = ["--count", &units, "--unit-size", "1", "--bits", &bits];
    let new = [&new[..], &["--seed", &job_seed], &runs_dir].concat();
    pool.results = 0;
    pool.say(&format!("a run of {units} units begins, seed {seed}"));
    pool.start_producer(&new);
    let mut progress = (0, Instant::now());
    let mut excuses = 0;
    loop {
        thread::sleep(Duration::from_millis(10));
        pool.mend();
        pool.look_at_consumers();
        pool.count(dir);
        // While a broker node is down, a lack of results is no failure.
        if pool.results != progress.0 || !pool.down.is_empty() {
            progress = (pool.results, Instant::now());
        } else if progress.1.elapsed() > PATIENCE {
            let what = format!("no result for {PATIENCE:?}: {} of {units}", pool.results);
            pool.break_promise(what);
            let queues = pool.servers.ctl(&[
                "list_queues",
                "-p",
                "primepool",
                "name",
                "messages_ready",
                "messages_unacknowledged",
                "consumers",
                "state",
            ]);
            pool.say(&queues);
            return false;
        }
        while strikes
            .first()
            .is_some_and(|next| next.at <= pool.results as u64)
        {
            let next = strikes.remove(0);
            if pool.producer.process.is_some() || pool.producer_held {
                let struck = strike::strike(pool, &next);
                // The strike itself may have taken long.
                progress.1 = Instant::now();
                *report.hits.entry(next.fault).or_default() += u64::from(struck);
            }
        }
        if let Some(status) = pool.producer_ended() {
            pool.count(dir);
            count_duplicates(pool, dir);
            if status == 0 {
                pool.say("the run is complete");
                break;
            }
            let excused = match status {
                // The producer could not reach a broker when it started.
                3 => Instant::now() < pool.trouble_until || !pool.down.is_empty(),
                // The producer's disk was full.
                1 => pool.disk.is_some(),
                _ => false,
            };
            excuses += 1;
            pool.say(&format!("the producer ended with status {status}"));
            if !excused {
                pool.break_promise(format!("the producer ended with status {status}"));
            }
            if excuses > 100 {
                pool.break_promise("the producer cannot go on".to_owned());
                return false;
            }
            if !pool.producer_held {
                pool.producer_held = true;
                pool.later(Duration::from_secs(1), |pool| pool.producer_held = false);
            }
        }
        if pool.producer.process.is_none() && !pool.producer_held {
            match Results::folder(dir) {
                Some(folder) => {
                    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
                    pool.say(&format!("producer resume {run}"));
                    pool.start_producer(&[&["resume", &run][..], &runs_dir].concat());
                }
                None => pool.start_producer(&new),
            }
        }
    }
    while !pool.mend() {
        thread::sleep(Duration::from_millis(10));
        pool.look_at_consumers();
    }
    check_dead_letters(pool, &poison, report);
    true
}

impl Report {
    /// The report as a JSON object.
    pub fn json(&self) -> Value {
        let hits: serde_json::Map<_, _> = self
            .hits
            .iter()
            .map(|(fault, hits)| (fault.name().to_owned(), json!(hits)))
            .collect();
        json!({
            "name": self.name,
            "hits": hits,
            "jobs": self.jobs,
            "results": self.results,
            "duplicates": self.duplicates,
            "redelivered": self.redelivered,
            "letters_again": self.letters_again,
            "largest_growth_kib": self.growth.as_ref().map(|growth| growth.kib),
            "largest_growth_of": self.growth.as_ref().map(|growth| growth.name.clone()),
            "seconds": self.seconds,
            "broken": self.broken,
            "evidence": self.evidence,
        })
    }
}

/// A table of the reports.
pub fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "{:<16} {:>5} {:>8} {:>8} {:>10} {:>11} {:>11} {:>8}  verdict\n",
        "fault", "hits", "jobs", "results", "duplicates", "redelivered", "RSS growth", "seconds"
    );
    for report in reports {
        let growth = report.growth.as_ref().map_or_else(
            || "-".to_owned(),
            |growth| format!("{:.1} MiB", growth.kib as f64 / 1024.0),
        );
        let verdict = match &report.evidence {
            None => "kept".to_owned(),
            Some(folder) => format!("BROKEN, see {}", folder.display()),
        };
        let _ = writeln!(
            text,
            "{:<16} {:>5} {:>8} {:>8} {:>10} {:>11} {:>11} {:>8.1}  {verdict}",
            report.name,
            report.hits.values().sum::<u64>(),
            report.jobs,
            report.results,
            report.duplicates,
            report.redelivered,
            growth,
            report.seconds,
        );
        for broken in &report.broken {
            let _ = writeln!(text, "    {broken}");
        }
    }
    text
}
