//! The units that the worker threads process, and the ways to stop them: the deadline of a unit,
//! the cancellation of a run, the end of this process.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use primepool_common::message::{RunId, WorkUnit};
use primepool_engine::Cancel;
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

/// A cancelled run, or one batch of its units.
type RunOrBatch = (RunId, Option<u32>);

/// Most cancelled runs and batches that are remembered. The broker forgets old ones too.
const RUNS_REMEMBERED: usize = 100_000;

/// Why the work on a unit was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its deadline has passed.
    Deadline,
    /// Its run or its batch was cancelled.
    RunCancelled,
    /// This process ends.
    Shutdown,
}

/// The units being processed. Clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    shared: Arc<Mutex<RunningState>>,
    /// Runtime of the deadline timers.
    runtime: Handle,
}

#[derive(Debug, Default)]
struct RunningState {
    /// The current unit of each worker, by the worker's number.
    units: HashMap<u32, Unit>,
    cancelled: HashSet<RunOrBatch>,
    /// In order of cancellation.
    order: VecDeque<RunOrBatch>,
    ends: bool,
    /// Number of units begun so far.
    begun: u64,
}

#[derive(Debug)]
struct Unit {
    /// Sequence number among the units begun.
    number: u64,
    run: RunId,
    batch: u32,
    cancel: Cancel,
    stop: Option<Stop>,
    clock: Option<AbortHandle>,
}

impl RunningState {
    fn is_cancelled(&self, unit: &WorkUnit) -> bool {
        let is_cancelled = |batch| self.cancelled.contains(&(unit.run.clone(), batch));
        is_cancelled(None) || is_cancelled(Some(unit.batch()))
    }
}

impl Unit {
    /// Stops the unit. Only the first reason is kept.
    fn stop(&mut self, why: Stop) {
        self.stop.get_or_insert(why);
        self.cancel.cancel();
    }
}

impl Running {
    /// An empty table. Must be called within the runtime.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
            runtime: Handle::current(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunningState> {
        // The table is consistent after every critical section, so a panic in another thread does
        // no harm.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the unit that a worker begins. Returns the flag that tells the worker to stop.
    #[must_use]
    pub(crate) fn begin(&self, worker: u32, unit: &WorkUnit) -> Cancel {
        let cancel = Cancel::new();
        let mut shared = self.lock();
        shared.begun += 1;
        let number = shared.begun;
        let limit = unit.time_limit();
        let mut entry = Unit {
            number,
            run: unit.run.clone(),
            batch: unit.batch(),
            cancel: cancel.clone(),
            stop: None,
            clock: limit.map(|limit| self.set_clock(worker, number, limit)),
        };
        if shared.ends {
            entry.stop(Stop::Shutdown);
        } else if shared.is_cancelled(unit) {
            entry.stop(Stop::RunCancelled);
        }
        shared.units.insert(worker, entry);
        cancel
    }

    fn set_clock(&self, worker: u32, number: u64, limit: Duration) -> AbortHandle {
        let running = self.clone();
        let clock = async move {
            sleep(limit).await;
            // The worker may already process its next unit.
            if let Some(unit) = running.lock().units.get_mut(&worker)
                && unit.number == number
            {
                unit.stop(Stop::Deadline);
            }
        };
        self.runtime.spawn(clock).abort_handle()
    }

    /// Removes the worker's unit. Returns the reason why it was stopped, if it was.
    pub(crate) fn end(&self, worker: u32) -> Option<Stop> {
        let unit = self.lock().units.remove(&worker)?;
        if let Some(clock) = unit.clock {
            clock.abort();
        }
        unit.stop
    }

    /// Cancels a run, or only one batch of its units. Returns `false` if it was already cancelled.
    pub(crate) fn cancel(&self, run: &RunId, batch: Option<u32>) -> bool {
        let mut shared = self.lock();
        let cancelled = (run.clone(), batch);
        if !shared.cancelled.insert(cancelled.clone()) {
            return false;
        }
        shared.order.push_back(cancelled);
        if shared.order.len() > RUNS_REMEMBERED
            && let Some(oldest) = shared.order.pop_front()
        {
            shared.cancelled.remove(&oldest);
        }
        let units = shared.units.values_mut();
        for unit in
            units.filter(|unit| unit.run == *run && batch.is_none_or(|batch| batch == unit.batch))
        {
            unit.stop(Stop::RunCancelled);
        }
        true
    }

    /// Whether the unit's run or batch is cancelled.
    #[must_use]
    pub(crate) fn is_cancelled(&self, unit: &WorkUnit) -> bool {
        self.lock().is_cancelled(unit)
    }

    /// Called when this process ends: stops all units, including those that begin later.
    pub(crate) fn stop_all(&self) {
        let mut shared = self.lock();
        shared.ends = true;
        for unit in shared.units.values_mut() {
            unit.stop(Stop::Shutdown);
        }
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{NoopJobs, UnitId, VERSION, Work};

    use super::*;

    fn unit(run: &str, deadline_ms: Option<u64>) -> WorkUnit {
        WorkUnit {
            version: VERSION,
            run: run.parse().unwrap(),
            unit: 0,
            first: 0,
            published_ns: 0,
            seed: None,
            avoid: vec![],
            deadline_ms,
            hand_back: false,
            verified: false,
            work: Work::Noop(NoopJobs { count: 2 }),
        }
    }

    #[tokio::test]
    async fn a_deadline_stops_its_own_unit_only() {
        let running = Running::new();
        let late = running.begin(0, &unit("r", Some(100)));
        let endless = running.begin(1, &unit("r", None));
        sleep(Duration::from_millis(120)).await;
        assert!(!late.is_cancelled(), "two jobs have twice the time");
        sleep(Duration::from_millis(150)).await;
        assert!(late.is_cancelled() && !endless.is_cancelled());
        assert_eq!(running.end(0), Some(Stop::Deadline));
        // The timer of a finished unit must not stop the next unit.
        let _ = running.begin(0, &unit("r", Some(100)));
        assert_eq!(running.end(0), None);
        let next = running.begin(0, &unit("r", None));
        sleep(Duration::from_millis(300)).await;
        assert!(!next.is_cancelled());
    }

    #[tokio::test]
    async fn a_cancelled_run_stops_and_is_not_begun_again() {
        let running = Running::new();
        let one = running.begin(0, &unit("r", None));
        let other = running.begin(1, &unit("s", None));
        assert!(running.cancel(&"r".parse().unwrap(), None));
        assert!(!running.cancel(&"r".parse().unwrap(), None));
        assert!(one.is_cancelled() && !other.is_cancelled());
        assert_eq!(running.end(0), Some(Stop::RunCancelled));
        assert!(running.begin(0, &unit("r", None)).is_cancelled());
        // A batch of another run, and a batch that the unit does not belong to.
        assert!(running.cancel(&"t".parse().unwrap(), Some(0)));
        assert!(running.cancel(&"s".parse().unwrap(), Some(1)));
        assert!(!other.is_cancelled() && !running.is_cancelled(&unit("s", None)));
        let mut of_batch = unit("s", None);
        of_batch.unit = UnitId { batch: 1, index: 5 }.number();
        assert!(running.is_cancelled(&of_batch) && running.begin(2, &of_batch).is_cancelled());
        running.stop_all();
        assert!(other.is_cancelled());
        assert_eq!(running.end(1), Some(Stop::Shutdown));
    }
}
