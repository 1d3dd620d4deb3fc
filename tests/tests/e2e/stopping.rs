//! Work that is cancelled, that exceeds a deadline, or that takes longer than the broker's
//! acknowledgement timeout.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use primepool_tests::{Binary, Broker, Consumer, Finished, Process, Results, wait_for};
use tempfile::tempdir;

/// Arguments of jobs that take days each.
const ENDLESS: [&str; 6] = ["--kind", "safe-prime", "--bits", "8192", "--unit-size", "1"];

fn produce(dir: &Path, broker: &Broker, args: &[&str]) -> Process {
    Process::start(Binary::Producer, dir, &broker.url, args)
}

fn cancel(dir: &Path, broker: &Broker, run: &str) -> Finished {
    let done = produce(dir, broker, &["cancel", run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    done
}

/// Checks that the pool is free for other work.
fn assert_free(broker: &Broker) {
    let dir = tempdir().unwrap();
    let args = ["--kind", "safe-prime", "--count", "4", "--bits", "32"];
    let done = produce(dir.path(), broker, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn a_cancelled_run_ends_within_seconds_everywhere() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumers = ["n1", "n2"].map(|node| Consumer::start(dir.path(), &broker, node));
    let args = [&ENDLESS[..], &["--count", "50"]].concat();
    let producer = produce(dir.path(), &broker, &args);
    for consumer in &consumers {
        consumer.0.wait_until_busy();
    }
    let run = Results::wait_for_run(dir.path());
    // From a machine without the run's folder.
    let elsewhere = tempdir().unwrap();
    let asked = Instant::now();
    let told = cancel(elsewhere.path(), &broker, &run);
    assert!(told.stdout.contains("is cancelled"), "{told:?}");
    let ended = producer.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was cancelled"), "{ended:?}");
    assert!(ended.stdout.contains("0 of 50 safe primes"), "{ended:?}");
    wait_for("an empty queue", || {
        (broker.ready("primepool.jobs.safe-prime")? == 0).then_some(())
    });
    assert_free(&broker);
    // This takes seconds; the bound leaves room for a loaded machine.
    assert!(asked.elapsed() < Duration::from_secs(20), "{asked:?}");
    assert_eq!(broker.ready(&format!("primepool.results.{run}")), None);
    assert_eq!(broker.ready("primepool.dead"), Some(0));
    let again = produce(dir.path(), &broker, &["resume", &run]).wait();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("was cancelled"), "{again:?}");
    for consumer in consumers {
        consumer.0.signal("TERM");
        assert_eq!(consumer.0.wait().code, Some(0));
    }
}

#[test]
fn a_consumer_that_comes_later_knows_what_was_cancelled() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = [&ENDLESS[..], &["--count", "30", "--detach"]].concat();
    let detached = produce(dir.path(), &broker, &args).wait();
    assert_eq!(detached.code, Some(0), "{detached:?}");
    let run = Results::wait_for_run(dir.path());
    assert_eq!(broker.ready("primepool.jobs.safe-prime"), Some(30));
    cancel(dir.path(), &broker, &run);
    assert_eq!(
        broker.ready(&format!("primepool.results.{run}")),
        None,
        "nobody reads it"
    );
    let resumed = produce(dir.path(), &broker, &["resume", &run]).wait();
    assert_eq!(resumed.code, Some(2), "{resumed:?}");
    let _consumer = Consumer::start(dir.path(), &broker, "late");
    wait_for("an empty queue", || {
        (broker.ready("primepool.jobs.safe-prime")? == 0).then_some(())
    });
    assert_free(&broker);
    assert_eq!(broker.ready("primepool.dead"), Some(0));
    assert_eq!(broker.ready("primepool.results.unrouted"), Some(0));
}

#[test]
fn a_run_that_is_resumed_where_its_cancel_was_not_seen() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = [&ENDLESS[..], &["--count", "3", "--detach"]].concat();
    produce(dir.path(), &broker, &args).wait();
    let run = Results::wait_for_run(dir.path());
    let elsewhere = tempdir().unwrap();
    cancel(elsewhere.path(), &broker, &run);
    let resumed = produce(dir.path(), &broker, &["resume", &run]).wait();
    assert_eq!(resumed.code, Some(1), "{resumed:?}");
    assert!(resumed.stderr.contains("was cancelled"), "{resumed:?}");
}

#[test]
fn a_producer_that_only_publishes_hears_it_too() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    // A minute of publishing.
    let args = [&ENDLESS[..], &["--count", "2000000", "--detach"]].concat();
    let producer = produce(dir.path(), &broker, &args);
    let queue = "primepool.jobs.safe-prime";
    wait_for("units", || (broker.ready(queue)? > 100).then_some(()));
    let run = Results::wait_for_run(dir.path());
    cancel(dir.path(), &broker, &run);
    let ended = producer.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was cancelled"), "{ended:?}");
    assert!(broker.ready(queue).unwrap() < 2_000_000, "it published on");
}

