//! The units that wait for a worker.
//!
//! A worker takes several together where the engine can do with them what it does with the jobs of one
//! unit: search for their primes side by side, with a number in each lane.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use primepool_common::message::WorkUnit;

use crate::{compute::search, ledger::UnitKey};

/// Jobs that are worth being done together: more of them fill no further lanes.
const MOST_JOBS: u64 = 32;

/// Waiting units that are looked at for some that go together.
const LOOKED_AT: usize = 256;

/// A unit for the workers.
#[derive(Debug)]
pub(crate) struct Task {
    pub unit: WorkUnit,
    /// Whether the broker had handed it out before.
    pub redelivered: bool,
}

impl Task {
    /// The unit's name in the ledger.
    #[must_use]
    pub(crate) fn key(&self) -> UnitKey {
        (self.unit.run.clone(), self.unit.unit)
    }
}

/// The units that wait; clones share them. Bounded by what the broker hands out unacknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    workers: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

impl Tasks {
    /// None yet, for so many workers.
    #[must_use]
    pub(crate) fn new(workers: u32) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            workers: workers.max(1) as usize,
        }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every critical section leaves it whole.
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    pub(crate) fn push(&self, task: Task) {
        self.waiting().tasks.push_back(task);
        self.0.changed.notify_one();
    }

    /// Waits for the next one, and takes those along that go with it, but for the part of the other
    /// workers. Nothing once there are none and there will be none.
    pub(crate) fn take(&self) -> Option<Vec<Task>> {
        let mut waiting = self.waiting();
        loop {
            if let Some(tasks) = waiting.take(self.0.workers) {
                return Some(tasks);
            }
            if waiting.is_closed {
                return None;
            }
            let woken = self.0.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes one that no worker is to have any more.
    pub(crate) fn take_back(&self) -> Option<Task> {
        self.waiting().tasks.pop_front()
    }

    /// There will be no more.
    pub(crate) fn close(&self) {
        self.waiting().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Waiting {
    fn take(&mut self, workers: usize) -> Option<Vec<Task>> {
        let part = self.tasks.len().div_ceil(workers);
        let first = self.tasks.pop_front()?;
        let mut jobs = first.unit.work.count();
        let (mut taken, mut at, mut looked) = (vec![first], 0, 0);
        while taken.len() < part && at < self.tasks.len() && looked < LOOKED_AT {
            looked += 1;
            let next = &self.tasks[at].unit;
            let more = next.work.count();
            if !go_together(&taken[0].unit, next) || jobs + more > MOST_JOBS {
                at += 1;
            } else if let Some(task) = self.tasks.remove(at) {
                jobs += more;
                taken.push(task);
            }
        }
        Some(taken)
    }
}

/// Whether the engine can do the jobs of both side by side, and whatever stops one of them stops both.
fn go_together(one: &WorkUnit, other: &WorkUnit) -> bool {
    let same_owner = one.run == other.run && one.batch() == other.batch();
    let wanted = search(&one.work);
    let same_work = wanted.is_some() && wanted == search(&other.work);
    let no_clock = one.deadline_ms.is_none() && other.deadline_ms.is_none();
    same_owner && same_work && no_clock && one.seed == other.seed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{thread, time::Duration};

    use primepool_common::message::{Method, NoopJobs, PrimeJobs, VERSION, Work};

    use super::*;

    fn task(run: &str, unit: u64, work: Work) -> Task {
        let unit = WorkUnit {
            version: VERSION,
            run: run.parse().unwrap(),
            unit,
            first: unit,
            published_ns: 0,
            seed: None,
            avoid: vec![],
            deadline_ms: None,
            hand_back: false,
            work,
        };
        Task {
            unit,
            redelivered: false,
        }
    }

    fn prime(run: &str, unit: u64, bits: u32, count: u64) -> Task {
        let method = Method::Incremental;
        let jobs = PrimeJobs {
            bits,
            count,
            method,
        };
        task(run, unit, Work::Prime(jobs))
    }

    fn taken(tasks: &Tasks) -> Vec<u64> {
        let taken = tasks.take().unwrap();
        taken.iter().map(|task| task.unit.unit).collect()
    }

    #[test]
    fn a_worker_takes_what_goes_together_and_leaves_the_others_their_part() {
        let tasks = Tasks::new(2);
        for unit in 0..6 {
            tasks.push(prime("r", unit, 512, 1));
        }
        assert_eq!(taken(&tasks), [0, 1, 2]);
        assert_eq!(taken(&tasks), [3, 4]);
        assert_eq!(taken(&tasks), [5]);
    }

    #[test]
    fn what_differs_waits_in_its_order() {
        let tasks = Tasks::new(1);
        tasks.push(prime("r", 0, 512, 1));
        tasks.push(prime("s", 1, 512, 1));
        tasks.push(prime("r", 2, 1024, 1));
        tasks.push(prime("r", 3, 512, 30));
        tasks.push(prime("r", 4, 512, 2));
        tasks.push(task("r", 5, Work::Noop(NoopJobs { count: 1 })));
        let mut late = prime("r", 6, 512, 1);
        late.unit.deadline_ms = Some(1);
        tasks.push(late);
        assert_eq!(taken(&tasks), [0, 3], "further jobs fill no lanes");
        for unit in [1, 2, 4, 5, 6] {
            assert_eq!(taken(&tasks), [unit]);
        }
    }

    #[test]
    fn workers_wait_until_there_will_be_none() {
        let tasks = Tasks::new(1);
        let worker = thread::spawn({
            let tasks = tasks.clone();
            move || {
                (
                    tasks.take().map(|tasks| tasks.len()),
                    tasks.take().is_none(),
                )
            }
        });
        thread::sleep(Duration::from_millis(20));
        tasks.push(prime("r", 0, 512, 1));
        thread::sleep(Duration::from_millis(20));
        tasks.close();
        assert_eq!(worker.join().unwrap(), (Some(1), true));
        tasks.push(prime("r", 1, 512, 1));
        assert_eq!(tasks.take_back().unwrap().unit.unit, 1);
        assert!(tasks.take_back().is_none());
    }
}
