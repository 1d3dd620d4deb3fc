//! The writer against a server that misbehaves.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tempfile::{TempDir, tempdir};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    InfluxTarget, MetricsWriter, Point, Source, Stats, WriterOptions,
    test_server::{Mode, Speaks, TestServer},
};

const LONG: Duration = Duration::from_secs(20);

fn options(dir: &Path) -> WriterOptions {
    WriterOptions {
        interval: Duration::from_millis(20),
        health_interval: Duration::from_secs(3600),
        ..WriterOptions::new(Source::Consumer, "n1", dir.join("spool"))
    }
}

fn writer(server: &TestServer, dir: &TempDir) -> MetricsWriter {
    MetricsWriter::start(&server.target("b"), options(dir.path())).unwrap()
}

fn write(writer: &MetricsWriter, numbers: std::ops::Range<u64>) {
    for number in numbers {
        writer.write(&Point::new("p", number + 1).field("n", number));
    }
}

/// The lines that [`write()`] makes.
fn expected(numbers: std::ops::Range<u64>) -> Vec<String> {
    let line = |number| format!("p n={number}i {}", number + 1);
    numbers.map(line).collect()
}

fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A segment as an earlier process leaves it; the folder that it is in.
fn leave_behind(dir: &TempDir, lines: &str) -> PathBuf {
    let folder = dir.path().join("spool/p0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("00000000000000000007.lp"), lines).unwrap();
    folder
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(dir.path().join("spool")) else {
        return Vec::new();
    };
    let mut files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lp"))
        .collect();
    files.sort();
    files
}

/// The log of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn lines(&self, what: &str) -> usize {
        let text = self.text();
        text.lines().filter(|line| line.contains(what)).count()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn points_arrive_in_batches_by_the_v2_protocol() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    write(&writer, 0..1);
    wait_for("the first line", || server.lines().len() == 1);
    write(&writer, 1..12_000);
    let stats = writer.close(LONG);
    assert_eq!(server.lines(), expected(0..12_000));
    let writes = server.writes();
    for request in &writes {
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, "/api/v2/write?bucket=b&org=o&precision=ns");
        assert_eq!(request.authorization, "Token user:s3cr3t");
        assert_eq!(
            request.gzip,
            request.body.len() >= 2048,
            "{}",
            request.body.len()
        );
        assert!(request.body.lines().count() <= 5000);
    }
    assert!(!writes[0].gzip && writes.iter().any(|request| request.gzip));
    // The last point tells what had been written before it.
    let health = server.health();
    assert_eq!(health.len(), 1);
    assert!(health[0].starts_with("metrics,source=consumer,node=n1 points_written="));
    assert!(
        health[0]
            .contains("i,points_spooled=0i,points_dropped=0i,points_refused=0i,write_errors=0i ")
    );
    assert_eq!(
        stats,
        Stats {
            written: 12_001,
            ..Stats::default()
        }
    );
    assert!(!dir.path().join("spool").exists(), "an empty spool goes");
}

#[test]
fn points_arrive_at_influxdb_1_and_its_database_is_made() {
    let (server, dir) = (
        TestServer::start(Speaks::V1, Mode::Well),
        tempdir().unwrap(),
    );
    let writer = MetricsWriter::start(&server.target("new/week"), options(dir.path())).unwrap();
    write(&writer, 0..3000);
    writer.close(LONG);
    assert_eq!(server.lines(), expected(0..3000));
    let write = server.writes().pop().unwrap();
    assert_eq!(write.path, "/write?db=new&precision=ns&rp=week");
    assert_eq!(write.authorization, "Basic dXNlcjpzM2NyM3Q=");
    let made = server.requests();
    let made = made
        .iter()
        .find(|request| request.path == "/query")
        .unwrap();
    assert_eq!(made.body, "q=CREATE+DATABASE+%22new%22");
}

