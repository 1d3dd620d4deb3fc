use std::{
    fmt::Write as _,
    path::Path,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rug::{Integer, integer::IsPrime};
use tempfile::tempdir;

use crate::{Binary, Broker, Consumer, Database, Influx, Process, Results};

/// Start and end of the recorded data, in milliseconds since 1970.
pub type Span = (u64, u64);

/// Minimum length of the recording; longer than every `GROUP BY` interval of the queries, except
/// whole minutes.
const LEAST: Duration = Duration::from_secs(48);

/// Metrics that healthy runs wrote to an InfluxDB: four prime searches of one size, on one node and
/// later on two, and two factoring runs on which the whole pool works. An experiment follows them,
/// outside of the span.
#[derive(Debug)]
pub struct Recording {
    influx: Influx,
    /// Time range of the runs.
    pub span: Span,
}

impl Recording {
    /// Makes the recording on first use, which takes more than a minute: it runs real producers and
    /// consumers, with RabbitMQ's management API.
    pub fn get() -> &'static Self {
        static RECORDING: OnceLock<Recording> = OnceLock::new();
        RECORDING.get_or_init(Self::make)
    }

    /// Copies the recording to a new database of this name.
    pub fn copy<'a>(&'a self, name: &'a str) -> Database<'a> {
        let copy = self.empty(name);
        copy.query(&format!(
            "SELECT * INTO \"{name}\"..:MEASUREMENT FROM \"recorded\"../.*/ GROUP BY *"
        ))
        .unwrap();
        copy
    }

    /// Copies the recording to an InfluxDB 2.
    pub fn copy_to<'a>(&self, influxdb_2: &'a Influx) -> Database<'a> {
        let copy = Database::create(influxdb_2, "primepool");
        copy.import(&self.empty("recorded").export());
        copy
    }

    /// Creates an empty database on the same server.
    pub fn empty<'a>(&'a self, name: &'a str) -> Database<'a> {
        Database::create(&self.influx, name)
    }

    fn make() -> Self {
        let influx = Influx::private();
        let (broker, management) = Broker::with_management();
        let dir = tempdir().unwrap();
        let flags = influx.flags();
        let mut server: Vec<&str> = flags.iter().map(String::as_str).collect();
        server.extend(["--influx-bucket", "recorded"]);
        server.extend(["--management-url", &management]);
        let node = |name: &str| {
            let spool = format!("spool-{name}");
            let own = [
                "--node",
                name,
                "--concurrency",
                "1",
                "--metrics-spool",
                &spool,
            ];
            Consumer::with(dir.path(), &broker, &[&own[..], &server[..]].concat())
        };
        let start = now();
        let first = node("n-1");
        // Measures the speed of this machine.
        let rate = measure_prime_rate(&broker, &dir.path().join("1"), 150.0, &server);
        measure_prime_rate(&broker, &dir.path().join("2"), 12.0 * rate, &server);
        let second = node("n-2");
        measure_prime_rate(&broker, &dir.path().join("3"), 24.0 * rate, &server);
        // Some queries compute differences between minutes, so the points must enclose a full
        // minute.
        let minute = (start.as_secs() + 5).next_multiple_of(60) + 6;
        let end = Duration::from_secs(minute).max(start + LEAST);
        let left = end.saturating_sub(now()).as_secs_f64().max(8.0);
        measure_prime_rate(&broker, &dir.path().join("4"), 2.0 * left * rate, &server);
        let semiprime = ["factor", "--count", "1", "--bits", "204", "--seed", "1"];
        produce(&broker, &dir.path().join("5"), &semiprime, &server);
        // This run is the last one: the dashboard of runs opens with it, and has panels for each
        // stage.
        let staged = ["factor", &staged().to_string()];
        produce(&broker, &dir.path().join("6"), &staged, &server);
        for consumer in [first, second] {
            consumer.0.signal("TERM");
            assert_eq!(consumer.0.wait().code, Some(0));
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let span = (ms(start), ms(now()));
        measure(&broker, dir.path(), &influx);
        Self { influx, span }
    }
}

