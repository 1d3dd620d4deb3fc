//! Measures the CPU time of one worker on one core: to factor balanced semiprimes, compared with
//! PARI's `factorint`, and to find factors of 20 and 25 digits, compared with GMP-ECM.
//!
//! ```text
//! cargo bench -p primepool-factor --bench factor -- [BITS...] [ecm]
//! ```
//!
//! `gp` and some kernels that this processor has factor the same numbers in turn, one batch at a
//! time, because small numbers are too quick for the clock of `gp`. The kernels factor small
//! numbers side by side. `gp` reports its own CPU time, without its start-up; ours is that of this
//! process, which does nothing else meanwhile. The share of each stage with the first kernel is
//! printed below the table.
//!
//! GMP-ECM runs curves with the bound that its manual recommends for the digits until a factor is
//! found; we do the same with our bound. Its CPU time is that of its processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use primepool_engine::{Cancel, Engine, Integer, Kernel, Stream};
use primepool_factor::spread::{self, Ecm};
use primepool_factor::{Factorizer, Limits, MANY_BITS, Progress};

mod shared;

use shared::{children, now, prime, semiprime};

/// Number of batches for a size, and of numbers in each batch.
fn batches(bits: u32) -> (u64, u64) {
    match bits {
        // About as many as in a unit of the pool.
        0..56 => (7, 20_000),
        56..72 => (7, 4000),
        72..90 => (7, 1000),
        90..100 => (7, 300),
        100..120 => (7, 60),
        120..150 => (7, 30),
        150..180 => (7, 4),
        180..210 => (7, 1),
        210..240 => (3, 1),
        _ => (1, 1),
    }
}

/// Seconds, and the factors of each number in ascending order.
type Measured = (f64, Vec<Vec<Integer>>);

fn ours(
    factorizer: &mut Factorizer,
    numbers: &[Integer],
    stages: &mut BTreeMap<&str, f64>,
) -> Measured {
    let start = now();
    let mut factors = vec![Vec::new(); numbers.len()];
    let mut begun = 0.0;
    let mut observer = |progress: Progress<'_>| match progress {
        Progress::Begun { .. } => begun = now(),
        Progress::Ended { stage, .. } => {
            *stages.entry(stage.as_str()).or_default() += now() - begun;
        }
        _ => {}
    };
    let (limits, never) = (Limits::default(), Cancel::new());
    factorizer
        .factor_many(
            numbers,
            &limits,
            &never,
            &mut observer,
            &mut |place, found| {
                let found = found.unwrap().factors.into_iter();
                factors[place] = found.map(|f| f.prime).collect();
            },
        )
        .unwrap();
    (now() - start, factors)
}

