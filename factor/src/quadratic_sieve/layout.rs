//! The layout of the factor base in lines, as the inner loops need it.
//!
//! Entries are the odd primes of the base and small powers of the smallest ones, in ascending order
//! and in classes by how they are sieved with ([`ShortModuli`], buckets). Each class is filled
//! up to whole lines.

use std::iter::Peekable;

use primepool_engine::small;

use super::factor_base::FactorBase;
use super::kernel::{
    Moduli, ModuliRun, SECTION_LINES, SHORTS, Section, ShortModuli, Shorts, WORDS, Words,
};
use super::parameters::{BLOCK, HALF, Parameters};

/// From this modulus on, places are collected in lists.
const LISTED_FROM: u32 = 4096;

/// Powers of primes below this are entries as well, as long as they are below [`POWERS_BELOW`].
const POWERS_OF: u32 = 64;
const POWERS_BELOW: u32 = 1024;

/// The index of the prime in a padding entry.
pub(super) const NO_PRIME: u32 = u32::MAX;

/// A place behind the block, for entries that must not hit it.
pub(super) const OUTSIDE: u16 = BLOCK as u16;

/// A modulus, or padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    modulus: u32,
    /// Index of its prime in the base.
    prime: u32,
    root: u32,
    /// Euler's function of the modulus, less 1.
    exponent: u32,
    log: u8,
}

/// The factor base of one number in lines.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) moduli: Moduli,
    pub(super) short: ShortModuli,
    pub(super) sections: Vec<Section>,
    /// For each entry, the index of its prime in the base.
    pub(super) primes: Vec<u32>,
    pub(super) logs: Vec<u8>,
    /// Places of large primes expected in the block of a polynomial.
    pub(super) expected_large: f64,
    /// Padding entries of the third class.
    list_filling: Vec<usize>,
}

impl Layout {
    /// Lays out the factor base. `scale` is the logarithm of 2 in the sums of a block.
    pub(super) fn new(base: &FactorBase, parameters: &Parameters, scale: f64) -> Self {
        let mut sorted = entries(base, scale);
        sorted.sort_unstable();
        let mut rest = sorted.into_iter().peekable();
        let mut all = Vec::new();
        let mut class = |below: u32, line: usize, filling: &dyn Fn(u32) -> u32| {
            take_below(&mut rest, below, &mut all);
            let last = all.last().map_or(3, |last: &Entry| last.modulus);
            while !all.len().is_multiple_of(line) {
                all.push(Entry {
                    modulus: filling(last),
                    prime: NO_PRIME,
                    root: 0,
                    exponent: 1,
                    log: 0,
                });
            }
            all.len()
        };
        let scored = class(parameters.scored_below, SHORTS, &|last| last);
        let direct = class(LISTED_FROM, SHORTS, &|last| last);
        let listed = class(BLOCK as u32, SHORTS, &|last| last);
        // Padding with a modulus so large that it hardly ever has a place in the block.
        class(u32::MAX, WORDS, &|_| (1 << 31) - 1);
        let logs: Vec<u8> = all.iter().map(|entry| entry.log).collect();
        let expected = all[listed..].iter().filter(|entry| entry.prime != NO_PRIME);
        Self {
            moduli: moduli(&all, listed),
            short: short_moduli(&all[..listed], scored, direct),
            sections: sections(&logs[listed..]),
            primes: all.iter().map(|entry| entry.prime).collect(),
            expected_large: expected
                .map(|entry| 2.0 * BLOCK as f64 / f64::from(entry.modulus))
                .sum(),
            list_filling: (direct..listed)
                .filter(|&i| all[i].prime == NO_PRIME)
                .collect(),
            logs,
        }
    }

    /// Number of entries whose roots are kept in 16 bits.
    pub(super) fn shorts(&self) -> usize {
        self.short.modulus.len() * SHORTS
    }

    /// Entries that are not sieved with in a family: those of the factors of its leading
    /// coefficient, and padding of the third class.
    pub(super) fn unused<'a>(&'a self, factors: &'a [u32]) -> impl Iterator<Item = usize> + 'a {
        let of_factors = (0..self.shorts()).filter(|&i| factors.contains(&self.primes[i]));
        of_factors.chain(self.list_filling.iter().copied())
    }
}

fn take_below(rest: &mut Peekable<impl Iterator<Item = Entry>>, below: u32, all: &mut Vec<Entry>) {
    while let Some(entry) = rest.next_if(|entry| entry.modulus < below) {
        all.push(entry);
    }
}

