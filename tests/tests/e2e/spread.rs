//! Factoring: integers that are factored by the whole pool.

use std::{fs, path::Path, thread, time::Duration};

use lapin::BasicProperties;
use primepool_tests::{
    Binary, Broker, Consumer, Finished, Process, Results, assert_factored, wait_for,
};
use serde_json::Value;
use tempfile::tempdir;

/// Arguments for a product of two primes of 114 bits each.
const SEMIPRIME: [&str; 7] = ["factor", "--count", "1", "--bits", "228", "--seed", "3"];

const QUEUE: &str = "primepool.jobs.factor";

fn produce(dir: &Path, broker: &Broker, args: &[&str]) -> Process {
    Process::start(Binary::Producer, dir, &broker.url, args)
}

/// Reads the lines of the first job's checkpoint.
fn checkpoint(dir: &Path) -> Vec<Value> {
    let file = Results::folder(dir).map(|folder| folder.join("factor-0.jsonl"));
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    let text = text.unwrap_or_default();
    // The last line may still be incomplete.
    let lines = text.split_inclusive('\n');
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Number of checkpoint lines of this kind.
fn count(lines: &[Value], kind: &str) -> usize {
    lines.iter().filter(|line| line.get(kind).is_some()).count()
}

/// Number of families assigned so far (exclusive upper bound).
fn issued(lines: &[Value]) -> u64 {
    let upto = lines
        .iter()
        .filter_map(|line| line["issued"]["upto"].as_u64());
    upto.max().unwrap()
}

fn node<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let nodes = summary["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node"] == name).unwrap()
}

/// A figure of a stage of the only integer.
fn stage(results: &Results, name: &str, figure: &str) -> u64 {
    let stages = results.rows[0]["stages"].as_array().unwrap();
    let stage = stages.iter().find(|stage| stage["stage"] == name);
    stage.map_or(0, |stage| stage[figure].as_u64().unwrap())
}

/// Checks that the integer is factored and that nothing is left over; returns the results.
fn assert_done(dir: &Path, broker: &Broker, done: &Finished) -> Results {
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir);
    assert_eq!(results.rows.len(), 1);
    assert_factored(&results.rows);
    assert_eq!(results.rows[0]["node"], "(pool)");
    assert!(checkpoint(dir).is_empty(), "it is not needed any more");
    wait_for("an empty queue", || {
        (broker.ready(QUEUE)? == 0).then_some(())
    });
    assert_eq!(broker.ready("primepool.dead"), Some(0));
    results
}

#[test]
fn two_nodes_sieve_for_one_number() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumers = ["n1", "n2"].map(|node| Consumer::start(dir.path(), &broker, node));
    let done = produce(dir.path(), &broker, &SEMIPRIME).wait_long();
    let results = assert_done(dir.path(), &broker, &done);
    let busy = |name| node(&results.summary, name)["busy_s"].as_f64().unwrap();
    assert!(busy("n1") > 0.1 && busy("n2") > 0.1, "{}", results.summary);
    assert!(
        stage(&results, "sieve", "us") > 100_000,
        "{}",
        results.rows[0]
    );
}

#[test]
fn a_number_of_unknown_shape_gets_curves_first() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumers = ["n1", "n2"].map(|node| Consumer::start(dir.path(), &broker, node));
    // Three different primes above 10^17, 10^22 and 10^24, so that no power of a prime divides n.
    let [p, q, r] = [17, 22, 24].map(|digits| {
        let power = rug::Integer::from(rug::Integer::u_pow_u(10, digits));
        power.next_prime()
    });
    let n = (p * q * r).to_string();
    let done = produce(dir.path(), &broker, &["factor", &n]).wait_long();
    let results = assert_done(dir.path(), &broker, &done);
    assert_eq!(results.rows[0]["factors"].as_array().unwrap().len(), 3);
    // More curves than the first worker tried alone.
    assert!(stage(&results, "ecm", "count") > 20, "{}", results.rows[0]);
}

/// A small sample of `long/spread.rs`, large enough to leave time for every kill.
#[test]
fn whoever_is_killed_the_relations_stay() {
    kill_in_the_middle(236);
}

/// Largest number of units in flight: each of two nodes has two workers with a unit in progress and
/// the next one.
const IN_FLIGHT: usize = 8;

