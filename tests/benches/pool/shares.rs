//! `ONLY_SHARES=1`: a small run beside a large one.

use std::time::Instant;

use primepool_tests::{Binary, Broker, Process, Results, wait_for};
use tempfile::tempdir;

use crate::{Spread, start_consumer, stop};

/// The large run: minutes of work.
const LARGE: [&str; 4] = ["--count", "2000000", "--bits", "512"];

/// The small run: milliseconds of work.
const SMALL: [&str; 4] = ["--count", "20", "--bits", "512"];

/// Seconds of a producer from its start to its end.
fn seconds(broker: &Broker) -> f64 {
    let (dir, begin) = (tempdir().unwrap(), Instant::now());
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &SMALL).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    begin.elapsed().as_secs_f64()
}

/// The table.
pub(crate) fn report(broker: &Broker, workers: usize, rounds: usize) -> String {
    let dir = tempdir().unwrap();
    let concurrency = workers.to_string();
    let args = [
        "--node",
        "bench",
        "--concurrency",
        &concurrency,
        "--log",
        "warn",
    ];
    let consumer = start_consumer(dir.path(), broker, &args);
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
    stop(consumer);
    let show = |spread: Spread| {
        let [median, least, most] = spread.0;
        format!("{median:.2} ({least:.2}–{most:.2})")
    };
    format!(
        "| 20 primes of 512 bits | alone, s | beside a run of 2,000,000, s |\n|---|---|---|\n| | {} | {} |\n",
        show(Spread::of(alone)),
        show(Spread::of(beside))
    )
}
