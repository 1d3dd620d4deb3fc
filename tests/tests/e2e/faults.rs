//! Runs during which a process is killed: real processes, SIGKILL.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::Command,
};

use primepool_tests::{
    Binary, Broker, Consumer, Finished, Process, Results,
    chaos::{NetworkState, Proxy},
    wait_for,
};
use tempfile::tempdir;

/// Arguments of a run that takes a second with the fastest kernel, and about ten with the portable
/// one.
const LONG: [&str; 6] = ["--count", "400", "--bits", "1536", "--unit-size", "2"];

fn produce(dir: &Path, broker: &Broker) -> Process {
    Process::start(Binary::Producer, dir, &broker.url, &LONG)
}

fn wait_for_results(dir: &Path, count: usize) {
    wait_for("results", || (Results::count(dir) >= count).then_some(()));
}

fn assert_complete(dir: &Path, done: &Finished) {
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir).assert_primes(400, 1536);
}

#[test]
fn a_consumer_is_killed() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let victim = Consumer::start(dir.path(), &broker, "victim");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    victim.0.kill();
    let _heir = Consumer::start(dir.path(), &broker, "heir");
    assert_complete(dir.path(), &producer.wait());
    let results = Results::read(dir.path());
    let by = |node: &str| {
        results
            .rows
            .iter()
            .filter(|row| row["node"] == node)
            .count()
    };
    assert!(by("victim") >= 20 && by("heir") > 0);
    // The units that the victim held were redelivered, and their results say so.
    assert!(results.rows.iter().any(|row| row["redelivered"] == true));
}

#[test]
fn the_broker_is_killed_and_comes_back() {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    broker.kill();
    consumer.wait_until_disconnected();
    broker.start_again();
    assert_complete(dir.path(), &producer.wait());
    consumer.wait_until_connected();
    assert_eq!(broker.ready("primepool.dead"), Some(0));
}

#[test]
fn the_producer_is_killed_and_resumes() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    producer.kill();
    let (before, run) = {
        let results = Results::read(dir.path());
        (results.rows.len(), results.run().to_owned())
    };
    let args = ["resume", &run];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_complete(dir.path(), &done);
    let summary = Results::read(dir.path()).summary;
    // The producer went on with the existing results, and published no unit again that the broker
    // had confirmed. The only duplicates are results that were written but not yet acknowledged.
    let ok_before = summary["jobs_ok_before"].as_u64().unwrap();
    assert!(ok_before >= before as u64, "{summary}");
    assert_eq!(summary["jobs_ok"].as_u64().unwrap() + ok_before, 400);
    let again = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(again.code, Some(0), "nothing left to do: {again:?}");
}

#[test]
fn the_producer_is_killed_while_it_publishes() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--count", "20000", "--bits", "64", "--unit-size", "1"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let published = || {
        let journal = Results::folder(dir.path())?.join("published");
        let text = std::fs::read_to_string(journal).ok()?;
        Some(text.lines().count()).filter(|count| *count > 0)
    };
    let first = wait_for("a confirmation", published);
    producer.kill();
    assert!(first < 20_000);
    let confirmed = published().unwrap();
    let queued = broker.ready("primepool.jobs.prime").unwrap() as usize;
    assert!(
        confirmed <= queued && queued < 20_000,
        "{confirmed} confirmed, {queued} queued"
    );

    let _consumer = Consumer::with(
        dir.path(),
        &broker,
        &["--node", "n1", "--concurrency", "2", "--prefetch", "200"],
    );
    let run = Results::read(dir.path()).run().to_owned();
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    assert_eq!(results.rows.len(), 20_000);
    // Only units whose publisher confirm was outstanding at the kill may have been published twice.
    let duplicates = results.summary["duplicates"].as_u64().unwrap();
    assert!(duplicates <= 1024, "{duplicates} duplicates");
}

#[test]
fn a_consumer_drains() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let leaver = Consumer::start(dir.path(), &broker, "leaver");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    leaver.0.signal("TERM");
    let left = leaver.0.wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(left.stderr.contains("drained"), "{}", left.stderr);
    let _heir = Consumer::start(dir.path(), &broker, "heir");
    assert_complete(dir.path(), &producer.wait());
    let summary = Results::read(dir.path()).summary;
    // The consumer answered the units that it had begun and returned the rest: no job was done
    // twice.
    assert_eq!(summary["duplicates"], 0, "{summary}");
}