#[test]
fn a_run_that_is_not_there_is_told_so() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let told = cancel(dir.path(), &broker, "r-unknown");
    assert!(told.stdout.contains("neither on this broker"), "{told:?}");
    let wrong = produce(dir.path(), &broker, &["cancel", "../A b"]).wait();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn a_job_that_outlasts_its_deadline_has_failed() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = [&ENDLESS[..], &["--count", "3", "--deadline", "600ms"]].concat();
    let done = produce(dir.path(), &broker, &args).wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("--deadline"), "{}", done.stdout);
    let results = Results::read(dir.path());
    assert_eq!(results.summary["jobs_failed"], 3, "{}", results.summary);
    for row in &results.rows {
        // The computing time may be less than the deadline if the worker's thread had to wait for a
        // core.
        let [took, computed] = ["latency_ms", "compute_ms"].map(|ms| row[ms].as_f64().unwrap());
        assert!(took >= 600.0 && computed > 0.0, "{row}");
    }
    assert_free(&broker);
}

#[test]
fn a_deadline_leaves_what_was_found_before_it() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    // The first number is found at once, the second takes minutes; both are in one unit with one
    // deadline.
    let large = format!("0x{}", "f".repeat(16_000));
    let args = [
        "--kind",
        "next-prime",
        "--after",
        "100",
        "--after",
        &large,
        "--unit-size",
        "2",
        "--deadline",
        "300ms",
        "--verify",
        "none",
    ];
    let consumer = ["--node", "n2", "--max-bits", "65536"];
    let _large = Consumer::with(dir.path(), &broker, &consumer);
    drop(_consumer);
    let done = produce(dir.path(), &broker, &args).wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = Results::read(dir.path());
    let row = |job: u64| results.rows.iter().find(|row| row["job"] == job).unwrap();
    assert_eq!(row(0)["prime"], "0x65");
    assert_eq!(row(1)["outcome"], "failed");
}

#[test]
fn a_unit_that_outlasts_the_brokers_patience_counts_once() {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    // The broker allows 1.5 s for an acknowledgement and checks twice a second; both settings apply
    // to new channels.
    for (name, ms) in [("consumer_timeout", 1500), ("channel_tick_interval", 500)] {
        broker.ctl(&[
            "eval",
            &format!("application:set_env(rabbit, {name}, {ms})."),
        ]);
    }
    let one = |node| Consumer::with(dir.path(), &broker, &["--node", node, "--concurrency", "1"]);
    let consumers = [one("n1"), one("n2")];
    // Eight seconds of work on any processor.
    let args = [&ENDLESS[..], &["--count", "1", "--deadline", "8s"]].concat();
    let done = produce(dir.path(), &broker, &args).wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = Results::read(dir.path());
    assert_eq!(results.rows.len(), 1);
    let reason = results.rows[0]["reason"].to_string();
    assert!(reason.contains("not done within 8000 ms"), "{reason}");
    let mut log = String::new();
    for consumer in &consumers {
        log += &consumer.0.output().1;
    }
    assert!(
        log.contains("consumer_timeout"),
        "it says what to do about it: {log}"
    );
    // Another consumer may have begun the unit; its answer comes after the end of the run.
    wait_for("an empty queue", || {
        (broker.ready("primepool.jobs.safe-prime")? == 0).then_some(())
    });
    let dead = wait_for("the queue of dead letters", || {
        broker.ready("primepool.dead")
    });
    assert_eq!(dead, 0, "{log}");
}

#[test]
fn a_hangup_is_as_sigterm_unless_it_is_ignored() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let start = |node| {
        let args = ["--node", node, "--drain-timeout", "1s"];
        Consumer::with(dir.path(), &broker, &args)
    };
    let consumer = start("n1");
    let mut command = std::process::Command::new("nohup");
    command
        .arg(Binary::Producer.path())
        .args(ENDLESS)
        .args(["--count", "1"])
        .env_clear()
        .env("PRIMEPOOL_AMQP_URL", &broker.url);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let mut ignores = Process::spawn(command, "nohup", dir.path());
    consumer.0.wait_until_busy();
    ignores.signal("HUP");
    consumer.0.signal("TERM");
    let left = consumer.0.wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    assert_eq!(ignores.ended(), None, "nohup keeps it");
    let heir = start("n2");
    heir.0.wait_until_busy();
    heir.0.signal("HUP");
    let left = heir.0.wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    ignores.signal("TERM");
    let stopped = ignores.wait();
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
}
