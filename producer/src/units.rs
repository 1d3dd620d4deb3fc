//! What the parts of a run share and tell each other.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use primepool_common::{
    message::{UnitId, WorkUnit},
    topology::QueueState,
};

/// What the parts tell the run.
#[derive(Debug)]
pub(crate) enum Event {
    /// Every job has ended.
    Complete,
    /// Results or journal cannot be written, or results not be checked; why.
    Failed(String),
    /// These units have no answer, and the queue that it would come to was gone for a while.
    QueueLost(Vec<u64>),
    /// These units have no answer, none is to be expected any more, and some may have gone astray.
    Overdue(Vec<u64>),
    /// These units are to be published before all others: their results were wrong, so that other nodes are to do them again, or they
    /// were made for an integer at which the whole pool works.
    Publish(Vec<u64>),
    /// The units of this batch are not wanted any more.
    CancelBatch(u32),
    /// Somebody has cancelled the run.
    Cancelled,
    /// Length of the job queue.
    Queue(QueueState),
}

/// What the parts of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Index of each unit's first job, and the number of jobs at the end.
    bounds: Vec<u64>,
    /// When this process first published a unit.
    published: Mutex<Vec<Option<Instant>>>,
    /// Of units with wrong results: the nodes that these came from.
    avoided: Mutex<HashMap<u64, Vec<String>>>,
    /// Units of campaigns, until they are answered or cancelled, and when they were published.
    campaign_units: Mutex<HashMap<u64, (WorkUnit, Option<Instant>)>>,
    /// How far the integer is that the whole pool works on, for people.
    standing: Mutex<Option<String>>,
    /// Answered units, and the milliseconds that workers have taken for them.
    units_timed: AtomicU64,
    unit_ms: AtomicU64,
    /// Confirmed units.
    pub units_published: AtomicU64,
    /// Jobs that have ended.
    pub jobs_done: AtomicU64,
    /// Jobs that have not ended well.
    pub jobs_not_ok: AtomicU64,
}

impl Shared {
    /// For units with these bounds, see [`crate::request::Packing::bounds`]; nothing published or done yet.
    #[must_use]
    pub(crate) fn new(bounds: Vec<u64>) -> Self {
        let units = bounds.len() - 1;
        Self {
            bounds,
            published: Mutex::new(vec![None; units]),
            avoided: Mutex::default(),
            campaign_units: Mutex::default(),
            standing: Mutex::default(),
            units_timed: AtomicU64::new(0),
            unit_ms: AtomicU64::new(0),
            units_published: AtomicU64::new(0),
            jobs_done: AtomicU64::new(0),
            jobs_not_ok: AtomicU64::new(0),
        }
    }

    /// Number of units.
    #[must_use]
    pub(crate) fn units(&self) -> u64 {
        self.bounds.len() as u64 - 1
    }

    /// First job of a unit of this run, and the one after its last.
    #[must_use]
    pub(crate) fn bounds(&self, unit: u64) -> (u64, u64) {
        (self.bounds[unit as usize], self.bounds[unit as usize + 1])
    }

    /// The same for a unit that somebody else named.
    #[must_use]
    pub(crate) fn bounds_checked(&self, unit: u64) -> Option<(u64, u64)> {
        (unit < self.units()).then(|| self.bounds(unit))
    }

    /// Adds units of campaigns.
    pub(crate) fn add_campaign_units(&self, units: Vec<WorkUnit>) {
        let units = units.into_iter().map(|unit| (unit.unit, (unit, None)));
        lock(&self.campaign_units).extend(units);
    }

    /// A unit of a campaign, while it is wanted.
    #[must_use]
    pub(crate) fn campaign_unit(&self, unit: u64) -> Option<WorkUnit> {
        lock(&self.campaign_units)
            .get(&unit)
            .map(|(unit, _)| unit.clone())
    }

    /// A unit of a campaign is answered: it needs no publication any more.
    pub(crate) fn end_campaign_unit(&self, unit: u64) {
        lock(&self.campaign_units).remove(&unit);
    }

    /// The units of this batch are not wanted any more.
    pub(crate) fn drop_batch(&self, batch: u32) {
        lock(&self.campaign_units).retain(|unit, _| UnitId::of(*unit).batch != batch);
    }

    /// Notes how far the work on one integer is.
    pub(crate) fn set_standing(&self, standing: Option<String>) {
        *lock(&self.standing) = standing;
    }

    /// How far it is.
    #[must_use]
    pub(crate) fn standing(&self) -> Option<String> {
        lock(&self.standing).clone()
    }

    /// Notes when a unit was published, if it is the first time.
    pub(crate) fn note_published(&self, unit: u64, at: Instant) {
        if UnitId::of(unit).is_of_campaign() {
            if let Some((_, published)) = lock(&self.campaign_units).get_mut(&unit) {
                published.get_or_insert(at);
            }
            return;
        }
        lock(&self.published)[unit as usize].get_or_insert(at);
    }

    /// When this process published a unit first. Units of campaigns are known
    /// only until they are answered.
    #[must_use]
    pub(crate) fn published_at(&self, unit: u64) -> Option<Instant> {
        if UnitId::of(unit).is_of_campaign() {
            return lock(&self.campaign_units).get(&unit)?.1;
        }
        lock(&self.published)[unit as usize]
    }

    /// Notes how long a worker has taken for a unit.
    pub(crate) fn note_unit(&self, time: Duration) {
        self.units_timed.fetch_add(1, Relaxed);
        self.unit_ms.fetch_add(time.as_millis() as u64, Relaxed);
    }

    /// How long workers take for a unit, on average; zero as long as nobody knows.
    #[must_use]
    pub(crate) fn unit_time(&self) -> Duration {
        let units = self.units_timed.load(Relaxed).max(1);
        Duration::from_millis(self.unit_ms.load(Relaxed) / units)
    }

    /// Nodes that must not do this unit.
    #[must_use]
    pub(crate) fn avoided(&self, unit: u64) -> Vec<String> {
        lock(&self.avoided).get(&unit).cloned().unwrap_or_default()
    }

    /// Notes who must not do this unit.
    pub(crate) fn avoid(&self, unit: u64, nodes: Vec<String>) {
        lock(&self.avoided).insert(unit, nodes);
    }

    /// Units with a job that has not ended.
    #[must_use]
    pub(crate) fn unanswered(&self, done: &[bool]) -> Vec<u64> {
        let is_open = |unit: &u64| {
            let (first, end) = self.bounds(*unit);
            done[first as usize..end as usize].contains(&false)
        };
        (0..self.units()).filter(is_open).collect()
    }

    /// When this process first published anything.
    #[must_use]
    pub(crate) fn first_published(&self) -> Option<Instant> {
        lock(&self.published).iter().flatten().min().copied()
    }
}

/// Every critical section leaves its content whole, whatever thread panics elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
