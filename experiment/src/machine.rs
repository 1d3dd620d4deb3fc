//! Facts about the machine that an experiment runs on.

use std::{env, num::NonZero, thread};

use anyhow::Result;
use primepool_common::cli;
use primepool_engine::Kernel;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::record::Machine;

/// Number of cores that this process may use.
pub(crate) fn cores() -> u32 {
    thread::available_parallelism()
        .ok()
        .and_then(|cores: NonZero<usize>| u32::try_from(cores.get()).ok())
        .unwrap_or(1)
}

/// The kernel that `PRIMEPOOL_KERNEL` names; the measured programs use it too.
pub(crate) fn kernel() -> Result<Kernel> {
    let name = env::var("PRIMEPOOL_KERNEL").unwrap_or_default();
    cli::kernel(&name).map_err(anyhow::Error::msg)
}

pub(crate) fn here() -> Machine {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what).ok();
    let processor = system
        .as_ref()
        .and_then(|system| Some(system.cpus().first()?.brand().trim().to_owned()));
    Machine {
        processor: processor
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "unknown processor".to_owned()),
        cores: cores(),
        memory_bytes: system.as_ref().map_or(0, System::total_memory),
        system: format!(
            "{}, Linux {}",
            System::long_os_version().unwrap_or_default(),
            System::kernel_version().unwrap_or_default()
        ),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel().map_or_else(|error| error.to_string(), |kernel| kernel.to_string()),
    }
}
