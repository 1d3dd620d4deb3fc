//! Factoring one hard number with the whole pool: `make bench-spread`. The same semiprime is
//! factored by one worker and by several, each a consumer process of its own. The table shows the
//! speed-up, the CPU time of the producer and the bytes sent over the network. With shares, each
//! worker may use only a part of a core, so that more workers than cores can be measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark ends with the first thing that goes wrong, and prints"
)]

use std::{fs, thread, time::Duration};

use primepool_experiment::share::Share;
use primepool_tests::{
    Binary, Broker, Consumer, Process, Results, assert_factored, cpu_seconds, loopback_bytes,
    median_and_range, setting, thread_cpu_seconds,
};
use tempfile::tempdir;

fn main() {
    // `cargo test` also runs benchmarks, but without `--bench`; then there is nothing to do.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let rounds: usize = setting("ROUNDS", "3").parse().expect("ROUNDS: a number");
    let share: f64 = setting("SHARE", "0.2").parse().expect("SHARE: cores");
    println!(
        "| bits | workers | cores for each | seconds | times as fast as one | producer's CPU, s | of that collecting, s | through the network, MB |\n|---|---|---|---|---|---|---|---|"
    );
    for bits in numbers("BITS", "224,256") {
        compare(bits, &numbers("WORKERS", "1,2"), None, rounds);
    }
    for bits in numbers("SHARED_BITS", "224") {
        compare(bits, &numbers("SHARED_WORKERS", "1,8"), Some(share), rounds);
    }
}

fn numbers(name: &str, default: &str) -> Vec<u32> {
    let list = setting(name, default);
    let list = list.split(',').filter(|n| !n.trim().is_empty());
    list.map(|n| n.trim().parse().expect("numbers with commas"))
        .collect()
}

/// Cost of one factorisation.
#[derive(Clone, Copy)]
struct Taken {
    seconds: f64,
    producer_s: f64,
    /// CPU seconds of the producer's thread that collects the answers.
    collecting_s: f64,
    network: f64,
}

/// Measures each count of workers in each round; the first count is the basis of the speed-up.
fn compare(bits: u32, workers: &[u32], share: Option<f64>, rounds: usize) {
    let mut taken: Vec<Vec<Taken>> = vec![Vec::new(); workers.len()];
    for _ in 0..rounds {
        for (count, taken) in workers.iter().zip(&mut taken) {
            taken.push(factor(bits, *count, share));
        }
    }
    let one: Vec<f64> = taken[0].iter().map(|taken| taken.seconds).collect();
    for (count, taken) in workers.iter().zip(&taken) {
        let of = |figure: fn(&Taken) -> f64| taken.iter().map(figure).collect::<Vec<_>>();
        let seconds = of(|taken| taken.seconds);
        // Ratios are taken within a round, because the speed of the machine may change between
        // rounds.
        let ratios = one.iter().zip(&seconds).map(|(one, many)| one / many);
        println!(
            "| {bits} | {count} | {} | {} | {} | {} | {} | {} |",
            share.map_or("1".to_owned(), |share| share.to_string()),
            median_and_range(seconds.clone(), 1),
            median_and_range(ratios.collect(), 2),
            median_and_range(of(|taken| taken.producer_s), 1),
            median_and_range(of(|taken| taken.collecting_s), 2),
            median_and_range(of(|taken| taken.network / 1e6), 1),
        );
    }
}

fn factor(bits: u32, workers: u32, share: Option<f64>) -> Taken {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    let nodes: Vec<String> = (0..workers).map(|n| format!("n{n}")).collect();
    let mut shares = Vec::new();
    let consumers: Vec<Consumer> = nodes
        .iter()
        .map(|node| {
            let args = ["--node", node, "--concurrency", "1"];
            let consumer = Consumer::with(dir.path(), &broker, &args);
            if let Some(cores) = share {
                let share = Share::new(cores).expect("control groups, for shares");
                fs::write(share.procs(), consumer.0.pid().to_string()).unwrap();
                shares.push(share);
            }
            consumer
        })
        .collect();
    let network = loopback_bytes();
    let bits = bits.to_string();
    let args = ["factor", "--count", "1", "--bits", &bits, "--seed", "1"];
    let mut producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let (mut producer_s, mut collecting_s) = (0.0, 0.0);
    while producer.ended().is_none() {
        thread::sleep(Duration::from_millis(20));
        // The last sample before the producer ends counts, because its /proc entry vanishes then.
        if let Ok(true) = fs::exists(format!("/proc/{}/stat", producer.pid())) {
            producer_s = f64::max(producer_s, cpu_seconds(producer.pid()));
            collecting_s = f64::max(collecting_s, thread_cpu_seconds(producer.pid(), "sink"));
        }
    }
    let network = loopback_bytes() - network;
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    assert_factored(&results.rows);
    drop(consumers);
    drop(shares);
    Taken {
        seconds: results.summary["elapsed_s"].as_f64().unwrap(),
        producer_s,
        collecting_s,
        network,
    }
}
