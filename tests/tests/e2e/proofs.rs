//! Results with certificates of primality: from the consumer to the file, and their checks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use primepool_tests::{
    Binary, Broker, Consumer, Process, Results, assert_factored, wait_for, workspace,
};
use serde_json::{Value, json};
use tempfile::tempdir;

/// Output of `primepool check --json` for a file, and its exit status.
fn check(args: &[&str]) -> (Value, Option<i32>) {
    let output = Binary::Monitor
        .command()
        .args(["check", "--json"])
        .args(args)
        .output()
        .unwrap();
    let figures = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (figures, output.status.code())
}

/// Output of the Python program in docs/CERTIFICATES.md for a file of results: empty if all results
/// are proven.
pub(crate) fn check_by_the_documentation(dir: &Path, results: &Path) -> String {
    let page = fs::read_to_string(workspace().join("docs/CERTIFICATES.md")).unwrap();
    let (_, code) = page.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let program = dir.join("check.py");
    fs::write(&program, code).unwrap();
    let output = Command::new("python3").arg(&program).arg(results).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Does a run with one consumer; returns its results and the path of their file.
pub(crate) fn run(dir: &Path, args: &[&str]) -> (Results, PathBuf) {
    let broker = Broker::vhost();
    let _consumer = Consumer::start(dir, &broker, "n1");
    let done = Process::start(Binary::Producer, dir, &broker.url, args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir);
    assert_eq!(results.summary["jobs_proven"], results.summary["jobs"]);
    let file = results.folder.join("results.jsonl");
    (results, file)
}

#[test]
fn random_primes_come_with_their_proof() {
    for (kind, bits, count) in [
        ("prime", 64, 20),
        ("prime", 320, 100),
        ("safe-prime", 160, 20),
    ] {
        let dir = tempdir().unwrap();
        let (bits, jobs) = (bits.to_string(), count.to_string());
        let args = [
            "--kind", kind, "--bits", &bits, "--count", &jobs, "--method", "provable",
        ];
        let (_, file) = run(dir.path(), &args);
        assert_eq!(check_by_the_documentation(dir.path(), &file), "");
        let is_safe = kind == "safe-prime";
        let file = file.to_str().unwrap();
        let args: &[&str] = if is_safe {
            &["--proven", "--safe", file]
        } else {
            &["--proven", file]
        };
        let expected = json!({"proven": count, "probable": 0, "incomplete": 0, "wrong": 0});
        assert_eq!(check(args), (expected, Some(0)));
    }
}

#[test]
fn factors_of_one_worker_and_of_the_pool_are_proven() {
    let dir = tempdir().unwrap();
    // A product that the whole pool factors, small numbers side by side, and a large number alone.
    let semiprime = "52656145834278593348979045851297189293257221599881187251524038361";
    let args = [
        "factor",
        "--prove",
        semiprime,
        "1000000016000000063",
        "0xdeadbeefcafebabedeadbeef",
        "115792089237316195423570985008687907853269984665640564039457584007913129639937",
    ];
    let (results, file) = run(dir.path(), &args);
    assert_factored(&results.rows);
    assert!(results.rows.iter().all(|row| row["proven"] == true));
    let manifest = fs::read(results.folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["version"], 4, "older producers must not resume it");
    assert_eq!(check_by_the_documentation(dir.path(), &file), "");
    let (figures, status) = check(&["--proven", results.folder.to_str().unwrap()]);
    assert_eq!((&figures["proven"], status), (&json!(4), Some(0)));
}

#[test]
fn what_cannot_be_proven_is_called_probable() {
    let dir = tempdir().unwrap();
    let broker = Broker::vhost();
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let large = format!("0x1{}", "0".repeat(150));
    let args = [
        "--kind",
        "next-prime",
        "--prove",
        "--after",
        "1000000000000000000000",
        "--after",
        &large,
    ];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("proven: 1 of 2, probable: 1"),
        "{}",
        done.stdout
    );
    let results = Results::read(dir.path());
    let of = |job: u64| results.rows.iter().find(|row| row["job"] == job).unwrap();
    assert_eq!(of(0).get("probable"), None);
    assert_eq!(of(1)["probable"], json!([of(1)["prime"]]));
    assert_eq!(of(1)["bound"], "2^-2");
    let folder = results.folder.to_str().unwrap();
    let expected = json!({"proven": 1, "probable": 1, "incomplete": 0, "wrong": 0});
    assert_eq!(check(&[folder]), (expected.clone(), Some(0)));
    assert_eq!(check(&["--proven", folder]), (expected, Some(1)));
    // A file from elsewhere, with a forged line.
    let file = dir.path().join("others.jsonl");
    let text = fs::read_to_string(results.folder.join("results.jsonl")).unwrap();
    let forged = text
        .lines()
        .next()
        .unwrap()
        .replacen("\"prime\":\"0x", "\"prime\":\"0x1", 1);
    fs::write(&file, format!("{{\"prime\":\"97\"}}\n{forged}\n")).unwrap();
    let expected = json!({"proven": 1, "probable": 0, "incomplete": 0, "wrong": 1});
    assert_eq!(check(&[file.to_str().unwrap()]), (expected, Some(1)));
}

#[test]
fn a_run_with_proofs_is_resumed() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = [
        "--count",
        "40",
        "--bits",
        "256",
        "--method",
        "provable",
        "--seed",
        "5",
        "--unit-size",
        "4",
    ];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let run = Results::wait_for_run(dir.path());
    wait_for("units", || {
        broker
            .ready("primepool.jobs.prime")
            .filter(|&ready| ready > 0)
    });
    producer.kill();
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(40, 256);
    assert!(results.rows.iter().all(|row| {
        row["certificate"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    }));
}
