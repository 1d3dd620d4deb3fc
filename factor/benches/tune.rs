//! Measures how each parameter of the quadratic sieve performs on this machine: `make tune-factor`.
//!
//! ```text
//! cargo bench -p primepool-factor --bench tune -- [KERNEL] [BITS...]
//! ```
//!
//! For each size, the sieve factors the same semiprimes with the parameters of the table in
//! `quadratic_sieve/parameters.rs`, and with one of them changed at a time, in turn. The output is
//! the CPU time as a multiple of that with the table's parameters in the same round: below 1, the
//! change is better on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::env;

use primepool_engine::{Cancel, Engine, Stream};
use primepool_factor::Integer;
use primepool_factor::quadratic_sieve::SieveKernel;
use primepool_factor::quadratic_sieve::tuning::{Parameters, split_with};

mod shared;

use shared::{now, semiprime};

/// A name for the change, and the change of the parameters.
type Variant = (&'static str, fn(&mut Parameters));

const VARIANTS: [Variant; 13] = [
    ("table", |_| {}),
    ("base × 0.75", |p| p.base = p.base * 3 / 4),
    ("base × 1.33", |p| p.base = p.base * 4 / 3),
    ("large primes / 2", |p| p.large_bound /= 2),
    ("large primes × 2", |p| p.large_bound *= 2),
    ("products of two / 8", |p| p.double_bound /= 8),
    ("products of two × 8", |p| p.double_bound *= 8),
    ("scored below × 0.75", |p| {
        p.scored_below = p.scored_below * 3 / 4
    }),
    ("scored below × 1.33", |p| {
        p.scored_below = p.scored_below * 4 / 3
    }),
    ("factors − 1", |p| p.factors -= 1),
    ("factors + 1", |p| p.factors += 1),
    ("lacking bits − 3", |p| p.lacking_bits -= 3),
    ("lacking bits + 3", |p| p.lacking_bits += 3),
];

/// Minimum duration of a round in seconds.
const ROUND: f64 = 1.0;

const ROUNDS: usize = 5;

/// Products of two primes of half the bits.
fn semiprimes(bits: u32, count: usize) -> Vec<Integer> {
    let mut engine = Engine::new();
    let mut streams = [
        Stream::seeded(90, bits.into()),
        Stream::seeded(91, bits.into()),
    ];
    let numbers = (0..count).map(|_| semiprime(&mut engine, bits, &mut streams));
    numbers.collect()
}

/// CPU seconds that the sieve takes for all numbers.
fn seconds(numbers: &[Integer], variant: Variant, kernel: SieveKernel) -> f64 {
    let start = now();
    for number in numbers {
        let mut parameters = Parameters::for_bits(number.significant_bits());
        variant.1(&mut parameters);
        let divisor =
            split_with(number, parameters, kernel, &Cancel::new(), &mut |_, _| {}).unwrap();
        assert!(divisor.is_some(), "{number}, {}", variant.0);
    }
    now() - start
}

fn main() {
    // `cargo test` runs benchmarks too, with `--test`.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let named = |kernel: &SieveKernel| arguments.iter().any(|name| name == kernel.name());
    let available = SieveKernel::available();
    let kernel = available
        .iter()
        .copied()
        .find(named)
        .unwrap_or(available[0]);
    let mut sizes: Vec<u32> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![96, 128, 160, 192, 208];
    }
    println!("Kernel {}.", kernel.name());
    for bits in sizes {
        let first = semiprimes(bits, 1);
        let one = seconds(&first, VARIANTS[0], kernel).max(1e-4);
        let count = ((ROUND / one) as usize).clamp(1, 100);
        let numbers = semiprimes(bits, count);
        let mut times = vec![Vec::new(); VARIANTS.len()];
        for _ in 0..if one < 10.0 { ROUNDS } else { 1 } {
            for (variant, times) in VARIANTS.iter().zip(&mut times) {
                times.push(seconds(&numbers, *variant, kernel));
            }
        }
        let table = times[0].clone();
        let least = table.iter().copied().fold(f64::MAX, f64::min) / count as f64;
        println!(
            "\n{bits} bits, {count} numbers, {least:.4} s each: {:?}\n",
            Parameters::for_bits(bits)
        );
        println!("| parameter | time, table = 1 |\n|---|---|");
        for ((name, _), times) in VARIANTS.iter().zip(&times).skip(1) {
            let mut ratios: Vec<f64> = times.iter().zip(&table).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let median = ratios[ratios.len() / 2];
            println!(
                "| {name} | {median:.3} ({:.3}–{:.3}) |",
                ratios[0],
                ratios[ratios.len() - 1]
            );
        }
    }
}
