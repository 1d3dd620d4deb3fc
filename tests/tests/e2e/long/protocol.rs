//! Model checks of the protocol at the largest sizes.

use crate::protocol::check;

/// Includes the messages that are still under way for a unit that has a result.
#[test]
fn two_units_that_share_a_run() {
    check(2, 1, 1, false);
}

/// This model has 61 million states.
#[test]
fn two_units_and_two_consumers() {
    check(2, 2, 1, true);
}
