//! Overhead of the pool: `make bench-pool`.
//!
//! Every figure is a ratio of two measurements, taken in turn in the same run, on the same machine,
//! with the same seeded jobs. The tables show medians of the rounds with their range. Broker,
//! consumer and producer share the cores.
//!
//! - overhead: primes/s through the broker, compared with the same engine in a bare loop with as
//!   many threads;
//! - metrics: primes/s while consumer and producer write to an InfluxDB, compared with none;
//! - dispatch: empty jobs, one per message and packed, compared with lapin alone publishing to a
//!   queue of the same type and consuming from it;
//! - round trip: one empty job at a time, from publishing it to its answer.
//!
//! Other measurements replace these: `ONLY_SHARES=1` measures a small run beside a large one,
//! `ONLY_FACTORING=1` hundreds of thousands of factored numbers, and `BASE=DIR` compares these
//! programs with those of an earlier build in DIR.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark ends with the first thing that goes wrong, and prints"
)]

mod base;
mod factoring;
mod shares;

use std::{
    fmt::Write as _,
    num::NonZero,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use primepool_common::{
    message::{CONTENT_TYPE, NoopJobs, Work, WorkUnit},
    topology,
};
use primepool_engine::{Cancel, Engine, Form, Kernel, Stream};
use primepool_tests::{Binary, Broker, Consumer, Finished, Influx, Process, Results, cpu_seconds};
use tempfile::tempdir;

const SEED: u64 = 20_261_122;

const METRICS_HEAD: &str = "| 1024 bits | primes/s with metrics to InfluxDB | without | with / without | InfluxDB's share of all cores |\n|---|---|---|---|---|\n";

fn main() {
    // `cargo test` also runs benchmarks, but without `--bench`; then there is nothing to do.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let rounds: usize = std::env::var("ROUNDS").map_or(7, |text| text.parse().expect("ROUNDS"));
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let kernel = kernel();
    let broker = Broker::private();
    let mut report = format!(
        "kernel {kernel}; {workers} workers; broker, consumer, producer and bare loop on the same {workers} cores; {rounds} rounds, median (range)\n\n"
    );

    report.push_str("| bits | bare loop, primes/s | pool, primes/s | pool / bare loop | without verification |\n|---|---|---|---|---|\n");
    // About ten seconds per measurement.
    let faster = match kernel {
        Kernel::Ifma512 | Kernel::Ifma256 => 6,
        Kernel::Fma512 | Kernel::Fma256 => 3,
        Kernel::Gmp => 1,
    };
    let sizes = [(1024, 1500 * faster), (256, 200_000 * faster)];
    let only: Option<u32> = std::env::var("BITS")
        .ok()
        .map(|text| text.parse().expect("BITS"));
    if let Some(base) = std::env::var_os("BASE") {
        println!(
            "{}",
            base::report(&broker, Path::new(&base), workers, rounds)
        );
        return;
    }
    if std::env::var_os("ONLY_SHARES").is_some() {
        println!("{}", shares::report(&broker, workers, rounds));
        return;
    }
    if std::env::var_os("ONLY_FACTORING").is_some() {
        let table = factoring::report(&broker, kernel, workers, rounds);
        println!("kernel {kernel}; {workers} workers; {rounds} rounds, median (range)\n\n{table}");
        return;
    }
    if std::env::var_os("ONLY_METRICS").is_some() {
        println!(
            "{METRICS_HEAD}{}",
            metrics(&broker, workers, 1500 * faster, rounds)
        );
        return;
    }
    for (bits, count) in sizes {
        if only.is_some_and(|only| only != bits) {
            continue;
        }
        let row = overhead(&broker, workers, bits, count, rounds);
        eprintln!("{row}");
        writeln!(report, "{row}").unwrap();
    }
    if only.is_some() {
        println!("{report}");
        return;
    }
    let row = metrics(&broker, workers, 1500 * faster, rounds);
    eprintln!("{row}");
    write!(report, "\n{METRICS_HEAD}{row}\n").unwrap();
    report.push_str(
        "\n| empty jobs | jobs/s | lapin alone, messages/s | pool / lapin |\n|---|---|---|---|\n",
    );
    for (name, count, size) in [
        ("one a message", 20_000, "1"),
        ("packed (auto)", 1_000_000, "auto"),
    ] {
        let row = dispatch(&broker, workers, name, count, size, rounds.min(5));
        eprintln!("{row}");
        writeln!(report, "{row}").unwrap();
    }
    let mut times = round_trips(&broker, 1000);
    times.sort_unstable();
    let p = |q: f64| {
        times[((times.len() as f64 * q) as usize).min(times.len() - 1)].as_secs_f64() * 1e3
    };
    writeln!(
        report,
        "\nRound trip of a single empty job, 1000 one after another: p50 {:.2} ms, p99 {:.2} ms",
        p(0.50),
        p(0.99)
    )
    .unwrap();
    println!("{report}");
}

/// Median, minimum and maximum of some values.
struct Spread([f64; 3]);

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self([
            values[values.len() / 2],
            values[0],
            values[values.len() - 1],
        ])
    }

    fn rate(&self) -> String {
        let [median, least, most] = self.0;
        format!("{median:.0} ({least:.0}–{most:.0})")
    }

    fn tenths(&self) -> String {
        let [median, least, most] = self.0;
        format!("{median:.1} ({least:.1}–{most:.1})")
    }

    fn percent(&self) -> String {
        let [median, least, most] = self.0.map(|value| 100.0 * value);
        format!("{median:.1} % ({least:.1}–{most:.1})")
    }
}

