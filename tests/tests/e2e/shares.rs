//! Runs that share the pool, and the knowledge of its members about each other.

use std::path::Path;

use primepool_common::{
    message::{Presence, Subject},
    topology,
};
use primepool_tests::{Binary, Broker, Consumer, Process, Results, wait_for};
use tempfile::tempdir;

fn produce(dir: &Path, url: &str, args: &[&str]) -> Process {
    Process::start(Binary::Producer, dir, url, args)
}

/// Arguments of a run that takes minutes, in units of at least a twentieth of a second.
const LARGE: [&str; 4] = ["--count", "200000", "--bits", "512"];

#[test]
fn a_small_run_is_served_beside_a_large_one() {
    let (broker, large, small) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let _consumer = Consumer::start(large.path(), &broker, "n1");
    let mut producer = produce(large.path(), &broker.url, &LARGE);
    wait_for("some results", || {
        (Results::count(large.path()) > 1000).then_some(())
    });
    let args = ["--count", "20", "--bits", "512"];
    let done = produce(small.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(producer.ended(), None);
    let before = Results::count(large.path());
    assert!(before < 150_000, "it waited for {before} of the others");
    // The job queue never held more than the workers needed.
    let jobs = "primepool.jobs.prime";
    assert!(broker.ready(jobs).unwrap() < 50);
    producer.signal("INT");
    let left = producer.wait();
    assert_eq!(left.code, Some(130), "{left:?}");
    let run = Results::read(large.path()).run().to_owned();
    // Nothing is lost: the outstanding units are done once.
    let resumed = produce(
        large.path(),
        &broker.url,
        &["resume", &run, "--timeout", "2s"],
    );
    let resumed = resumed.wait();
    assert_eq!(resumed.code, Some(1), "{resumed:?}");
    assert!(Results::count(large.path()) >= before);
    let mut jobs: Vec<_> = Results::read(large.path())
        .rows
        .iter()
        .map(|row| row["job"].as_u64())
        .collect();
    let all = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), all, "a job twice");
}

#[test]
fn a_larger_share_gets_more() {
    let (broker, a, b) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let _consumer = Consumer::start(a.path(), &broker, "n1");
    let of = |dir: &Path, share| {
        let args = [&LARGE[..], &["--share", share]].concat();
        produce(dir, &broker.url, &args)
    };
    let (heavy, light) = (of(a.path(), "4"), of(b.path(), "1"));
    wait_for("results of both", || {
        let count = |dir| Results::count(dir);
        (count(a.path()) > 20_000 && count(b.path()) > 3000).then_some(())
    });
    // From here on each run has its share; at its start, each behaved as if it were alone.
    let count = || (Results::count(a.path()), Results::count(b.path()));
    let before = count();
    let (more, less) = wait_for("more of the one with the larger share", || {
        let now = count();
        (now.0 > before.0 + 15_000).then_some((now.0 - before.0, now.1 - before.1))
    });
    for producer in [&heavy, &light] {
        producer.signal("INT");
    }
    // A window is a whole number of units and at least one, so with few workers the weights are
    // approximate.
    assert!(more as f64 > 1.5 * less as f64, "{more} and {less}");
    for producer in [heavy, light] {
        assert_eq!(producer.wait().code, Some(130));
    }
}

/// The presence messages that are on the broker now.
fn announcements(broker: &Broker) -> Vec<Presence> {
    let bodies = broker.read_stream(topology::NODES_STREAM);
    bodies
        .iter()
        .map(|body| Presence::decode(body).unwrap())
        .collect()
}