#[test]
fn the_writer_reports_on_itself() {
    let (server, dir) = (
        TestServer::start(Speaks::V1, Mode::RefusesLines),
        tempdir().unwrap(),
    );
    let mut options = options(dir.path());
    options.health_interval = Duration::from_millis(100);
    let writer = MetricsWriter::start(&server.target("b"), options).unwrap();
    write(&writer, 0..10);
    writer.write(&Point::new("bad", 1).field("n", 1_u64));
    wait_for("reports", || {
        let health = server.health();
        health.len() >= 3
            && health[2].contains("points_written=1") // 10 and the reports before
            && health[2].contains("points_refused=1i")
    });
    writer.close(LONG);
}

#[test]
fn a_close_tries_more_than_once() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    write(&writer, 0..10);
    wait_for("a failure", || writer.stats().write_errors > 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(150));
            server.set(Mode::Well);
        });
        assert_eq!(writer.close(LONG).spooled, 0);
    });
    assert_eq!(server.lines(), expected(0..10));
}

#[test]
fn a_close_gives_up_where_nobody_answers() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    write(&writer, 0..10);
    let began = Instant::now();
    assert_eq!(writer.close(LONG).spooled, 11);
    assert!(began.elapsed() < LONG / 2);
}

#[test]
fn a_missing_bucket_is_made_or_the_points_wait() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let to = |bucket: &str| MetricsWriter::start(&server.target(bucket), options(dir.path()));
    let writer = to("new").unwrap();
    write(&writer, 0..10);
    writer.close(LONG);
    assert_eq!(server.lines(), expected(0..10));

    server.forbid_creation();
    let (log, _guard) = Log::begin();
    let writer = to("other").unwrap();
    write(&writer, 10..20);
    let stats = writer.close(LONG);
    assert_eq!((stats.spooled, stats.dropped), (11, 0)); // and the writer's own
    assert_eq!(
        log.lines("cannot be made with this token"),
        1,
        "{}",
        log.text()
    );
}

#[test]
fn what_waits_is_sent_in_order_when_the_server_is_back() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let (log, _guard) = Log::begin();
    let writer = writer(&server, &dir);
    write(&writer, 0..100);
    wait_for("the first lines", || server.lines().len() == 100);
    server.set(Mode::Away);
    for part in 1..=20 {
        write(&writer, part * 1000..(part + 1) * 1000);
        thread::sleep(Duration::from_millis(25));
    }
    wait_for("a spool", || writer.stats().spooled == 20_000);
    let files = segments(&dir).len();
    assert!(
        (4..=6).contains(&files),
        "small ones are put together: {files}"
    );
    server.set(Mode::Well);
    // New points do not overtake.
    for part in 21..=30 {
        write(&writer, part * 1000..(part + 1) * 1000);
        thread::sleep(Duration::from_millis(25));
    }
    let stats = writer.close(LONG);
    let mut all = expected(0..100);
    all.extend(expected(1000..31_000));
    assert!(server.lines() == all, "{} lines", server.lines().len());
    assert_eq!(
        (stats.written, stats.spooled, stats.dropped),
        (30_101, 0, 0)
    );
    assert!(stats.write_errors > 0);
    assert_eq!(log.lines("cannot reach InfluxDB"), 1, "{}", log.text());
    assert_eq!(log.lines("takes metrics again"), 1, "{}", log.text());
    assert_eq!(log.text().lines().count(), 2, "{}", log.text());
}

#[test]
fn the_spool_is_bounded_and_the_oldest_go_first() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let (log, _guard) = Log::begin();
    let mut options = options(dir.path());
    options.spool_limit = 100_000;
    let writer = MetricsWriter::start(&server.target("b"), options).unwrap();
    let count = 50_000;
    for start in (0..count).step_by(1000) {
        write(&writer, start..start + 1000);
        thread::sleep(Duration::from_millis(2));
        let bytes: u64 = segments(&dir)
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|file| file.len())
            .sum();
        assert!(bytes <= 100_000, "{bytes}");
    }
    wait_for("the last to be spooled", || {
        let stats = writer.stats();
        stats.spooled + stats.dropped == count
    });
    let stats = writer.stats();
    let bytes: u64 = segments(&dir)
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!((70_000..=100_000).contains(&bytes), "{bytes}");
    server.set(Mode::Well);
    wait_for("the end of the spool", || writer.stats().spooled == 0);
    let lines = server.lines();
    assert_eq!(lines.len() as u64, count - stats.dropped);
    // The one that was being tried when others were dropped may be older.
    let newest = &lines[lines.len() / 2..];
    assert_eq!(newest, expected(count - newest.len() as u64..count));
    writer.close(LONG);
    assert_eq!(log.lines("no more room"), 1, "{}", log.text());
    assert_eq!(
        log.lines(&format!("{} points dropped", stats.dropped)),
        1,
        "{}",
        log.text()
    );
}