fn overhead(broker: &Broker, workers: usize, bits: u32, count: u64, rounds: usize) -> String {
    let dir = tempdir().unwrap();
    let consumer = start_consumer(dir.path(), broker, workers, &[]);
    let (mut bares, mut pools, mut ratios, mut unverified) = (vec![], vec![], vec![], vec![]);
    for round in 0..rounds as u64 {
        let seed = SEED + round;
        let bare = bare_loop(workers, bits, count, seed);
        let pool = |verify: &str| {
            let (bits, count, seed) = (bits.to_string(), count.to_string(), seed.to_string());
            let args = [
                "--bits", &bits, "--count", &count, "--seed", &seed, "--verify", verify,
            ];
            produce(broker, &args)
        };
        let (verified, plain) = (pool("all"), pool("none"));
        bares.push(bare);
        pools.push(verified);
        ratios.push(verified / bare);
        unverified.push(plain / bare);
    }
    stop(consumer);
    format!(
        "| {bits} | {} | {} | {} | {} |",
        Spread::of(bares).rate(),
        Spread::of(pools).rate(),
        Spread::of(ratios).percent(),
        Spread::of(unverified).percent()
    )
}

/// Overhead of metrics: consumer and producer write to an InfluxDB on the same cores, or to none.
fn metrics(broker: &Broker, workers: usize, count: u64, rounds: usize) -> String {
    let influx = Influx::private();
    let flags = influx.flags();
    let mut server: Vec<&str> = flags.iter().map(String::as_str).collect();
    server.extend(["--metrics-spool", "spool"]);
    let count = count.to_string();
    let measure = |server: &[&str], seed: &str| {
        let dir = tempdir().unwrap();
        let consumer = start_consumer(dir.path(), broker, workers, server);
        let mut args = vec!["--bits", "1024", "--count", &count, "--seed", seed];
        args.extend(server);
        let rate = produce(broker, &args);
        stop(consumer);
        rate
    };
    let influxd = std::fs::read_to_string(influx.dir.join("pid")).unwrap();
    let influxd = influxd.trim().parse().unwrap();
    // On a shared machine, the server's CPU time says more than the rates.
    let mut server_shares = vec![];
    let mut with_metrics = |seed: &str| {
        let (start, before) = (Instant::now(), cpu_seconds(influxd));
        let rate = measure(&server, seed);
        let used = cpu_seconds(influxd) - before;
        server_shares.push(used / (start.elapsed().as_secs_f64() * workers as f64));
        rate
    };
    let (mut with, mut without, mut ratios) = (vec![], vec![], vec![]);
    for round in 0..rounds as u64 {
        let seed = (SEED + round).to_string();
        // The order alternates: a machine that gets slower or faster would favour the first one.
        let (metrics, none) = if round % 2 == 0 {
            let metrics = with_metrics(&seed);
            (metrics, measure(&[], &seed))
        } else {
            let none = measure(&[], &seed);
            (with_metrics(&seed), none)
        };
        with.push(metrics);
        without.push(none);
        ratios.push(metrics / none);
    }
    format!(
        "| | {} | {} | {} | {} |",
        Spread::of(with).rate(),
        Spread::of(without).rate(),
        Spread::of(ratios).percent(),
        Spread::of(server_shares).percent()
    )
}

