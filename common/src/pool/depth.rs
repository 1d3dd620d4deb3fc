use std::time::Duration;

/// Units that each worker has: one at work, and the next.
const AT_HAND: f64 = 2.0;

/// From the end of a unit to the start of the one that takes its place, at most: two ways through a busy
/// broker and a batch of results on disk. Where units are short, more of them have to be on their way, and
/// a worker has enough at hand to take several together.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Units that have to be on their way to and from a worker, the one at work included, so that it never
/// waits; `unit`: how long it takes one.
#[must_use]
pub fn units_a_worker(unit: Duration) -> f64 {
    AT_HAND + ROUND_TRIP.as_secs_f64() / unit.as_secs_f64().max(1e-6)
}
