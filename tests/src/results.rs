use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rug::{Integer, integer::IsPrime};
use serde_json::Value;

use crate::wait_for;

/// The files that a run left in its folder.
#[derive(Debug)]
pub struct Results {
    /// The run's folder.
    pub folder: PathBuf,
    /// The lines of `results.jsonl`.
    pub rows: Vec<Value>,
    /// The content of `summary.json`.
    pub summary: Value,
}

impl Results {
    /// Reads the only run below `dir/runs`.
    pub fn read(dir: &Path) -> Self {
        let folder = Self::folder(dir).expect("a run");
        let text = fs::read_to_string(folder.join("results.jsonl")).unwrap_or_default();
        let summary = fs::read(folder.join("summary.json")).unwrap_or_else(|_| b"null".into());
        Self {
            rows: text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            summary: serde_json::from_slice(&summary).unwrap(),
            folder,
        }
    }

    /// The folder of the only run below `dir/runs`, if there is one.
    pub fn folder(dir: &Path) -> Option<PathBuf> {
        // The hidden spool of metrics is in the same folder, and for a moment a file of integers.
        let is_run = |entry: &fs::DirEntry| {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            !hidden && entry.path().is_dir()
        };
        let runs = fs::read_dir(dir.join("runs")).ok()?.map(Result::unwrap);
        let mut runs = runs.filter(is_run);
        let folder = runs.next()?.path();
        assert!(runs.next().is_none(), "more than one run");
        Some(folder)
    }

    /// Waits until a run below `dir/runs` can be resumed; returns its name.
    pub fn wait_for_run(dir: &Path) -> String {
        let folder = wait_for("a run", || {
            Self::folder(dir).filter(|folder| folder.join("manifest.json").exists())
        });
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Name of the run.
    pub fn run(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    /// Number of results written so far by the only run below `dir/runs`.
    pub fn count(dir: &Path) -> usize {
        Self::folder(dir)
            .and_then(|folder| fs::read_to_string(folder.join("results.jsonl")).ok())
            .map_or(0, |text| text.lines().count())
    }

    /// Panics unless each job has exactly one `ok` row, with a distinct prime of `bits` bits.
    pub fn assert_primes(&self, count: u64, bits: u32) {
        let jobs: BTreeSet<u64> = self
            .rows
            .iter()
            .map(|row| row["job"].as_u64().unwrap())
            .collect();
        assert_eq!(self.rows.len() as u64, count, "one row a job");
        assert_eq!(jobs, (0..count).collect());
        let primes = primes(&self.rows);
        let distinct: BTreeSet<_> = primes.iter().collect();
        assert_eq!(distinct.len() as u64, count, "no prime twice");
        for prime in &primes {
            assert_eq!(prime.significant_bits(), bits);
            assert_ne!(prime.is_probably_prime(25), IsPrime::No, "{prime}");
        }
    }
}

/// The primes of `ok` rows, in the order of their jobs.
pub fn primes(rows: &[Value]) -> Vec<Integer> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row["job"].as_u64());
    rows.into_iter()
        .map(|row| {
            assert_eq!(row["outcome"], "ok", "{row}");
            let digits = row["prime"].as_str().unwrap().strip_prefix("0x").unwrap();
            Integer::from_str_radix(digits, 16).unwrap()
        })
        .collect()
}

/// Parses an integer of a results file, `0x…`.
#[must_use]
pub fn integer(value: &Value) -> Integer {
    let text = value.as_str().unwrap().replace("0x", "");
    Integer::from_str_radix(&text, 16).unwrap()
}

/// Panics unless the factors in each row are primes whose product is the row's number.
pub fn assert_factored(rows: &[Value]) {
    for row in rows {
        assert_eq!(row["outcome"], "ok", "{row}");
        let mut product = Integer::from(1);
        for power in row["factors"].as_array().unwrap() {
            let prime = integer(&power[0]);
            assert_ne!(prime.is_probably_prime(25), IsPrime::No);
            for _ in 0..power[1].as_u64().unwrap() {
                product *= &prime;
            }
        }
        assert_eq!(product, integer(&row["n"]).abs(), "{row}");
    }
}
