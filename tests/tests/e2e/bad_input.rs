//! Invalid input is refused with a text that says what to do, and nothing is lost.

use std::{fs, os::unix::fs::symlink, path::Path};

use lapin::{BasicProperties, types::AMQPValue};
use primepool_tests::{Binary, Broker, Consumer, Finished, Process, Results, wait_for};
use tempfile::tempdir;

fn produce(dir: &Path, url: &str, args: &[&str]) -> Finished {
    Process::start(Binary::Producer, dir, url, args).wait()
}

/// Runs a producer that has to fail before it begins, and checks its exit status and its error.
fn assert_refused(url: &str, args: &[&str], code: i32, texts: &[&str]) {
    let dir = tempdir().unwrap();
    let done = produce(dir.path(), url, args);
    assert_eq!(done.code, Some(code), "{args:?}: {done:?}");
    for text in texts {
        assert!(
            done.stderr.contains(text),
            "{text:?} is not in {}",
            done.stderr
        );
    }
    assert_eq!(
        Results::folder(dir.path()),
        None,
        "nothing is left half done"
    );
}

/// An AMQP URL at which no broker listens.
const NOWHERE: &str = "amqp://guest:s3cr3t@127.0.0.1:1/%2f";

#[test]
fn arguments() {
    let usage: [(&[&str], &str); 18] = [
        (&["--bits", "1"], "2..=65536"),
        (&["--bits", "65537"], "2..=65536"),
        (&["--bits", "many"], "invalid digit"),
        (&["--count", "0"], "1..="),
        (&["--kind", "composite"], "prime, safe-prime, next-prime]"),
        (
            &["--kind", "safe-prime", "--bits", "2"],
            "no safe prime has 2 bits",
        ),
        (&["--kind", "next-prime"], "--after"),
        (&["--after", "5"], "--kind next-prime"),
        (&["--method", "random"], "incremental, uniform or provable"),
        (&["--prove"], "give --method provable"),
        (
            &[
                "--kind",
                "next-prime",
                "--after",
                "5",
                "--method",
                "uniform",
            ],
            "--kind prime or safe-prime",
        ),
        (
            &[
                "--kind",
                "next-prime",
                "--after",
                "5",
                "--method",
                "provable",
            ],
            "--prove proves it",
        ),
        (&["--kind", "next-prime", "--after", "5x"], "not an integer"),
        (
            &["--kind", "next-prime", "--after-file", "missing"],
            "cannot read --after-file missing",
        ),
        (&["--unit-size", "0"], "write auto, or a number"),
        (
            &["--bits", "65536", "--unit-size", "10000"],
            "too large for one message",
        ),
        (&["--timeout", "soon"], "is not a duration"),
        (&["resume", "runs/../A b"], "is not a run id"),
    ];
    for (args, text) in usage {
        assert_refused(NOWHERE, args, 2, &[text]);
    }
    assert_refused(
        NOWHERE,
        &["resume", "r1"],
        2,
        &["there is no run r1 in runs", "--runs-dir"],
    );
}

#[test]
fn arguments_of_the_consumer() {
    let dir = tempdir().unwrap();
    for (args, text) in [
        (["--concurrency", "0"], "1..=4096"),
        (["--prefetch", "0"], "1..=65535"),
        (
            ["--kinds", "prime,song"],
            "prime, safe-prime, next-prime, factor]",
        ),
        (["--node", "a b"], "a node's name has"),
        (["--max-bits", "1"], "2..=65536"),
        (["--drain-timeout", "soon"], "is not a duration"),
        (["--log", "info,lapin=loud"], "is not a log filter"),
        (
            ["--tls-ca", "missing.pem"],
            "cannot read --tls-ca missing.pem",
        ),
    ] {
        let done = Process::start(Binary::Consumer, dir.path(), NOWHERE, &args).wait();
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        assert!(
            done.stderr.contains(text),
            "{text:?} is not in {}",
            done.stderr
        );
    }
}

