//! Figures by hand.

#![allow(clippy::unwrap_used)]

use primepool_common::message::NodeSample;

use super::*;

#[test]
fn quantiles_are_of_the_nearest_rank() {
    let one_by_one = (1..=100).rev().map(|n| (f64::from(n), 1)).collect();
    let in_tens = (0..10).map(|tens| (f64::from(tens), 10)).collect();
    let q = Quantiles::of(in_tens).unwrap();
    assert_eq!((q.p50, q.p95, q.p99, q.mean), (4.0, 9.0, 9.0, 4.5));
    let q = Quantiles::of(one_by_one).unwrap();
    assert_eq!(
        (q.p50, q.p95, q.p99, q.max, q.mean),
        (50.0, 95.0, 99.0, 100.0, 50.5)
    );
    assert_eq!(Quantiles::of(vec![(7.0, 1)]).unwrap().p99, 7.0);
    assert_eq!(Quantiles::of(vec![]), None);
    assert_eq!(Quantiles::of(vec![(7.0, 0)]), None);
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
fn efficiency_is_busy_time_per_time_there() {
    let mut tally = Tally::default();
    tally.busy("n", 3000.0);
    for s in [
        sample(1, 10.0, 5.0),
        sample(1, 14.0, 9.0),
        sample(1, 12.0, 6.0),
    ] {
        tally.sample("n", &s);
    }
    // Came late: it was there for half a second of the run.
    tally.sample("n", &sample(2, 0.5, 0.0));
    let node = tally.nodes.remove("n").unwrap();
    let (summary, there_s) = node.summary("n".into(), 2.0);
    assert_eq!(there_s, 2.0 * 2.0 + 2.0 * 0.5);
    assert_eq!(summary.efficiency, Some(3.0 / 5.0));
    assert_eq!(summary.pool_cpu_pct, Some(50.0));
    assert_eq!(summary.workers, 4);
}
