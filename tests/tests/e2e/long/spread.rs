//! Sieves that take the whole pool a minute or more.

use crate::spread::kill_in_the_middle;

#[test]
fn whoever_is_killed_the_relations_stay() {
    kill_in_the_middle(228);
}

/// The size that the project promises it for.
#[test]
fn whoever_is_killed_the_relations_stay_at_256_bits() {
    kill_in_the_middle(256);
}

/// Relations have two large primes.
#[test]
fn whoever_is_killed_the_relations_stay_at_272_bits() {
    kill_in_the_middle(272);
}
