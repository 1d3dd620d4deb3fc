//! Runs with a real InfluxDB 2, where it was made: `infra/local/setup.sh --influxdb2`.

use std::{fs, path::Path, time::Duration};

use primepool_common::metrics::{MetricsWriter, Point};
use primepool_sandbox::{InfluxDb2, Lifetime, Reply, Role, http};
use primepool_tests::{
    Binary, Broker, Consumer, Database, Process, Recording, wait_for, workspace,
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    dashboards::{check_alerts, check_queries, check_reference},
    metrics::{self, write},
};

const LONG: Duration = Duration::from_secs(30);

/// A private InfluxDB 2, and the folder that it is in, which ends it.
fn start() -> Option<(InfluxDb2, TempDir)> {
    if !InfluxDb2::is_made() {
        eprintln!("there is no InfluxDB 2 here: infra/local/setup.sh --influxdb2 makes it");
        return None;
    }
    let own = tempdir().unwrap();
    let lifetime = Lifetime::with_this_process(own.path());
    let influxdb = InfluxDb2::start(&own.path().join("influxdb"), &lifetime).unwrap();
    Some((influxdb, own))
}

fn writer(influxdb: &InfluxDb2, role: Role, spool: &Path) -> MetricsWriter {
    let (url, token) = (influxdb.url().unwrap(), influxdb.token(role).unwrap());
    metrics::writer(&url, "primepool", &token, spool)
}

