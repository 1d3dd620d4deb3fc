//! Points that wait in the spool.

use super::*;

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
    // New points must not overtake the waiting ones.
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
    // The segment in flight was not dropped and may therefore be older.
    let newest = &lines[lines.len() / 2..];
    assert_eq!(newest, expected(count - newest.len() as u64..count));
    writer.close(LONG);
    assert_eq!(log.lines("the metrics spool is full"), 1, "{}", log.text());
    assert_eq!(
        log.lines(&format!("dropped={} refused=0", stats.dropped)),
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
    assert_eq!(log.lines("points=7001 influxdb="), 1, "{}", log.text());
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
    // While both live, a third process gets the segments of neither.
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
fn a_spool_that_cannot_be_used_is_warned_of_and_the_points_are_sent() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    fs::write(dir.path().join("spool"), "a file").unwrap();
    let (log, _guard) = Log::begin();
    let writer = writer(&server, &dir);
    assert_eq!(
        log.lines("cannot use the metrics spool"),
        1,
        "{}",
        log.text()
    );
    write(&writer, 0..100);
    wait_for("a failure", || writer.stats().write_errors > 0);
    server.set(Mode::Well);
    assert_eq!(writer.close(LONG).dropped, 0);
    assert_eq!(server.lines(), expected(0..100));
    assert!(!log.text().contains("cannot write"), "{}", log.text());
}

#[test]
fn a_segment_that_cannot_be_read_does_not_count_as_a_full_spool() {
    let (server, dir) = (
        TestServer::start(Speaks::V2, Mode::Away),
        tempdir().unwrap(),
    );
    let (log, _guard) = Log::begin();
    let writer = writer(&server, &dir);
    write(&writer, 0..100);
    wait_for("a spool", || writer.stats().spooled == 100);
    for path in segments(&dir) {
        fs::remove_file(path).unwrap();
    }
    wait_for("the next attempt", || writer.stats().dropped == 100);
    writer.close(Duration::ZERO);
    assert_eq!(log.lines("cannot read a segment"), 1, "{}", log.text());
    assert!(!log.text().contains("spool is full"), "{}", log.text());
}