fn entries(base: &FactorBase, scale: f64) -> Vec<Entry> {
    let log = |prime: u32| (f64::from(prime).log2() * scale).round() as u8;
    let mut entries = Vec::with_capacity(base.primes.len() + 256);
    for (index, (&prime, &root)) in base.primes.iter().zip(&base.roots).enumerate().skip(1) {
        let entry = Entry {
            modulus: prime,
            prime: index as u32,
            root,
            exponent: prime - 2,
            log: log(prime),
        };
        entries.push(entry);
        if root == 0 || prime >= POWERS_OF {
            continue;
        }
        let mut power = entry;
        while power.modulus * prime < POWERS_BELOW {
            let modulus = power.modulus * prime;
            let square = base.multiple.mod_u(modulus);
            // By Hensel's lemma, one of these is a root again.
            let candidates = (power.root..modulus).step_by(power.modulus as usize);
            let Some(root) = { candidates }.find(|t| t * t % modulus == square) else {
                break;
            };
            power = Entry {
                modulus,
                root,
                exponent: modulus / prime * (prime - 1) - 1,
                ..entry
            };
            entries.push(power);
        }
    }
    entries
}

fn moduli(entries: &[Entry], short: usize) -> Moduli {
    let lines = |word: &dyn Fn(&Entry) -> u32| {
        let (lines, _) = entries.as_chunks::<WORDS>();
        lines
            .iter()
            .map(|line| Words(line.each_ref().map(word)))
            .collect()
    };
    let radix = |m: u32| (1_u64 << 32) % u64::from(m);
    Moduli {
        modulus: lines(&|entry| entry.modulus),
        inverse: lines(&|entry| small::inverse(entry.modulus.into()) as u32),
        one: lines(&|entry| radix(entry.modulus) as u32),
        square: lines(&|entry| (radix(entry.modulus).pow(2) % u64::from(entry.modulus)) as u32),
        exponent: lines(&|entry| entry.exponent),
        root: lines(&|entry| entry.root),
        middle: lines(&|entry| HALF % entry.modulus),
        short_lines: short / WORDS,
    }
}

fn short_moduli(entries: &[Entry], scored: usize, direct: usize) -> ShortModuli {
    let lines = |word: &dyn Fn(&Entry) -> u32| {
        let (lines, _) = entries.as_chunks::<SHORTS>();
        lines
            .iter()
            .map(|line| Shorts(line.each_ref().map(|entry| word(entry) as u16)))
            .collect()
    };
    let mut runs: Vec<ModuliRun> = Vec::new();
    for (i, entry) in entries.iter().enumerate().take(direct).skip(scored) {
        let times = BLOCK / entry.modulus as usize;
        match runs.last_mut().filter(|run| run.times == times) {
            Some(run) => run.end = i + 1,
            None => runs.push(ModuliRun { end: i + 1, times }),
        }
    }
    let (listed, _) = entries[direct..].as_chunks::<SHORTS>();
    let times = |line: &[Entry; SHORTS]| {
        let block = BLOCK as u32;
        (
            (block / line[SHORTS - 1].modulus) as u8,
            (block / line[0].modulus + 1) as u8,
        )
    };
    let logs = listed
        .iter()
        .map(|line| line_log(&line.each_ref().map(|entry| entry.log)));
    ShortModuli {
        modulus: lines(&|entry| entry.modulus),
        reciprocal: lines(&|entry| (1 << 16) / entry.modulus),
        log: lines(&|entry| entry.log.into()),
        scored: scored / SHORTS,
        direct: direct / SHORTS,
        runs,
        listed: by_log(logs, usize::MAX),
        times: listed.iter().map(times).collect(),
    }
}

fn sections(logs: &[u8]) -> Vec<Section> {
    let (lines, _) = logs.as_chunks::<WORDS>();
    by_log(lines.iter().map(|line| line_log(line)), SECTION_LINES)
}

/// The logarithm of a line: that of its middle entry, without padding.
fn line_log(logs: &[u8]) -> u8 {
    let used = logs.iter().rposition(|&log| log > 0).unwrap_or(0);
    logs[used.div_ceil(2)]
}

/// Runs of at most `most` lines with the same logarithm.
fn by_log(logs: impl Iterator<Item = u8>, most: usize) -> Vec<Section> {
    let mut runs: Vec<Section> = Vec::new();
    let mut start = 0;
    for (i, log) in logs.enumerate() {
        match runs.last_mut() {
            Some(run) if run.log == log && i - start < most => run.end = i + 1,
            _ => {
                start = i;
                runs.push(Section { end: i + 1, log });
            }
        }
    }
    runs
}