#[test]
fn members_announce_themselves_and_say_goodbye() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--node", "n1", "--concurrency", "2", "--kinds", "prime"];
    let consumer = Consumer::with(dir.path(), &broker, &args);
    let secret = "1000000007000000000000000000000000000000000000000049";
    let done = produce(dir.path(), &broker.url, &["--count", "30", "--bits", "256"]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let factoring = produce(dir.path(), &broker.url, &["factor", secret, "--anonymous"]);
    wait_for("the announcement of a run that waits", || {
        let all = announcements(&broker);
        let mut runs = all.iter().filter_map(|presence| match &presence.subject {
            Subject::Run(run) if run.what == "factorisation" => Some(run.clone()),
            _ => None,
        });
        runs.next_back()
    });
    factoring.signal("INT");
    assert_eq!(factoring.wait().code, Some(130));
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    let all = wait_for("the farewell of the consumer", || {
        let all = announcements(&broker);
        let is_farewell =
            |presence: &Presence| presence.leaves && matches!(presence.subject, Subject::Node(_));
        all.iter().any(is_farewell).then_some(all)
    });
    let (mut nodes, mut runs) = (Vec::new(), Vec::new());
    for presence in &all {
        match &presence.subject {
            Subject::Node(node) => nodes.push((node, presence.leaves)),
            Subject::Run(run) => runs.push((run, presence.leaves)),
        }
    }
    let (last, leaves) = nodes.last().unwrap();
    assert!(
        *leaves && last.name == "n1" && last.sample.jobs_ok >= 30,
        "{last:?}"
    );
    assert!(
        nodes
            .iter()
            .any(|(node, _)| node.kinds.len() == 1 && node.sample.workers == 2)
    );
    let primes: Vec<_> = runs
        .iter()
        .filter(|(run, _)| run.what.contains("256 bits"))
        .collect();
    let (last, leaves) = primes.last().unwrap();
    assert!(
        *leaves && last.done == 30 && last.by.as_ref().unwrap().contains('@'),
        "{last:?}"
    );
    let numbers: Vec<_> = runs
        .iter()
        .filter(|(run, _)| run.what == "factorisation")
        .collect();
    assert!(numbers.iter().all(|(run, _)| run.by.is_none()));
    // Presence messages do not contain the integers of a run.
    for body in broker.read_stream(topology::NODES_STREAM) {
        let text = String::from_utf8(body).unwrap();
        let hex = format!("{:x}", secret.parse::<rug::Integer>().unwrap());
        assert!(!text.contains(secret) && !text.contains(&hex), "{text}");
    }
}

#[test]
fn units_follow_the_pace_of_the_workers_and_a_crash_changes_no_job() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    // By their size these numbers look like minutes of work, but they are easy to factor.
    let count = 20_000;
    let numbers: String = (1..=count)
        .map(|n| format!("{}\n", rug::Integer::from(n) << 110))
        .collect();
    std::fs::write(dir.path().join("numbers"), numbers).unwrap();
    let producer = produce(dir.path(), &broker.url, &["factor", "--file", "numbers"]);
    let run = Results::wait_for_run(dir.path());
    let packing = dir.path().join("runs").join(&run).join("packing");
    wait_for("larger units", || {
        let text = std::fs::read_to_string(&packing).ok()?;
        let sizes = text.lines().map(serde_json::from_str::<serde_json::Value>);
        let sizes: Vec<_> = sizes.collect::<Result<_, _>>().ok()?;
        let is_larger = sizes.iter().any(|size| size["most"] != sizes[0]["most"]);
        (is_larger && Results::count(dir.path()) > 100).then_some(())
    });
    producer.signal("KILL");
    producer.wait();
    let done = produce(dir.path(), &broker.url, &["resume", &run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    let mut jobs: Vec<_> = results
        .rows
        .iter()
        .map(|row| row["job"].as_u64().unwrap())
        .collect();
    jobs.sort_unstable();
    assert!(jobs.into_iter().eq(0..count));
    for row in &results.rows {
        let n = primepool_tests::integer(&row["n"]);
        assert_eq!(n >> 110_u32, row["job"].as_u64().unwrap() + 1, "{row}");
    }
    let units = results.summary["units"].as_u64().unwrap();
    assert!(units < 1000, "{units} units");
}