fn theirs(numbers: &[Integer]) -> Measured {
    let mut gp = Command::new("gp")
        .args(["-q", "-f", "-D", "parisizemax=1000000000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gp, of the package pari-gp");
    let numbers: Vec<String> = numbers.iter().map(Integer::to_string).collect();
    let script = format!(
        "default(nbthreads,1);v=[{}];gettime();\
         w=vector(#v,i,factorint(v[i])[,1]);t=gettime();print(t);\
         for(i=1,#w,for(j=1,#w[i],print1(w[i][j],\" \"));print())\n",
        numbers.join(",")
    );
    let mut input = gp.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = gp.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let milliseconds: f64 = lines.next().unwrap().parse().unwrap();
    let factors = lines.map(|line| {
        let factors = line.split_whitespace();
        factors.map(|factor| factor.parse().unwrap()).collect()
    });
    (milliseconds / 1e3, factors.collect())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Formats a time with three significant digits.
fn written(seconds: f64) -> String {
    let (number, unit) = match seconds {
        0.0..1e-3 => (seconds * 1e6, "µs"),
        1e-3..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let decimals = 2_usize.saturating_sub(number.log10().max(0.0) as usize);
    format!("{number:.decimals$} {unit}")
}

/// Digits of the factors searched for in numbers of 332 bits, and the number of numbers.
const SEARCHES: [(u32, usize); 2] = [(20, 100), (25, 20)];

/// GMP-ECM's bound for factors of this many digits.
fn their_bound(digits: u32) -> u32 {
    if digits == 20 { 11_000 } else { 50_000 }
}

/// Compares GMP-ECM with our curves in the vectors of the kernels; in machine words our curves take
/// ten times as long.
fn curves(kernels: &[Kernel]) {
    let vectors = kernels
        .iter()
        .copied()
        .filter(|kernel| *kernel != Kernel::Gmp);
    let kernels: Vec<Kernel> = vectors.collect();
    let columns = kernels
        .iter()
        .map(|kernel| format!(" {kernel} | {kernel} / GMP-ECM |"));
    println!(
        "\n| digits | numbers | GMP-ECM |{}",
        columns.collect::<String>()
    );
    println!("|---|---|---|{}", "---|---|".repeat(kernels.len()));
    let mut engine = Engine::new();
    for (digits, count) in SEARCHES {
        let mut stream = Stream::seeded(90, digits.into());
        // A factor of this many digits: between 10^(digits − 1) and 10^digits.
        let bits = (f64::from(digits) - 0.5) * 10_f64.log2();
        let (bits, cofactor_bits) = (bits as u32 + 1, 332 - bits as u32 - 1);
        let numbers: Vec<(Integer, Integer)> = (0..count)
            .map(|_| {
                let p = prime(&mut engine, bits, &mut stream);
                let n = prime(&mut engine, cofactor_bits, &mut stream) * &p;
                (p, n)
            })
            .collect();
        let start = children();
        for (_, n) in &numbers {
            let mut ecm = Command::new("ecm")
                .args(["-q", "-one", "-c", "0", &their_bound(digits).to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("ecm, of the package gmp-ecm");
            writeln!(ecm.stdin.take().unwrap(), "{n}").unwrap();
            let output = ecm.wait_with_output().unwrap();
            assert!(output.stdout.contains(&b' '), "{output:?}");
        }
        let theirs = (children() - start) / count as f64;
        let level = spread::level(2048, spread::DEFAULT_EFFORT, digits).unwrap();
        let columns = kernels.iter().map(|kernel| {
            let mut ecm = Ecm::new(*kernel);
            let start = now();
            for (p, n) in &numbers {
                let found = ecm.curves(n, level.b1, 0..100_000, &Cancel::new(), &mut |_| {});
                assert_eq!(found.unwrap().as_ref(), Some(p));
            }
            let ours = (now() - start) / count as f64;
            format!(" {} | 1/{:.1} |", written(ours), theirs / ours)
        });
        let columns: String = columns.collect();
        println!("| {digits} | {count} | {} |{columns}", written(theirs));
    }
}

fn main() {
    // Cargo adds `--bench`, which is no size.
    let mut sizes: Vec<u32> = env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let kernels = [Kernel::Ifma512, Kernel::Fma256, Kernel::Gmp].into_iter();
    let kernels: Vec<Kernel> = kernels.filter(|kernel| kernel.is_available()).collect();
    if env::args().any(|argument| argument == "ecm") {
        return curves(&kernels);
    }
    let with_curves = sizes.is_empty();
    if sizes.is_empty() {
        sizes = vec![40, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256];
    }
    let mut engine = Engine::new();
    let mut notes = Vec::new();
    let columns = kernels
        .iter()
        .map(|kernel| format!(" {kernel} | {kernel} / gp |"));
    println!("| bits | numbers | gp |{}", columns.collect::<String>());
    println!("|---|---|---|{}", "---|---|".repeat(kernels.len()));
    for bits in sizes {
        let (count, size) = batches(bits);
        let mut streams = [
            Stream::seeded(88, bits.into()),
            Stream::seeded(89, bits.into()),
        ];
        let mut their = Vec::new();
        let mut our = vec![Vec::new(); kernels.len()];
        let mut stages = BTreeMap::new();
        // Built once per size, as in a worker.
        let of_kernel = |kernel: &Kernel| Factorizer::with_kernel(*kernel);
        let mut factorizers: Vec<Factorizer> = kernels.iter().map(of_kernel).collect();
        for batch in 0..count {
            let numbers: Vec<Integer> = (0..size)
                .map(|_| semiprime(&mut engine, bits, &mut streams))
                .collect();
            // PARI runs after the kernels in one batch, and before them in the next.
            let mut expected = (batch % 2 == 1).then(|| theirs(&numbers));
            for (i, (factorizer, our)) in factorizers.iter_mut().zip(&mut our).enumerate() {
                let mut others = BTreeMap::new();
                let stages = if i == 0 { &mut stages } else { &mut others };
                our.push(ours(factorizer, &numbers, stages));
            }
            let expected = expected.take().unwrap_or_else(|| theirs(&numbers));
            for our in &our {
                assert_eq!(our[batch as usize].1, expected.1, "{numbers:?}");
            }
            their.push(expected.0);
        }
        let each = |seconds: &[f64]| median(seconds) / size as f64;
        let columns = our.iter().map(|our| {
            let our: Vec<f64> = our.iter().map(|(seconds, _)| *seconds).collect();
            let ratios: Vec<f64> = our.iter().zip(&their).map(|(a, b)| a / b).collect();
            let (least, greatest) = ratios
                .iter()
                .fold((f64::MAX, 0.0_f64), |(a, b), &r| (a.min(r), b.max(r)));
            let median = median(&ratios);
            let ratio = if bits <= MANY_BITS {
                format!(
                    "1/{:.1} (1/{:.1}–1/{:.1})",
                    1.0 / median,
                    1.0 / least,
                    1.0 / greatest
                )
            } else {
                format!("{median:.2} ({least:.2}–{greatest:.2})")
            };
            format!(" {} | {ratio} |", written(each(&our)))
        });
        let columns: String = columns.collect();
        println!(
            "| {bits} | {} | {} |{columns}",
            count * size,
            written(each(&their))
        );
        let total: f64 = stages.values().sum();
        let shares = stages
            .iter()
            .map(|(stage, seconds)| format!("{stage} {:.1} %", 100.0 * seconds / total));
        notes.push(format!(
            "{bits} bits, {}: {}",
            kernels[0],
            shares.collect::<Vec<_>>().join(", ")
        ));
    }
    println!("\n{}", notes.join("\n"));
    if with_curves {
        curves(&kernels);
    }
}
