use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::sleep;
use tracing::warn;

use super::BrokerError;

/// Delays between tries to connect: doubling from 0.2 s to 10 s, each with up to as much again at random, without end.
/// The jitter keeps the consumers of a cluster from all coming back in the same moment.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff,
    attempt: u32,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

impl Backoff {
    /// Starts with the shortest delay.
    #[must_use]
    pub fn new() -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build();
        Self { delays, attempt: 1 }
    }

    /// Waits before the next try, and says so in one line of the log. Cancel safe.
    pub async fn pause(&mut self, what: &str, error: &BrokerError) {
        let delay = self.next_delay();
        self.attempt += 1;
        let delay_s = (delay.as_secs_f64() * 10.0).round() / 10.0;
        warn!(what, %error, attempt = self.attempt, delay_s, "retrying");
        sleep(delay).await;
    }

    /// The next delay, for callers that wait and log in their own way.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(LONGEST)
    }

    /// After a success: the next delay is the shortest again.
    pub fn reset(&mut self) {
        *self = Self {
            attempt: 0,
            ..Self::new()
        };
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