/// As when the user forgets the option, or takes the wrong one.
#[test]
fn an_address_at_the_wrong_place_does_not_tell_its_password() {
    let dir = tempdir().unwrap();
    let address = "amqp://pool:s3c@r3t/x@broker";
    for (binary, args) in [
        (Binary::Producer, vec![address]),
        (Binary::Producer, vec!["--count", address]),
        (Binary::Producer, vec!["--amqp-url-file", address]),
        (Binary::Producer, vec!["--log", address]),
        (Binary::Producer, vec!["resume", address]),
        (Binary::Producer, vec!["--amqp-url", address]),
        (
            Binary::Producer,
            vec![
                "--amqp-url",
                NOWHERE,
                "--kind",
                "next-prime",
                "--after-file",
                address,
            ],
        ),
        (Binary::Consumer, vec![address]),
        (Binary::Consumer, vec!["--node", address]),
        (Binary::Consumer, vec!["--tls-ca", address]),
        (Binary::Consumer, vec!["--kinds", address]),
        (Binary::Consumer, vec!["health", "--health-file", address]),
    ] {
        let done = Process::start(binary, dir.path(), NOWHERE, &args).wait();
        // `--log` accepts any name, so with that option only the connection to the broker fails.
        assert!(matches!(done.code, Some(1..=3)), "{args:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{args:?}");
        for part in ["s3c", "r3t"] {
            assert!(!done.stderr.contains(part), "{args:?}: {done:?}");
        }
    }
}

