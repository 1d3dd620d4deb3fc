//! The wall clock for messages and metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch (1970); zero if the clock is set before it.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Nanoseconds since the Unix epoch (1970).
#[must_use]
pub fn unix_ns() -> u64 {
    u64::try_from(unix_time().as_nanos()).unwrap_or(u64::MAX)
}
