//! Primes per second on one core, by this engine and by other libraries, and the vector kernel's
//! share of the processor's limit.
//!
//! ```text
//! cargo bench -p primepool-engine -- [BITS...] [--rounds N] [--seconds S] [--records FILE]
//! ```
//!
//! Every round measures all programs one after the other, by thread CPU time. The figures are
//! medians over the rounds, of rates and of ratios within a round; other work on the machine
//! disturbs these least. A measurement takes at least S seconds (ten times that above 2048 bits,
//! where primes are rare) and, up to 2048 bits, enough primes to make [`PRIMES`] in all rounds.
//! `PYTHON` names the interpreter for the rivals that are measured through Python (gmpy2 if it is
//! installed, and OpenSSL); the default is `python3`. `CRYPTO_PRIMES` names the program of
//! `benches/crypto-primes/`.
//!
//! `FILE` gets every measurement as a line of tab-separated fields: bits, name, round, value.
//! `infra/local/bench.sh` makes the table and the plot from it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, iter};

use gmp_mpfr_sys::gmp;
use primepool_engine::{
    Cancel, Certificate, Claim, Engine, Form, Integer, Kernel, Method, Stream, measure,
};
use rug::integer::Order;
use rustix::time::{ClockId, clock_gettime};

/// Thread CPU time in seconds: other work on the core does not count.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Least number of primes per rate. The time of one prime is distributed exponentially, so the mean
/// of 400 is usually within 5 % of the true one.
const PRIMES: u64 = 400;

/// Minima of a measurement, in seconds and in primes.
#[derive(Clone, Copy)]
struct Least {
    seconds: f64,
    primes: u64,
}

/// Amount of work done per second of CPU time; `work` returns how much it did.
fn rate(seconds: f64, work: impl FnMut() -> u64) -> f64 {
    rate_of(Least { seconds, primes: 1 }, work)
}

/// Like [`rate`], for work that finds primes.
fn rate_of(least: Least, mut work: impl FnMut() -> u64) -> f64 {
    let (start, mut count) = (now(), 0);
    while count < least.primes || now() - start < least.seconds {
        count += work();
    }
    count as f64 / (now() - start)
}

/// The primes of `unit` streams, the first of which has the index `next`.
fn search(
    engine: &mut Engine,
    method: Method,
    bits: u32,
    unit: u64,
    next: &mut u64,
) -> Vec<Integer> {
    let mut streams: Vec<Stream> = (0..unit).map(|i| Stream::seeded(2, *next + i)).collect();
    *next += unit;
    let mut primes = Vec::with_capacity(streams.len());
    let mut found = |_, found: primepool_engine::Found| primes.push(found.prime);
    engine
        .primes_by(
            method,
            Form::Prime,
            bits,
            &mut streams,
            &Cancel::new(),
            &mut found,
        )
        .unwrap();
    primes
}

/// Like [`search`], with certificates.
fn search_provable(
    engine: &mut Engine,
    bits: u32,
    unit: u64,
    next: &mut u64,
) -> Vec<(Vec<Integer>, Certificate)> {
    let mut streams: Vec<Stream> = (0..unit).map(|i| Stream::seeded(2, *next + i)).collect();
    *next += unit;
    let mut primes = Vec::with_capacity(streams.len());
    let mut found = |_, found: primepool_engine::Found, certificate| {
        primes.push((vec![found.prime], certificate));
    };
    engine
        .provable_primes(Form::Prime, bits, &mut streams, &Cancel::new(), &mut found)
        .unwrap();
    primes
}

/// `mpz_nextprime` from a random start, with the GMP that the engine is built with. Returns the
/// number of primes, 1.
fn gmp_next_prime(bits: u32) -> u64 {
    let words: Vec<u64> = iter::repeat_with(|| getrandom::u64().unwrap())
        .take(bits.div_ceil(64) as usize)
        .collect();
    let mut n = Integer::from_digits(&words, Order::Lsf).keep_bits(bits);
    n.set_bit(bits - 1, true);
    std::hint::black_box(n.next_prime());
    1
}

/// The rates of other libraries, with their names and versions.
fn rivals(bits: u32, least: Least) -> Vec<(String, f64)> {
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut python = Command::new(python);
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/rivals.py"));
    let programs = iter::once(python).chain(env::var("CRYPTO_PRIMES").ok().map(Command::new));
    let mut said = String::new();
    for mut program in programs {
        program
            .args([
                bits.to_string(),
                least.seconds.to_string(),
                least.primes.to_string(),
            ])
            .stderr(Stdio::inherit());
        if let Ok(output) = program.output() {
            said += &String::from_utf8_lossy(&output.stdout);
        }
    }
    said.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let rate = fields.next()?.parse().ok()?;
            Some((format!("{name} ({})", fields.next()?), rate))
        })
        .collect()
}

