//! Whether answers may have gone astray, and when it is time to ask again for what has none.
//!
//! A results queue can be out of reach for a while and come back as it was: in a cluster, it lives on one node. Answers that are
//! sent meanwhile are kept aside by the broker and confirmed to their consumers, and nobody is told which ones these are. So
//! whenever the subscription was lost, and when a run is resumed, the collecting side is in doubt. Units that wait in the job
//! queue cannot be concerned, and there may be very many. Hence it asks again only when the job queue is empty and no answer has
//! come for much longer than a unit takes: then all that is published again is what consumers have in hand, and what went astray.

use std::time::Duration;

use primepool_common::topology::QueueState;

/// Silence that says nothing: the broker and the network take their time too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Others may keep the job queue from ever being empty. After so long without an answer it is asked again anyway, the next time
/// after twice as long: if our units only wait behind theirs, each time doubles them.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// A unit may be a single random search, whose time has an exponential distribution: one in 20,000 takes longer than so many times
/// the average.
const TIMES_A_UNIT: u32 = 10;

/// Whether answers may have gone astray.
#[derive(Debug)]
pub(crate) struct LostAnswers {
    is_raised: bool,
    long_patience: Duration,
}

impl LostAnswers {
    /// In doubt from the start, or not.
    #[must_use]
    pub(crate) fn new(is_raised: bool) -> Self {
        Self {
            is_raised,
            long_patience: LONG_PATIENCE,
        }
    }

    /// The subscription was lost for a while.
    pub(crate) fn raise(&mut self) {
        self.is_raised = true;
    }

    /// Whether to ask again now: `jobs` is the state of the job queue, `silence` how long no answer has come, `unit` how
    /// long a unit takes on average.
    #[must_use]
    pub(crate) fn is_due(&self, jobs: QueueState, silence: Duration, unit: Duration) -> bool {
        let patience = match jobs {
            QueueState { ready: 0, .. } => PATIENCE,
            // Nobody is there to work: no answer is missing.
            QueueState { consumers: 0, .. } => return false,
            QueueState { .. } => self.long_patience,
        };
        self.is_raised && silence >= patience.saturating_add(unit.saturating_mul(TIMES_A_UNIT))
    }

    /// It was asked again while this was the state of the job queue.
    pub(crate) fn settle(&mut self, jobs: QueueState) {
        self.is_raised = false;
        if jobs.ready > 0 {
            self.long_patience = self.long_patience.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: QueueState = QueueState {
        ready: 0,
        consumers: 2,
    };
    const FULL: QueueState = QueueState {
        ready: 7,
        consumers: 2,
    };
    const LEFT: QueueState = QueueState {
        ready: 7,
        consumers: 0,
    };
    const UNIT: Duration = Duration::from_secs(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn asks_only_in_doubt_and_once() {
        let mut doubt = LostAnswers::new(false);
        assert!(!doubt.is_due(EMPTY, seconds(1_000_000), UNIT));
        doubt.raise();
        assert!(doubt.is_due(EMPTY, seconds(15), UNIT));
        doubt.settle(EMPTY);
        assert!(!doubt.is_due(EMPTY, seconds(1_000_000), UNIT));
        assert!(LostAnswers::new(true).is_due(EMPTY, seconds(15), UNIT));
    }

    #[test]
    fn waits_for_work_at_hand() {
        let doubt = LostAnswers::new(true);
        assert!(!doubt.is_due(EMPTY, seconds(14), UNIT));
        assert!(!doubt.is_due(EMPTY, seconds(9 * 3600), seconds(3600)));
        assert!(doubt.is_due(EMPTY, seconds(11 * 3600), seconds(3600)));
    }

    #[test]
    fn units_that_wait_are_left_alone_for_long() {
        let mut doubt = LostAnswers::new(true);
        assert!(!doubt.is_due(FULL, seconds(599), UNIT));
        assert!(doubt.is_due(FULL, seconds(610), UNIT));
        assert!(!doubt.is_due(LEFT, seconds(1_000_000), UNIT));
        doubt.settle(FULL);
        doubt.raise();
        assert!(!doubt.is_due(FULL, seconds(1199), UNIT));
        assert!(doubt.is_due(FULL, seconds(1210), UNIT));
        assert!(doubt.is_due(EMPTY, seconds(15), UNIT));
    }
}