/// Damage to the manifest, on which `resume` relies, by an administrator or a disk.
#[test]
fn a_damaged_manifest() {
    let dir = tempdir().unwrap();
    let run = dir.path().join("runs/r1");
    fs::create_dir_all(&run).unwrap();
    let manifest = r#"{"version":1,"run":"r1","kind":"prime","bits":64,"count":9,"packing":{"most":4,"least":1,"workers":0},"priority":0,"output":"o"}"#;
    fs::write(run.join("manifest.json"), manifest).unwrap();
    let done = produce(dir.path(), NOWHERE, &["resume", "r1"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for text in ["manifest.json is damaged", "0 workers", "new run"] {
        assert!(done.stderr.contains(text), "{text:?}: {done:?}");
    }
}

#[test]
fn a_broker_that_cannot_be_used() {
    let broker = Broker::vhost();
    let login = &broker.url[..broker.url.rfind('/').unwrap()];
    assert_refused(
        NOWHERE,
        &[],
        3,
        &[
            "cannot reach the broker at amqp://guest@127.0.0.1:1/%2f",
            "refused",
            "--amqp-url",
        ],
    );
    let wrong = broker.url.replace(broker.password(), "wrong");
    assert_refused(&wrong, &[], 3, &["wrong user name or password"]);
    assert_refused(
        &format!("{login}/nowhere"),
        &[],
        3,
        &["\"nowhere\"", "not found", "add_vhost"],
    );
    let stranger = broker.user("stranger", ["^$", "^$", "^$"]);
    assert_refused(
        &stranger,
        &[],
        3,
        &["lacks a permission", "primepool.", "set_permissions"],
    );
    assert_refused("http://x", &[], 2, &["write amqp://"]);
    let secure = broker.url.replace("amqp://", "amqps://");
    assert_refused(&secure, &[], 3, &["TLS"]);
    let dir = tempdir().unwrap();
    for (url, text) in [
        (wrong, "wrong user name or password"),
        (format!("{login}/nowhere"), "add_vhost"),
        (stranger, "lacks a permission"),
    ] {
        let done = Process::start(Binary::Consumer, dir.path(), &url, &[]).wait();
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(
            done.stderr.contains(text),
            "{text:?} is not in {}",
            done.stderr
        );
    }
}

#[test]
fn a_user_who_may_not_declare_uses_what_is_there() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    Consumer::start(dir.path(), &broker, "declares").0.kill();
    let url = broker.user(
        "worker",
        [
            "^$",
            "^primepool\\.(results|dead)$",
            "^primepool\\.jobs\\..*$",
        ]
        .map(|pattern| pattern.replace('\\', ""))
        .each_ref()
        .map(String::as_str),
    );
    let _worker = Consumer::at(dir.path(), &url, &["--node", "worker"]);
    let done = produce(dir.path(), &broker.url, &["--count", "5", "--bits", "64"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(5, 64);
}

#[test]
fn a_queue_with_other_arguments() {
    let broker = Broker::vhost();
    broker.with_channel(async |channel| {
        let options = lapin::options::QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let arguments = lapin::types::FieldTable::default();
        channel
            .queue_declare("primepool.jobs.prime".into(), options, arguments)
            .await
            .unwrap();
    });
    let texts = ["inequivalent arg", "primepool.jobs.prime", "delete_queue"];
    assert_refused(&broker.url, &[], 3, &texts);
    let dir = tempdir().unwrap();
    let done = Process::start(Binary::Consumer, dir.path(), &broker.url, &[]).wait();
    assert_eq!(done.code, Some(3), "{done:?}");
}

#[test]
fn messages_that_are_no_work_units() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let json = || BasicProperties::default().with_content_type("application/json".into());
    let text = || BasicProperties::default().with_content_type("text/plain".into());
    let large = vec![b' '; primepool_common::message::MAX_BODY_BYTES + 1];
    let cases: [(&[u8], BasicProperties, &str); 6] = [
        (b"hello", json(), "malformed"),
        (b"\xff\x00", BasicProperties::default(), "malformed"),
        (b"hello", text(), "foreign: content type"),
        (
            br#"{"version":7,"run":"r1","unit":0,"kind":"prime"}"#,
            json(),
            "unknown version 7",
        ),
        (
            br#"{"version":1,"run":"r1","unit":0,"kind":"sing"}"#,
            json(),
            "unknown kind \"sing\"",
        ),
        (&large, json(), "oversized"),
    ];
    for (body, properties, reason) in cases {
        broker.publish("primepool.jobs", "prime", body, properties);
        let dead = wait_for("a dead letter", || broker.take("primepool.dead"));
        assert_eq!(dead.data, body, "the letter is kept as it was");
        let headers = dead.properties.headers().as_ref().unwrap().inner();
        let header = |name: &str| match &headers[name] {
            AMQPValue::LongString(text) => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(header("x-primepool-reason").contains(reason), "{headers:?}");
        assert_eq!(header("x-primepool-node"), "n1");
        assert_eq!(header("x-primepool-routing-key"), "prime");
    }
    assert_eq!(broker.ready("primepool.jobs.prime"), Some(0));
    let done = produce(dir.path(), &broker.url, &["--count", "5", "--bits", "64"]);
    assert_eq!(done.code, Some(0), "the consumer lives on: {done:?}");
}

#[test]
fn jobs_above_a_consumers_limit_are_rejected() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let of = ["--count", "10", "--bits", "513", "--unit-size", "4"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &of);
    wait_for("the units", || {
        (broker.ready("primepool.jobs.prime")? == 3).then_some(())
    });
    let args = ["--node", "n1", "--concurrency", "1", "--max-bits", "512"];
    let _consumer = Consumer::with(dir.path(), &broker, &args);
    let done = producer.wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("0 of 10 primes"), "{done:?}");
    assert!(done.stdout.contains("--max-bits"), "it says why: {done:?}");
    let results = Results::read(dir.path());
    assert_eq!(results.summary["jobs_rejected"], 10);
    assert_eq!(results.summary["error_rate"], 1.0);
    assert!(results.rows.iter().all(|row| row["outcome"] == "rejected"));
    // While the consumer is present, the producer refuses the run before it publishes anything.
    let refused = produce(dir.path(), &broker.url, &of);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let told = "no consumer takes prime jobs of 513 bits: the most is 512 bits";
    assert!(refused.stderr.contains(told), "{refused:?}");
}

#[test]
fn the_disk_for_the_results_is_full() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let output = dir.path().join("out.jsonl");
    symlink("/dev/full", &output).unwrap();
    let args = ["--count", "20", "--bits", "128", "--output", "out.jsonl"];
    let full = produce(dir.path(), &broker.url, &args);
    assert_eq!(full.code, Some(1), "{full:?}");
    let run = Results::read(dir.path()).run().to_owned();
    for text in [
        "out.jsonl",
        "No space left on device",
        &format!("producer resume {run}"),
    ] {
        assert!(
            full.stderr.contains(text),
            "{text:?} is not in {}",
            full.stderr
        );
    }
    // Once there is room on the disk, `resume` gets every result from the broker.
    fs::remove_file(&output).unwrap();
    let done = produce(dir.path(), &broker.url, &["resume", &run]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 20);
    assert_eq!(Results::read(dir.path()).summary["jobs_ok"], 20);
}

