//! A sample of `long/chaos.rs` and `make chaos`: several faults in one run, with the same seed
//! every time.

use std::time::Duration;

use primepool_tests::chaos::{Fault, Options, run, table};
use tempfile::tempdir;

/// Panics unless all promises are kept in a run of `units` units and at least `least_struck` faults
/// strike.
pub(crate) fn assert_kept(faults: &[Fault], units: u64, consumers: usize, least_struck: usize) {
    let dir = tempdir().unwrap();
    let options = Options {
        seed: 7,
        units,
        consumers,
        bits: 1536,
        hits: 1,
        soak: Duration::ZERO,
        evidence: dir.path().join("chaos"),
    };
    let report = run("together", faults, &options);
    if !report.broken.is_empty() {
        let kept = dir.keep();
        panic!("{}\nkept in {}", table(&[report]), kept.display());
    }
    assert_eq!(report.results, units);
    let struck = report.hits.values().filter(|hits| **hits > 0).count();
    assert!(struck >= least_struck, "{:?}", report.hits);
}

#[test]
fn processes_die_and_the_network_fails_in_one_run_and_nothing_is_lost() {
    let faults = [Fault::ConsumerKill, Fault::ProducerKill, Fault::NetworkCut];
    assert_kept(&faults, 250, 2, 3);
}
