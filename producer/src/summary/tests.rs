//! Tests of the figures against values computed by hand.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use primepool_common::message::{
    Factorization, HexInteger, Method, NodeSample, PrimeJobs, StageCost, Work,
};

use super::*;
use crate::{
    request::{Packing, Request, Verify},
    run_dir::{Factored, JobSet, Manifest, Origin, Row, RowOutcome},
};

fn quantiles(times: impl IntoIterator<Item = (f64, u64)>) -> Option<Quantiles> {
    let mut all = Distribution::default();
    for (ms, jobs) in times {
        all.add(ms, jobs);
    }
    all.quantiles()
}

#[test]
fn quantiles_are_of_the_nearest_rank_to_three_digits() {
    let are_close = |quantiles: [f64; 3], expected: [f64; 3]| {
        let mut pairs = quantiles.iter().zip(expected);
        pairs.all(|(value, expected)| (value - expected).abs() <= expected * 1e-3)
    };
    let q = quantiles((0..10).map(|tens| (f64::from(tens), 10))).unwrap();
    assert!(are_close([q.p50, q.p95, q.p99], [4.0, 9.0, 9.0]), "{q:?}");
    assert_eq!((q.max, q.mean), (9.0, 4.5));
    for scale in [0.01, 1.0, 1e6] {
        let q = quantiles((1..=100).rev().map(|n| (scale * f64::from(n), 1))).unwrap();
        let expected = [50.0, 95.0, 99.0].map(|n| scale * n);
        assert!(are_close([q.p50, q.p95, q.p99], expected), "{q:?}");
        assert_eq!(q.max, scale * 100.0);
        assert!((q.mean / scale - 50.5).abs() < 1e-6, "{q:?}");
    }
    assert_eq!(quantiles([(7.0, 1)]).unwrap().p99, 7.0);
    assert_eq!(quantiles([]), None);
    assert_eq!(quantiles([(7.0, 0)]), None);
}

fn sample(instance: u64, alive_s: f64, cpu_s: f64) -> NodeSample {
    NodeSample {
        instance,
        kernel: "gmp".into(),
        at_ns: (alive_s * 1e9) as u64,
        workers: 2,
        busy_workers: 1,
        busy_s: 0.0,
        alive_s,
        cores: 2.0,
        cpu_s,
        cpu_pct: 50.0,
        pool_cpu_pct: 0.0,
        mem_used_bytes: 1,
        mem_total_bytes: 4,
        rss_bytes: 1000,
        jobs_ok: 0,
        jobs_failed: 0,
        in_flight: 0,
    }
}

#[test]
fn efficiency_is_busy_time_per_time_present() {
    let mut tally = Tally::default();
    tally.busy("n", 3000.0);
    for s in [
        sample(1, 10.0, 5.0),
        sample(1, 14.0, 9.0),
        sample(1, 12.0, 6.0),
    ] {
        tally.sample("n", &s);
    }
    // This process started late: it was present for half a second of the run.
    tally.sample("n", &sample(2, 0.5, 0.0));
    let node = tally.nodes.remove("n").unwrap();
    let (summary, present_s) = node.summary("n".into(), 2.0);
    assert_eq!(present_s, 2.0 * 2.0 + 2.0 * 0.5);
    assert_eq!(summary.efficiency, Some(3.0 / 5.0));
    assert_eq!(summary.pool_cpu_pct, Some(50.0));
    assert_eq!(summary.workers, 4);
}

fn manifest(count: u64) -> Manifest {
    Manifest {
        version: 1,
        run: "r1".parse().unwrap(),
        request: Request::new(Work::Prime(PrimeJobs {
            bits: 64,
            count,
            method: Method::Incremental,
        })),
        packing: Packing {
            most_jobs: None,
            most: 1,
            least: 1,
            workers: 1,
        },
        priority: 0,
        output: "results.jsonl".into(),
    }
}

fn origin() -> Origin {
    Origin {
        node: "n".to_owned(),
        worker: 0,
        latency_ms: 1.0,
        queue_wait_ms: 0.0,
        redelivered: false,
    }
}

