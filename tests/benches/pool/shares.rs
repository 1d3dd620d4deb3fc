//! `ONLY_SHARES=1`: a small run beside a large one, and two runs of equal size at the same time.

use std::{
    thread,
    time::{Duration, Instant},
};

use primepool_tests::{Binary, Broker, Process, Results, wait_for};
use tempfile::tempdir;

use crate::{Spread, start_consumer, stop};

/// Arguments of the large run, which takes minutes.
const LARGE: [&str; 4] = ["--count", "2000000", "--bits", "512"];

/// Arguments of the small run, which takes milliseconds.
const SMALL: [&str; 4] = ["--count", "20", "--bits", "512"];

/// Jobs of each of two equal runs, which together take about ten seconds.
const EQUAL: u64 = 60_000;

/// Seconds from the start to the end of a producer with the small run.
fn seconds(broker: &Broker) -> f64 {
    let (dir, begin) = (tempdir().unwrap(), Instant::now());
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &SMALL).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    begin.elapsed().as_secs_f64()
}

/// Seconds until each of some runs of equal size has ended, sorted.
fn ends(broker: &Broker, runs: usize, jobs: u64) -> Vec<f64> {
    let (count, begin) = (jobs.to_string(), Instant::now());
    let args = ["--count", &count, "--bits", "512", "--seed", "1"];
    let start = |_| {
        let dir = tempdir().unwrap();
        let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
        (dir, producer)
    };
    let mut running: Vec<_> = (0..runs).map(start).collect();
    let mut ends = Vec::new();
    while !running.is_empty() {
        running.retain_mut(|(_, producer)| match producer.ended() {
            None => true,
            Some(status) => {
                assert!(status.success());
                ends.push(begin.elapsed().as_secs_f64());
                false
            }
        });
        thread::sleep(Duration::from_millis(5));
    }
    ends
}

/// Measures both cases; returns the tables.
pub(crate) fn report(broker: &Broker, workers: usize, rounds: usize) -> String {
    let dir = tempdir().unwrap();
    let consumer = start_consumer(dir.path(), broker, workers, &[]);
    let large = tempdir().unwrap();
    let (mut alone, mut beside) = (vec![], vec![]);
    for _ in 0..rounds {
        alone.push(seconds(broker));
    }
    let producer = Process::start(Binary::Producer, large.path(), &broker.url, &LARGE);
    wait_for("the large run", || {
        (Results::count(large.path()) > 0).then_some(())
    });
    for _ in 0..rounds {
        beside.push(seconds(broker));
    }
    producer.signal("INT");
    assert_eq!(producer.wait().code, Some(130));
    let (mut sums, mut gaps) = (vec![], vec![]);
    for _ in 0..rounds {
        let one = ends(broker, 1, 2 * EQUAL);
        let two = ends(broker, 2, EQUAL);
        sums.push(one[0] / two[1]);
        gaps.push((two[1] - two[0]) / two[1]);
    }
    stop(consumer);
    let show = |spread: Spread| {
        let [median, least, most] = spread.0;
        format!("{median:.2} ({least:.2}–{most:.2})")
    };
    format!(
        "| 20 primes of 512 bits | alone, s | beside a run of 2,000,000, s |\n|---|---|---|\n| | {} | {} |\n\n\
         | two runs of {EQUAL} primes of 512 bits | throughput of both / of one run of twice the size | the first ends before the second by |\n\
         |---|---|---|\n| | {} | {} |\n",
        show(Spread::of(alone)),
        show(Spread::of(beside)),
        Spread::of(sums).percent(),
        Spread::of(gaps).percent()
    )
}