/// The first row of an InfluxQL query, without its time.
fn row(influxdb: &InfluxDb2, influxql: &str) -> Vec<Value> {
    let Reply { status, body } = influxdb.query(influxql).unwrap();
    assert_eq!(status, 200, "{influxql}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let values = answer["results"][0]["series"][0]["values"][0].as_array();
    values.map_or_else(Vec::new, |row| row[1..].to_vec())
}

fn points(influxdb: &InfluxDb2) -> u64 {
    let row = row(influxdb, "SELECT count(\"number\") FROM job");
    row.first().map_or(0, |count| count.as_u64().unwrap())
}

#[test]
fn it_gives_back_what_was_written() {
    let (Some((influxdb, _own)), dir) = (start(), tempdir().unwrap()) else {
        return;
    };
    let writer = writer(&influxdb, Role::Writer, dir.path());
    let said = "it's \"done\", C:\\new\\, a=b c";
    writer.write(
        &Point::new("run", 1_700_000_000_123_456_789)
            .tag("run", "r 1,a=b")
            .field("text", said.to_owned())
            .field("float", 0.1)
            .field("integer", 1_u64 << 60)
            .field("boolean", true),
    );
    write(&writer, 12_000);
    let stats = writer.close(LONG);
    assert_eq!((stats.written, stats.dropped), (12_002, 0), "{stats:?}");
    assert_eq!(points(&influxdb), 12_000);
    let query = "SELECT text, \"float\", \"integer\", \"boolean\", run FROM run";
    let expected: [Value; 5] = [
        said.into(),
        0.1.into(),
        (1_u64 << 60).into(),
        true.into(),
        "r 1,a=b".into(),
    ];
    assert_eq!(row(&influxdb, query), expected);
    let flux = "from(bucket: \"primepool\") |> range(start: 2023-01-01T00:00:00Z) \
                |> filter(fn: (r) => r._measurement == \"job\" and r._field == \"number\") |> count()";
    let answer = influxdb.flux(flux).unwrap();
    assert!(answer.body.contains(",12000"), "{answer:?}");
}

#[test]
fn each_token_may_do_what_it_is_for_and_no_more() {
    let (Some((influxdb, _own)), dir) = (start(), tempdir().unwrap()) else {
        return;
    };
    let reading = writer(&influxdb, Role::Reader, &dir.path().join("reader"));
    write(&reading, 10);
    let stats = reading.close(Duration::from_secs(5));
    assert_eq!((stats.written, stats.spooled), (0, 11), "{stats:?}");
    let writing = writer(&influxdb, Role::Writer, &dir.path().join("writer"));
    write(&writing, 10);
    assert_eq!(writing.close(LONG).written, 11);
    assert_eq!(points(&influxdb), 10, "with the reader's token");
    let url = influxdb.url().unwrap();
    let query = format!("{url}/query?db=primepool&q=SHOW+MEASUREMENTS");
    // InfluxQL takes a token as the password of any user.
    let login = |role: Role| format!("any:{}", influxdb.token(role).unwrap());
    let measurements = |role| http("POST", &query, Some(&login(role)), "").unwrap();
    assert!(measurements(Role::Reader).body.contains("\"job\""));
    let refused = measurements(Role::Writer);
    assert!(
        refused.status != 200 || !refused.body.contains("\"job\""),
        "{refused:?}"
    );
    for role in [Role::Writer, Role::Reader] {
        let users = http(
            "GET",
            &format!("{url}/api/v2/users"),
            Some(&login(role)),
            "",
        )
        .unwrap();
        assert!(!users.body.contains("admin"), "{users:?}");
    }
}

#[test]
fn points_that_come_while_it_is_away_are_written_when_it_is_back() {
    let (Some((influxdb, _own)), dir) = (start(), tempdir().unwrap()) else {
        return;
    };
    let writer = writer(&influxdb, Role::Writer, dir.path());
    write(&writer, 1000);
    wait_for("the first points", || {
        (points(&influxdb) == 1000).then_some(())
    });
    influxdb.kill().unwrap();
    write(&writer, 20_000);
    wait_for("an attempt in vain", || {
        (writer.stats().write_errors > 0).then_some(())
    });
    influxdb.restart().unwrap();
    let stats = writer.close(LONG);
    assert_eq!((stats.dropped, stats.spooled), (0, 0), "{stats:?}");
    assert_eq!(points(&influxdb), 21_000);
}

#[test]
fn a_run_is_in_it_job_by_job() {
    let Some((influxdb, _own)) = start() else {
        return;
    };
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let (url, token) = (influxdb.url().unwrap(), influxdb.token_file(Role::Writer));
    let server = [
        "--influx-host",
        &url,
        "--influx-org",
        "primepool",
        "--influx-token-file",
        token.to_str().unwrap(),
    ];
    let args = [
        &["--node", "n1", "--metrics-interval", "250ms"],
        &server[..],
    ]
    .concat();
    let consumer = Consumer::with(dir.path(), &broker, &args);
    let args = [&["--count", "300", "--bits", "512"], &server[..]].concat();
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    assert_eq!(row(&influxdb, "SELECT sum(jobs) FROM job"), [300]);
    let ends = "SELECT count(jobs) FROM run WHERE event = 'end'";
    assert_eq!(row(&influxdb, ends), [1]);
    let flux = "from(bucket: \"primepool\") |> range(start: -1h) \
                |> filter(fn: (r) => r._measurement == \"job\" and r._field == \"jobs\") \
                |> group() |> sum()";
    let answer = influxdb.flux(flux).unwrap();
    assert!(answer.body.contains(",300"), "{answer:?}");
}

#[test]
fn every_query_of_dashboards_alerts_and_reference_gives_something() {
    let (Some((influxdb, _own)), Some((ill, _its))) = (start(), start()) else {
        return;
    };
    let (recording, ill) = (Recording::get(), Database::of_influxdb_2(&ill));
    let healthy = recording.copy_to(&influxdb);
    let reference = fs::read_to_string(workspace().join("docs/METRICS.md")).unwrap();
    let examples: Vec<_> = reference.split("```flux\n").skip(1).collect();
    assert!(examples.len() >= 5, "examples in ```flux");
    for example in examples {
        let flux = example.split("```").next().unwrap();
        let Reply { status, body } = influxdb.flux(flux).unwrap();
        // A table has a line with its columns, and one for each row.
        assert!(status == 200 && body.lines().count() > 1, "{flux}{body}");
        assert!(!body.contains("error,reference"), "{flux}{body}");
    }
    check_alerts(&healthy, &ill, recording.span);
    check_queries(&healthy, recording.span);
    check_reference(&healthy, recording.span);
}
