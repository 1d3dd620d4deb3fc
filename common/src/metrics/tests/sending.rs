//! Batches, both protocols, slow servers, and closing.

use super::*;

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
    // The last point contains the counts from before it was written.
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
            && health[2].contains("points_written=1") // 10 points and the earlier reports
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
    assert_eq!((stats.spooled, stats.dropped), (11, 0)); // one is the writer's own
    assert_eq!(
        log.lines("cannot be made with this token"),
        1,
        "{}",
        log.text()
    );
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
    // Other processes may occupy the core for a while, but a write that waited for the server would
    // take 15 s.
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

#[test]
fn a_server_behind_the_path_of_a_proxy_gets_everything() {
    for speaks in [Speaks::V2, Speaks::V1] {
        let (server, dir) = (TestServer::start(speaks, Mode::Well), tempdir().unwrap());
        let host = format!("http://{}/influx/", server.address);
        let target = InfluxTarget::new(&host, "o", "new", "user:s3cr3t").unwrap();
        let writer = MetricsWriter::start(&target, options(dir.path())).unwrap();
        write(&writer, 0..5000);
        assert_eq!(writer.close(LONG).written, 5001);
        assert_eq!(server.lines(), expected(0..5000));
        let requests = server.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.path.starts_with("/influx/"))
        );
    }
}
