//! Points that a server refuses, in part or completely.

use super::*;

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
    assert_eq!(log.lines("rejects a point"), 1, "{}", log.text());
    assert_eq!(log.lines("dropped=0 refused=2"), 1, "{}", log.text());
}

#[test]
fn a_batch_of_bad_lines_does_not_take_for_ever() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::RefusesAll),
        tempdir().unwrap(),
    );
    // A left-behind segment is one batch, however the threads are scheduled.
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

/// The behaviour that the documentation of InfluxDB 3 Core describes; no real server is available
/// to the tests.
#[tokio::test]
async fn influxdb_3_takes_points_names_the_bad_ones_and_answers_queries() {
    let (server, dir) = (
        TestServer::start(Speaks::V3, Mode::RefusesLines),
        tempdir().unwrap(),
    );
    let target = server.target("not made yet");
    let writer = MetricsWriter::start(&target, options(dir.path())).unwrap();
    for number in 0..1000_u64 {
        let name = if number % 100 == 0 { "bad" } else { "p" };
        writer.write(&Point::new(name, number + 1).field("n", number));
    }
    let stats = writer.close(LONG);
    assert_eq!((stats.refused, stats.written), (10, 991), "{stats:?}");
    assert_eq!(server.lines().len(), 990);
    let reader = MetricsReader::new(target).unwrap();
    let series = reader.query("SELECT SUM(jobs) FROM job").await.unwrap();
    assert_eq!(series[0].number("sum"), Some(300.0));
    let address = format!("http://{}", server.address);
    let stranger = InfluxTarget::new(&address, "o", "b", "apiv3_other").unwrap();
    let refused = MetricsReader::new(stranger).unwrap().query("SELECT").await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not authenticated")
    );
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

/// Time between the first response with a `Retry-After` and the next write.
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
        // The login page reappears after the kind of server has been detected.
        server.set(Mode::LoginPage);
        write(&writer, 100..200);
        wait_for("a spool", || writer.stats().spooled >= 100);
        server.set(Mode::Well);
        assert_eq!(writer.close(LONG).spooled, 0);
        assert_eq!(server.lines(), expected(0..200), "{speaks:?}");
    }
}
