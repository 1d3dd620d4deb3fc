//! Progress of a run, and the events that its parts send to the session.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use primepool_common::{pool::Census, topology::QueueState};

/// An event that a part of the run sends to the session.
#[derive(Debug)]
pub(crate) enum Event {
    /// Every job has ended.
    Complete,
    /// The results or the journal cannot be written, or results cannot be checked; holds the
    /// reason.
    Failed(String),
    /// The results queue was missing for a time: units without a result are published again.
    QueueLost,
    /// Answers may be lost: units without a result are published again.
    Overdue,
    /// Some unanswered units are neither in the queue nor with a consumer, and are published again.
    UnitsLost {
        units: usize,
        /// Messages in the dead-letter queue.
        dead: u32,
    },
    /// Units must be done by nodes other than these, whose results were wrong, and there is no
    /// other node.
    NoOtherNode(String),
    /// A node cannot do units of this run; they are published again for other nodes.
    LeftToOthers { node: String, reason: String },
    /// The run was cancelled.
    Cancelled,
    /// New state of the job queue.
    Queue(QueueState),
}

/// Whether consumers hold units of any run, according to their announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ConsumerLoad {
    /// Some consumers do not report how many units they hold.
    #[default]
    Unknown,
    /// At least one consumer holds units.
    Busy,
    /// No consumer has held a unit since this time.
    IdleSince(Instant),
}

impl ConsumerLoad {
    /// The state after an announcement at time `now`. `units`: number of units that all consumers
    /// hold, or `None` if some consumers do not report it.
    fn after(self, units: Option<u32>, now: Instant) -> Self {
        match (units, self) {
            (None, _) => Self::Unknown,
            (Some(0), Self::IdleSince(since)) => Self::IdleSince(since),
            (Some(0), _) => Self::IdleSince(now),
            (Some(_), _) => Self::Busy,
        }
    }
}

/// Progress of a run, shared between its parts.
#[derive(Debug, Default)]
pub(crate) struct Status {
    jobs_done: AtomicU64,
    jobs_not_ok: AtomicU64,
    consumers: AtomicU32,
    consumer_load: Mutex<ConsumerLoad>,
    census: Mutex<Option<Census>>,
    stage: Mutex<Option<String>>,
}

impl Status {
    /// The status at the start of a session, with the jobs that ended in earlier sessions.
    #[must_use]
    pub(crate) fn new(jobs_done: u64, jobs_not_ok: u64) -> Self {
        Self {
            jobs_done: jobs_done.into(),
            jobs_not_ok: jobs_not_ok.into(),
            ..Self::default()
        }
    }

    /// Counts jobs that have ended; returns the new number of ended jobs.
    pub(crate) fn add(&self, jobs: u64, not_ok: u64) -> u64 {
        self.jobs_not_ok.fetch_add(not_ok, Relaxed);
        self.jobs_done.fetch_add(jobs, Relaxed) + jobs
    }

    /// Number of jobs that have ended.
    #[must_use]
    pub(crate) fn jobs_done(&self) -> u64 {
        self.jobs_done.load(Relaxed)
    }

    /// Number of ended jobs with an outcome other than `ok`.
    #[must_use]
    pub(crate) fn jobs_not_ok(&self) -> u64 {
        self.jobs_not_ok.load(Relaxed)
    }

    /// Records the number of consumers that are subscribed to the job queue.
    pub(crate) fn set_consumers(&self, consumers: u32) {
        self.consumers.store(consumers, Relaxed);
    }

    /// Last known number of consumers that are subscribed to the job queue.
    #[must_use]
    pub(crate) fn consumers(&self) -> u32 {
        self.consumers.load(Relaxed)
    }

    /// Records the number of units that the consumers hold; `None` if some consumers do not report
    /// it.
    pub(crate) fn note_held_units(&self, units: Option<u32>, now: Instant) {
        let mut load = self
            .consumer_load
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *load = load.after(units, now);
    }

    /// Whether consumers hold units.
    #[must_use]
    pub(crate) fn consumer_load(&self) -> ConsumerLoad {
        *self
            .consumer_load
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the census of the pool, if it is known.
    pub(crate) fn note_census(&self, census: Option<Census>) {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = census;
    }

    /// Latest census of the pool, if it is known.
    #[must_use]
    pub(crate) fn census(&self) -> Option<Census> {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the stage of the work on one integer, as text for the progress line.
    pub(crate) fn set_stage(&self, stage: Option<String>) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Stage of the work on one integer, as text for the progress line.
    #[must_use]
    pub(crate) fn stage(&self) -> Option<String> {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_unit_that_goes_from_one_consumer_to_another_begins_the_idle_time_anew() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let idle = ConsumerLoad::default().after(Some(0), start);
        assert_eq!(idle, ConsumerLoad::IdleSince(start));
        assert_eq!(idle.after(Some(0), at(5)), ConsumerLoad::IdleSince(start));
        let busy = idle.after(Some(1), at(6));
        assert_eq!(busy, ConsumerLoad::Busy);
        assert_eq!(busy.after(Some(0), at(7)), ConsumerLoad::IdleSince(at(7)));
        assert_eq!(busy.after(None, at(8)), ConsumerLoad::Unknown);
    }
}
