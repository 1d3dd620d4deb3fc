//! The units that wait for a worker.
//!
//! A worker takes several units together if the engine can process their jobs like those of one
//! unit: it searches for their primes side by side, one number in each vector lane.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use primepool_common::message::WorkUnit;

use crate::{compute::Search, ledger::UnitKey};

/// Most jobs that are processed together: some for each lane, as lanes are free at the end of a
/// batch. The prefetch limits the time of a batch.
const MOST_JOBS: u64 = 64;

/// Most waiting units that are examined for units that go together.
const LOOKED_AT: usize = 256;

/// A unit to be processed by a worker.
#[derive(Debug)]
pub(crate) struct Task {
    pub unit: WorkUnit,
    /// The redelivered flag of the unit: the broker had delivered it before.
    pub redelivered: bool,
}

impl Task {
    /// The key of the unit in the ledger.
    #[must_use]
    pub(crate) fn key(&self) -> UnitKey {
        (self.unit.run.clone(), self.unit.unit)
    }
}

/// The waiting units. Clones share their state. The prefetch bounds their number.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Arc<TaskQueue>);

#[derive(Debug)]
struct TaskQueue {
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
    /// An empty queue for `workers` workers.
    #[must_use]
    pub(crate) fn new(workers: u32) -> Self {
        Self(Arc::new(TaskQueue {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            workers: workers.max(1) as usize,
        }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The queue is consistent after every critical section.
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a unit.
    pub(crate) fn push(&self, task: Task) {
        self.waiting().tasks.push_back(task);
        self.0.changed.notify_one();
    }

    /// Waits for the next unit, and takes further units that go with it, up to an equal share for
    /// each worker. Returns `None` when the queue is empty and closed.
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

    /// Removes a unit that no worker has begun.
    pub(crate) fn take_back(&self) -> Option<Task> {
        self.waiting().tasks.pop_front()
    }

    /// Closes the queue: no further units will be added.
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

/// Whether the engine can process the jobs of both units side by side, and whatever stops one unit
/// also stops the other.
fn go_together(one: &WorkUnit, other: &WorkUnit) -> bool {
    let same_owner = one.run == other.run && one.batch() == other.batch();
    let wanted = Search::of(one);
    let same_work = wanted.is_some() && wanted == Search::of(other);
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
            verified: false,
            work,
        };
        Task {
            unit,
            redelivered: false,
        }
    }

    #[test]
    fn searches_that_are_confirmed_differently_are_apart() {
        let tasks = Tasks::new(1);
        for unit in 0..4 {
            let mut task = prime("r", unit, 512, 1);
            task.unit.verified = unit >= 2;
            tasks.push(task);
        }
        assert_eq!(taken(&tasks), [0, 1]);
        assert_eq!(taken(&tasks), [2, 3]);
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
        tasks.push(prime("r", 3, 512, MOST_JOBS - 2));
        tasks.push(prime("r", 4, 512, 2));
        tasks.push(task("r", 5, Work::Noop(NoopJobs { count: 1 })));
        let mut late = prime("r", 6, 512, 1);
        late.unit.deadline_ms = Some(1);
        tasks.push(late);
        assert_eq!(taken(&tasks), [0, 3], "the others are too many jobs");
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
