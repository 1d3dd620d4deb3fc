//! Decides whether units or answers were lost, and when to publish unanswered units again.
//!
//! A results queue can be unavailable for a while and come back unchanged: in a cluster, it lives
//! on one node. Answers sent in the meantime go to the alternate exchange and are confirmed to
//! their consumers, and no program learns which ones these are. So after every loss of the
//! subscription, and when a run is resumed, answers may be missing.
//!
//! Units can be lost without any sign: an operator purges the queue, a policy limits the time to
//! live of messages, units are dead-lettered. The announcements of the consumers reveal this: the
//! queue is empty, and no consumer has held a unit for a while. Without announcements, only a long
//! silence reveals it.
//!
//! Units that wait in the job queue are not lost, and there may be many of them. Publishing again
//! affects the units that consumers hold, and those that were lost.

use std::time::{Duration, Instant};

use primepool_common::topology::QueueState;

use crate::status::ConsumerLoad;

/// Silence that does not indicate a loss, since the broker and the network take time too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Silence that indicates a loss if the state of the consumers is unknown.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(30);

/// Other runs may keep the job queue from ever being empty. After this silence, units are published
/// again anyway; the time doubles with each attempt, because if the units only wait behind those of
/// other runs, each attempt duplicates them.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Factor of the mean time of a unit that is waited for. A unit may be a single random search,
/// whose time has an exponential distribution: one in 20,000 takes longer than this.
const TIMES_A_UNIT: u32 = 10;

/// Observations of a run at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolObservation {
    /// State of the job queue.
    pub jobs: QueueState,
    /// Whether consumers hold units of any run.
    pub consumer_load: ConsumerLoad,
    /// Time of the observation.
    pub now: Instant,
    /// Number of units of the run that have no answer.
    pub outstanding: usize,
    /// Time since the last answer.
    pub silence: Duration,
    /// Mean time of a unit.
    pub mean_unit_time: Duration,
    /// Longest time of a unit.
    pub longest_unit_time: Duration,
    /// Interval between the announcements of a consumer.
    pub announcement_interval: Duration,
}

/// The kind of loss, as the reason to publish units again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Answers may have been lost while the subscription was lost.
    Answers,
    /// Units are neither in the queue nor with a consumer.
    Units,
}

/// Detector of lost units and answers.
#[derive(Debug)]
pub(crate) struct LossDetector {
    is_raised: bool,
    idle_patience: Duration,
    long_patience: Duration,
}

impl LossDetector {
    /// `is_raised`: whether answers may be missing from the start, as in a resumed run.
    #[must_use]
    pub(crate) fn new(is_raised: bool) -> Self {
        Self {
            is_raised,
            idle_patience: PATIENCE,
            long_patience: LONG_PATIENCE,
        }
    }

    /// Records that the subscription was lost for a while.
    pub(crate) fn raise(&mut self) {
        self.is_raised = true;
    }

    /// Records that an answer has arrived.
    pub(crate) fn answered(&mut self) {
        self.idle_patience = PATIENCE;
    }

    /// Whether unanswered units should be published again now, and why.
    #[must_use]
    pub(crate) fn detect(&self, observation: &PoolObservation) -> Option<Loss> {
        if observation.outstanding == 0 {
            return None;
        }
        let PoolObservation {
            jobs, mut silence, ..
        } = *observation;
        if self.is_raised {
            let patience = match jobs {
                QueueState { ready: 0, .. } => PATIENCE,
                // Without consumers, no answer can be missing.
                QueueState { consumers: 0, .. } => return None,
                QueueState { .. } => self.long_patience,
            };
            let patience =
                patience.saturating_add(observation.mean_unit_time.saturating_mul(TIMES_A_UNIT));
            return (silence >= patience).then_some(Loss::Answers);
        }
        if jobs.ready > 0 || jobs.consumers == 0 {
            return None;
        }
        let longest = observation.longest_unit_time.saturating_mul(TIMES_A_UNIT);
        let patience = match observation.consumer_load {
            // A unit that has just moved from one consumer to another is announced a little later.
            ConsumerLoad::IdleSince(since) => {
                silence = silence.min(observation.now.saturating_duration_since(since));
                self.idle_patience
                    .max(observation.announcement_interval.saturating_mul(2))
            }
            // These may be units of other runs.
            ConsumerLoad::Busy => self.long_patience.max(longest),
            ConsumerLoad::Unknown => UNKNOWN_PATIENCE.max(longest),
        };
        (silence >= patience).then_some(Loss::Units)
    }

