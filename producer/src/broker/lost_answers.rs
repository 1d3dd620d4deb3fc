//! Whether units or answers were lost, and when it is time to publish again what has no answer.
//!
//! A results queue can be out of reach for a while and come back as it was: in a cluster, it lives on
//! one node. Answers that are sent meanwhile are kept aside by the broker and confirmed to their
//! consumers, and no program is told which ones these are. So whenever the subscription was lost, and
//! when a run is resumed, the collecting side is in doubt.
//!
//! Units can be lost without any sign: an operator purges the queue, a policy gives messages a time
//! to live, units are dead-lettered. What consumers announce tells then: the queue is empty, and no
//! consumer has held a unit for a while. Where that is not known, only a long silence tells.
//!
//! Units that wait in the job queue are not lost, and there may be many. What is published again is
//! what consumers have in hand, and what was lost.

use std::time::{Duration, Instant};

use primepool_common::topology::QueueState;

use crate::status::Held;

/// Silence that says nothing: the broker and the network take their time too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Silence without doubt and without knowledge of the consumers.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(60);

/// Others may keep the job queue from ever being empty. After so long without an answer it is asked
/// again anyway, the next time after twice as long: if our units only wait behind theirs, each time
/// doubles them.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// A unit may be a single random search, whose time has an exponential distribution: one in 20,000
/// takes longer than so many times the average.
const TIMES_A_UNIT: u32 = 10;

/// What is seen of a run at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// State of the job queue.
    pub jobs: QueueState,
    /// Units that the consumers hold.
    pub held: Held,
    /// When this was seen.
    pub now: Instant,
    /// Units of the run that have no answer.
    pub outstanding: usize,
    /// How long no answer has come.
    pub silence: Duration,
    /// How long a unit takes on average.
    pub unit: Duration,
    /// How long the longest unit took.
    pub longest: Duration,
    /// Time between two announcements of a consumer.
    pub every: Duration,
}

/// What is to be published again, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Answers may have gone astray while the subscription was lost.
    Answers,
    /// Units are neither in the queue nor with a consumer.
    Units,
}

/// Whether units or answers were lost.
#[derive(Debug)]
pub(crate) struct LostAnswers {
    is_raised: bool,
    idle_patience: Duration,
    long_patience: Duration,
}

impl LostAnswers {
    /// In doubt from the start, or not.
    #[must_use]
    pub(crate) fn new(is_raised: bool) -> Self {
        Self {
            is_raised,
            idle_patience: PATIENCE,
            long_patience: LONG_PATIENCE,
        }
    }

    /// The subscription was lost for a while.
    pub(crate) fn raise(&mut self) {
        self.is_raised = true;
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self) {
        self.idle_patience = PATIENCE;
    }

    /// Whether to publish again now what has no answer.
    #[must_use]
    pub(crate) fn is_due(&self, look: &Look) -> Option<Loss> {
        if look.outstanding == 0 {
            return None;
        }
        let Look {
            jobs, mut silence, ..
        } = *look;
        if self.is_raised {
            let patience = match jobs {
                QueueState { ready: 0, .. } => PATIENCE,
                // Without a consumer no answer is missing.
                QueueState { consumers: 0, .. } => return None,
                QueueState { .. } => self.long_patience,
            };
            let patience = patience.saturating_add(look.unit.saturating_mul(TIMES_A_UNIT));
            return (silence >= patience).then_some(Loss::Answers);
        }
        if jobs.ready > 0 || jobs.consumers == 0 {
            return None;
        }
        let longest = look.longest.saturating_mul(TIMES_A_UNIT);
        let patience = match look.held {
            // A unit that has just gone from one consumer to another is announced a little later.
            Held::NoneSince(since) => {
                silence = silence.min(look.now.saturating_duration_since(since));
                self.idle_patience.max(look.every.saturating_mul(2))
            }
            // They may be units of others.
            Held::Some => self.long_patience.max(longest),
            Held::Unknown => UNKNOWN_PATIENCE.max(longest),
        };
        (silence >= patience).then_some(Loss::Units)
    }