/// Primes per second found by `workers` threads, which share the jobs of a seeded run.
fn bare_loop(workers: usize, bits: u32, count: u64, seed: u64) -> f64 {
    // As many jobs at a time as a unit holds, so that a kernel that works on several jobs at once
    // is not held back.
    let batch = ((0.2 / primepool_engine::estimate::seconds(Form::Prime, bits, Some(kernel())))
        as u64)
        .clamp(1, 50_000);
    let next = AtomicU64::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut engine = Engine::with_kernel(kernel()).expect("it was checked");
                loop {
                    let first = next.fetch_add(batch, Relaxed);
                    if first >= count {
                        return;
                    }
                    let jobs = first..(first + batch).min(count);
                    let mut streams: Vec<_> = jobs.map(|job| Stream::seeded(seed, job)).collect();
                    let mut found = |_, found| drop(std::hint::black_box(found));
                    engine
                        .primes(Form::Prime, bits, &mut streams, &Cancel::new(), &mut found)
                        .unwrap();
                }
            });
        }
    });
    count as f64 / start.elapsed().as_secs_f64()
}

/// Starts a consumer with `workers` workers and the further arguments `more`, and waits until it
/// consumes.
fn start_consumer(dir: &Path, broker: &Broker, workers: usize, more: &[&str]) -> Process {
    let concurrency = workers.to_string();
    let mut all = vec![
        "--node",
        "bench",
        "--log",
        "warn",
        "--health-file",
        "health",
    ];
    all.extend(["--concurrency", &concurrency]);
    all.extend(more);
    let consumer = Process::start(Binary::Consumer, dir, &broker.url, &all);
    primepool_tests::wait_for("the consumer", || {
        let mut health = Binary::Consumer.command();
        health
            .args(["health", "--health-file"])
            .arg(dir.join("health"));
        health.output().unwrap().status.success().then_some(())
    });
    consumer
}

fn stop(consumer: Process) {
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code, Some(0));
}

/// Does a run; returns its jobs per second.
fn produce(broker: &Broker, args: &[&str]) -> f64 {
    let dir = tempdir().unwrap();
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, args).wait_long();
    jobs_per_s(dir.path(), &done)
}

/// Jobs per second of the run that the producer `done` left in `dir`.
fn jobs_per_s(dir: &Path, done: &Finished) -> f64 {
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir).summary["jobs_per_s"].as_f64().unwrap()
}

fn dispatch(
    broker: &Broker,
    workers: usize,
    name: &str,
    count: u64,
    unit_size: &str,
    rounds: usize,
) -> String {
    let dir = tempdir().unwrap();
    let consumer = start_consumer(dir.path(), broker, workers, &["--prefetch", "250"]);
    let (mut pools, mut raws, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let raw = lapin_alone(broker, 20_000);
        let count = count.to_string();
        let pool = produce(
            broker,
            &[
                "--kind",
                "noop",
                "--count",
                &count,
                "--unit-size",
                unit_size,
            ],
        );
        raws.push(raw);
        pools.push(pool);
        ratios.push(pool / raw);
    }
    stop(consumer);
    format!(
        "| {name} | {} | {} | {:.2} |",
        Spread::of(pools).rate(),
        Spread::of(raws).rate(),
        Spread::of(ratios).0[0]
    )
}