    /// Records that unanswered units were published again after this observation.
    pub(crate) fn settle(&mut self, observation: &PoolObservation) {
        let was_raised = std::mem::take(&mut self.is_raised);
        if !was_raised {
            self.idle_patience = self.idle_patience.saturating_mul(2).min(LONG_PATIENCE);
        }
        if observation.jobs.ready > 0 || !was_raised {
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

    /// An observation after `silence_s` seconds without an answer, with units of one second, while
    /// consumers hold some.
    fn observation(jobs: QueueState, silence_s: u64) -> PoolObservation {
        PoolObservation {
            jobs,
            consumer_load: ConsumerLoad::Busy,
            now: Instant::now(),
            outstanding: 1,
            silence: Duration::from_secs(silence_s),
            mean_unit_time: Duration::from_secs(1),
            longest_unit_time: Duration::from_secs(1),
            announcement_interval: Duration::from_secs(2),
        }
    }

    #[test]
    fn asks_in_doubt_and_once() {
        let mut detector = LossDetector::new(false);
        assert_eq!(detector.detect(&observation(EMPTY, 599)), None);
        detector.raise();
        assert_eq!(
            detector.detect(&observation(EMPTY, 15)),
            Some(Loss::Answers)
        );
        detector.settle(&observation(EMPTY, 15));
        assert_eq!(detector.detect(&observation(EMPTY, 599)), None);
        let detector = LossDetector::new(true);
        assert_eq!(
            detector.detect(&observation(EMPTY, 15)),
            Some(Loss::Answers)
        );
        let all_answered = PoolObservation {
            outstanding: 0,
            ..observation(EMPTY, 1_000_000)
        };
        assert_eq!(detector.detect(&all_answered), None);
    }

    #[test]
    fn waits_for_work_at_hand() {
        let detector = LossDetector::new(true);
        assert_eq!(detector.detect(&observation(EMPTY, 14)), None);
        let hours = |silence_h: u64| PoolObservation {
            mean_unit_time: Duration::from_secs(3600),
            ..observation(EMPTY, silence_h * 3600)
        };
        assert_eq!(detector.detect(&hours(9)), None);
        assert_eq!(detector.detect(&hours(11)), Some(Loss::Answers));
    }

    #[test]
    fn units_that_wait_are_left_alone_for_long() {
        let mut detector = LossDetector::new(true);
        assert_eq!(detector.detect(&observation(FULL, 599)), None);
        assert_eq!(
            detector.detect(&observation(FULL, 610)),
            Some(Loss::Answers)
        );
        assert_eq!(detector.detect(&observation(LEFT, 1_000_000)), None);
        detector.settle(&observation(FULL, 610));
        detector.raise();
        assert_eq!(detector.detect(&observation(FULL, 1199)), None);
        assert_eq!(
            detector.detect(&observation(FULL, 1210)),
            Some(Loss::Answers)
        );
        assert_eq!(
            detector.detect(&observation(EMPTY, 15)),
            Some(Loss::Answers)
        );
    }

    #[test]
    fn units_that_neither_the_queue_nor_a_consumer_has_are_lost() {
        let start = Instant::now();
        let idle_for = |idle_s, silence_s| PoolObservation {
            consumer_load: ConsumerLoad::IdleSince(start),
            now: start + Duration::from_secs(idle_s),
            ..observation(EMPTY, silence_s)
        };
        let idle = |silence_s| idle_for(silence_s, silence_s);
        let mut detector = LossDetector::new(false);
        assert_eq!(detector.detect(&idle(4)), None);
        assert_eq!(detector.detect(&idle(5)), Some(Loss::Units));
        assert_eq!(
            detector.detect(&idle_for(4, 1_000)),
            None,
            "just handed over"
        );
        assert_eq!(detector.detect(&idle_for(5, 1_000)), Some(Loss::Units));
        let waits = PoolObservation {
            jobs: FULL,
            ..idle(1_000_000)
        };
        assert_eq!(detector.detect(&waits), None, "they wait for a consumer");
        let alone = PoolObservation {
            jobs: QueueState {
                ready: 0,
                consumers: 0,
            },
            ..idle(1_000_000)
        };
        assert_eq!(detector.detect(&alone), None, "no consumer could answer");
        // In a large pool, announcements are rare.
        let large = |silence_s| PoolObservation {
            announcement_interval: Duration::from_secs(30),
            ..idle(silence_s)
        };
        assert_eq!(detector.detect(&large(59)), None);
        assert_eq!(detector.detect(&large(60)), Some(Loss::Units));
        // Repeated attempts without an answer become rarer; an answer resets the interval.
        detector.settle(&idle(5));
        assert_eq!(detector.detect(&idle(9)), None);
        assert_eq!(detector.detect(&idle(10)), Some(Loss::Units));
        detector.answered();
        assert_eq!(detector.detect(&idle(5)), Some(Loss::Units));
    }

    #[test]
    fn without_knowledge_of_the_consumers_a_long_silence_tells() {
        let unknown = |silence_s, longest_s| PoolObservation {
            consumer_load: ConsumerLoad::Unknown,
            longest_unit_time: Duration::from_secs(longest_s),
            ..observation(EMPTY, silence_s)
        };
        let detector = LossDetector::new(false);
        assert_eq!(detector.detect(&unknown(29, 1)), None);
        assert_eq!(detector.detect(&unknown(30, 1)), Some(Loss::Units));
        assert_eq!(detector.detect(&unknown(599, 60)), None);
        assert_eq!(detector.detect(&unknown(600, 60)), Some(Loss::Units));
        // Consumers hold units that may belong to other runs.
        assert_eq!(detector.detect(&observation(EMPTY, 599)), None);
        assert_eq!(detector.detect(&observation(EMPTY, 600)), Some(Loss::Units));
    }
}
