//! One worker's time to factor balanced semiprimes beside PARI's `factorint`, by CPU time on one
//! core.
//!
//! ```text
//! cargo bench -p primepool-factor --bench factor -- [BITS...]
//! ```
//!
//! `gp` and each kernel of the sieve that this processor has factor the same numbers in turn, a batch at a time (small numbers are too
//! quick for the clock of `gp`). `gp` tells its own CPU time, without its start; ours is that of
//! the process, whose only work it is. The share of each stage with the first kernel stands below
//! the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use primepool_engine::{Cancel, Engine, Integer, Stream};
use primepool_factor::quadratic_sieve::SieveKernel;
use primepool_factor::{Factorizer, Limits, Progress};

mod shared;

use shared::{now, semiprime};

/// Batches of a size, and numbers in each.
fn batches(bits: u32) -> (u64, u64) {
    match bits {
        0..150 => (7, 30),
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
    let factors = numbers.iter().map(|n| {
        let mut begun = 0.0;
        let mut observer = |progress: Progress<'_>| match progress {
            Progress::Begun { .. } => begun = now(),
            Progress::Ended { stage, .. } => {
                *stages.entry(stage.as_str()).or_default() += now() - begun;
            }
            _ => {}
        };
        let found = factorizer
            .factor(n, &Limits::default(), &Cancel::new(), &mut observer)
            .unwrap();
        found.factors.into_iter().map(|f| f.prime).collect()
    });
    let factors = factors.collect();
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

fn main() {
    // Cargo adds `--bench`.
    let mut sizes: Vec<u32> = env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![128, 160, 192, 224, 256];
    }
    let kernels = SieveKernel::available();
    let mut engine = Engine::new();
    let mut notes = Vec::new();
    let columns = kernels
        .iter()
        .map(|kernel| format!(" {0}, s | {0} / gp |", kernel.name()));
    println!("| bits | numbers | gp, s |{}", columns.collect::<String>());
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
        for batch in 0..count {
            let numbers: Vec<Integer> = (0..size)
                .map(|_| semiprime(&mut engine, bits, &mut streams))
                .collect();
            // In one batch before the others, in the next after them.
            let mut expected = (batch % 2 == 1).then(|| theirs(&numbers));
            for (i, (kernel, our)) in kernels.iter().zip(&mut our).enumerate() {
                let mut factorizer = Factorizer::with_kernel(*kernel);
                let mut others = BTreeMap::new();
                let stages = if i == 0 { &mut stages } else { &mut others };
                our.push(ours(&mut factorizer, &numbers, stages));
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
            format!(
                " {:.4} | {median:.2} ({least:.2}–{greatest:.2}) |",
                each(&our)
            )
        });
        let columns: String = columns.collect();
        println!(
            "| {bits} | {} | {:.4} |{columns}",
            count * size,
            each(&their)
        );
        let total: f64 = stages.values().sum();
        let shares = stages
            .iter()
            .map(|(stage, seconds)| format!("{stage} {:.1} %", 100.0 * seconds / total));
        notes.push(format!(
            "{bits} bits, {}: {}",
            kernels[0].name(),
            shares.collect::<Vec<_>>().join(", ")
        ));
    }
    println!("\n{}", notes.join("\n"));
}
