//! The largest sizes of the protocol that are model-checked.

use crate::protocol::check;

/// With what is under way for a unit that has a result.
#[test]
fn two_units_that_share_a_run() {
    check(2, 1, 1, false);
}

/// 61 million states.
#[test]
fn two_units_and_two_consumers() {
    check(2, 2, 1, true);
}