/// The summary of a run whose first `ended` jobs ended after one second, and that was given up
/// after ten seconds.
fn given_up(count: u64, ended: u64) -> Summary {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let mut tally = Tally::default();
    let rows: Vec<_> = (0..ended).map(row).collect();
    if ended > 0 {
        tally.add(&origin(), &rows, at(1));
    }
    // Two workers, one of them busy all the time.
    tally.busy("n", 10_000.0);
    tally.sample("n", &sample(1, 10.0, 0.0));
    let done = JobSet::with(count, 0..ended);
    let (manifest, verify) = (manifest(count), Verify::All);
    let given_up = Some(at(10));
    let period = Period { start, given_up };
    Summary::new(&manifest, count, tally, &done, 0, period, verify)
}

fn row(job: u64) -> Row {
    Row {
        job,
        outcome: RowOutcome::Ok,
        prime: None,
        bits: None,
        after: None,
        factored: None,
        reason: None,
        proof: None,
        compute_ms: 1.0,
        candidates: 1,
    }
}

#[test]
fn the_clock_of_a_run_that_is_given_up_ends_then() {
    let summary = given_up(36, 34);
    assert_eq!((summary.elapsed_s, summary.efficiency), (10.0, Some(0.5)));
    assert_eq!(summary.jobs_per_s, 3.4);
    let table = summary.to_string();
    assert!(table.contains("34 of 36 primes"), "{table}");
    assert!(
        table.contains("0.0 % of 34 jobs that ended   not done: 2   verified: all"),
        "{table}"
    );
    let table = given_up(1, 0).to_string();
    assert!(!table.contains("throughput"), "{table}");
    assert!(table.contains("0 of 1 prime of 64 bits"), "{table}");
    assert!(
        table.contains("not done: 1") && !table.contains("verified"),
        "{table}"
    );
    assert!(!given_up(5, 5).to_string().contains("not done"));
}

#[test]
fn the_only_factorisation_of_a_run_has_its_stages_and_no_percentiles() {
    let mut only = row(0);
    let stages = [("trial-division", 100, 0), ("ecm", 2_000_000, 12)];
    let stages = stages.map(|(stage, us, count)| StageCost {
        stage: stage.to_owned(),
        us,
        count,
    });
    let found = Factorization {
        stages: stages.to_vec(),
        ..Factorization::default()
    };
    only.factored = Some(Factored::new(HexInteger(15.into()), found));
    let start = Instant::now();
    let mut tally = Tally::default();
    tally.add(&origin(), &[only], start + Duration::from_secs(3));
    tally.busy("n", 4000.0);
    let period = Period {
        start,
        given_up: None,
    };
    let done = JobSet::with(1, 0..1);
    let table = Summary::new(&manifest(1), 1, tally, &done, 0, period, Verify::All).to_string();
    assert!(
        table.contains("compute      4.00 s of workers' time"),
        "{table}"
    );
    assert!(
        table.contains("stages       ecm 2.00 s (12 curves)\n"),
        "{table}"
    );
    assert!(table.contains("nodes        n\n"), "{table}");
    assert!(
        !table.contains("p95") && !table.contains("workers "),
        "{table}"
    );
}

#[test]
fn shares_are_within_what_is_possible_however_short_the_run() {
    let mut tally = Tally::default();
    // Ticks of CPU time are coarse for a run of three hundredths of a second.
    for s in [sample(1, 10.0, 5.0), sample(1, 10.03, 5.2)] {
        tally.sample("n", &s);
    }
    tally.busy("n", 61.0);
    let node = tally.nodes.remove("n").unwrap();
    let (summary, _) = node.summary("n".into(), 0.03);
    assert_eq!(
        (summary.pool_cpu_pct, summary.efficiency),
        (None, Some(1.0))
    );
    for s in [sample(1, 10.0, 5.0), sample(1, 10.3, 5.7)] {
        tally.sample("n", &s);
    }
    let node = tally.nodes.remove("n").unwrap();
    assert_eq!(node.summary("n".into(), 0.3).0.pool_cpu_pct, Some(100.0));
}
