//! Sieves that keep the whole pool busy for a minute or more.

use crate::spread::kill_in_the_middle;

#[test]
fn whoever_is_killed_the_relations_stay() {
    kill_in_the_middle(228);
}

/// The size for which the project promises this.
#[test]
fn whoever_is_killed_the_relations_stay_at_256_bits() {
    kill_in_the_middle(256);
}

/// At this size, relations have two large primes.
#[test]
fn whoever_is_killed_the_relations_stay_at_272_bits() {
    kill_in_the_middle(272);
}
