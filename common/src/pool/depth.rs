use std::time::Duration;

/// Batches of units that each worker has at hand: the current one and the next one.
const AT_HAND: f64 = 2.0;

/// Time of a batch of short units, which a worker takes together. A longer unit is a batch of its
/// own.
const BATCH: Duration = Duration::from_millis(50);

/// Upper estimate of the time from the end of a unit to the start of its replacement: a round trip
/// through a busy broker and the write of a batch of results to disk. Short units therefore need
/// more units in flight.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Number of units that must be in flight per worker, including the current one, so that the worker
/// never waits. `unit` is the time that one unit takes.
#[must_use]
pub fn units_a_worker(unit: Duration) -> f64 {
    let unit = unit.as_secs_f64().max(1e-6);
    AT_HAND * (BATCH.as_secs_f64() / unit).max(1.0) + ROUND_TRIP.as_secs_f64() / unit
}