#[test]
fn a_spool_that_is_left_behind_is_sent_at_the_next_start() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let (log, _guard) = Log::begin();
    let first = writer(&server, &dir);
    write(&first, 0..7000);
    let stats = first.close(Duration::from_millis(300));
    assert_eq!((stats.spooled, stats.dropped, stats.written), (7001, 0, 0));
    assert_eq!(log.lines("7001 points for InfluxDB"), 1, "{}", log.text());
    server.set(Mode::Well);
    let second = writer(&server, &dir);
    write(&second, 7000..8000);
    assert_eq!(second.close(LONG).written, 8002);
    assert_eq!(server.lines(), expected(0..8000));
    assert_eq!(server.health().len(), 2);
}

#[test]
fn processes_that_share_a_folder_do_not_mix() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let (one, two) = (writer(&server, &dir), writer(&server, &dir));
    write(&one, 0..100);
    write(&two, 100..200);
    wait_for("two spools", || {
        one.stats().spooled + two.stats().spooled == 200
    });
    // While both live, a third gets neither's.
    let third = writer(&server, &dir);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(third.stats().spooled, 0);
    third.close(Duration::ZERO);
    one.close(Duration::ZERO);
    two.close(Duration::ZERO);
    server.set(Mode::Well);
    let heir = writer(&server, &dir);
    wait_for("everything", || server.lines().len() == 200);
    assert_eq!(heir.close(LONG).spooled, 0);
    let mut lines = server.lines();
    lines.sort_by_key(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(lines, expected(0..200));
    assert!(!dir.path().join("spool").exists());
}

#[test]
fn half_a_line_of_a_killed_process_is_left_out() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let folder = leave_behind(&dir, "p n=0i 1\np n=1i 2\np n=");
    fs::write(folder.join("00000000000000000007.new"), "p n=").unwrap();
    let writer = writer(&server, &dir);
    write(&writer, 2..4);
    writer.close(LONG);
    assert_eq!(server.lines(), expected(0..4));
    assert!(!dir.path().join("spool").exists());
}

#[test]
fn bad_lines_are_found_and_only_they_are_dropped() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::RefusesAll),
        tempdir().unwrap(),
    );
    let (log, _guard) = Log::begin();
    let writer = writer(&server, &dir);
    for number in 0..4000_u64 {
        let name = if matches!(number, 17 | 3001) {
            "bad"
        } else {
            "p"
        };
        writer.write(&Point::new(name, number + 1).field("n", number));
    }
    let stats = writer.close(LONG);
    let mut all = expected(0..4000);
    all.remove(3001);
    all.remove(17);
    assert_eq!(server.lines(), all);
    assert_eq!((stats.refused, stats.written, stats.dropped), (2, 3999, 0));
    assert!(server.writes().len() < 60, "{}", server.writes().len());
    assert_eq!(log.lines("cannot take a metric"), 1, "{}", log.text());
    assert_eq!(
        log.lines("0 points dropped, 2 refused"),
        1,
        "{}",
        log.text()
    );
}

#[test]
fn a_batch_of_bad_lines_does_not_take_for_ever() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::RefusesAll),
        tempdir().unwrap(),
    );
    // What waits from before is one batch, however the threads are scheduled.
    let lines: String = (0..4000)
        .map(|n| format!("bad n={n}i {}\n", n + 1))
        .collect();
    leave_behind(&dir, &lines);
    let writer = writer(&server, &dir);
    let stats = writer.close(LONG);
    // The writer's own metrics come last.
    assert_eq!((stats.refused, stats.written), (4000, 1));
    assert!(server.writes().len() < 2100, "{}", server.writes().len());
}

