//! The wall clock, as messages and metrics carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970; zero on a clock that is set before.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Nanoseconds since 1970.
#[must_use]
pub fn unix_ns() -> u64 {
    u64::try_from(unix_time().as_nanos()).unwrap_or(u64::MAX)
}
