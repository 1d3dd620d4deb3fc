//! The largest size of the protocol that is model-checked: 61 million states.

use crate::protocol::check;

#[test]
fn two_units_and_two_consumers() {
    check(2, 2, 1, true);
}