#[test]
fn a_partial_write_counts_what_the_server_left_out() {
    let (server, dir) = (
        TestServer::start(Speaks::V1, Mode::RefusesLines),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    for number in 0..1000_u64 {
        let name = if number % 100 == 0 { "bad" } else { "p" };
        writer.write(&Point::new(name, number + 1).field("n", number));
    }
    let stats = writer.close(LONG);
    assert_eq!((stats.refused, stats.written), (10, 991));
    assert_eq!(server.lines().len(), 990);
}

#[test]
fn a_batch_that_is_too_large_is_divided() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::AtMost(5000)),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    write(&writer, 0..4000);
    let stats = writer.close(LONG);
    assert_eq!(server.lines(), expected(0..4000));
    assert_eq!(
        (stats.written, stats.refused, stats.write_errors),
        (4001, 0, 0)
    );
}

/// Times between the first answer with a `Retry-After` and the next write.
fn pause(speaks: Speaks, status: u16, retry_after: String) -> Duration {
    let busy = Mode::Says(status, "too much", Some(retry_after));
    let (server, dir) = (TestServer::start(speaks, Mode::Well), tempdir().unwrap());
    let writer = writer(&server, &dir);
    write(&writer, 0..1);
    wait_for("the first line", || server.lines().len() == 1);
    server.set(busy);
    write(&writer, 1..2);
    wait_for("a failure", || writer.stats().write_errors == 1);
    server.set(Mode::Well);
    write(&writer, 2..10);
    wait_for("the others", || server.lines().len() == 10);
    assert_eq!(server.lines(), expected(0..10));
    let writes = server.writes();
    writes[2].at - writes[1].at
}

#[test]
fn retry_after_is_obeyed() {
    for (speaks, status) in [(Speaks::V2, 429), (Speaks::V1, 503)] {
        let pause = pause(speaks, status, "2".to_owned());
        assert!(
            (1900..10_000).contains(&pause.as_millis()),
            "{speaks:?}: {pause:?}"
        );
    }
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let pause = pause(Speaks::V2, 503, date);
    assert!((1900..10_000).contains(&pause.as_millis()), "{pause:?}");
}

#[test]
fn after_retry_after_a_close_does_not_ask_again() {
    let busy = Mode::Says(503, "", Some("60".to_owned()));
    let (server, dir) = (TestServer::start(Speaks::V2, busy), tempdir().unwrap());
    let writer = writer(&server, &dir);
    write(&writer, 0..10);
    wait_for("a failure", || writer.stats().write_errors == 1);
    let asked = server.requests().len();
    let began = Instant::now();
    assert_eq!(writer.close(LONG).spooled, 11);
    assert!(began.elapsed() < LONG / 2);
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn a_server_that_hangs_slows_nobody_and_close_keeps_its_limit() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Silent),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    write(&writer, 0..1);
    wait_for("the hanging request", || !server.requests().is_empty());
    let (count, mut longest, began) = (100_000, Duration::ZERO, Instant::now());
    for number in 1..count {
        let before = Instant::now();
        write(&writer, number..number + 1);
        longest = longest.max(before.elapsed());
    }
    let mean = began.elapsed() / u32::try_from(count).unwrap();
    assert!(mean < Duration::from_micros(100), "{mean:?}");
    // Other processes may take the core away for a while; who waits for the server waits for 15 s.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let began = Instant::now();
    let stats = writer.close(Duration::from_millis(500));
    let took = began.elapsed();
    assert!((490..10_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!((stats.spooled, stats.dropped), (count + 1, 0));
}

#[test]
fn a_slow_server_gets_everything() {
    let slow = Mode::Slow(Duration::from_millis(700));
    let (server, dir) = (TestServer::start(Speaks::V2, slow), tempdir().unwrap());
    let writer = writer(&server, &dir);
    for part in 0..20 {
        write(&writer, part * 100..(part + 1) * 100);
        thread::sleep(Duration::from_millis(30));
    }
    let stats = writer.close(LONG);
    assert_eq!(server.lines(), expected(0..2000));
    assert_eq!((stats.written, stats.write_errors), (2001, 0));
}

#[test]
fn an_answer_that_takes_too_long_is_a_failure_and_the_points_wait() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let mut options = options(dir.path());
    options.timeout = Duration::from_millis(200);
    let writer = MetricsWriter::start(&server.target("b"), options).unwrap();
    write(&writer, 0..1);
    wait_for("the first line", || server.lines().len() == 1);
    server.set(Mode::Silent);
    write(&writer, 1..100);
    wait_for("a failure", || writer.stats().write_errors > 0);
    wait_for("a spool", || writer.stats().spooled == 99);
    server.set(Mode::Well);
    writer.close(LONG);
    assert_eq!(server.lines(), expected(0..100));
}

