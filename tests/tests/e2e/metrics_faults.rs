//! Runs whose InfluxDB is killed, refuses writes, is busy or slow: the run goes on, and no point is
//! lost. `long/influxdb_2.rs` repeats the `pub(crate)` tests of this file with InfluxDB 2.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use primepool_common::clock::unix_ns;
use primepool_tests::{
    Binary, Broker, Consumer, Influx, Process, Results, measure_prime_rate, wait_for,
};
use serde_json::Value;
use tempfile::tempdir;

/// Options that select a server, with its token in a file in `dir`.
fn server(dir: &Path, url: &str, token: &str) -> Vec<String> {
    let file = dir.join(format!("token-{}", token.len()));
    fs::write(&file, token).unwrap();
    [
        "--influx-host",
        url,
        "--influx-org",
        "primepool",
        "--influx-token-file",
        file.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn consumer(dir: &Path, broker: &Broker, server: &[String]) -> Consumer {
    let mut args = vec!["--node", "n1", "--concurrency", "1"];
    args.extend(["--metrics-interval", "250ms", "--metrics-spool", "spool"]);
    args.extend(server.iter().map(String::as_str));
    Consumer::with(dir, broker, &args)
}

fn producer(dir: &Path, broker: &Broker, count: u64, server: &[String]) -> Process {
    let count = count.to_string();
    let mut args = vec!["--bits", "1024", "--count", &count];
    args.extend(server.iter().map(String::as_str));
    Process::start(Binary::Producer, dir, &broker.url, &args)
}

/// Number of jobs of all runs in the database.
fn jobs(influx: &Influx) -> f64 {
    let rows = influx.rows("primepool", "SELECT SUM(jobs) FROM job");
    rows.first().map_or(0.0, |row| row[1].as_f64().unwrap())
}

#[test]
fn killed_in_the_middle_of_a_run_and_started_again() {
    killed_in_the_middle_of_a_run(&Influx::private());
}

pub(crate) fn killed_in_the_middle_of_a_run(influx: &Influx) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let server = server(dir.path(), &influx.url, &influx.token);
    let consumer = consumer(dir.path(), &broker, &server);
    let probe = tempdir().unwrap();
    // Enough primes for a rate that the start of a run does not determine.
    let rate = measure_prime_rate(&broker, probe.path(), 600.0, &[]);
    let count = (8.0 * rate) as u64;
    let running = producer(dir.path(), &broker, count, &server);
    let wait_for_share = |share: f64| {
        wait_for("results", || {
            (Results::count(dir.path()) as f64 > share * count as f64).then_some(())
        });
    };
    wait_for_share(0.1);
    influx.kill();
    running.wait_for_line("cannot reach InfluxDB");
    // Both processes produce points for more than a second.
    wait_for_share(0.6);
    influx.start_again();
    let done = running.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let told = done.stderr.matches("cannot reach InfluxDB").count();
    assert_eq!(told, 1, "{}", done.stderr);
    let until = unix_ns();
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    // The next processes deliver the points that the end of the run left on disk.
    let next = self::consumer(dir.path(), &broker, &server);
    let done = producer(dir.path(), &broker, 50, &server).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    next.0.signal("TERM");
    assert_eq!(next.0.wait().code, Some(0));

    assert_eq!(jobs(influx), (count + 50) as f64);
    let events = influx.rows("primepool", "SELECT jobs, event FROM run");
    let events: Vec<&Value> = events.iter().map(|row| &row[2]).collect();
    assert_eq!(events, ["start", "end", "start", "end"]);
    // The node kept reporting its state, and all of these points arrived.
    let query = format!(
        "SELECT MAX(elapsed) FROM (SELECT ELAPSED(alive_s, 1ms) FROM node WHERE \"run\" = '' AND time < {until})"
    );
    let gap = influx.rows("primepool", &query)[0][1].as_f64().unwrap();
    assert!(gap < 3000.0, "{gap} ms without a point of the node");
}

#[test]
fn a_wrong_token_costs_a_warning_and_the_next_run_delivers_the_points() {
    wrong_token(&Influx::private());
}

pub(crate) fn wrong_token(influx: &Influx) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let wrong = server(dir.path(), &influx.url, "primepool:s3cr3t");
    let right = server(dir.path(), &influx.url, &influx.token);
    influx.create("primepool");
    let consumer = consumer(dir.path(), &broker, &wrong);
    let done = producer(dir.path(), &broker, 200, &wrong).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.stderr.matches(" ERROR ").count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("INFLUX_TOKEN"), "{}", done.stderr);
    assert!(!done.stderr.contains("s3cr3t"), "{}", done.stderr);
    let folder = Results::folder(dir.path()).unwrap();
    let summary = fs::read_to_string(folder.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary["influxdb"].is_null(), "{summary}");
    assert_eq!(jobs(influx), 0.0);

    let done = producer(dir.path(), &broker, 100, &right).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(jobs(influx), 300.0);
    drop(consumer);
}

