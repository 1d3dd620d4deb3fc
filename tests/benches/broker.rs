//! Costs of units and consumers for the broker: `make bench-broker`. The sizing of a broker in
//! docs/OPERATIONS.md is computed from these figures.
//!
//! - units: CPU time of the broker, bytes that it writes to disk and bytes sent over the network
//!   for each unit and its answer, including the start and the end of the run;
//! - consumers: memory, open files and CPU time of the broker with a number of idle consumers, and
//!   units per second through them;
//! - metrics: the same idle CPU time when each consumer also requests the length of its queues, as
//!   it does when it writes metrics.
//!
//! Only the CPU time of the broker's process counts, so that other programs on the same cores have
//! little influence. The broker has the management plugin enabled, as in production.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark ends with the first thing that goes wrong, and prints"
)]

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use primepool_common::{message::JobKind, topology};
use primepool_tests::{
    Binary, Broker, Process, Results, cpu_seconds, loopback_bytes, median_and_range, setting,
    wait_for,
};
use tempfile::tempdir;

/// Number of consumers started before waiting for them; with more at a time, the log of a slow
/// machine is hard to read.
const AT_A_TIME: usize = 50;
/// Time for connections to settle, and time over which an idle broker is measured. The latter is a
/// multiple of 5 s and 10 s, the intervals of the broker's statistics and heartbeats.
const REST: Duration = Duration::from_secs(10);
const WATCH: Duration = Duration::from_secs(20);

fn main() {
    // `cargo test` also runs benchmarks, but without `--bench`; then there is nothing to do.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let sizes = setting("CONSUMERS", "1,10,100,200,500,1000");
    let sizes: Vec<usize> = sizes
        .split(',')
        .filter(|n| !n.trim().is_empty())
        .map(|n| n.trim().parse().expect("CONSUMERS: numbers with commas"))
        .collect();
    let rounds: usize = setting("ROUNDS", "3").parse().expect("ROUNDS: a number");
    let files = fs::read_to_string("/proc/self/limits").unwrap();
    let files = files.lines().find(|l| l.starts_with("Max open files"));
    eprintln!("{}", files.unwrap_or_default());

    units(rounds);
    if !sizes.is_empty() {
        consumers(&sizes);
    }
}

/// Resources used by the broker up to a moment.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    cpu_s: f64,
    written: f64,
    network: f64,
}

impl Used {
    fn so_far(broker: &Broker) -> Self {
        let pid = broker.pid();
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let written = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
        Self {
            at: Instant::now(),
            cpu_s: cpu_seconds(pid),
            written: written.unwrap().parse().unwrap(),
            network: loopback_bytes(),
        }
    }

    /// The resources used since then.
    fn until_now(self, broker: &Broker) -> Spent {
        let now = Self::so_far(broker);
        Spent {
            wall_s: (now.at - self.at).as_secs_f64(),
            cpu_s: now.cpu_s - self.cpu_s,
            written: now.written - self.written,
            network: now.network - self.network,
        }
    }
}

/// Resources used in an interval.
struct Spent {
    wall_s: f64,
    cpu_s: f64,
    written: f64,
    network: f64,
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|l| l.split_whitespace().next())
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024.0
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn units(rounds: usize) {
    let (broker, _) = Broker::with_management();
    let dir = tempdir().unwrap();
    let args = ["--node", "bench", "--concurrency", "1", "--prefetch", "250"];
    let consumer = start_all(&broker, dir.path(), &[args.as_slice()]);
    println!(
        "| unit | units/s | broker's CPU a unit, µs | written to disk a unit, bytes | through the network a unit, bytes |\n|---|---|---|---|---|"
    );
    let cases: [(&str, u64, &[&str]); 5] = [
        (
            "one empty job",
            20_000,
            &["--kind", "noop", "--count", "20000", "--unit-size", "1"],
        ),
        (
            "100 empty jobs",
            10_000,
            &["--kind", "noop", "--count", "1000000", "--unit-size", "100"],
        ),
        (
            "one prime of 256 bits",
            10_000,
            &["--bits", "256", "--count", "10000", "--unit-size", "1"],
        ),
        (
            "100 primes of 256 bits",
            5_000,
            &["--bits", "256", "--count", "500000", "--unit-size", "100"],
        ),
        // Few units per second, each worth its overhead: the broker then syncs its log for one or
        // two.
        (
            "20 primes of 1024 bits",
            1_000,
            &["--bits", "1024", "--count", "20000", "--unit-size", "20"],
        ),
    ];
    for (name, units, args) in cases {
        let mut columns: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let (spent, rate) = run(&broker, units as f64, args);
            let each = |total: f64| total / units as f64;
            let row = [
                rate,
                each(spent.cpu_s * 1e6),
                each(spent.written),
                each(spent.network),
            ];
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let [rate, cpu, written, network] = columns.map(|column| median_and_range(column, 0));
        println!("| {name} | {rate} | {cpu} | {written} | {network} |");
    }
    println!();
    stop_all(consumer);
}