/// Messages per second from a publisher with a window of publisher confirms through a quorum queue
/// to a consumer that acknowledges each message: the limit for any program that uses RabbitMQ.
fn lapin_alone(broker: &Broker, count: usize) -> f64 {
    broker.with_channel(async |publish| {
        broker
            .with_second_channel(async |consume| {
                let mut arguments = FieldTable::default();
                arguments.insert(
                    "x-queue-type".into(),
                    AMQPValue::LongString("quorum".into()),
                );
                let durable = QueueDeclareOptions {
                    durable: true,
                    ..Default::default()
                };
                consume
                    .queue_declare("bench.raw".into(), durable, arguments)
                    .await
                    .unwrap();
                consume
                    .basic_qos(250, BasicQosOptions::default())
                    .await
                    .unwrap();
                let mut deliveries = consume
                    .basic_consume(
                        "bench.raw".into(),
                        "raw".into(),
                        BasicConsumeOptions::default(),
                        FieldTable::default(),
                    )
                    .await
                    .unwrap();
                let body = serde_json::to_vec(&noop("bench", 0)).unwrap();
                let start = Instant::now();
                let publishing = publish_all(publish, &body, count);
                let consuming = async {
                    for _ in 0..count {
                        let delivery = deliveries.next().await.unwrap().unwrap();
                        delivery.ack(BasicAckOptions::default()).await.unwrap();
                    }
                };
                tokio::join!(publishing, consuming);
                let rate = count as f64 / start.elapsed().as_secs_f64();
                consume
                    .queue_delete("bench.raw".into(), Default::default())
                    .await
                    .unwrap();
                rate
            })
            .await
    })
}

async fn publish_all(channel: &Channel, body: &[u8], count: usize) {
    let mut confirms = FuturesUnordered::new();
    for _ in 0..count {
        if confirms.len() == 1024 {
            assert_eq!(confirms.next().await, Some(Ok(Confirmation::Ack(None))));
        }
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirm = channel
            .basic_publish(
                "".into(),
                "bench.raw".into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap();
        confirms.push(confirm);
    }
    while confirms.next().await.is_some() {}
}

/// The kernel that `PRIMEPOOL_KERNEL` names, the same as in the measured programs.
fn kernel() -> Kernel {
    let name = std::env::var("PRIMEPOOL_KERNEL").unwrap_or_default();
    primepool_common::cli::kernel(&name).expect("PRIMEPOOL_KERNEL")
}

fn noop(run: &str, unit: u64) -> WorkUnit {
    WorkUnit {
        version: primepool_common::message::VERSION,
        run: run.parse().unwrap(),
        unit,
        first: unit,
        published_ns: 0,
        seed: None,
        avoid: Vec::new(),
        deadline_ms: None,
        hand_back: false,
        verified: false,
        work: Work::Noop(NoopJobs { count: 1 }),
    }
}

/// Durations of single jobs, one after another, from publishing to the answer.
fn round_trips(broker: &Broker, count: u64) -> Vec<Duration> {
    let dir = tempdir().unwrap();
    let consumer = Consumer::with(
        dir.path(),
        broker,
        &["--node", "bench", "--concurrency", "1"],
    );
    let times = broker.with_channel(async |channel| {
        let queue = "bench.answers";
        channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        channel
            .queue_bind(
                queue.into(),
                topology::RESULTS_EXCHANGE.into(),
                "bench".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let mut answers = channel
            .basic_consume(
                queue.into(),
                "answers".into(),
                no_ack,
                FieldTable::default(),
            )
            .await
            .unwrap();
        let mut times = Vec::new();
        for unit in 0..count {
            let body = serde_json::to_vec(&noop("bench", unit)).unwrap();
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type(CONTENT_TYPE.into());
            let start = Instant::now();
            let confirm = channel
                .basic_publish(
                    topology::JOBS_EXCHANGE.into(),
                    "noop".into(),
                    BasicPublishOptions::default(),
                    &body,
                    properties,
                )
                .await
                .unwrap();
            answers.next().await.unwrap().unwrap();
            times.push(start.elapsed());
            confirm.await.unwrap();
        }
        times
    });
    stop(consumer.0);
    times
}
