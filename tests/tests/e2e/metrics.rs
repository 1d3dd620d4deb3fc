//! Metrics on real servers: InfluxDB 1.x and VictoriaMetrics. `long/influxdb_2.rs` repeats the
//! `pub(crate)` tests of this file with InfluxDB 2.
//!
//! Behaviour with faulty servers is tested in `common/src/metrics/tests.rs`.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use primepool_common::{
    clock::unix_ns,
    metrics::{InfluxTarget, MetricsWriter, Point, Source, WriterOptions},
};
use primepool_tests::{Influx, Victoria, wait_for};
use tempfile::{TempDir, tempdir};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A metrics writer of the consumer `n1`, for the organisation `primepool`.
pub(crate) fn writer(url: &str, bucket: &str, token: &str, spool: &Path) -> MetricsWriter {
    let target = InfluxTarget::new(url, "primepool", bucket, token).unwrap();
    let mut options = WriterOptions::new(Source::Consumer, "n1", spool.join("spool"));
    options.interval = Duration::from_millis(100);
    MetricsWriter::start(&target, options).unwrap()
}

/// A metrics writer to the bucket `primepool`, with its spool in a folder of its own.
pub(crate) fn writer_to(influx: &Influx) -> (MetricsWriter, TempDir) {
    // A query could otherwise come before the first write has created the database.
    influx.create("primepool");
    let dir = tempdir().unwrap();
    let writer = writer(&influx.url, "primepool", &influx.token, dir.path());
    (writer, dir)
}

/// Number of points of `job` in the database.
pub(crate) fn points(influx: &Influx) -> u64 {
    influx.count("primepool", "job", "number")
}

/// Writes `count` points of `job`, one nanosecond apart.
pub(crate) fn write(writer: &MetricsWriter, count: u64) {
    let first = unix_ns();
    for number in 0..count {
        writer.write(
            &Point::new("job", first + number)
                .tag("node", "n1")
                .field("number", number),
        );
    }
}

/// Captures the log of this thread and of the writer threads that it starts.
fn log() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Sink(Arc::clone(&sink)))
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn text(log: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(log.lock().unwrap().clone()).unwrap()
}

#[test]
fn influxdb_1_gives_back_what_was_written() {
    gives_back_what_was_written(&Influx::private());
}

pub(crate) fn gives_back_what_was_written(influx: &Influx) {
    let (writer, _spool) = writer_to(influx);
    let said = "it's \"done\", C:\\new\\, a=b c";
    writer.write(
        &Point::new("run", 1_700_000_000_123_456_789)
            .tag("run", "r 1,a=b")
            .field("text", said.to_owned())
            .field("float", 0.1)
            .field("integer", u64::MAX)
            .field("boolean", true),
    );
    write(&writer, 12_000);
    let stats = writer.close(LONG);
    assert_eq!((stats.written, stats.dropped), (12_002, 0), "{stats:?}");
    let query = "SELECT text, \"float\", \"integer\", \"boolean\", run FROM run";
    let row = &influx.rows("primepool", query)[0];
    assert_eq!(row[0], "2023-11-14T22:13:20.123456789Z");
    assert_eq!(row[1], said);
    assert_eq!(row[2], 0.1);
    assert_eq!(row[3], i64::MAX);
    assert_eq!(row[4], true);
    assert_eq!(row[5], "r 1,a=b");
    assert_eq!(points(influx), 12_000);
    let query = "SELECT points_dropped FROM metrics WHERE source = 'consumer' AND node = 'n1'";
    assert_eq!(influx.rows("primepool", query)[0][1], 0);
}

#[test]
fn influxdb_1_with_a_user_who_may_only_write() {
    let (influx, dir) = (Influx::private(), tempdir().unwrap());
    for statement in [
        "CREATE USER writer WITH PASSWORD 'w'",
        "CREATE DATABASE there",
        "GRANT WRITE ON there TO writer",
    ] {
        influx.query("", statement);
    }
    let there = writer(&influx.url, "there", "writer:w", dir.path());
    write(&there, 10);
    assert_eq!(there.close(LONG).written, 11);
    let (log, _guard) = log();
    for bucket in ["missing", "there/missing"] {
        let spool = dir.path().join(bucket);
        let missing = writer(&influx.url, bucket, "writer:w", &spool);
        write(&missing, 10);
        assert_eq!(missing.close(Duration::from_secs(5)).spooled, 11);
    }
    let said = text(&log);
    assert_eq!(said.matches("ERROR").count(), 2, "{said}");
    assert_eq!(said.matches("INFLUX_BUCKET").count(), 2, "{said}");
}

#[test]
fn influxdb_1_leaves_out_what_it_cannot_keep_and_keeps_the_rest() {
    leaves_out_a_field_of_another_type(&Influx::private());
    leaves_out_what_is_older_than_its_retention(&Influx::private());
}

