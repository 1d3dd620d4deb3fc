//! How far a run is, and what its parts tell the session.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use primepool_common::{pool::Census, topology::QueueState};

/// What the parts of a run tell the session.
#[derive(Debug)]
pub(crate) enum Event {
    /// Every job has ended.
    Complete,
    /// Results or journal cannot be written, or results not be checked; why.
    Failed(String),
    /// The results queue was gone for a while: units without a result are published again.
    QueueLost,
    /// Answers may have gone astray: units without a result are published again.
    Overdue,
    /// Units that have no answer are neither in the queue nor with a consumer, and are published again.
    UnitsLost {
        units: usize,
        /// Messages in the queue of dead letters.
        dead: u32,
    },
    /// Units are left to other nodes than these, whose results were wrong, and there is no other.
    NoOtherNode(String),
    /// A node cannot do units of this run, which others get.
    LeftToOthers { node: String, reason: String },
    /// The run was cancelled.
    Cancelled,
    /// Length of the job queue.
    Queue(QueueState),
}

/// Units that the consumers hold, of all runs, as far as they have announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Held {
    /// Some consumers do not tell.
    #[default]
    Unknown,
    /// Some consumer holds units.
    Some,
    /// No consumer has held any since then.
    NoneSince(Instant),
}

impl Held {
    /// After an announcement at this time: `units` held by all consumers, if all of them tell.
    fn after(self, units: Option<u32>, now: Instant) -> Self {
        match (units, self) {
            (None, _) => Self::Unknown,
            (Some(0), Self::NoneSince(since)) => Self::NoneSince(since),
            (Some(0), _) => Self::NoneSince(now),
            (Some(_), _) => Self::Some,
        }
    }
}

/// How far a run is.
#[derive(Debug, Default)]
pub(crate) struct Status {
    jobs_done: AtomicU64,
    jobs_not_ok: AtomicU64,
    consumers: AtomicU32,
    held: Mutex<Held>,
    census: Mutex<Option<Census>>,
    stage: Mutex<Option<String>>,
}

impl Status {
    /// For a run with jobs that have ended before.
    #[must_use]
    pub(crate) fn new(jobs_done: u64, jobs_not_ok: u64) -> Self {
        Self {
            jobs_done: jobs_done.into(),
            jobs_not_ok: jobs_not_ok.into(),
            ..Self::default()
        }
    }

    /// Counts jobs that have ended; gives how many there are now.
    pub(crate) fn add(&self, jobs: u64, not_ok: u64) -> u64 {
        self.jobs_not_ok.fetch_add(not_ok, Relaxed);
        self.jobs_done.fetch_add(jobs, Relaxed) + jobs
    }

    /// Jobs that have ended.
    #[must_use]
    pub(crate) fn jobs_done(&self) -> u64 {
        self.jobs_done.load(Relaxed)
    }

    /// Jobs that have not ended well.
    #[must_use]
    pub(crate) fn jobs_not_ok(&self) -> u64 {
        self.jobs_not_ok.load(Relaxed)
    }

    /// Notes how many consumers are subscribed to the job queue.
    pub(crate) fn set_consumers(&self, consumers: u32) {
        self.consumers.store(consumers, Relaxed);
    }

    /// Consumers that are subscribed to the job queue, as far as is known.
    #[must_use]
    pub(crate) fn consumers(&self) -> u32 {
        self.consumers.load(Relaxed)
    }

    /// Notes how many units the consumers hold, if all of them tell.
    pub(crate) fn note_held(&self, units: Option<u32>, now: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.after(units, now);
    }

    /// Units that the consumers hold.
    #[must_use]
    pub(crate) fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who is in the pool, if that can be seen.
    pub(crate) fn note_census(&self, census: Option<Census>) {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = census;
    }

    /// Who is in the pool, if that can be seen.
    #[must_use]
    pub(crate) fn census(&self) -> Option<Census> {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the work on one integer is, for the progress line.
    pub(crate) fn set_stage(&self, stage: Option<String>) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// How far the work on one integer is.
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
        let idle = Held::default().after(Some(0), start);
        assert_eq!(idle, Held::NoneSince(start));
        assert_eq!(idle.after(Some(0), at(5)), Held::NoneSince(start));
        let busy = idle.after(Some(1), at(6));
        assert_eq!(busy, Held::Some);
        assert_eq!(busy.after(Some(0), at(7)), Held::NoneSince(at(7)));
        assert_eq!(busy.after(None, at(8)), Held::Unknown);
    }
}
