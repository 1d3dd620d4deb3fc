//! `ONLY_FACTORING=1`: factors hundreds of thousands of numbers with the pool and with a bare loop.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use primepool_engine::{Cancel, Engine, Form, Integer, Kernel, Stream};
use primepool_factor::{Factorizer, Limits, expected_seconds};
use primepool_tests::{Binary, Broker, Process};
use tempfile::tempdir;

use crate::{SEED, Spread, jobs_per_s, start_consumer, stop};

/// Sizes in bits and how many numbers of each, for about ten seconds per measurement.
const SIZES: [(u32, usize); 3] = [(48, 2_000_000), (64, 600_000), (80, 100_000)];

/// Semiprimes whose two factors have half of the bits each.
fn products(kernel: Kernel, bits: u32, count: usize, seed: u64) -> Vec<Integer> {
    let mut engine = Engine::with_kernel(kernel).unwrap();
    let mut streams: Vec<_> = (0..2 * count as u64)
        .map(|job| Stream::seeded(seed, job))
        .collect();
    let mut primes = vec![Integer::new(); streams.len()];
    let mut found = |place: usize, one: primepool_engine::Found| primes[place] = one.prime;
    engine
        .primes(
            Form::Prime,
            bits / 2,
            &mut streams,
            &Cancel::new(),
            &mut found,
        )
        .unwrap();
    let pairs = primes.chunks_exact(2);
    pairs
        .map(|pair| Integer::from(&pair[0] * &pair[1]))
        .collect()
}

/// Numbers factored per second by `workers` threads, without the pool.
fn bare_loop(kernel: Kernel, workers: usize, bits: u32, numbers: &[Integer]) -> f64 {
    // As many numbers at a time as a unit holds.
    let batch = ((0.2 / expected_seconds(bits)) as usize).clamp(1, 50_000);
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut factorizer = Factorizer::with_kernel(kernel);
                loop {
                    let some = numbers
                        .iter()
                        .skip(next.fetch_add(batch, Relaxed))
                        .take(batch);
                    let some: Vec<Integer> = some.cloned().collect();
                    if some.is_empty() {
                        return;
                    }
                    let (limits, never) = (Limits::default(), Cancel::new());
                    factorizer
                        .factor_many(&some, &limits, &never, &mut |_| {}, &mut |_, found| {
                            drop(std::hint::black_box(found));
                        })
                        .unwrap();
                }
            });
        }
    });
    numbers.len() as f64 / start.elapsed().as_secs_f64()
}

/// CPU seconds of all ended child processes.
fn ended_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[13..15]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

/// Measures the pool and the bare loop; returns the table.
pub(crate) fn report(broker: &Broker, kernel: Kernel, workers: usize, rounds: usize) -> String {
    let mut table = String::from(
        "| bits | numbers | bare loop, numbers/s | pool, numbers/s | pool / bare loop | CPU of the producer, µs a number | of it the tests of primality |\n|---|---|---|---|---|---|---|\n",
    );
    for (bits, count) in SIZES {
        let dir = tempdir().unwrap();
        let consumer = start_consumer(dir.path(), broker, workers, &[]);
        let (mut bares, mut pools, mut ratios) = (vec![], vec![], vec![]);
        let (mut cpu, mut tests) = (vec![], vec![]);
        for round in 0..rounds as u64 {
            let numbers = products(kernel, bits, count, SEED + round);
            let file = dir.path().join("numbers");
            let lines: Vec<String> = numbers.iter().map(Integer::to_string).collect();
            fs::write(&file, lines.join("\n")).unwrap();
            let bare = bare_loop(kernel, workers, bits, &numbers);
            let pool = |verify: &str| {
                let (runs, before) = (tempdir().unwrap(), ended_cpu_seconds());
                let file = file.to_str().unwrap();
                let args = ["factor", "--file", file, "--verify", verify];
                let producer = Process::start(Binary::Producer, runs.path(), &broker.url, &args);
                let rate = jobs_per_s(runs.path(), &producer.wait_long());
                let used = (ended_cpu_seconds() - before) * 1e6 / count as f64;
                (rate, used)
            };
            let ((rate, all), (_, none)) = (pool("all"), pool("none"));
            bares.push(bare);
            pools.push(rate);
            ratios.push(rate / bare);
            cpu.push(all);
            tests.push(all - none);
        }
        stop(consumer);
        writeln!(
            table,
            "| {bits} | {count} | {} | {} | {} | {} | {} |",
            Spread::of(bares).rate(),
            Spread::of(pools).rate(),
            Spread::of(ratios).percent(),
            Spread::of(cpu).tenths(),
            Spread::of(tests).tenths(),
        )
        .unwrap();
    }
    table
}