    /// It was published again at this look.
    pub(crate) fn settle(&mut self, look: &Look) {
        let was_raised = std::mem::take(&mut self.is_raised);
        if !was_raised {
            self.idle_patience = self.idle_patience.saturating_mul(2).min(LONG_PATIENCE);
        }
        if look.jobs.ready > 0 || !was_raised {
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

    /// After so many seconds without an answer, with units of one second, while the consumers hold
    /// some.
    fn look(jobs: QueueState, silence_s: u64) -> Look {
        Look {
            jobs,
            held: Held::Some,
            now: Instant::now(),
            outstanding: 1,
            silence: Duration::from_secs(silence_s),
            unit: Duration::from_secs(1),
            longest: Duration::from_secs(1),
            every: Duration::from_secs(2),
        }
    }

    #[test]
    fn asks_in_doubt_and_once() {
        let mut doubt = LostAnswers::new(false);
        assert_eq!(doubt.is_due(&look(EMPTY, 599)), None);
        doubt.raise();
        assert_eq!(doubt.is_due(&look(EMPTY, 15)), Some(Loss::Answers));
        doubt.settle(&look(EMPTY, 15));
        assert_eq!(doubt.is_due(&look(EMPTY, 599)), None);
        let doubt = LostAnswers::new(true);
        assert_eq!(doubt.is_due(&look(EMPTY, 15)), Some(Loss::Answers));
        let all_answered = Look {
            outstanding: 0,
            ..look(EMPTY, 1_000_000)
        };
        assert_eq!(doubt.is_due(&all_answered), None);
    }

    #[test]
    fn waits_for_work_at_hand() {
        let doubt = LostAnswers::new(true);
        assert_eq!(doubt.is_due(&look(EMPTY, 14)), None);
        let hours = |silence_h: u64| Look {
            unit: Duration::from_secs(3600),
            ..look(EMPTY, silence_h * 3600)
        };
        assert_eq!(doubt.is_due(&hours(9)), None);
        assert_eq!(doubt.is_due(&hours(11)), Some(Loss::Answers));
    }

    #[test]
    fn units_that_wait_are_left_alone_for_long() {
        let mut doubt = LostAnswers::new(true);
        assert_eq!(doubt.is_due(&look(FULL, 599)), None);
        assert_eq!(doubt.is_due(&look(FULL, 610)), Some(Loss::Answers));
        assert_eq!(doubt.is_due(&look(LEFT, 1_000_000)), None);
        doubt.settle(&look(FULL, 610));
        doubt.raise();
        assert_eq!(doubt.is_due(&look(FULL, 1199)), None);
        assert_eq!(doubt.is_due(&look(FULL, 1210)), Some(Loss::Answers));
        assert_eq!(doubt.is_due(&look(EMPTY, 15)), Some(Loss::Answers));
    }

    #[test]
    fn units_that_neither_the_queue_nor_a_consumer_has_are_lost() {
        let start = Instant::now();
        let idle_for = |idle_s, silence_s| Look {
            held: Held::NoneSince(start),
            now: start + Duration::from_secs(idle_s),
            ..look(EMPTY, silence_s)
        };
        let idle = |silence_s| idle_for(silence_s, silence_s);
        let mut lost = LostAnswers::new(false);
        assert_eq!(lost.is_due(&idle(4)), None);
        assert_eq!(lost.is_due(&idle(5)), Some(Loss::Units));
        assert_eq!(lost.is_due(&idle_for(4, 1_000)), None, "just handed over");
        assert_eq!(lost.is_due(&idle_for(5, 1_000)), Some(Loss::Units));
        let waits = Look {
            jobs: FULL,
            ..idle(1_000_000)
        };
        assert_eq!(lost.is_due(&waits), None, "they wait for a consumer");
        let alone = Look {
            jobs: QueueState {
                ready: 0,
                consumers: 0,
            },
            ..idle(1_000_000)
        };
        assert_eq!(lost.is_due(&alone), None, "no consumer could answer");
        // In a large pool announcements are rare.
        let large = |silence_s| Look {
            every: Duration::from_secs(30),
            ..idle(silence_s)
        };
        assert_eq!(lost.is_due(&large(59)), None);
        assert_eq!(lost.is_due(&large(60)), Some(Loss::Units));
        // If it does not help, it is done less and less often; progress begins anew.
        lost.settle(&idle(5));
        assert_eq!(lost.is_due(&idle(9)), None);
        assert_eq!(lost.is_due(&idle(10)), Some(Loss::Units));
        lost.answered();
        assert_eq!(lost.is_due(&idle(5)), Some(Loss::Units));
    }

    #[test]
    fn without_knowledge_of_the_consumers_a_long_silence_tells() {
        let unknown = |silence_s, longest_s| Look {
            held: Held::Unknown,
            longest: Duration::from_secs(longest_s),
            ..look(EMPTY, silence_s)
        };
        let lost = LostAnswers::new(false);
        assert_eq!(lost.is_due(&unknown(59, 1)), None);
        assert_eq!(lost.is_due(&unknown(60, 1)), Some(Loss::Units));
        assert_eq!(lost.is_due(&unknown(599, 60)), None);
        assert_eq!(lost.is_due(&unknown(600, 60)), Some(Loss::Units));
        // Consumers hold units that may be those of others.
        assert_eq!(lost.is_due(&look(EMPTY, 599)), None);
        assert_eq!(lost.is_due(&look(EMPTY, 600)), Some(Loss::Units));
    }
}
