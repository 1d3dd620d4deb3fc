//! Primes per second on one core, ours and others', and the vector kernel's share of what the processor can do.
//!
//! ```text
//! cargo bench -p primepool-engine -- [BITS...] [--rounds N] [--seconds S]
//! ```
//!
//! Every round measures all of them one after the other, by thread CPU time; the figures are medians over the rounds, of
//! rates and of the ratios within a round, which a machine that other work shares disturbs least. `PYTHON` names the
//! interpreter for the rivals that are measured through Python (gmpy2 if it is installed, and OpenSSL), `python3` by
//! default.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use primepool_engine::{Cancel, Engine, Form, Integer, Kernel, Stream, measure};
use rug::integer::Order;
use rustix::time::{ClockId, clock_gettime};

/// Thread CPU time in seconds: other work on the core does not count.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Primes per second of an engine, with `unit` of them to a call.
fn search(engine: &mut Engine, bits: u32, unit: u64, seconds: f64, next: &mut u64) -> f64 {
    let (start, mut count) = (now(), 0);
    while count == 0 || now() - start < seconds {
        let mut streams: Vec<Stream> = (0..unit).map(|i| Stream::seeded(2, *next + i)).collect();
        *next += unit;
        engine
            .primes(
                Form::Prime,
                bits,
                &mut streams,
                &Cancel::new(),
                &mut |_, _| count += 1,
            )
            .unwrap();
    }
    f64::from(count) / (now() - start)
}

/// `mpz_nextprime` from random starts, of the GMP that the engine is built with.
fn gmp(bits: u32, seconds: f64) -> f64 {
    let (start, mut count) = (now(), 0);
    let mut words = vec![0_u64; bits.div_ceil(64) as usize];
    while count < 3 || now() - start < seconds {
        words
            .iter_mut()
            .for_each(|word| *word = getrandom::u64().unwrap());
        let mut n = Integer::from_digits(&words, Order::Lsf).keep_bits(bits);
        n.set_bit(bits - 1, true);
        std::hint::black_box(n.next_prime());
        count += 1;
    }
    f64::from(count) / (now() - start)
}

/// The rates of other libraries, by name and version.
fn rivals(bits: u32, seconds: f64) -> Vec<(String, f64)> {
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/rivals.py");
    let output = Command::new(python)
        .args([script, &bits.to_string(), &seconds.to_string()])
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let name = fields.next()?;
            let rate = fields.next()?.parse().ok()?;
            Some((format!("{name} ({})", fields.next()?), rate))
        })
        .collect()
}

/// The share of the processor's vector multiply-adds that tests of so many bits use, and the time of one in seconds.
fn share(bits: u32, seconds: f64) -> Option<(f64, f64)> {
    let mut tests = measure::Tests::new(bits)?;
    let (mut shares, mut times) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let start = now();
        let limit = measure::limit(2_000_000)? as f64 / (now() - start);
        let (start, mut numbers, mut work) = (now(), 0, 0);
        while work == 0 || now() - start < seconds / 9.0 {
            let (tested, done) = tests.run().unwrap();
            numbers += tested;
            work += done;
        }
        let time = now() - start;
        shares.push(work as f64 / time / limit);
        times.push(time / numbers as f64);
    }
    Some((median(shares), median(times)))
}

fn main() {
    let mut sizes = Vec::new();
    let (mut rounds, mut seconds) = (5, 1.0);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            // From `cargo bench`.
            "--bench" => {}
            bits => sizes.push(bits.parse().expect("a number of bits")),
        }
    }
    if sizes.is_empty() {
        sizes = vec![256, 512, 1024, 2048, 4096];
    }

    let mut engines: Vec<Engine> = [Kernel::Ifma, Kernel::Gmp]
        .into_iter()
        .filter_map(|kernel| Engine::with_kernel(kernel).ok())
        .collect();
    let first = format!("ours, {}", engines[0].kernel().unwrap());
    println!(
        "rates: median primes per second of thread CPU time, {rounds} rounds of {seconds} s each"
    );
    for bits in sizes {
        let mut next = 0;
        let unit = (60_000_000_000 / u64::from(bits).pow(3)).clamp(16, 1000);
        let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut ratios = rates.clone();
        for round in 0..=rounds {
            let mut measured = Vec::new();
            for engine in &mut engines {
                let name = format!("ours, {}", engine.kernel().unwrap());
                measured.push((name, search(engine, bits, unit, seconds, &mut next)));
            }
            measured.push((
                "mpz_nextprime of the same GMP".to_owned(),
                gmp(bits, seconds),
            ));
            measured.extend(rivals(bits, seconds));
            // The first round makes the tables.
            for (name, rate) in measured.clone().into_iter().filter(|_| round > 0) {
                ratios
                    .entry(name.clone())
                    .or_default()
                    .push(measured[0].1 / rate);
                rates.entry(name).or_default().push(rate);
            }
        }
        println!("\n{bits} bits, {unit} primes a call");
        println!("| search | primes/s | {first} : this |");
        println!("|---|---|---|");
        for (name, rates) in rates {
            let ratio = median(ratios[&name].clone());
            println!("| {name} | {:.4} | {ratio:.2} |", median(rates));
        }
        if let Some((share, time)) = share(bits, seconds) {
            println!(
                "kernel: {:.2} µs a strong test, {:.1} % of the multiply-adds the processor can do",
                time * 1e6,
                share * 100.0
            );
        }
    }
}
