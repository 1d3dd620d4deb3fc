//! Runs without faults.

use std::{collections::BTreeMap, fs, path::Path};

use primepool_tests::{Binary, Broker, Consumer, Process, Results, primes, wait_for};
use rug::{Integer, integer::IsPrime};
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn a_hundred_primes_of_1024_bits() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = ["--count", "100", "--bits", "1024"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("100 of 100 primes of 1024 bits"),
        "{}",
        done.stdout
    );

    let results = Results::read(dir.path());
    results.assert_primes(100, 1024);
    let summary = &results.summary;
    for (field, expected) in [
        ("jobs", 100),
        ("jobs_ok", 100),
        ("jobs_missing", 0),
        ("duplicates", 0),
    ] {
        assert_eq!(summary[field], expected, "{summary}");
    }
    assert_eq!(summary["error_rate"], 0.0);
    for figure in ["jobs_per_s", "efficiency", "elapsed_s"] {
        assert!(
            summary[figure].as_f64().unwrap() > 0.0,
            "{figure}: {summary}"
        );
    }
    for quantiles in ["latency_ms", "queue_wait_ms", "compute_ms"] {
        let q = |name| summary[quantiles][name].as_f64().unwrap();
        assert!(q("p50") <= q("p95") && q("p95") <= q("p99") && q("p99") <= q("max"));
    }
    let node = &summary["nodes"][0];
    assert_eq!(node["node"], "n1");
    assert_eq!(node["workers"], 2);
    let rss = node["rss_bytes"].as_u64().unwrap();
    assert!(
        rss > 1_000_000 && rss < 30_000_000,
        "resident memory of the consumer: {rss}"
    );
    // A run shorter than 0.2 s has no such figure.
    assert!(
        node["pool_cpu_pct"]
            .as_f64()
            .is_none_or(|pct| (0.0..=100.0).contains(&pct))
    );

    // Nothing of the run is left on the broker.
    assert_eq!(
        broker.ready(&format!("primepool.results.{}", results.run())),
        None
    );
    assert_eq!(broker.ready("primepool.jobs.prime"), Some(0));
    assert_eq!(broker.ready("primepool.dead"), Some(0));
}

/// Consumers leave one test of each prime to a producer that verifies all of them.
#[test]
fn a_run_whose_consumers_rely_on_verification_is_verified_when_it_is_resumed() {
    let broker = Broker::vhost();
    let produce = |dir: &Path, args: &[&str]| {
        let done = Process::start(Binary::Producer, dir, &broker.url, args).wait();
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout.trim().to_owned()
    };
    let detach = ["--count=9", "--bits=512", "--unit-size=9", "--detach"];
    for (verify, expected) in [("all", Value::Bool(true)), ("sample", Value::Null)] {
        let dir = tempdir().unwrap();
        produce(dir.path(), &[&detach[..], &["--verify", verify]].concat());
        let unit = wait_for("the unit", || broker.take("primepool.jobs.prime"));
        let unit: Value = serde_json::from_slice(&unit.delivery.data).unwrap();
        assert_eq!(unit["verified"], expected, "{unit}");
    }
    let dir = tempdir().unwrap();
    let run = produce(dir.path(), &detach);
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    produce(dir.path(), &["resume", &run, "--verify", "none"]);
    let results = Results::read(dir.path());
    results.assert_primes(9, 512);
    assert_eq!(results.summary["verified"], "all");
}