#[test]
fn a_refusal_is_logged_once_and_no_secret_is() {
    let (log, _guard) = Log::begin();
    for (speaks, status) in [(Speaks::V2, 401), (Speaks::V1, 403)] {
        let refuses = Mode::Says(status, "{\"message\":\"unauthorized\"}", None);
        let (server, dir) = (TestServer::start(speaks, refuses), tempdir().unwrap());
        let first = writer(&server, &dir);
        for part in 0..10 {
            write(&first, part * 10..(part + 1) * 10);
            thread::sleep(Duration::from_millis(50));
        }
        wait_for("tries", || first.stats().write_errors >= 2);
        assert_eq!(first.close(Duration::from_secs(2)).spooled, 101);
        assert_eq!(log.lines("ERROR"), 1, "{}", log.text());
        assert_eq!(log.lines("Check INFLUX_TOKEN"), 1, "{}", log.text());
        assert!(!log.text().contains("s3cr3t") && !format!("{first:?}").contains("s3cr3t"));
        log.0.lock().unwrap().clear();
        server.set(Mode::Well);
        let second = writer(&server, &dir);
        second.close(LONG);
        assert_eq!(server.lines(), expected(0..100));
        log.0.lock().unwrap().clear();
    }
}

#[test]
fn only_204_counts_as_stored() {
    for speaks in [Speaks::V1, Speaks::V2] {
        for (status, text) in [
            (200, "<html>Please log in</html>"),
            (200, ""),
            (201, "{}"),
            (202, ""),
            (206, ""),
            (302, ""),
        ] {
            let (log, _guard) = Log::begin();
            let says = Mode::Says(status, text, None);
            let (server, dir) = (TestServer::start(speaks, says), tempdir().unwrap());
            let writer = writer(&server, &dir);
            write(&writer, 0..100);
            wait_for("a failure", || writer.stats().write_errors > 0);
            wait_for("a spool", || writer.stats().spooled == 100);
            assert_eq!(writer.stats().written, 0);
            let said = log.text();
            let came_back = format!("{status} {text}");
            assert!(said.contains(came_back.trim()), "{said}");
            assert!(said.contains("Check --influx-host"), "{said}");
            server.set(Mode::Well);
            let stats = writer.close(LONG);
            assert_eq!(server.lines(), expected(0..100), "{speaks:?} {status}");
            assert_eq!((stats.spooled, stats.dropped, stats.refused), (0, 0, 0));
        }
    }
}

#[test]
fn a_login_page_takes_no_points_whenever_it_comes() {
    for speaks in [Speaks::V1, Speaks::V2] {
        let (log, _guard) = Log::begin();
        let (server, dir) = (
            TestServer::start(speaks, Mode::LoginPage),
            tempdir().unwrap(),
        );
        let writer = writer(&server, &dir);
        write(&writer, 0..100);
        wait_for("a failure", || writer.stats().write_errors > 0);
        assert!(log.text().contains("Please log in"), "{}", log.text());
        server.set(Mode::Well);
        wait_for("all points", || server.lines().len() == 100);
        // It comes back when the kind of server is known.
        server.set(Mode::LoginPage);
        write(&writer, 100..200);
        wait_for("a spool", || writer.stats().spooled >= 100);
        server.set(Mode::Well);
        assert_eq!(writer.close(LONG).spooled, 0);
        assert_eq!(server.lines(), expected(0..200), "{speaks:?}");
    }
}

