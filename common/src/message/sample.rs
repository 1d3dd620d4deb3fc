use serde::{Deserialize, Serialize};

use crate::wire::bounded;

/// State of a consumer and of the machine it runs on. Counters grow from the start of the process, so that any two samples
/// give the mean between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSample {
    /// Tells this process from an earlier one of the same node name: the time of its start, in ns since 1970.
    pub instance: u64,
    /// The engine's kernel: what the prime search runs on, see [`primepool_engine::Kernel`].
    #[serde(deserialize_with = "bounded::word")]
    pub kernel: String,
    /// When the sample was taken: nanoseconds since 1970 on the node's clock.
    pub at_ns: u64,
    /// Compute threads.
    pub workers: u32,
    /// Compute threads that are working right now.
    pub busy_workers: u32,
    /// Seconds that the compute threads have worked, summed over them.
    pub busy_s: f64,
    /// Seconds since the process started.
    pub alive_s: f64,
    /// Cores' worth of time that this process may use; a container's limit may be below 1.
    pub cores: f64,
    /// CPU seconds of this process, user and system.
    pub cpu_s: f64,
    /// Use of the node's CPUs by anyone in the last second or so, per cent of all cores or of the container's limit.
    pub cpu_pct: f64,
    /// Use by this process, in the same time, per cent of `cores`.
    pub pool_cpu_pct: f64,
    /// Memory in use on the node, or in the container if that has a limit, by anyone.
    pub mem_used_bytes: u64,
    /// Memory of the node, or the container's limit.
    pub mem_total_bytes: u64,
    /// Resident memory of this process.
    pub rss_bytes: u64,
    /// Jobs that ended well.
    pub jobs_ok: u64,
    /// Jobs that failed or were rejected.
    pub jobs_failed: u64,
    /// Units that were received and not acknowledged.
    pub in_flight: u32,
}
