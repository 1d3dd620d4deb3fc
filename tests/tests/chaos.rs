//! Everything at once, for a moment: what `make chaos` does at length.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use primepool_tests::chaos::{Fault, Options, run, table};
use tempfile::tempdir;

#[test]
fn everything_goes_wrong_at_once_and_nothing_is_lost() {
    let dir = tempdir().unwrap();
    let options = Options {
        seed: 7,
        units: 1500,
        consumers: 4,
        bits: 1536,
        hits: 1,
        soak: std::time::Duration::ZERO,
        evidence: dir.path().join("chaos"),
    };
    let faults = [
        Fault::ConsumerKill,
        Fault::ProducerKill,
        Fault::BrokerKill,
        Fault::NetworkCut,
        Fault::NetworkDelay,
        Fault::ConsumerFreeze,
    ];
    let report = run("together", &faults, &options);
    if !report.broken.is_empty() {
        let kept = dir.keep();
        panic!("{}\nkept in {}", table(&[report]), kept.display());
    }
    assert_eq!(report.results, 1500);
    let struck = report.hits.values().filter(|hits| **hits > 0).count();
    assert!(struck >= 5, "{:?}", report.hits);
}