#[test]
fn a_spool_that_cannot_be_used_is_an_error_at_the_start() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    fs::write(dir.path().join("spool"), "a file").unwrap();
    let error = MetricsWriter::start(&server.target("b"), options(dir.path())).unwrap_err();
    assert!(error.to_string().contains("--metrics-spool"), "{error}");
}

#[test]
fn after_close_points_are_counted_as_dropped() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Well),
        tempdir().unwrap(),
    );
    let writer = writer(&server, &dir);
    writer.close(LONG);
    write(&writer, 0..3);
    assert_eq!(writer.stats().dropped, 3);
    assert_eq!(writer.close(LONG).dropped, 3);
}

/// Address of the server that [`writes_3000_lines_in_a_process_of_its_own`] writes to.
const HOST: &str = "PRIMEPOOL_TEST_HTTPS_HOST";

/// The part of the tests of HTTPS that needs an environment of its own.
#[test]
#[ignore = "only for the tests of HTTPS, which start it with a server and SSL_CERT_FILE"]
#[allow(clippy::print_stdout, reason = "the test that starts it reads it")]
fn writes_3000_lines_in_a_process_of_its_own() {
    let (log, _guard) = Log::begin();
    let (host, dir) = (env::var(HOST).unwrap(), tempdir().unwrap());
    let target = InfluxTarget::new(&host, "o", "new", "user:s3cr3t").unwrap();
    let writer = MetricsWriter::start(&target, options(dir.path())).unwrap();
    write(&writer, 0..3000);
    let stats = writer.close(Duration::from_secs(2));
    println!("{}{} points written", log.text(), stats.written);
}

/// Has a process write to `https://localhost`, where it trusts this authority (PEM) only; its log.
fn write_by_https(server: &TestServer, authority: &str) -> String {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    fs::write(&file, authority).unwrap();
    let test = "metrics::tests::writes_3000_lines_in_a_process_of_its_own";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", file)
        .env(HOST, format!("https://localhost:{}", server.address.port()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn points_arrive_by_https_and_a_missing_bucket_is_made() {
    for (speaks, path, authorization) in [
        (
            Speaks::V2,
            "/api/v2/write?bucket=new&org=o&precision=ns",
            "Token user:s3cr3t",
        ),
        (
            Speaks::V1,
            "/write?db=new&precision=ns",
            "Basic dXNlcjpzM2NyM3Q=",
        ),
    ] {
        let (server, certificate) = TestServer::start_tls(speaks, "localhost");
        let log = write_by_https(&server, &certificate);
        assert!(log.contains("3001 points written"), "{log}");
        assert_eq!(server.lines(), expected(0..3000));
        let writes = server.writes();
        assert!(writes.iter().any(|request| request.gzip), "{speaks:?}");
        for request in writes {
            assert_eq!(request.path, path);
            assert_eq!(request.authorization, authorization);
        }
    }
}

#[test]
fn a_server_with_a_wrong_certificate_gets_nothing_and_the_log_says_why() {
    let (stranger, _) = TestServer::start_tls(Speaks::V2, "localhost");
    let (other, certificate) = TestServer::start_tls(Speaks::V2, "db.example");
    // The stranger's certificate has the same names and another key.
    for (server, reason) in [(stranger, "BadSignature"), (other, "db.example")] {
        let log = write_by_https(&server, &certificate);
        assert!(log.contains("0 points written"), "{log}");
        assert!(log.contains("cannot reach InfluxDB"), "{log}");
        assert!(log.contains("certificate") && log.contains(reason), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
        assert!(server.requests().is_empty());
    }
}