#[test]
fn what_outlasts_the_drain_time_is_given_back() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let leaver = Consumer::with(
        dir.path(),
        &broker,
        &[
            "--node",
            "leaver",
            "--concurrency",
            "1",
            "--drain-timeout",
            "1s",
        ],
    );
    // Days of work.
    let args = ["--count", "1", "--bits", "8192", "--kind", "safe-prime"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    leaver.0.wait_until_busy();
    leaver.0.signal("INT");
    let left = leaver.0.wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(
        left.stderr.contains("the drain timeout is over"),
        "{}",
        left.stderr
    );
    assert_eq!(broker.ready("primepool.jobs.safe-prime"), Some(1));
    producer.kill();
}

#[test]
fn a_consumer_waits_for_a_broker_that_is_not_up_yet() {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    broker.kill();
    let early = Consumer::begin(dir.path(), &broker.url, &["--node", "early"]);
    let file = early.health_file().to_owned();
    let health = || {
        let mut command = Binary::Consumer.command();
        command.args(["health", "--health-file"]).arg(&file);
        command.output().unwrap()
    };
    wait_for("a health file", || file.exists().then_some(()));
    let ill = health();
    assert_eq!(ill.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ill.stderr).contains("no connection to its broker"));
    broker.start_again();
    early.wait_until_connected();
    let well = health();
    assert!(well.status.success(), "{well:?}");
    early.0.signal("TERM");
    assert_eq!(early.0.wait().code, Some(0));
    assert!(!health().status.success(), "its file is gone with it");
}

#[test]
fn a_subscription_that_ends_is_made_again() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    broker.delete_queue("primepool.jobs.prime");
    // The queue exists again, and has a consumer.
    wait_for("the next subscription", || {
        (broker.consumers("primepool.jobs.prime")? == 1).then_some(())
    });
    let producer = produce(dir.path(), &broker);
    assert_complete(dir.path(), &producer.wait());
}

#[test]
fn the_results_queue_is_deleted() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    let run = Results::read(dir.path()).run().to_owned();
    broker.delete_queue(&format!("primepool.results.{run}"));
    let done = producer.wait();
    assert!(
        done.stderr.contains("results queue was gone"),
        "{}",
        done.stderr
    );
    assert_complete(dir.path(), &done);
    drop(consumer);
}

#[test]
fn a_run_that_ends_without_a_connection_leaves_no_queue() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let (proxy, url) = Proxy::before(&broker.url);
    // A pipe blocks the producer's output until the test reads it.
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // Detached, so that all units are published and all answers can arrive.
    let args = [&LONG[..], &["--output", "pipe", "--detach"]].concat();
    let left = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    let run = left.stdout.trim().to_owned();
    let producer = Process::start(Binary::Producer, dir.path(), &url, &["resume", &run]);
    let queue = format!("primepool.results.{run}");
    let vhost = broker.url.rsplit('/').next().unwrap();
    wait_for("all answers to be with the producer", || {
        let columns = ["name", "messages", "messages_ready", "--quiet"];
        let args = ["list_queues", "-p", vhost, "--no-table-headers"];
        let text = broker.ctl(&[&args[..], &columns].concat());
        let row = |name: &str| text.lines().find(|line| line.starts_with(name));
        let idle = row("primepool.jobs.prime")?.ends_with("\t0\t0");
        let held = row(&queue)?;
        (idle && held.ends_with("\t0") && !held.ends_with("\t0\t0")).then_some(())
    });
    let before = proxy.connections();
    proxy.set(NetworkState::Refuse);
    wait_for("an attempt to connect again", || {
        (proxy.connections() > before).then_some(())
    });
    let mut lines = BufReader::new(File::open(&pipe).unwrap()).lines();
    assert_eq!(lines.by_ref().take(400).flatten().count(), 400);
    // Only the queue is still to be deleted when the network comes back.
    let tried = proxy.connections();
    wait_for("another attempt", || {
        (proxy.connections() > tried).then_some(())
    });
    proxy.set(NetworkState::Fair);
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(broker.ready(&queue), None);
}

#[test]
fn the_producer_dies_when_it_has_made_a_lost_results_queue_again() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let user = "makes-queues";
    let url = broker.user(user, [".*", ".*", ".*"]);
    let args = ["--count", "20", "--bits", "64", "--unit-size", "1"];
    let producer = Process::start(Binary::Producer, dir.path(), &url, &args);
    let run = Results::wait_for_run(dir.path());
    let queue = format!("primepool.results.{run}");
    let journalled = || {
        let journal = Results::folder(dir.path())?.join("published");
        Some(std::fs::read_to_string(journal).ok()?.lines().count())
    };
    wait_for("20 confirmations", || {
        journalled().filter(|count| *count == 20)
    });
    // While the producer is stopped, its queue is deleted, and all answers go astray.
    producer.signal("STOP");
    broker.delete_queue(&queue);
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    wait_for("answers that go astray", || {
        (broker.ready("primepool.results.unrouted")? == 20).then_some(())
    });
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    assert_eq!(broker.ready("primepool.jobs.prime"), Some(0));
    // The producer declares the queue again, but gets no further: it may no longer publish.
    let vhost = broker.url.rsplit('/').next().unwrap();
    let queues_only = r"^(?!primepool\.jobs$).*";
    broker.ctl(&[
        "set_permissions",
        "-p",
        vhost,
        user,
        ".*",
        queues_only,
        ".*",
    ]);
    broker.ctl(&["close_all_user_connections", user, "test"]);
    producer.signal("CONT");
    wait_for("the queue to be there again", || {
        (broker.ready(&queue)? == 0).then_some(())
    });
    producer.kill();
    assert_eq!(broker.ready("primepool.jobs.prime"), Some(0));
    // No answer is on its way, so the journal must be empty; `resume` need not find out.
    assert_eq!(journalled(), Some(0));

    let _consumer = Consumer::start(dir.path(), &broker, "n2");
    let args = ["resume", &run, "--timeout", "30s"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(20, 64);
}

