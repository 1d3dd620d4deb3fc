use serde::{Deserialize, Serialize};

use crate::wire::bounded;

/// State of a consumer and of its machine. Counters start at zero with the process, so that the
/// difference of two samples gives the mean between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSample {
    /// Start time of the process, in nanoseconds since 1970. It distinguishes this process from an
    /// earlier one with the same node name.
    pub instance: u64,
    /// Name of the engine's kernel, see [`primepool_engine::Kernel`].
    #[serde(deserialize_with = "bounded::name")]
    pub kernel: String,
    /// Time of the sample: nanoseconds since 1970 on the node's clock.
    pub at_ns: u64,
    /// Number of worker threads.
    pub workers: u32,
    /// Number of worker threads that are busy.
    pub busy_workers: u32,
    /// Busy time of the worker threads, summed over them, in seconds.
    pub busy_s: f64,
    /// Seconds since the process started.
    pub alive_s: f64,
    /// CPU time per second that this process may use, in cores; below 1 if a container limits it.
    pub cores: f64,
    /// CPU time of this process, user and system, in seconds.
    pub cpu_s: f64,
    /// CPU use of the whole node in about the last second, in per cent of all cores or of the
    /// container's limit.
    pub cpu_pct: f64,
    /// CPU use of this process in the same time, in per cent of `cores`.
    pub pool_cpu_pct: f64,
    /// Memory in use on the node, or in the container if it has a limit, in bytes.
    pub mem_used_bytes: u64,
    /// Memory of the node, or the container's limit, in bytes.
    pub mem_total_bytes: u64,
    /// Resident memory of this process, in bytes.
    pub rss_bytes: u64,
    /// Number of jobs that succeeded.
    pub jobs_ok: u64,
    /// Number of jobs that failed or were rejected.
    pub jobs_failed: u64,
    /// Number of units received and not yet acknowledged.
    pub in_flight: u32,
}