/// Does one run of the producer; returns its cost and the units per second that the producer
/// reports.
fn run(broker: &Broker, units: f64, args: &[&str]) -> (Spent, f64) {
    let dir = tempdir().unwrap();
    let mut all = vec!["--verify", "none", "--log", "warn"];
    all.extend(args);
    let before = Used::so_far(broker);
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &all).wait_long();
    let spent = before.until_now(broker);
    assert_eq!(done.code, Some(0), "{done:?}");
    let summary = Results::read(dir.path()).summary;
    let jobs = summary["jobs_ok"].as_f64().expect("jobs_ok in the summary");
    let rate = summary["jobs_per_s"].as_f64().unwrap();
    (spent, rate * units / jobs)
}

fn consumers(sizes: &[usize]) {
    println!(
        "| consumers | joined after, s | broker's memory, MB | open files | idle: CPU, % of a core | idle: network, kB/s | units/s | CPU a unit, µs | idle with metrics: CPU, % of a core |\n|---|---|---|---|---|---|---|---|---|"
    );
    for size in [0].iter().chain(sizes) {
        // Each count has a new broker, because a broker keeps some memory of closed connections.
        let (broker, _) = Broker::with_management();
        let row = consumers_row(&broker, *size);
        println!("{row}");
    }
}

fn consumers_row(broker: &Broker, size: usize) -> String {
    let dir = tempdir().unwrap();
    let nodes: Vec<String> = (0..size).map(|n| format!("n{n}")).collect();
    let plain: Vec<Vec<&str>> = nodes
        .iter()
        .map(|node| vec!["--node", node, "--concurrency", "1"])
        .collect();
    let start = Instant::now();
    let started = start_all(broker, dir.path(), &plain);
    let joined = start.elapsed().as_secs_f64();
    let (idle, memory) = rest(broker);
    let files = open_files(broker.pid());
    let (rate, cpu) = if size == 0 {
        ("–".to_owned(), "–".to_owned())
    } else {
        let count = "20000";
        let args = ["--kind", "noop", "--count", count, "--unit-size", "1"];
        let (spent, rate) = run(broker, 20_000.0, &args);
        (
            format!("{rate:.0}"),
            format!("{:.0}", spent.cpu_s / 20_000.0 * 1e6),
        )
    };
    stop_all(started);

    let with_metrics: Vec<Vec<&str>> = plain
        .iter()
        .map(|args| {
            let mut args = args.clone();
            // No server listens on this port: only the broker's load matters here.
            args.extend(["--influx-host", "http://127.0.0.1:9"]);
            args.extend(["--metrics-spool", "spool", "--metrics-interval", "1h"]);
            args
        })
        .collect();
    let started = start_all(broker, dir.path(), &with_metrics);
    let (asked, _) = rest(broker);
    stop_all(started);
    format!(
        "| {size} | {joined:.1} | {:.0} | {files} | {:.1} | {:.1} | {rate} | {cpu} | {:.1} |",
        memory / 1e6,
        100.0 * idle.cpu_s / idle.wall_s,
        idle.network / idle.wall_s / 1e3,
        100.0 * asked.cpu_s / asked.wall_s,
    )
}

/// The resources that an idle broker uses, and its resident memory in bytes.
fn rest(broker: &Broker) -> (Spent, f64) {
    thread::sleep(REST);
    let before = Used::so_far(broker);
    thread::sleep(WATCH);
    (before.until_now(broker), resident(broker.pid()))
}

/// Starts a consumer for each list of arguments and waits until all are subscribed.
fn start_all<'a>(broker: &Broker, dir: &Path, arguments: &[impl AsRef<[&'a str]>]) -> Vec<Process> {
    let mut started = Vec::new();
    for some in arguments.chunks(AT_A_TIME) {
        for args in some {
            let mut all = vec!["--log", "warn"];
            all.extend(args.as_ref());
            started.push(Process::start(Binary::Consumer, dir, &broker.url, &all));
        }
        let queue = topology::jobs_queue(JobKind::Prime);
        wait_for("the consumers", || {
            let there = broker.consumers(&queue).unwrap_or(0) as usize;
            (there == started.len()).then_some(())
        });
    }
    started
}

fn stop_all(consumers: Vec<Process>) {
    for consumer in &consumers {
        consumer.signal("TERM");
    }
    for consumer in consumers {
        assert_eq!(consumer.wait().code, Some(0));
    }
}