/// Kills a consumer, then the producer, with SIGKILL, while two nodes sieve for a semiprime of
/// `bits` bits.
pub(crate) fn kill_in_the_middle(bits: u32) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let victim = Consumer::start(dir.path(), &broker, "victim");
    let _other = Consumer::start(dir.path(), &broker, "other");
    let bits = bits.to_string();
    let args = ["factor", "--count", "1", "--bits", &bits, "--seed", "3"];
    let producer = produce(dir.path(), &broker, &args);
    let wait_for_relations = |times: usize| {
        wait_for("relations", || {
            (count(&checkpoint(dir.path()), "relations") >= times).then_some(())
        });
    };
    wait_for_relations(3);
    victim.0.kill();
    let _heir = Consumer::start(dir.path(), &broker, "heir");
    wait_for_relations(5);
    producer.kill();
    let before = checkpoint(dir.path());
    assert_eq!(count(&before, "begun"), 1, "{before:?}");
    let run = Results::wait_for_run(dir.path());
    let mut resumed = produce(dir.path(), &broker, &["resume", &run]);
    let mut after = before.clone();
    while resumed.ended().is_none() {
        let lines = checkpoint(dir.path());
        // The checkpoint is removed at the end.
        if lines.len() > after.len() {
            after = lines;
        }
        // Reading the long checkpoint takes CPU time from the sieving workers.
        thread::sleep(Duration::from_millis(500));
    }
    let done = resumed.wait_long();
    assert_done(dir.path(), &broker, &done);

    // The resumed run continues from its checkpoint.
    assert_eq!(after[..before.len()], before[..]);
    assert!(after.len() > before.len());
    let later = &after[before.len()..];
    let begun_again = later.iter().find(|line| line["begun"]["stage"] == "sieve");
    assert_eq!(begun_again, None);
    let next = later
        .iter()
        .find_map(|line| line["issued"]["upto"].as_u64());
    assert!(next.unwrap() > issued(&before), "{next:?}");
    // Each unit counts once. Unanswered units were in flight when the producer was killed, or at
    // the end.
    let mut units: Vec<u64> = after
        .iter()
        .filter_map(|line| line["relations"]["unit"].as_u64())
        .collect();
    units.sort_unstable();
    let answered = units.len();
    units.dedup();
    assert_eq!(units.len(), answered);
    let all = after
        .iter()
        .filter_map(|line| line["issued"]["units"].as_u64())
        .max();
    let unanswered = all.unwrap() as usize - answered;
    assert!(unanswered <= 2 * IN_FLIGHT, "{unanswered} of {all:?}");
}

#[test]
fn a_liar_neither_stalls_nor_spoils_it() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let producer = produce(dir.path(), &broker, &SEMIPRIME);
    let run = Results::wait_for_run(dir.path());
    let answer = |unit: u64, result: &str| {
        let body = format!(
            r#"{{"version":1,"run":"{run}","unit":{unit},"published_ns":0,"redelivered":false,"node":"liar","worker":0,"first":0,{result},"compute_us":[1],"candidates":[1]}}"#
        );
        let properties = BasicProperties::default();
        broker.publish("primepool.results", &run, body.as_bytes(), properties);
    };
    // The forged answers are for units of the sieve, so it must have begun.
    let _honest = Consumer::start(dir.path(), &broker, "honest");
    wait_for("the sieve", || {
        (count(&checkpoint(dir.path()), "begun") == 1).then_some(())
    });
    let sieve = 1 << 32;
    // Three wrong answers: invalid relations (a byte for the form, then compressed zeros), a value
    // that is no divisor, and empty relations.
    answer(sieve, r#""values":[null],"relations":"A3icY2AgDAAAJAAB""#);
    answer(sieve + 1, r#""values":["3"]"#);
    answer(sieve + 2, r#""values":[null],"relations":"""#);
    // Answers to a unit and to a group that do not exist.
    answer(sieve + 1_000_000, r#""values":["3"]"#);
    answer(99 * sieve, r#""values":["3"]"#);
    let done = producer.wait_long();
    let results = assert_done(dir.path(), &broker, &done);
    let wrong = &node(&results.summary, "liar")["wrong_results"];
    assert_eq!(*wrong, 3, "{}", results.summary);
    assert_eq!(node(&results.summary, "honest")["wrong_results"], 0);
    assert!(done.stderr.contains("wrong result"), "{}", done.stderr);
    assert!(done.stdout.contains("results of liar"), "{}", done.stdout);
}
