//! Model checks of the protocol: a small run, with every order of steps and faults. `model.rs` has
//! its states and steps, and docs/RELIABILITY.md says what follows from the checks and what does
//! not.
//!
//! `cargo test --release -p primepool-tests --test e2e protocol -- --nocapture` prints the number
//! of states, and what goes wrong without each of the safeguards. The largest size is in
//! `long/protocol.rs`.

mod model;

use std::{thread::available_parallelism, time::Instant};

use model::{Protocol, Safeguard, State};
use stateright::{Checker, HasDiscoveries, Model, Path};

const LOST: &str = "nothing is lost";
const TWICE: &str = "no unit has two results";
const EARLY: &str = "no unit is acknowledged early";

/// The protocol with all safeguards.
fn protocol(units: usize, consumers: usize, faults: u8, tidies: bool) -> Protocol {
    Protocol {
        units,
        consumers,
        faults,
        window: units,
        tidies,
        without: None,
    }
}

/// Panics unless the protocol keeps its promises in every state.
pub(crate) fn check(units: usize, consumers: usize, faults: u8, tidies: bool) {
    check_model(protocol(units, consumers, faults, tidies));
}

fn check_model(protocol: Protocol) {
    let begin = Instant::now();
    let size = format!("{protocol:?}");
    let checker = protocol
        .checker()
        .threads(available_parallelism().map_or(1, usize::from))
        .symmetry_fn(State::representative)
        .spawn_dfs()
        .join();
    println!(
        "{size}: {} states, {} of them distinct, {} steps deep, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begin.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

#[test]
fn one_unit_whatever_goes_wrong() {
    check(1, 2, 2, false);
    check(1, 1, 3, false);
}

#[test]
fn two_units_that_share_a_run() {
    check(2, 1, 1, true);
}

/// In no state does the run wait for ever with a full window.
#[test]
fn two_units_with_a_window_of_one() {
    check_model(Protocol {
        window: 1,
        ..protocol(2, 1, 1, true)
    });
}

/// Finds a sequence of steps that violates the property without a safeguard; panics if there is
/// none.
fn goes_wrong(without: Safeguard, units: usize, faults: u8, property: &'static str) {
    let checker = Protocol {
        without: Some(without),
        ..protocol(units, 1, faults, false)
    }
    .checker()
    .finish_when(HasDiscoveries::AnyOf([property].into()))
    .spawn_bfs()
    .join();
    let path = checker.discovery(property).map(Path::into_actions);
    println!("without {without:?}, {property:?} is not true after {path:?}");
    assert!(path.is_some(), "the model does well without {without:?}");
}

#[test]
fn no_safeguard_is_superfluous() {
    use Safeguard::*;
    for (safeguard, faults) in [
        (UnitIsAcknowledgedAfterConfirmation, 1),
        (ConfirmationSettlesNothingLater, 1),
        (UnconfirmedAnswerIsSentAgain, 1),
        (UnconfirmedUnitIsPublishedAgain, 1),
        (UnitIsJournalledAfterConfirmation, 1),
        (AnswerIsAcknowledgedAfterSync, 1),
        (LostAnswersAreAskedForAgain, 1),
        (LossIsRemembered, 2),
        (JournalIsEmptied, 2),
        (JournalIsEmptiedFirst, 2),
        (EarlierPublicationsDoNotCount, 2),
        (PublicationsWithoutQueueDoNotCount, 2),
        (WrongUnitIsRetracted, 2),
        (PublicationsBeforeRetractionDoNotCount, 2),
    ] {
        goes_wrong(safeguard, 1, faults, LOST);
    }
    for safeguard in [
        UnitIsAcknowledgedAfterConfirmation,
        ConfirmationSettlesNothingLater,
    ] {
        goes_wrong(safeguard, 1, 1, EARLY);
    }
    // Two units, because a run of one unit ends with its first result.
    for safeguard in [SecondResultIsDropped, ResultsAreReadBack] {
        goes_wrong(safeguard, 2, 1, TWICE);
    }
}