#[test]
fn the_metrics_are_line_protocol() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = ["--count", "50", "--bits", "256"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    let text = fs::read_to_string(results.folder.join("metrics.lp")).unwrap();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut jobs_counted = 0;
    for line in text.lines() {
        // The tags have no spaces here; a text among the fields may have some.
        let (series, rest) = line.split_once(' ').expect(line);
        let (fields, at) = rest.rsplit_once(' ').expect(line);
        at.parse::<u64>().expect(line);
        let measurement = series.split(',').next().unwrap();
        *counts.entry(measurement).or_default() += 1;
        if measurement == "job" {
            let tags = format!(
                "job,run={},node=n1,kind=prime,bits=256,outcome=ok",
                results.run()
            );
            assert_eq!(series, tags);
            let jobs = fields
                .strip_prefix("jobs=")
                .and_then(|f| f.split_once("i,latency_ms="));
            jobs_counted += jobs.expect(line).0.parse::<u32>().unwrap();
        }
    }
    assert_eq!(jobs_counted, 50);
    assert_eq!(counts["run"], 2, "{counts:?}");
    assert!(counts["node"] >= 2 && counts["queue"] >= 1, "{counts:?}");
}

#[test]
fn the_management_api_adds_what_amqp_does_not_tell() {
    let ((broker, management), dir) = (Broker::with_management(), tempdir().unwrap());
    let _consumer = Consumer::with(dir.path(), &broker, &["--node", "n1", "--concurrency", "1"]);
    let start = |dir: &Path, url: &str| {
        let args = [
            "--count",
            "100000",
            "--bits",
            "1024",
            "--management-url",
            url,
        ];
        Process::start(Binary::Producer, dir, &broker.url, &args)
    };
    let points = |dir: &Path| {
        let folder = Results::folder(dir)?;
        let text = fs::read_to_string(folder.join("metrics.lp")).ok()?;
        let queue = text.lines().filter(|line| line.starts_with("queue,"));
        Some(queue.map(str::to_owned).collect::<Vec<_>>())
    };
    let largest = |lines: &[String], field: &str| {
        let values = lines.iter().filter_map(|line| {
            let (_, value) = line.split_once(field)?;
            value.split([',', ' ', 'i']).next()?.parse().ok()
        });
        values.fold(-1.0, f64::max)
    };
    let running = start(dir.path(), &management);
    // The broker updates its figures every five seconds; a rate needs two samples of a queue.
    wait_for("figures of the management API", || {
        let lines = points(dir.path())?;
        let is_there = |field| largest(&lines, field) > 0.0;
        (is_there("unacked=") && is_there("deliver_rate=")).then_some(())
    });
    assert!(largest(&points(dir.path()).unwrap(), "publish_rate=") >= 0.0);
    running.signal("INT");
    assert_eq!(running.wait().code, Some(130));

    let (dir, wrong) = (tempdir().unwrap(), format!("{management}/nowhere"));
    let running = start(dir.path(), &wrong);
    running.wait_for_line("metrics lack");
    running.signal("INT");
    let done = running.wait();
    assert_eq!(done.stderr.matches("metrics lack").count(), 1, "{done:?}");
    let lines = points(dir.path()).unwrap();
    assert!(!lines.is_empty());
    assert!(
        !lines.iter().any(|line| line.contains("unacked=")),
        "{lines:?}"
    );
}

#[test]
fn a_consumer_that_subscribes_anew_for_short_units_does_each_of_them_once() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    let queue = "primepool.jobs.noop";
    wait_for("the subscription", || broker.consumers(queue));
    let args = ["--kind", "noop", "--count", "15000", "--unit-size", "1"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let summary = Results::read(dir.path()).summary;
    assert_eq!(summary["jobs_ok"], 15_000, "{summary}");
    assert_eq!(summary["duplicates"], 0, "{summary}");
    wait_for("the end of the subscriptions before", || {
        (broker.consumers(queue) == Some(1)).then_some(())
    });
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    assert_eq!(broker.ready(queue), Some(0));
    assert_eq!(broker.ready("primepool.dead"), Some(0));
}

#[test]
fn safe_primes() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = ["--count", "10", "--bits", "128", "--kind", "safe-prime"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(10, 128);
    for prime in primes(&results.rows) {
        assert_ne!((prime >> 1_u32).is_probably_prime(40), IsPrime::No);
    }
}

