//! All faults in one short run; `make chaos` does this at length.

use primepool_tests::chaos::Fault;

use crate::chaos::assert_kept;

#[test]
fn everything_goes_wrong_at_once_and_nothing_is_lost() {
    let faults = [
        Fault::ConsumerKill,
        Fault::ProducerKill,
        Fault::BrokerKill,
        Fault::NetworkCut,
        Fault::NetworkDelay,
        Fault::ConsumerFreeze,
    ];
    assert_kept(&faults, 1500, 4, 5);
}
