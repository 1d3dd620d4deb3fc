//! The prefetch: how many units of each kind the broker delivers before the first of them is
//! acknowledged.
//!
//! For long units it is two per worker, so that no node has waiting units while others are idle.
//! For short units it is larger, so that no worker waits for the network, and a worker has enough
//! units at hand to take several together.

use std::time::Duration;

use primepool_common::pool::units_a_worker;

/// Largest prefetch. The units wait in this process's memory.
const MOST: f64 = 1000.0;

/// Interval between two checks of how long units take: first until it is known, then later on.
const FIRST_LOOKS: Duration = Duration::from_millis(100);
const LATER_LOOKS: Duration = Duration::from_millis(500);

/// Number of units that make a mean reliable.
const ENOUGH: u64 = 8;

/// The prefetch. It follows the length of units unless the user has set it.
#[derive(Debug)]
pub(crate) struct Prefetch {
    workers: u32,
    least: u16,
    now: u16,
    follows: bool,
    /// State at the last check: total busy time of the workers, and units done.
    seen: (Duration, u64),
}

impl Prefetch {
    /// The fixed prefetch if given, otherwise two units per worker at first.
    pub(crate) fn new(workers: u32, fixed: Option<u16>) -> Self {
        let least = u16::try_from(workers.saturating_mul(2)).unwrap_or(u16::MAX);
        Self {
            workers,
            least,
            now: fixed.unwrap_or(least),
            follows: fixed.is_none(),
            seen: (Duration::ZERO, 0),
        }
    }

    /// The current prefetch: units of each kind.
    pub(crate) fn units(&self) -> u16 {
        self.now
    }

    /// Time until the next check.
    pub(crate) fn until_look(&self) -> Duration {
        if self.seen.1 == 0 {
            FIRST_LOOKS
        } else {
            LATER_LOOKS
        }
    }

    /// Checks the total work of all workers since the start. Returns `true` if the prefetch has
    /// changed, which happens only by a factor of two or more.
    pub(crate) fn look(&mut self, busy: Duration, units_done: u64) -> bool {
        let (busy_before, done_before) = self.seen;
        let done = units_done - done_before;
        let unit = busy.saturating_sub(busy_before).div_f64(done.max(1) as f64);
        let wanted = (f64::from(self.workers) * units_a_worker(unit)).min(MOST) as u16;
        let wanted = wanted.max(self.least);
        // One unit that has been running for long is evidence enough for long units; short units
        // need several.
        let shrinks = busy > busy_before && wanted <= self.now / 2;
        let grows = done >= ENOUGH && wanted >= self.now.saturating_mul(2);
        if done >= ENOUGH || shrinks {
            self.seen = (busy, units_done);
        }
        let changes = self.follows && (shrinks || grows);
        if changes {
            self.now = wanted;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn short_units_have_more_of_them_at_hand() {
        let mut prefetch = Prefetch::new(2, None);
        assert_eq!(prefetch.units(), 4);
        assert!(!prefetch.look(Duration::from_millis(20), 4), "too few");
        assert_eq!(prefetch.until_look(), FIRST_LOOKS);
        // 5 ms each: 40 per worker.
        assert!(prefetch.look(Duration::from_millis(100), 20));
        assert_eq!(prefetch.units(), 80);
        assert_eq!(prefetch.until_look(), LATER_LOOKS);
        assert!(!prefetch.look(Duration::from_millis(300), 60), "as before");
        assert!(prefetch.look(Duration::from_millis(310), 100_060));
        assert_eq!(prefetch.units(), 1000);
    }

    #[test]
    fn one_long_unit_makes_it_small_again_and_idle_time_does_not() {
        let mut prefetch = Prefetch::new(2, None);
        assert!(prefetch.look(S, 100_000));
        assert_eq!(prefetch.units(), 1000);
        assert!(!prefetch.look(S, 100_000), "idle");
        assert!(
            prefetch.look(2 * S, 100_000),
            "one that takes a second already"
        );
        assert_eq!(prefetch.units(), 4);
        assert!(!prefetch.look(4 * S, 100_010));
    }

    #[test]
    fn what_the_user_says_stays() {
        let mut prefetch = Prefetch::new(2, Some(7));
        assert!(!prefetch.look(S, 100_000) && prefetch.units() == 7);
    }
}
