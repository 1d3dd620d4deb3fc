//! The activity of this node: counters that the worker threads update, and samples of the process
//! and the machine.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use primepool_common::{clock::unix_ns, message::NodeSample};
use primepool_engine::Kernel;
use tokio::sync::Notify;

use crate::machine::Machine;

/// Counters of this process. The worker threads update only atomics.
#[derive(Debug)]
pub struct Node {
    /// Name of the node.
    pub name: String,
    kernel: Kernel,
    started: Instant,
    instance: u64,
    workers: Vec<BusyTime>,
    /// Number of jobs that succeeded.
    pub jobs_ok: AtomicU64,
    /// Number of jobs that failed or were rejected.
    pub jobs_failed: AtomicU64,
    /// Number of units that workers have finished.
    pub(crate) units_done: AtomicU64,
    /// Whether the subscriptions are active.
    pub consuming: AtomicBool,
    /// Whether answers can be published.
    pub publishing: AtomicBool,
    /// Number of consumers of this broker, as last observed.
    pub(crate) pool_consumers: AtomicU32,
    /// Notified when `consuming` or `publishing` changes. One task waits for it.
    pub(crate) connection_changed: Notify,
    /// Notified when `consuming` changes. The task that announces it waits for it.
    pub(crate) consuming_changed: Notify,
    /// Number of units received and not yet acknowledged.
    pub in_flight: AtomicU32,
    machine: Mutex<Machine>,
}

/// Busy time of one worker. Times are nanoseconds since the node's start.
#[derive(Debug, Default)]
struct BusyTime {
    done_ns: AtomicU64,
    /// When the current unit began; 0 while the worker is idle.
    since_ns: AtomicU64,
}

impl Node {
    /// Counters at zero, for `workers` worker threads.
    #[must_use]
    pub fn new(name: String, workers: u32, kernel: Kernel) -> Self {
        Self {
            name,
            kernel,
            started: Instant::now(),
            instance: unix_ns(),
            workers: (0..workers).map(|_| BusyTime::default()).collect(),
            jobs_ok: AtomicU64::new(0),
            jobs_failed: AtomicU64::new(0),
            units_done: AtomicU64::new(0),
            consuming: AtomicBool::new(false),
            publishing: AtomicBool::new(false),
            connection_changed: Notify::new(),
            consuming_changed: Notify::new(),
            pool_consumers: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            machine: Mutex::new(Machine::new()),
        }
    }

    /// Whether this consumer is subscribed and can publish.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.consuming.load(Relaxed) && self.publishing.load(Relaxed)
    }

    /// Records whether the subscriptions are active.
    pub(crate) fn set_consuming(&self, consuming: bool) {
        self.consuming.store(consuming, Relaxed);
        self.consuming_changed.notify_one();
        self.connection_changed.notify_one();
    }

    /// Records whether answers can be published.
    pub(crate) fn set_publishing(&self, publishing: bool) {
        self.publishing.store(publishing, Relaxed);
        self.connection_changed.notify_one();
    }

    /// Marks a worker as busy until the returned guard is dropped.
    #[must_use]
    pub fn busy(&self, worker: usize) -> BusyGuard<'_> {
        let worker = &self.workers[worker];
        worker.since_ns.store(self.now_ns(), Relaxed);
        BusyGuard { node: self, worker }
    }

    /// Updates the figures that need two measurements some time apart (CPU usage of the machine).
    pub fn refresh_machine(&self) {
        self.machine().refresh();
    }

    /// Total busy time of all workers until `now`, in nanoseconds, and the number of busy workers.
    fn work(&self, now: u64) -> (u64, u32) {
        let (mut busy_ns, mut busy_workers) = (0, 0);
        for worker in &self.workers {
            busy_ns += worker.done_ns.load(Relaxed);
            let since = worker.since_ns.load(Relaxed);
            if since != 0 {
                busy_workers += 1;
                busy_ns += now.saturating_sub(since);
            }
        }
        (busy_ns, busy_workers)
    }

    /// Total busy time of all workers, and the number of units that they finished.
    pub(crate) fn work_done(&self) -> (Duration, u64) {
        let (busy_ns, _) = self.work(self.now_ns());
        let units = self.units_done.load(Relaxed);
        (Duration::from_nanos(busy_ns), units)
    }

    /// The current state. Takes about 50 µs.
    #[must_use]
    pub fn sample(&self) -> NodeSample {
        let now = self.now_ns();
        let (busy_ns, busy_workers) = self.work(now);
        let mut machine = self.machine();
        let (cpu_s, rss_bytes) = machine.process();
        let (mem_used_bytes, mem_total_bytes) = machine.memory();
        NodeSample {
            instance: self.instance,
            kernel: self.kernel.name().to_owned(),
            at_ns: unix_ns(),
            workers: u32::try_from(self.workers.len()).unwrap_or(u32::MAX),
            busy_workers,
            busy_s: seconds(busy_ns),
            alive_s: seconds(now),
            cores: machine.cores(),
            cpu_s,
            cpu_pct: machine.cpu_pct(),
            pool_cpu_pct: machine.pool_cpu_pct(),
            mem_used_bytes,
            mem_total_bytes,
            rss_bytes,
            jobs_ok: self.jobs_ok.load(Relaxed),
            jobs_failed: self.jobs_failed.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }

    /// Nanoseconds since the node's start. Never 0, because 0 means "not busy".
    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn machine(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a worker as busy while it lives.
#[derive(Debug)]
pub struct BusyGuard<'a> {
    node: &'a Node,
    worker: &'a BusyTime,
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        let since = self.worker.since_ns.swap(0, Relaxed);
        let took = self.node.now_ns().saturating_sub(since);
        self.worker.done_ns.fetch_add(took, Relaxed);
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn busy_time_counts_while_and_after_it_passes() {
        let node = Node::new("n".into(), 2, Kernel::Gmp);
        assert_eq!(node.sample().busy_workers, 0);
        let guard = node.busy(1);
        thread::sleep(Duration::from_millis(20));
        let during = node.sample();
        assert_eq!(during.busy_workers, 1);
        assert!(during.busy_s >= 0.02 && during.busy_s <= during.alive_s);
        drop(guard);
        let after = node.sample();
        assert_eq!(after.busy_workers, 0);
        assert!(after.busy_s >= during.busy_s);
    }

    #[test]
    fn samples_the_process() {
        let node = Node::new("n".into(), 1, Kernel::Gmp);
        let sample = node.sample();
        assert!(sample.rss_bytes > 100_000, "{sample:?}");
        assert!(sample.mem_total_bytes >= sample.mem_used_bytes);
        assert!(sample.cores > 0.0);
    }
}