#[test]
fn next_primes() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    fs::write(
        dir.path().join("starts"),
        "100\n0xffffffffffffffffffffffff\n\n-7\n",
    )
    .unwrap();
    let args = [
        "--kind",
        "next-prime",
        "--after",
        "7",
        "--after",
        "-0x5",
        "--after-file",
        "starts",
    ];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let large = Integer::from(u128::MAX >> 32);
    let expected = [
        11.into(),
        2.into(),
        101.into(),
        large.next_prime(),
        Integer::from(2),
    ];
    assert_eq!(primes(&Results::read(dir.path()).rows), expected);
}

#[test]
fn a_seeded_run_repeats_itself_whatever_the_units() {
    let broker = Broker::vhost();
    let consumers = tempdir().unwrap();
    let _first = Consumer::start(consumers.path(), &broker, "n1");
    let _second = Consumer::with(
        consumers.path(),
        &broker,
        &["--node", "n2", "--concurrency", "1"],
    );
    let run = |size: &str, seed: &str, method: &str| {
        let dir = tempdir().unwrap();
        let args = [
            "--method",
            method,
            "--count",
            "40",
            "--bits",
            "200",
            "--seed",
            seed,
            "--unit-size",
            size,
        ];
        let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
        assert_eq!(done.code, Some(0), "{done:?}");
        primes(&Results::read(dir.path()).rows)
    };
    let once = run("1", "7", "incremental");
    assert_eq!(once, run("13", "7", "incremental"));
    assert_ne!(once, run("13", "8", "incremental"));
    let uniform = run("13", "7", "uniform");
    assert_ne!(once, uniform);
    assert_eq!(uniform, run("40", "7", "uniform"));
}

#[test]
fn empty_jobs_measure_dispatch() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = [
        "--count",
        "500",
        "--kind",
        "noop",
        "--unit-size",
        "1",
        "--json",
    ];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let printed: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(printed["jobs_ok"], 500);
    assert_eq!(printed["units"], 500);
    assert_eq!(printed, Results::read(dir.path()).summary);
}

#[test]
fn each_kind_goes_to_those_who_take_it() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let only = |node, kinds| {
        Consumer::with(
            dir.path(),
            &broker,
            &["--node", node, "--concurrency", "1", "--kinds", kinds],
        )
    };
    let (_primes, _safe) = (
        only("primes", "prime,next-prime"),
        only("safe", "safe-prime"),
    );
    let args = ["--count", "20", "--bits", "64", "--kind", "safe-prime"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    assert!(results.rows.iter().all(|row| row["node"] == "safe"));
}

/// Parses the JSON lines of a log.
fn json(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn logs_for_collectors_have_the_fields_of_run_and_unit() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let logs = ["--log", "debug", "--log-format", "json"];
    let node = ["--node", "n1", "--concurrency", "1"];
    let consumer = Consumer::with(dir.path(), &broker, &[&node[..], &logs].concat());
    let args = [
        &["--count", "3", "--bits", "64", "--unit-size", "1"][..],
        &logs,
    ]
    .concat();
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let run = Results::read(dir.path()).run().to_owned();
    consumer.0.signal("TERM");
    let left = consumer.0.wait();
    let worked = json(&left.stderr);
    let worked = worked.iter().filter(|line| line["message"] == "done");
    let units: Vec<_> = worked
        .map(|line| {
            let [node, unit] = &line["spans"].as_array().unwrap()[..] else {
                panic!("{line}")
            };
            assert_eq!(
                (&node["name"], &node["node"]),
                (&"consumer".into(), &"n1".into())
            );
            assert_eq!(
                (&unit["run"], &unit["kind"]),
                (&run.as_str().into(), &"prime".into())
            );
            assert_eq!((&unit["worker"], &line["jobs"]), (&0.into(), &1.into()));
            unit["unit"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(units.len(), 3, "{}", left.stderr);
    let published = json(&done.stderr);
    let mut published = published
        .iter()
        .filter(|line| line["message"] == "publishing a unit");
    assert!(published.all(|line| line["spans"][0]["run"] == run.as_str()));
}
