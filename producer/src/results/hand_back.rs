//! Units that a consumer hands back, because its node is excluded from them.

use std::time::{Duration, Instant};

use primepool_common::message::UnitAnswer;

use super::sink::Sink;
use crate::status::Event;

/// First pause before a unit that was handed back is published again. Each pause is twice as long
/// as the previous one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two publications.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many times a unit is published again if there is no other consumer: for 15 s in total.
const TRIES_ALONE: u32 = 5;

/// How many times a unit is published again if there are other consumers: for nearly 6 minutes in
/// total.
const TRIES: u32 = 12;

/// The decision about a unit that was handed back.
#[derive(Debug, PartialEq, Eq)]
enum RetryDecision {
    /// Publish the unit again after a pause.
    RetryAfter(Duration),
    /// Give up: its jobs have failed.
    GiveUp,
}

/// Decides about a unit that was handed back. `times`: how many times it was handed back before;
/// `is_alone`: whether every consumer is excluded from it.
fn decide_retry(times: u32, is_alone: bool) -> RetryDecision {
    let tries = if is_alone { TRIES_ALONE } else { TRIES };
    if times >= tries {
        return RetryDecision::GiveUp;
    }
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(times));
    RetryDecision::RetryAfter(pause.min(LONGEST_PAUSE))
}

impl<A: Send + 'static> Sink<A> {
    /// Processes the return of a unit that its node must not do. If no other node can be expected,
    /// returns the reason why its jobs have failed.
    pub(super) fn on_handed_back(
        &mut self,
        answer: &UnitAnswer,
        avoided: &[String],
    ) -> Option<String> {
        if !avoided.contains(&answer.node) {
            let reason = "it hands back a unit that it may work on";
            return self.refuse(Some(&answer.node), reason);
        }
        let is_alone = self
            .consumers
            .is_some_and(|consumers| consumers as usize <= avoided.len());
        if is_alone && !self.is_alone_told {
            self.is_alone_told = true;
            let _ = self.events.send(Event::NoOtherNode(avoided.join(", ")));
        }
        let times = self.handed_back.entry(answer.unit).or_default();
        match decide_retry(*times, is_alone) {
            RetryDecision::RetryAfter(pause) => {
                *times += 1;
                self.later.push((answer.unit, Instant::now() + pause));
                None
            }
            RetryDecision::GiveUp => Some(format!(
                "the results of {} were wrong or of another version, and no other node takes {} \
                 jobs: start another consumer",
                avoided.join(", "),
                self.manifest.request.kind()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(is_alone: bool) -> Vec<Duration> {
        let decisions = (0..).map(|times| decide_retry(times, is_alone));
        let again = decisions.map_while(|decision| match decision {
            RetryDecision::RetryAfter(pause) => Some(pause),
            RetryDecision::GiveUp => None,
        });
        again.collect()
    }

    #[test]
    fn a_unit_waits_longer_for_another_node_where_there_is_one() {
        let seconds = |pauses: Vec<Duration>| pauses.iter().sum::<Duration>().as_secs_f64();
        assert_eq!(seconds(pauses(true)), 15.5);
        let others = pauses(false);
        assert_eq!(others[0], FIRST_PAUSE);
        assert!(
            others
                .windows(2)
                .all(|two| two[0] <= two[1] && two[1] <= LONGEST_PAUSE)
        );
        assert!((300.0..400.0).contains(&seconds(others)));
    }
}