#[test]
fn answers_that_take_ten_seconds_hold_nobody_up() {
    slow_answers(&Influx::private());
}

pub(crate) fn slow_answers(influx: &Influx) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let slow = server(dir.path(), &slowed(&influx.url), &influx.token);
    let consumer = consumer(dir.path(), &broker, &slow);
    let probe = tempdir().unwrap();
    let rate = measure_prime_rate(&broker, probe.path(), 100.0, &[]);
    let (count, start) = ((3.0 * rate) as u64, Instant::now());
    let done = producer(dir.path(), &broker, count, &slow).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    // Waiting for each reply would take minutes; at the end, the wait for replies has a limit.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));

    // The next processes deliver the remaining points; points that arrived but whose reply was lost
    // are not counted twice.
    let right = server(dir.path(), &influx.url, &influx.token);
    let next = self::consumer(dir.path(), &broker, &right);
    let done = producer(dir.path(), &broker, 50, &right).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(jobs(influx), (count + 50) as f64);
    drop(next);
}

#[test]
fn a_server_that_is_too_busy_is_left_alone_as_long_as_it_asks() {
    too_busy(&Influx::private());
}

pub(crate) fn too_busy(influx: &Influx) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let (url, refused) = busy_at_first(&influx.url);
    let server = server(dir.path(), &url, &influx.token);
    let consumer = consumer(dir.path(), &broker, &server);
    let run = |count| {
        let done = producer(dir.path(), &broker, count, &server).wait();
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    run(200);
    thread::sleep(BUSY);
    run(50);
    consumer.0.signal("TERM");
    assert_eq!(consumer.0.wait().code, Some(0));
    assert_eq!(jobs(influx), 250.0);
    // Producer and consumer each ask for the server's type and for the time to wait.
    let refused = refused.load(Ordering::Relaxed);
    assert!((1..=6).contains(&refused), "{refused} writes in vain");
}

#[test]
fn a_server_that_keeps_nothing_is_told_of() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = producer(
        dir.path(),
        &broker,
        50,
        &server(dir.path(), &forgetful(), "t"),
    )
    .wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("held=0 done=50"), "{}", done.stderr);
    assert!(done.stderr.contains("--influx-bucket"), "{}", done.stderr);
    // A server that has all points causes no warning.
    let (dir, influx) = (tempdir().unwrap(), Influx::private());
    let server = server(dir.path(), &influx.url, &influx.token);
    let done = producer(dir.path(), &broker, 50, &server).wait();
    assert!(!done.stderr.contains(" WARN "), "{}", done.stderr);
    assert!(done.stdout.contains("read back from"), "{done:?}");
    let summary = Results::read(dir.path()).summary;
    assert_eq!(summary["influxdb"]["points"], summary["units"], "{summary}");
}

/// Reads the head and the body of an HTTP request.
fn read_request(client: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if client.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let header = head[start..].to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Starts a server that answers each request with `answer` and then closes the connection; returns
/// its URL.
fn serve(answer: impl Fn(&str, &[u8], &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, answer) = (BufReader::new(client.unwrap()), Arc::clone(&answer));
            thread::spawn(move || {
                if let Some((head, body)) = read_request(&mut client) {
                    answer(&head, &body, client.get_mut());
                }
            });
        }
    });
    format!("http://{address}")
}

/// Starts a server that accepts every write but has no series for any query; returns its URL.
fn forgetful() -> String {
    serve(|head, _, client| {
        let answer: &[u8] = if head.contains("/query?") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\nConnection: close\r\n\r\n{\"results\":[{\"statement_id\":0}]}    "
        } else {
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        };
        client.write_all(answer).unwrap();
    })
}

/// How long the server of `busy_at_first` is too busy, and the delay that it asks for.
const BUSY: Duration = Duration::from_secs(2);

/// Starts a server that forwards everything to `url`, but is too busy for a while from the first
/// write on. Returns its URL and the number of writes that it has refused.
fn busy_at_first(url: &str) -> (String, Arc<AtomicU64>) {
    let to = url.strip_prefix("http://").unwrap().to_owned();
    let (first, refused) = (OnceLock::new(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&refused);
    let url = serve(move |head, body, client| {
        let is_write = head.lines().next().unwrap().contains("/write?");
        if is_write && first.get_or_init(Instant::now).elapsed() < BUSY {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = format!(
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                BUSY.as_secs()
            );
            client.write_all(answer.as_bytes()).unwrap();
            return;
        }
        let mut server = TcpStream::connect(&to).unwrap();
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(&[head.as_bytes(), body].concat()).unwrap();
        pass(server, client.try_clone().unwrap(), Duration::ZERO);
    });
    (url, refused)
}

/// Starts a server that forwards everything to `url`, and delays each reply by ten seconds; returns
/// its URL.
fn slowed(url: &str) -> String {
    let to = url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
            let (to_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(client, to_server, Duration::ZERO));
            thread::spawn(move || pass(server, to_client, Duration::from_secs(10)));
        }
    });
    format!("http://{address}")
}

fn pass(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        thread::sleep(pause);
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
