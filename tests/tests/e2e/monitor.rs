//! `primepool`: its reports match the state of the pool, and its commands take effect.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use primepool_common::topology::{self, REASON_HEADER};
use primepool_tests::{Binary, Broker, Consumer, Finished, Process, Results, wait_for};
use serde_json::Value;
use tempfile::tempdir;

use crate::dashboard::Dashboard;

fn primepool(dir: &Path, url: &str, args: &[&str]) -> Finished {
    Process::start(Binary::Monitor, dir, url, args).wait()
}

/// The report that `primepool` prints as JSON.
fn json(dir: &Path, url: &str, args: &[&str]) -> Value {
    let done = primepool(dir, url, &[args, &["--json"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    serde_json::from_str(&done.stdout).unwrap()
}

fn produce(dir: &Path, url: &str, args: &[&str]) -> Process {
    Process::start(Binary::Producer, dir, url, args)
}

/// Arguments of a run that takes minutes.
const LARGE: [&str; 4] = ["--count", "200000", "--bits", "512"];

/// A unit of a run that does not exist.
const UNIT: &str = r#"{"version":1,"run":"20261122-201530-9f3c01ab","unit":3,"first":0,"published_ns":0,"kind":"factor","bits":0,"numbers":["deadbeef","5b"]}"#;

#[test]
fn status_shows_what_is_in_the_pool() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let url = &*broker.url;
    let empty = json(dir.path(), url, &["status"]);
    assert_eq!(empty["nodes"], Value::Array(Vec::new()));
    let alarm = empty["alarms"][0].as_str().unwrap();
    assert!(alarm.contains("no queue of the pool"), "{empty}");

    let args = ["--node", "n1", "--concurrency", "2", "--kinds", "prime"];
    let _consumer = Consumer::with(dir.path(), &broker, &args);
    let _producer = produce(dir.path(), url, &LARGE);
    wait_for("results", || {
        (Results::count(dir.path()) > 100).then_some(())
    });
    let properties = BasicProperties::default;
    broker.publish(topology::JOBS_EXCHANGE, "prime", b"no unit", properties());
    wait_for_letters(&broker, 1);
    broker.publish(
        topology::JOBS_EXCHANGE,
        "factor",
        UNIT.as_bytes(),
        properties(),
    );
    let hostile = r#"{"version":1,"every_ms":60000,"run":{"run":"liar","what":"\u001b[2J\u202e","jobs":1,"done":9,"jobs_per_s":-1,"since_ns":0,"by":"\u0007x","share":1,"wants_more":true}}"#;
    broker.publish(
        topology::NODES_EXCHANGE,
        "",
        hostile.as_bytes(),
        properties(),
    );

    let report = wait_for("the run's first announcement", || {
        let report = json(dir.path(), url, &["status"]);
        (report["runs"].as_array().unwrap().len() == 2).then_some(report)
    });
    let node = &report["nodes"][0];
    assert_eq!(
        (&node["node"], &node["workers"]),
        (&"n1".into(), &2.into()),
        "{report}"
    );
    let run = &report["runs"][0];
    assert_eq!(run["run"], Results::wait_for_run(dir.path()), "{report}");
    assert_eq!(run["jobs"], 200_000, "{report}");
    assert_eq!(report["dead"]["letters"], 1, "{report}");
    assert_eq!(report["dead"]["reasons"][0]["letters"], 1, "{report}");
    let alarms = report["alarms"].to_string();
    assert!(alarms.contains("primepool dead list"), "{alarms}");
    assert!(
        alarms.contains("jobs of kind factor, of which 1 unit is"),
        "{alarms}"
    );

    let shown = primepool(dir.path(), url, &["status"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for text in ["n1", "primes of 512 bits", "liar", "primepool.jobs.prime"] {
        assert!(shown.stdout.contains(text), "{text}: {shown:?}");
    }
    let plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(shown.stdout.chars().all(plain), "{shown:?}");
    assert!(!shown.stdout.contains(broker.password()), "{shown:?}");

    let args = ["status", "--watch", "--interval", "500ms", "--json"];
    let watching = Process::start(Binary::Monitor, dir.path(), url, &args);
    wait_for("three reports", || {
        (watching.output().0.lines().count() >= 3).then_some(())
    });
    watching.signal("INT");
    let watched = watching.wait();
    assert_eq!(watched.code, Some(130), "{watched:?}");
    let done = |line: &str| {
        let report: Value = serde_json::from_str(line).unwrap();
        report["runs"][0]["done"].as_u64().unwrap()
    };
    let lines: Vec<_> = watched.stdout.lines().collect();
    assert!(done(lines[0]) <= done(lines[2]), "{watched:?}");
    // Looking at dead letters does not remove them.
    wait_for_letters(&broker, 1);

    let away = primepool(dir.path(), "amqp://127.0.0.1:1/%2f", &["status"]);
    assert_eq!(away.code, Some(3), "{away:?}");
    assert!(away.stderr.contains("cannot reach the broker"), "{away:?}");
}

#[test]
fn watching_goes_on_after_the_broker_was_away() {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    let args = ["status", "--watch", "--interval", "500ms", "--json"];
    let watching = Process::start(Binary::Monitor, dir.path(), &broker.url, &args);
    let reports = || watching.output().0.lines().count();
    wait_for("a report", || (reports() > 0).then_some(()));
    let dashboard = Dashboard::start(dir.path(), &broker);
    wait_for("a sample", || dashboard.pool("")["samples"].get(0).cloned());
    broker.kill();
    watching.wait_for_line("retrying");
    wait_for("the trouble", || {
        let trouble = dashboard.pool("")["trouble"].clone();
        trouble.as_str()?.contains("trying again").then_some(())
    });
    let before = reports();
    broker.start_again();
    wait_for("another report", || (reports() > before).then_some(()));
    wait_for("no trouble", || {
        dashboard.pool("")["trouble"].is_null().then_some(())
    });
}

/// Waits until `primepool.dead` has this many letters: letters that were looked at are put back
/// shortly after the program ends.
pub(crate) fn wait_for_letters(broker: &Broker, letters: u32) {
    wait_for(&format!("{letters} dead letters"), || {
        (broker.ready(topology::DEAD_QUEUE) == Some(letters)).then_some(())
    });
}

/// Declares the queues of the pool, by running a consumer for a moment.
fn declare(dir: &Path, broker: &Broker) {
    let consumer = Consumer::with(dir, broker, &["--node", "n0", "--kinds", "noop"]);
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
}

/// Publishes a dead letter to `primepool.dead` as a consumer does.
fn bury(broker: &Broker, body: &str, reason: &str) {
    let mut headers = FieldTable::default();
    let reason = AMQPValue::LongString(reason.into());
    headers.insert(REASON_HEADER.into(), reason);
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_priority(7)
        .with_type("unit".into());
    broker.publish(topology::DEAD_EXCHANGE, "", body.as_bytes(), properties);
}

#[test]
fn dead_letters_are_listed_requeued_and_dropped() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let (dir, url) = (dir.path(), &*broker.url);
    let missing = primepool(dir, url, &["dead", "list"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    declare(dir, &broker);
    let none = primepool(dir, url, &["dead", "list"]);
    assert_eq!(none.stdout, "there is no dead letter\n", "{none:?}");

    bury(&broker, UNIT, "deaf\u{1b}[2J");
    bury(&broker, "no unit", "not a work unit");
    bury(&broker, "neither", "not a work unit");
    wait_for_letters(&broker, 3);
    let letters = json(dir, url, &["dead", "list"]);
    let id = |index: usize| letters[index]["id"].as_str().unwrap().to_owned();
    assert_eq!(letters.as_array().unwrap().len(), 3, "{letters}");
    let unit = letters
        .as_array()
        .unwrap()
        .iter()
        .position(|letter| letter["run"] == "20261122-201530-9f3c01ab")
        .unwrap();
    wait_for_letters(&broker, 3);
    let shown = primepool(dir, url, &["dead", "show", &id(unit)[..15]]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("deaf [2J"), "{shown:?}");
    for secret in ["deadbeef", "5b\""] {
        assert!(!shown.stdout.contains(secret), "{shown:?}");
        assert!(!letters.to_string().contains(secret), "{letters}");
    }
    let unknown = primepool(dir, url, &["dead", "show", "0000000000000000"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("primepool dead list"),
        "{unknown:?}"
    );

    // Letters that no consumer can read stay.
    wait_for_letters(&broker, 3);
    let requeued = primepool(dir, url, &["dead", "requeue", "--all"]);
    assert_eq!(requeued.code, Some(1), "{requeued:?}");
    assert!(
        requeued.stdout.contains("requeued 1 letter\n"),
        "{requeued:?}"
    );
    assert!(requeued.stderr.contains("2 letters left"), "{requeued:?}");
    wait_for_letters(&broker, 2);
    let again = wait_for("the unit", || broker.take("primepool.jobs.factor"));
    assert_eq!(again.delivery.data, UNIT.as_bytes());
    let properties = &again.delivery.properties;
    let headers = properties.headers().as_ref();
    let is_marked = headers.is_some_and(|headers| headers.contains_key(REASON_HEADER));
    assert!(!is_marked, "{headers:?}");
    assert_eq!(properties.priority(), &Some(7));

    let other = id((unit + 1) % 3);
    let dropped = primepool(dir, url, &["dead", "drop", &other]);
    assert_eq!(
        (dropped.code, &*dropped.stdout),
        (Some(0), "dropped 1 letter\n"),
        "{dropped:?}"
    );
    let left = json(dir, url, &["dead", "list"]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_ne!(left[0]["id"], *other);
    wait_for_letters(&broker, 1);
    let dropped = primepool(dir, url, &["dead", "drop", "--all"]);
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    wait_for_letters(&broker, 0);
    let usage = primepool(dir, url, &["dead", "drop"]);
    assert_eq!(usage.code, Some(2), "{usage:?}");
}

#[test]
fn a_unit_that_is_requeued_is_answered() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let producer = produce(dir.path(), &broker.url, &["--count", "3", "--bits", "64"]);
    let unit = wait_for("a unit", || broker.take("primepool.jobs.prime"));
    let body = String::from_utf8(unit.delivery.data).unwrap();
    bury(&broker, &body, "a mistake");
    wait_for_letters(&broker, 1);
    let run = Results::wait_for_run(dir.path());
    let args = ["dead", "requeue", "--run", &run];
    let requeued = primepool(dir.path(), &broker.url, &args);
    assert_eq!(requeued.code, Some(0), "{requeued:?}");
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(3, 64);
}

#[test]
fn runs_are_listed_and_cancelled() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let (dir, url) = (dir.path(), &*broker.url);
    let none = primepool(dir, url, &["runs"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("--runs-dir"), "{none:?}");
    let _consumer = Consumer::start(dir, &broker, "n1");
    let producer = produce(dir, url, &LARGE);
    wait_for("results", || (Results::count(dir) > 100).then_some(()));
    let running = json(dir, url, &["runs"]);
    assert_eq!(running[0]["state"], "running", "{running}");
    assert_eq!(running[0]["jobs"], 200_000, "{running}");
    producer.signal("INT");
    assert_eq!(producer.wait().code, Some(130));
    let run = Results::wait_for_run(dir);
    let unfinished = json(dir, url, &["runs"]);
    assert_eq!(unfinished[0]["state"], "unfinished", "{unfinished}");
    assert_eq!(
        unfinished[0]["done"],
        Results::count(dir) as u64,
        "{unfinished}"
    );
    let resume = unfinished[0]["resume"].as_str().unwrap();
    assert_eq!(resume, format!("producer resume {run}"));

    // Cancel from another folder, which has no folder of the run.
    let resumed = produce(dir, url, &["resume", &run]);
    let before = Results::count(dir);
    wait_for("further results", || {
        (Results::count(dir) > before).then_some(())
    });
    let elsewhere = tempdir().unwrap();
    let cancelled = primepool(elsewhere.path(), url, &["cancel", &run]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    assert!(cancelled.stdout.contains("is cancelled"), "{cancelled:?}");
    let ended = resumed.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was cancelled"), "{ended:?}");
    let listed = json(dir, url, &["runs"]);
    assert_eq!(listed[0]["state"], "cancelled", "{listed}");
    assert_eq!(listed[0]["resume"], Value::Null, "{listed}");
    let shown = primepool(dir, url, &["runs"]);
    assert!(shown.stdout.contains("cancelled  prime"), "{shown:?}");

    // A detached run, which has no producer process any more.
    let args = ["--count", "9", "--bits", "64", "--detach"];
    let detached = produce(dir, url, &args).wait();
    let run = detached.stdout.trim();
    let cancelled = primepool(dir, url, &["cancel", run]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let queue = format!("{}.{run}", topology::RESULTS_EXCHANGE);
    assert_eq!(broker.ready(&queue), None, "its queue is deleted");
    assert_eq!(json(dir, url, &["runs"])[0]["state"], "cancelled");
    let nowhere = primepool(dir, url, &["cancel", "nothing"]);
    assert!(nowhere.stdout.contains("name is wrong"), "{nowhere:?}");
}

#[test]
fn top_draws_the_pool_and_cancels_a_run_after_a_question() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let producer = produce(dir.path(), &broker.url, &LARGE);
    let run = Results::wait_for_run(dir.path());

    let (keyboard, mut keys) = io::pipe().unwrap();
    let mut command = Command::new("script");
    let program = Binary::Monitor.path();
    let inner = format!(
        "stty rows 40 cols 150; exec '{}' top --interval 500ms",
        program.display()
    );
    command
        .args(["-q", "-e", "-f", "-c", &inner, "/dev/null"])
        .env("TERM", "xterm")
        .env("PRIMEPOOL_AMQP_URL", &broker.url)
        .stdin(keyboard);
    let top = Process::spawn(command, "top", dir.path());
    wait_for("the run on the screen", || {
        top.output().0.contains(&run).then_some(())
    });
    // Answer the question with no, then with yes.
    keys.write_all(b"cn").unwrap();
    keys.write_all(b"cy").unwrap();
    let ended = producer.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was cancelled"), "{ended:?}");
    keys.write_all(b"q").unwrap();
    let left = top.wait();
    assert_eq!(left.code, Some(0), "{left:?}");
    // `top` leaves the alternate screen of the terminal.
    assert!(left.stdout.contains("\u{1b}[?1049l"), "{left:?}");

    let none = primepool(dir.path(), &broker.url, &["top"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("status --watch"), "{none:?}");
}