/// All measurements of a round, with their names.
fn measure_all(
    bits: u32,
    least: Least,
    engines: &mut [Engine],
    next: &mut u64,
) -> Vec<(String, f64)> {
    let unit = (60_000_000_000 / u64::from(bits).pow(3)).clamp(16, 1000);
    let seconds = least.seconds;
    let mut measured = Vec::new();
    for (index, engine) in engines.iter_mut().enumerate() {
        let kernel = engine.kernel();
        let name = format!("ours, {kernel}");
        let mut primes = Vec::new();
        let found = rate_of(least, || {
            primes = search(engine, Method::Incremental, bits, unit, next);
            unit
        });
        measured.push((name.clone(), found));
        if index == 0 {
            let uniform = rate_of(least, || {
                primes = search(engine, Method::Uniform, bits, unit, next);
                unit
            });
            measured.push((format!("{name}, uniform"), uniform));
            let mut proven = Vec::new();
            let provable = rate_of(least, || {
                proven = search_provable(engine, bits, unit, next);
                unit
            });
            measured.push((format!("{name}, provable"), provable));
            let claims: Vec<Claim<'_>> = proven
                .iter()
                .map(|(primes, certificate)| Claim {
                    primes,
                    certificate,
                })
                .collect();
            let checked = rate(seconds / 4.0, || {
                let verdicts = engine.check_certificates(&claims, &Cancel::new()).unwrap();
                assert!(verdicts.iter().all(Result::is_ok));
                unit
            });
            measured.push((format!("{name}, check of a certificate, µs"), 1e6 / checked));
        }
        let verified = rate(seconds / 4.0, || {
            assert!(engine.verify(&primes).unwrap().iter().all(|&passed| passed));
            unit
        });
        measured.push((format!("{name}, verification, µs"), 1e6 / verified));
        if let Some(mut tests) = measure::Tests::new(kernel, bits) {
            let (mut limits, mut times, mut work) = (Vec::new(), Vec::new(), 0.0);
            // Short turns, so that both measurements see the same clock frequency.
            for _ in 0..10 {
                limits.push(rate(seconds / 100.0, || {
                    measure::limit(kernel, 100_000).unwrap()
                }));
                let tested = rate(seconds / 40.0, || {
                    let (tested, done) = tests.run().unwrap();
                    work = done as f64 / tested as f64;
                    tested
                });
                times.push(1.0 / tested);
            }
            let time = median(&times);
            let confirmed = rate(seconds / 4.0, || tests.confirm().unwrap());
            measured.push((format!("{name}, strong test, µs"), time * 1e6));
            measured.push((
                format!("{name}, share of the limit"),
                work / time / median(&limits),
            ));
            measured.push((format!("{name}, confirmation's share"), found / confirmed));
        }
    }
    let name = format!(
        "mpz_nextprime (GMP {}.{}.{} of gmp-mpfr-sys)",
        gmp::VERSION,
        gmp::VERSION_MINOR,
        gmp::VERSION_PATCHLEVEL
    );
    measured.push((name, rate_of(least, || gmp_next_prime(bits))));
    measured.extend(rivals(bits, least));
    measured
}

fn main() {
    let mut sizes = Vec::new();
    let (mut rounds, mut seconds, mut records) = (5_u64, 1.0, None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            "--records" => records = Some(File::create(arguments.next().unwrap()).unwrap()),
            // `cargo bench` passes this.
            "--bench" => {}
            bits => sizes.push(bits.parse().expect("a number of bits")),
        }
    }
    if sizes.is_empty() {
        sizes = vec![256, 512, 1024, 2048, 4096];
    }

    let mut engines: Vec<Engine> = Kernel::ALL
        .into_iter()
        .filter_map(|kernel| Engine::with_kernel(kernel).ok())
        .collect();
    println!("median (range) of {rounds} rounds, thread CPU time; rates are primes per second");
    for bits in sizes {
        let least = if bits <= 2048 {
            Least {
                seconds,
                primes: PRIMES.div_ceil(rounds),
            }
        } else {
            Least {
                seconds: 10.0 * seconds,
                primes: 1,
            }
        };
        let mut next = 0;
        for engine in &mut engines {
            // The first search builds the tables.
            search(engine, Method::Incremental, bits, 1, &mut next);
        }
        let mut measured: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for round in 0..rounds {
            let values = measure_all(bits, least, &mut engines, &mut next);
            let first = values[0].1;
            for (name, value) in values {
                if let Some(records) = &mut records {
                    writeln!(records, "{bits}\t{name}\t{round}\t{value:.6e}").unwrap();
                }
                ratios.entry(name.clone()).or_default().push(first / value);
                measured.entry(name).or_default().push(value);
            }
        }
        println!("\n{bits} bits");
        for (name, values) in measured {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            print!("  {name}: {:.4} ({least:.4} to {most:.4})", median(&values));
            if name.contains("µs") || name.contains("share") {
                println!();
            } else {
                println!("; ours is {:.2} times that", median(&ratios[&name]));
            }
        }
    }
}