/// Runs the shortest possible experiment.
fn measure(broker: &Broker, dir: &Path, influx: &Influx) {
    let mut command = Binary::Experiment.command();
    command
        .args(["run", "--bits", "256", "--repeat", "1", "--min-time", "1s"])
        .env("PRIMEPOOL_AMQP_URL", &broker.url)
        .envs(influx.variables())
        .env("INFLUX_BUCKET", "recorded");
    let done = Process::spawn(command, "experiment", dir).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// Finds `count` primes of 1024 bits in a run below `dir`; returns the rate in jobs per second.
pub fn measure_prime_rate(broker: &Broker, dir: &Path, count: f64, server: &[&str]) -> f64 {
    let count = format!("{count:.0}");
    produce(broker, dir, &["--bits", "1024", "--count", &count], server);
    Results::read(dir).summary["jobs_per_s"].as_f64().unwrap()
}

/// Does a complete run below `dir`.
fn produce(broker: &Broker, dir: &Path, what: &[&str], server: &[&str]) {
    std::fs::create_dir_all(dir).unwrap();
    let args = [what, server].concat();
    let producer = Process::start(Binary::Producer, dir, &broker.url, &args).wait_long();
    assert_eq!(producer.code, Some(0), "{producer:?}");
}

/// An integer that keeps the pool busy for seconds in each long stage of factoring, because points
/// are one second apart. One of its three primes, P, is too large to be found by curves, but P − 1
/// has only small factors and factors between 100,000 and 101,000. The p − 1 step of the curves for
/// 20 digits does not find P, so all of these curves run; the step of the next digits finds it. The
/// other two primes are left for the sieve.
fn staged() -> Integer {
    let mut prime = Integer::from(100_000);
    let mut product = Integer::from(2);
    for _ in 0..36 {
        prime = prime.next_prime();
        product *= &prime;
    }
    let large = (1_u32..)
        .map(|k| Integer::from(&product * k) + 1_u32)
        .find(|candidate| candidate.is_probably_prime(25) != IsPrime::No);
    let [p, q] = [(3, 76), (5, 51)].map(|(base, power)| {
        let power = Integer::from(Integer::u_pow_u(base, power));
        power.next_prime()
    });
    large.unwrap() * p * q
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Adds points that healthy runs do not write: jobs that failed or were rejected, and lost points.
pub fn fill_rarities(database: &Database<'_>, (from, to): Span) {
    let mut lines = String::new();
    let middle = (from + to) / 2;
    for i in 0..20 {
        let at = (middle + 500 * i) * 1_000_000;
        let outcome = if i % 2 == 0 { "failed" } else { "rejected" };
        let _ = writeln!(
            lines,
            "job,run=rare,node=n-1,kind=prime,bits=1024,outcome={outcome} jobs=1i,latency_ms=50.5,queue_wait_ms=30.25,compute_ms=20.25,candidates=1i,redelivered=1i {at}\n\
             metrics,source=consumer,node=n-1 points_written=1000i,points_spooled=5i,points_dropped={i}i,points_refused={i}i,write_errors={i}i {at}",
        );
    }
    database.import(&lines);
}

/// Fills a database so that each alert rule has one reason to fire.
pub fn fill_trouble(database: &Database<'_>, (_, to): Span) {
    let mut lines = String::new();
    for second in 0..300 {
        let at = (to - 1000 * second) * 1_000_000;
        let outcome = if second % 10 == 0 { "failed" } else { "ok" };
        let _ = writeln!(
            lines,
            "queue,queue=primepool.jobs.prime ready={ready}i,consumers=0i {at}\n\
             queue,queue=primepool.jobs.next-prime ready=5i,consumers=1i {at}\n\
             queue,queue=primepool.jobs.safe-prime ready=0i,consumers=0i {at}\n\
             job,run=r,node=n-1,kind=prime,bits=1024,outcome={outcome} jobs=1i,latency_ms=50.5 {at}\n\
             node,node=n-1,kernel=gmp alive_s=10.5,workers=2i {at}\n\
             metrics,source=consumer,node=n-1 points_dropped={dropped}i,points_refused=0i {at}\n\
             metrics,source=consumer,node=n-2 points_dropped=7i,points_refused=7i {at}",
            ready = 400 - second,
            dropped = 300 - second,
        );
        // Node n-2 stopped three minutes ago.
        if second > 180 {
            let _ = writeln!(
                lines,
                "node,node=n-2,kernel=gmp alive_s=10.5,workers=2i {at}"
            );
        }
    }
    database.import(&lines);
}
