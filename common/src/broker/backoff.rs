use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delays between tries to connect: doubling from 0.2 s to 10 s, each with up to as much again at random, without end.
/// The jitter keeps the consumers of a cluster from all coming back in the same moment.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

impl Backoff {
    /// Starts with the shortest delay.
    #[must_use]
    pub fn new() -> Self {
        Self(
            ExponentialBuilder::new()
                .with_min_delay(FIRST)
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }

    /// How long to wait before the next try.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }

    /// After a success: the next delay is the shortest again.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound_and_never_ends() {
        let mut backoff = Backoff::new();
        let first = backoff.next_delay();
        assert!(first >= FIRST && first <= 2 * FIRST, "{first:?}");
        for _ in 0..1000 {
            assert!(backoff.next_delay() <= 2 * LONGEST);
        }
        assert!(backoff.next_delay() >= LONGEST);
        backoff.reset();
        assert!(backoff.next_delay() <= 2 * FIRST);
    }

    #[test]
    fn two_of_them_differ() {
        let delays = || {
            let mut backoff = Backoff::new();
            (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_ne!(delays(), delays());
    }
}