#[test]
fn a_producer_that_is_gone_leaves_the_consumer_alive() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    let run = Results::read(dir.path()).run().to_owned();
    producer.kill();
    broker.delete_queue(&format!("primepool.results.{run}"));
    // Answers without a results queue go to the queue of unrouted answers.
    wait_for("unrouted answers", || {
        broker
            .ready("primepool.results.unrouted")
            .filter(|count| *count > 0)
    });
    wait_for("the end of the work", || {
        (broker.ready("primepool.jobs.prime")? == 0).then_some(())
    });
    let other = tempdir().unwrap();
    let args = ["--count", "5", "--bits", "64"];
    let done = Process::start(Binary::Producer, other.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    // The run can still be finished: jobs without a result in its file are done again.
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]).wait();
    assert_complete(dir.path(), &done);
}

#[test]
fn ctrl_c_once() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker);
    wait_for_results(dir.path(), 20);
    producer.signal("INT");
    let stopped = producer.wait();
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    let results = Results::read(dir.path());
    let done = results.rows.len();
    assert!(
        done >= 20 && stopped.stdout.contains(&format!("{done} of 400 primes")),
        "{stopped:?}"
    );
    let resume = format!("producer resume {}", results.run());
    assert!(stopped.stderr.contains(&resume), "{}", stopped.stderr);
    assert_eq!(results.summary["jobs_missing"], 400 - done);
    let done = Process::start(
        Binary::Producer,
        dir.path(),
        &broker.url,
        &["resume", results.run()],
    )
    .wait();
    assert_complete(dir.path(), &done);
}

#[test]
fn ctrl_c_before_the_broker_answers() {
    let dir = tempdir().unwrap();
    // A port that accepts connections but never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", silent.local_addr().unwrap());
    let producer = Process::start(Binary::Producer, dir.path(), &url, &LONG);
    let _connection = silent.accept().unwrap();
    producer.signal("INT");
    assert_eq!(producer.wait().code, Some(130));
}

#[test]
fn a_time_limit() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--count", "5", "--bits", "64", "--timeout", "1s"];
    let late = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(
        late.stderr.contains("--timeout") && late.stderr.contains("producer resume"),
        "{late:?}"
    );
    assert!(
        late.stderr.contains("no consumer takes prime jobs yet"),
        "{late:?}"
    );
    let run = Results::read(dir.path()).run().to_owned();
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(5, 64);
}

#[test]
fn a_unit_that_ends_its_consumers_is_given_up_with_an_answer() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--count", "2", "--bits", "64", "--unit-size", "1"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    wait_for("both units", || {
        broker
            .ready("primepool.jobs.prime")
            .filter(|ready| *ready == 2)
    });
    // To the broker, this looks like ten consumers that die on the first unit.
    broker.return_unit("primepool.jobs.prime", r#""unit":0"#, 10);
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = producer.wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = Results::read(dir.path());
    let outcome = |job: u64| {
        let row = results.rows.iter().find(|row| row["job"] == job).unwrap();
        row["outcome"].as_str().unwrap()
    };
    assert_eq!(outcome(0), "failed");
    assert!(done.stdout.contains("given up after"), "{}", done.stdout);
}

#[test]
fn units_that_the_broker_lost_are_published_again() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--count", "40", "--bits", "256", "--unit-size", "1"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let jobs = "primepool.jobs.prime";
    wait_for("the units", || (broker.ready(jobs)? == 40).then_some(()));
    broker.with_channel(async |channel| {
        let options = lapin::options::QueuePurgeOptions::default();
        channel.queue_purge(jobs.into(), options).await.unwrap();
    });
    // The consumer has nothing to do, and reports this.
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(40, 256);
    let told = "40 units without a result neither in the queue nor with a consumer";
    assert!(done.stderr.contains(told), "{done:?}");
}