#[test]
fn one_producer_at_a_time() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let first = Process::start(Binary::Producer, dir.path(), &broker.url, &["--bits", "64"]);
    let run = Results::wait_for_run(dir.path());
    let second = produce(dir.path(), &broker.url, &["resume", &run]);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(
        second.stderr.contains("another producer is at work"),
        "{second:?}"
    );
    first.kill();
}

#[test]
fn an_address_in_a_file_is_read_as_people_write_it_or_refused_by_name() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let file = dir.path().join("address");
    let args = ["--amqp-url-file", "address", "--count", "3", "--bits", "64"];
    let run = |text: String| {
        fs::write(&file, text).unwrap();
        produce(dir.path(), "amqp://127.0.0.1:1", &args)
    };
    let done = run(format!("\u{feff}{}\r\n", broker.url));
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = run(format!("\"{}\"", broker.url));
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr.contains("--amqp-url-file address is in quotes"),
        "{done:?}"
    );
    assert!(!done.stderr.contains(broker.password()), "{done:?}");
}

#[test]
fn a_run_is_resumed_by_its_folder_the_start_of_its_name_or_as_the_latest() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = produce(dir.path(), &broker.url, &["--count", "1e1", "--bits", "64"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("10 of 10 primes"), "{done:?}");
    let run = Results::read(dir.path()).run().to_owned();
    let folder = format!("runs/{run}/");
    for args in [
        &["resume", &folder][..],
        &["resume", &run[..12]],
        &["resume"],
    ] {
        let done = produce(dir.path(), &broker.url, args);
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
        assert!(done.stdout.contains(&run), "{args:?}: {done:?}");
    }
    let done = produce(dir.path(), &broker.url, &["resume", "--runs-dir", "none"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("there is no run in none"), "{done:?}");
}

#[test]
fn a_host_may_have_the_longest_name_and_no_home() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let name = "n".repeat(64);
    let health = dir.path().join("health");
    // A UTS namespace of its own, in which the host name can be set.
    let script = r#"printf %s "$1" >/proc/sys/kernel/hostname && shift && exec "$@""#;
    let mut command = std::process::Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "--uts",
            "sh",
            "-c",
            script,
            "sh",
            &name,
        ])
        .arg(Binary::Consumer.path())
        .args(["--concurrency", "1", "--health-file"])
        .arg(&health)
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .env("TMPDIR", dir.path())
        .env("INFLUX_HOST", "http://127.0.0.1:1")
        .env("PRIMEPOOL_AMQP_URL", &broker.url);
    let _consumer = Process::spawn(command, "consumer", dir.path());
    wait_for("the consumer", || {
        let text = fs::read_to_string(&health).ok()?;
        text.contains(r#""connected":true"#).then_some(())
    });
    let done = produce(dir.path(), &broker.url, &["--count", "3", "--bits", "64"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(Results::read(dir.path()).rows[0]["node"], name.as_str());
}
