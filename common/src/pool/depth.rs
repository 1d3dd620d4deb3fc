use std::time::Duration;

/// Units that each worker has at hand: the current one and the next one.
const AT_HAND: f64 = 2.0;

/// Upper estimate of the time from the end of a unit to the start of its replacement: a round trip
/// through a busy broker and the write of a batch of results to disk. Short units therefore need
/// more units in flight, and a worker then has enough at hand to take several together.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// Number of units that must be in flight per worker, including the current one, so that the worker
/// never waits. `unit` is the time that one unit takes.
#[must_use]
pub fn units_a_worker(unit: Duration) -> f64 {
    AT_HAND + ROUND_TRIP.as_secs_f64() / unit.as_secs_f64().max(1e-6)
}