pub(crate) fn leaves_out_a_field_of_another_type(influx: &Influx) {
    leaves_out_seven(influx, |number| {
        Point::new("job", unix_ns() + number).field("number", "seven")
    });
}

pub(crate) fn leaves_out_what_is_older_than_its_retention(influx: &Influx) {
    influx.keep_an_hour();
    let two_hours = 7_200_000_000_000;
    leaves_out_seven(influx, |number| {
        Point::new("job", unix_ns() - two_hours + number).field("number", number)
    });
}

/// Writes seven points that the server refuses, between others that it accepts.
fn leaves_out_seven(influx: &Influx, refused: impl Fn(u64) -> Point<'static>) {
    let (writer, _spool) = writer_to(influx);
    write(&writer, 100);
    for number in 0..7 {
        writer.write(&refused(number));
    }
    write(&writer, 100);
    let stats = writer.close(LONG);
    assert_eq!((stats.refused, stats.written), (7, 201), "{stats:?}");
    assert_eq!(points(influx), 200);
}

#[test]
fn influxdb_1_gets_the_points_after_its_disk_was_full() {
    after_a_full_disk(
        "metrics::influxdb_1_gets_the_points_after_its_disk_was_full",
        Influx::in_folder,
    );
}

/// A server whose disk is full for a while; `test` is the name of the calling test.
pub(crate) fn after_a_full_disk(test: &str, start: fn(PathBuf) -> Influx) {
    const INSIDE: &str = "PRIMEPOOL_TEST_OWN_MOUNTS";
    let run = |command: &mut Command| {
        let done = command.output().unwrap();
        assert!(done.status.success(), "{command:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    if env::var_os(INSIDE).is_none() {
        // The mount is visible only in this namespace, and vanishes with its last process.
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user", "--mount"]);
        again.arg(env::current_exe().unwrap());
        let said = run(again
            .args([test, "--exact", "--nocapture"])
            .env(INSIDE, "1"));
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    let disk = tempdir().unwrap();
    let options = ["-t", "tmpfs", "-o", "size=64m", "tmpfs"];
    run(Command::new("mount").args(options).arg(disk.path()));
    let influx = start(disk.path().join("influxdb"));
    let filler = disk.path().join("filler");
    let fill = || {
        let full = io::copy(&mut io::repeat(0), &mut fs::File::create(&filler).unwrap());
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    };
    let make_room = || {
        fs::remove_file(&filler).unwrap();
        // InfluxDB does not try again to open files that it failed to open.
        influx.kill();
        influx.start_again();
    };
    points_wait(&influx, fill, make_room);
}

/// Checks that points written after `harm` are stored after `mend`.
pub(crate) fn points_wait(influx: &Influx, harm: impl FnOnce(), mend: impl FnOnce()) {
    let (writer, _spool) = writer_to(influx);
    write(&writer, 1000);
    wait_for("the first points", || {
        (points(influx) == 1000).then_some(())
    });
    harm();
    write(&writer, 20_000);
    wait_for("an attempt in vain", || {
        (writer.stats().write_errors > 0).then_some(())
    });
    mend();
    let stats = writer.close(LONG);
    assert_eq!((stats.dropped, stats.spooled), (0, 0), "{stats:?}");
    assert_eq!(points(influx), 21_000);
}

#[test]
fn the_v2_protocol_is_what_victoria_metrics_takes() {
    let (victoria, dir) = (Victoria::private(), tempdir().unwrap());
    let writer = writer(&victoria.url, "primepool", "any", dir.path());
    write(&writer, 1);
    // A single point is sent without compression.
    wait_for("the first", || (writer.stats().written == 1).then_some(()));
    // VictoriaMetrics stores timestamps in milliseconds.
    for number in 0..1000 {
        let at = 1_700_000_000_000_000_000 + number * 1_000_000;
        writer.write(
            &Point::new("many", at)
                .tag("run", "r 1,a=b")
                .field("number", number)
                .field("half", 0.5),
        );
    }
    let stats = writer.close(LONG);
    assert_eq!((stats.written, stats.write_errors), (1002, 0), "{stats:?}");
    let mut series = wait_for("the points", || {
        Some(victoria.export("many_")).filter(|series| series.len() == 2)
    });
    series.sort_by_key(|series| series["metric"]["__name__"].to_string());
    for (series, name) in series.iter().zip(["many_half", "many_number"]) {
        assert_eq!(series["metric"]["__name__"], name);
        assert_eq!(series["metric"]["run"], "r 1,a=b");
        assert_eq!(series["timestamps"][0], 1_700_000_000_000_u64);
        let values = series["values"].as_array().unwrap();
        assert_eq!(values.len(), 1000);
        let last = if name == "many_half" { 0.5 } else { 999.0 };
        assert_eq!(values[999].as_f64(), Some(last));
    }
    // New points become visible after a moment only, even if flushed.
    wait_for("the first point", || {
        (victoria.export("job_number").len() == 1).then_some(())
    });
}
