//! What the machine and this process use of CPU and memory: of the container where it has limits, else of the machine.

use std::{num::NonZero, thread, time::Instant};

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::cgroup::CpuLimit;

/// Asks the system.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Nothing where the system cannot be asked; its figures are 0 then.
    system: Option<System>,
    pid: Option<Pid>,
    limit: Option<CpuLimit>,
    last: Option<Look>,
    cpu_pct: f64,
    pool_cpu_pct: f64,
}

/// What was seen when the figures that need two looks were renewed.
#[derive(Debug)]
struct Look {
    at: Instant,
    /// CPU seconds of this process.
    process_s: f64,
    /// CPU seconds of the container, where it has a limit.
    container_s: Option<f64>,
}

impl Machine {
    /// Nothing measured yet.
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

    /// Cores' worth of time that this process may use: its affinity, and its container's limit, which may be below 1.
    #[must_use]
    pub(crate) fn cores(&self) -> f64 {
        let affinity = thread::available_parallelism().map_or(1, NonZero::get) as f64;
        match &self.limit {
            Some(limit) => affinity.min(limit.cores),
            None => affinity,
        }
    }

    /// Renews the figures that need some time between two looks.
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
                // Of the others in the group nothing is known.
                self.cpu_pct = self.pool_cpu_pct;
            }
        }
        self.last = Some(look);
    }

    /// CPU use by anyone between the last two looks, per cent of all cores, or of the container's limit.
    #[must_use]
    pub(crate) fn cpu_pct(&self) -> f64 {
        self.cpu_pct
    }

    /// CPU use by this process between the last two looks, per cent of [`cores`](Self::cores).
    #[must_use]
    pub(crate) fn pool_cpu_pct(&self) -> f64 {
        self.pool_cpu_pct
    }

    /// CPU seconds and resident bytes of this process.
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

    /// Bytes in use and in all.
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
