//! CPU and memory usage of this process and of its machine, or of its container if that has limits.

use std::{num::NonZero, thread, time::Instant};

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::cgroup::CpuLimit;

/// Source of the usage figures.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `None` if the system cannot be queried; its figures are 0 then.
    system: Option<System>,
    pid: Option<Pid>,
    limit: Option<CpuLimit>,
    last: Option<Look>,
    cpu_pct: f64,
    pool_cpu_pct: f64,
}

/// Measurements at the last refresh, for figures that need two of them.
#[derive(Debug)]
struct Look {
    at: Instant,
    /// CPU time of this process, in seconds.
    process_s: f64,
    /// CPU time of the container in seconds, if it has a limit.
    container_s: Option<f64>,
}

impl Machine {
    /// Creates the source; the first refresh provides the first figures.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            system: System::new().ok(),
            pid: sysinfo::get_current_pid().ok(),
            limit: CpuLimit::find(),
            last: None,
            cpu_pct: 0.0,
            pool_cpu_pct: 0.0,
        }
    }

    /// CPU time per second that this process may use, in cores: its affinity, or its container's
    /// limit if that is lower. May be below 1.
    #[must_use]
    pub(crate) fn cores(&self) -> f64 {
        let affinity = thread::available_parallelism().map_or(1, NonZero::get) as f64;
        match &self.limit {
            Some(limit) => affinity.min(limit.cores),
            None => affinity,
        }
    }

    /// Updates the figures that need two measurements some time apart.
    pub(crate) fn refresh(&mut self) {
        let look = Look {
            at: Instant::now(),
            process_s: self.process().0,
            container_s: self.limit.as_ref().and_then(CpuLimit::used_s),
        };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            self.cpu_pct = f64::from(system.global_cpu_usage());
        }
        if let Some(last) = &self.last {
            let could = (look.at - last.at).as_secs_f64() * self.cores();
            self.pool_cpu_pct = 100.0 * (look.process_s - last.process_s) / could;
            if let (Some(now), Some(before)) = (look.container_s, last.container_s) {
                self.cpu_pct = 100.0 * (now - before) / could;
            } else if self.limit.is_some() {
                // The usage of other processes in the group is unknown.
                self.cpu_pct = self.pool_cpu_pct;
            }
        }
        self.last = Some(look);
    }

    /// CPU usage by all processes between the last two refreshes, in per cent of all cores or of
    /// the container's limit.
    #[must_use]
    pub(crate) fn cpu_pct(&self) -> f64 {
        self.cpu_pct
    }

    /// CPU usage by this process between the last two refreshes, in per cent of
    /// [`cores`](Self::cores).
    #[must_use]
    pub(crate) fn pool_cpu_pct(&self) -> f64 {
        self.pool_cpu_pct
    }

    /// CPU time in seconds and resident memory in bytes of this process.
    pub(crate) fn process(&mut self) -> (f64, u64) {
        let (Some(pid), Some(system)) = (self.pid, &mut self.system) else {
            return (0.0, 0);
        };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        system.process(pid).map_or((0.0, 0), |process| {
            (
                process.accumulated_cpu_time() as f64 / 1e3,
                process.memory(),
            )
        })
    }

    /// Used and total memory, in bytes.
    pub(crate) fn memory(&mut self) -> (u64, u64) {
        let Some(system) = &mut self.system else {
            return (0, 0);
        };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (used, total) = (system.used_memory(), system.total_memory());
        match system.cgroup_limits() {
            Some(limits) if limits.total_memory < total => (
                limits.total_memory - limits.free_memory,
                limits.total_memory,
            ),
            _ => (used, total),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}
