//! Hostile or faulty peers with access to the broker: their messages are refused and counted, the
//! peers are named, and other nodes do their units again.

use std::{fs, path::Path};

use lapin::BasicProperties;
use primepool_tests::{Binary, Broker, Consumer, Process, Results, wait_for};
use serde_json::{Value, from_slice};
use tempfile::tempdir;

/// A running producer, and a fake peer that can send it any answer.
struct Peer {
    broker: Broker,
    producer: Process,
    run: String,
}

impl Peer {
    fn new(dir: &Path, args: &[&str]) -> Self {
        let broker = Broker::vhost();
        let producer = Process::start(Binary::Producer, dir, &broker.url, args);
        Self {
            broker,
            producer,
            run: Results::wait_for_run(dir),
        }
    }

    /// Takes a unit from the queue without returning it.
    fn unit(&self) -> Value {
        let message = wait_for("a unit", || self.broker.take("primepool.jobs.prime"));
        from_slice(&message.data).unwrap()
    }

    fn send(&self, body: &[u8]) {
        self.broker.publish(
            "primepool.results",
            &self.run,
            body,
            BasicProperties::default(),
        );
    }

    /// The answer of `node` to unit `unit` with one job.
    fn answer(&self, node: &str, unit: u64, job: u64, value: &str) {
        self.send(self.body(node, unit, job, value).as_bytes());
    }

    fn body(&self, node: &str, unit: u64, job: u64, value: &str) -> String {
        let run = &self.run;
        format!(
            r#"{{"version":1,"run":"{run}","unit":{unit},"published_ns":0,"redelivered":false,"node":"{node}","worker":0,"first":{job},"values":["{value}"],"compute_us":[1],"candidates":[1]}}"#
        )
    }
}

fn node<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let nodes = summary["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node"] == name).unwrap()
}

#[test]
fn wrong_results_are_done_again_elsewhere_and_their_node_is_named() {
    let dir = tempdir().unwrap();
    let args = ["--count", "40", "--bits", "64", "--unit-size", "1"];
    let peer = Peer::new(dir.path(), &args);
    // The peer takes five units before any consumer starts, and answers with composites and with
    // primes of a wrong size.
    for value in ["8000000000000001", "f", "c1", "83c1", "-c1"] {
        let unit = peer.unit();
        let number = unit["unit"].as_u64().unwrap();
        peer.answer("liar", number, number, value);
    }
    // The units that are published again tell the node `liar` to avoid them; a real consumer with
    // that name leaves them to others.
    let again = wait_for("a unit that is done again", || {
        let unit = peer.unit();
        let is_again = unit.get("avoid").is_some();
        peer.broker.publish(
            "primepool.jobs",
            "prime",
            &serde_json::to_vec(&unit).unwrap(),
            BasicProperties::default().with_content_type("application/json".into()),
        );
        is_again.then_some(unit)
    });
    assert_eq!(again["avoid"], serde_json::json!(["liar"]));
    let _same_name = Consumer::start(dir.path(), &peer.broker, "liar");
    let _other = Consumer::start(dir.path(), &peer.broker, "honest");
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(40, 64);
    let summary = &results.summary;
    assert_eq!(summary["jobs_done_again"], 5, "{summary}");
    assert_eq!(node(summary, "liar")["wrong_results"], 5, "{summary}");
    assert_eq!(node(summary, "honest")["wrong_results"], 0, "{summary}");
    assert!(
        done.stdout.contains("results of liar") && done.stdout.contains("5 jobs done again"),
        "{}",
        done.stdout
    );
    assert!(done.stderr.contains("wrong result"), "{}", done.stderr);
}

#[test]
fn what_is_wrong_again_and_again_has_failed() {
    let dir = tempdir().unwrap();
    let args = ["--count", "1", "--bits", "8"];
    let peer = Peer::new(dir.path(), &args);
    for (number, liar) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let unit = peer.unit();
        let avoid = unit["avoid"].as_array().map_or(0, Vec::len);
        assert_eq!(avoid, number, "{unit}");
        peer.answer(liar, 0, 0, "c3");
    }
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = Results::read(dir.path());
    assert_eq!(results.rows[0]["outcome"], "failed");
    assert_eq!(
        results.rows[0]["reason"],
        "the results of a, b, c, d were wrong: it is not prime"
    );
    assert_eq!(results.rows[0].get("prime"), None);
}

