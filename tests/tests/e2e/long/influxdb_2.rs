//! Runs with a real InfluxDB 2, if it was built: `infra/local/setup.sh --influxdb2`.

use std::{fs, time::Duration};

use primepool_sandbox::{Reply, Role};
use primepool_tests::{
    Binary, Broker, Consumer, Database, Influx, Process, Recording, Results, workspace,
};
use tempfile::tempdir;

use crate::{
    dashboards::{check_alerts, check_queries, check_reference},
    experiment_influx, make_run,
    metrics::{self, LONG, write},
    metrics_faults,
};

/// The result of a query in Flux, as CSV.
fn flux(influx: &Influx, flux: &str) -> String {
    let Reply { status, body } = influx.influxdb_2().flux(flux).unwrap();
    assert!(
        status == 200 && !body.contains("error,reference"),
        "{flux}{body}"
    );
    body
}

/// Defines tests that repeat a test of InfluxDB 1.x with a fresh InfluxDB 2.
macro_rules! as_with_influxdb_1 {
    ($($name:ident: $test:path;)*) => {
        $(#[test]
        fn $name() {
            if let Some(influx) = Influx::private_2() {
                $test(&influx);
            }
        })*
    };
}

as_with_influxdb_1! {
    it_gives_back_what_was_written: metrics::gives_back_what_was_written;
    it_leaves_out_a_field_of_another_type: metrics::leaves_out_a_field_of_another_type;
    it_leaves_out_what_is_older_than_its_retention: metrics::leaves_out_what_is_older_than_its_retention;
    it_is_killed_in_the_middle_of_a_run: metrics_faults::killed_in_the_middle_of_a_run;
    it_refuses_a_wrong_token: metrics_faults::wrong_token;
    it_answers_slowly: metrics_faults::slow_answers;
    it_is_too_busy: metrics_faults::too_busy;
    its_report_of_an_experiment_is_that_of_the_folder: experiment_influx::report_is_the_same;
}

#[test]
fn it_gets_the_points_after_its_disk_was_full() {
    if Influx::is_2_made() {
        metrics::after_a_full_disk(
            "long::influxdb_2::it_gets_the_points_after_its_disk_was_full",
            Influx::in_folder_2,
        );
    }
}

#[test]
fn make_run_writes_to_it_and_reads_its_summary_from_it() {
    if let Some(influx) = Influx::private_2() {
        make_run::influxdb_of_the_users_own(&influx, "primepool");
    }
}

#[test]
fn each_token_may_do_what_it_is_for_and_no_more() {
    let Some(influx) = Influx::private_2() else {
        return;
    };
    let (server, dir) = (influx.influxdb_2(), tempdir().unwrap());
    let write_as = |role: Role, limit| {
        let spool = dir.path().join(format!("{role:?}"));
        let token = server.token(role).unwrap();
        let writer = metrics::writer(&influx.url, "primepool", &token, &spool);
        write(&writer, 10);
        writer.close(limit)
    };
    let stats = write_as(Role::Reader, Duration::from_secs(5));
    assert_eq!((stats.written, stats.spooled), (0, 11), "{stats:?}");
    for role in [Role::Writer, Role::Producer] {
        assert_eq!(write_as(role, LONG).written, 11, "{role:?}");
    }
    let ask = |role, path| server.ask(role, "POST", path, "").unwrap();
    let query = "/query?db=primepool&q=SHOW+MEASUREMENTS";
    for role in [Role::Reader, Role::Producer, Role::Operator] {
        assert!(ask(role, query).body.contains("\"job\""), "{role:?}");
    }
    let refused = ask(Role::Writer, query);
    assert!(
        refused.status != 200 || !refused.body.contains("\"job\""),
        "{refused:?}"
    );
    let users = |role| server.ask(role, "GET", "/api/v2/users", "").unwrap().body;
    assert!(users(Role::Operator).contains("admin"));
    for role in [Role::Writer, Role::Reader, Role::Producer] {
        assert!(!users(role).contains("admin"), "{role:?}");
    }
}

#[test]
fn points_that_come_while_it_is_away_are_written_when_it_is_back() {
    if let Some(influx) = Influx::private_2() {
        metrics::points_wait(&influx, || influx.kill(), || influx.start_again());
    }
}

#[test]
fn a_run_is_in_it_job_by_job() {
    let Some(influx) = Influx::private_2() else {
        return;
    };
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    // The token for writing is sufficient for a consumer.
    let token = influx.influxdb_2().token_file(Role::Writer);
    let mut flags = influx.flags();
    let producer: Vec<&str> = ["--count", "300", "--bits", "512"]
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .collect();
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &producer);
    flags[5] = token.to_str().unwrap().to_owned();
    let consumer: Vec<&str> = ["--node", "n1", "--metrics-interval", "250ms"]
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .collect();
    let consumer = Consumer::with(dir.path(), &broker, &consumer);
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.stderr.contains(" WARN "), "{}", done.stderr);
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    let first = |influxql| influx.rows("primepool", influxql)[0][1].clone();
    assert_eq!(first("SELECT sum(jobs) FROM job"), 300);
    let ends = "SELECT count(jobs) FROM run WHERE event = 'end'";
    assert_eq!(first(ends), 1);
    assert!(first("SELECT count(busy_s) FROM node WHERE \"run\" = ''").as_u64() > Some(0));
    let summary = Results::read(dir.path()).summary;
    assert_eq!(summary["influxdb"]["jobs_ok"], 300, "{summary}");
    let jobs = "from(bucket: \"primepool\") |> range(start: -1h) \
                |> filter(fn: (r) => r._measurement == \"job\" and r._field == \"jobs\") \
                |> group() |> sum()";
    assert!(flux(&influx, jobs).contains(",300"));
}

#[test]
fn every_query_of_dashboards_alerts_and_reference_gives_something() {
    let (Some(influx), Some(ill)) = (Influx::private_2(), Influx::private_2()) else {
        return;
    };
    let (recording, ill) = (Recording::get(), Database::create(&ill, "primepool"));
    let healthy = recording.copy_to(&influx);
    let reference = fs::read_to_string(workspace().join("docs/METRICS.md")).unwrap();
    let examples: Vec<_> = reference.split("```flux\n").skip(1).collect();
    assert!(examples.len() >= 5, "examples in ```flux");
    for example in examples {
        let answer = flux(&influx, example.split("```").next().unwrap());
        // A result table has a header line and a line for each row.
        assert!(answer.lines().count() > 1, "{example}{answer}");
    }
    check_alerts(&healthy, &ill, recording.span);
    check_queries(&healthy, recording.span);
    check_reference(&healthy, recording.span);
}