#[test]
fn a_pool_of_one_node_that_was_wrong_ends_its_run_and_holds_up_no_other() {
    let dir = tempdir().unwrap();
    let mut peer = Peer::new(dir.path(), &["--count", "1", "--bits", "8"]);
    peer.unit();
    peer.answer("n1", 0, 0, "c3");
    let one_unit = ["--node", "n1", "--concurrency", "1", "--prefetch", "1"];
    let consumer = Consumer::with(dir.path(), &peer.broker, &one_unit);
    // The only consumer leaves the unit to other nodes, and works for another run in the meantime.
    let other = tempdir().unwrap();
    let args = ["--count", "50", "--bits", "64", "--unit-size", "1"];
    let done = Process::start(Binary::Producer, other.path(), &peer.broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(peer.producer.ended(), None);
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let reason =
        "the results of n1 were wrong or of another version, and no other node takes prime jobs";
    assert!(done.stdout.contains(reason), "{done:?}");
    assert!(done.stderr.contains("no other node is there"), "{done:?}");
    drop(consumer);
}

#[test]
fn a_producer_that_dies_before_it_has_published_a_wrong_unit_again() {
    let dir = tempdir().unwrap();
    let peer = Peer::new(
        dir.path(),
        &["--count", "3", "--bits", "8", "--unit-size", "1"],
    );
    for _ in 0..3 {
        peer.unit();
    }
    let Peer {
        broker,
        producer,
        run,
    } = peer;
    let journal = Results::folder(dir.path()).unwrap().join("published");
    wait_for("the journal", || {
        (fs::read_to_string(&journal).ok()?.lines().count() == 3).then_some(())
    });
    producer.kill();
    // The journal as it is when the wrong answer was acknowledged but the unit is not yet published
    // again.
    fs::write(&journal, "0\n1\n2\n-1\n").unwrap();
    let resumed = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]);
    let again = wait_for("the unit", || broker.take("primepool.jobs.prime"));
    let unit: Value = from_slice(&again.data).unwrap();
    assert_eq!(unit["unit"], 1, "{unit}");
    let peer = Peer {
        broker,
        producer: resumed,
        run,
    };
    for unit in 0..3 {
        peer.answer("n1", unit, unit, "c1");
    }
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn floods_noise_and_answers_of_others() {
    let dir = tempdir().unwrap();
    let args = ["--count", "2", "--bits", "8", "--unit-size", "1"];
    let peer = Peer::new(dir.path(), &args);
    let memory = |field| {
        let status = fs::read_to_string(format!("/proc/{}/status", peer.producer.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let kib: u64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib / 1024
    };
    peer.answer("liar", 9, 9, "c1"); // no such unit
    peer.answer("liar", 0, 1, "c1"); // not its job
    peer.send(b"noise");
    peer.send(b"\xff\x00");
    peer.answer("a b", 0, 0, "c1"); // no name of a node
    peer.answer("\\u001b[2J", 0, 0, "c1"); // nor this, which would clear a terminal
    peer.answer(&"n".repeat(65), 0, 0, "c1");
    let mut other_run = peer.body("liar", 0, 0, "c1");
    other_run = other_run.replace(&peer.run, "r1");
    peer.send(other_run.as_bytes());
    let mut deep = b"[".repeat(100_000);
    deep.extend(b"]".repeat(100_000));
    peer.send(&deep);
    let before = memory("VmHWM");
    // Twelve MiB each, more than any answer of this run.
    let huge = vec![b' '; 12 << 20];
    let queue = format!(
        "{}.{}",
        primepool_common::topology::RESULTS_EXCHANGE,
        peer.run
    );
    for _ in 0..10 {
        peer.send(&huge);
        peer.send(&huge);
        // Two at a time: on a busy machine, more messages waiting to be read would take more
        // memory.
        wait_for("huge answers to be dropped", || {
            let is_delivered = peer.broker.ready(&queue) == Some(0);
            (is_delivered && memory("VmRSS") < before + 30).then_some(())
        });
    }
    peer.answer("eager", 0, 0, "c1"); // 193, a prime
    for _ in 0..500 {
        peer.send(peer.body("eager", 0, 0, "c5").as_bytes()); // again
    }
    wait_for("the flood to be delivered", || {
        (peer.broker.ready(&queue) == Some(0)).then_some(())
    });
    let grown = memory("VmHWM") - before;
    peer.answer("good", 1, 1, "c5"); // 197, a prime
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(2, 8);
    let summary = &results.summary;
    assert_eq!(summary["refused_messages"], 29, "{summary}");
    assert_eq!(node(summary, "liar")["refused_messages"], 3, "{summary}");
    assert_eq!(node(summary, "eager")["duplicates"], 500, "{summary}");
    assert_eq!(summary["duplicates"], 500, "{summary}");
    assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    assert!(
        done.stderr.matches("dropped an answer").count() < 60,
        "a flood does not fill the log"
    );
    assert!(grown < 100, "grown by {grown} MiB");
}

/// A consumer of an older version answers without certificates, and does no more units of the run;
/// a forged certificate is a wrong result.
#[test]
fn certificates_are_asked_for_again_and_checked() {
    let dir = tempdir().unwrap();
    let args = [
        "--count",
        "20",
        "--bits",
        "66",
        "--method",
        "provable",
        "--unit-size",
        "1",
    ];
    let peer = Peer::new(dir.path(), &args);
    let number = |unit: &Value| unit["unit"].as_u64().unwrap();
    let [first, second] = [peer.unit(), peer.unit()];
    assert_eq!(first["prove"], true, "{first}");
    // 2^65 + 131 is prime, but the answer has no certificate.
    peer.answer("old", number(&first), number(&first), "20000000000000083");
    // 2^65 + 1 is divisible by 3, and the only prime factor of n - 1 is 2.
    let n = "20000000000000001";
    let body = peer.body("liar", number(&second), number(&second), n);
    let certificates = format!(r#","certificates":[[["{n}",2,["2"]]]]}}"#);
    peer.send((body.trim_end_matches('}').to_owned() + &certificates).as_bytes());
    let _same_names = ["old", "liar"].map(|name| Consumer::start(dir.path(), &peer.broker, name));
    let _honest = Consumer::start(dir.path(), &peer.broker, "honest");
    let done = peer.producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(20, 66);
    let summary = &results.summary;
    assert_eq!(summary["jobs_proven"], 20, "{summary}");
    assert_eq!(node(summary, "liar")["wrong_results"], 1, "{summary}");
    assert_eq!(summary["jobs_done_again"], 1, "{summary}");
    assert!(
        done.stderr.contains("makes no certificates"),
        "{}",
        done.stderr
    );
}
