use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::sleep;
use tracing::warn;

use super::BrokerError;

/// Delays between connection attempts: doubling from 0.2 s to 10 s, without a limit on the number
/// of attempts. A random part of up to the same length is added to each delay, so that the
/// consumers of a cluster do not all reconnect at the same moment.
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

    /// Logs the failed attempt and waits until the next one. Cancel safe.
    pub async fn pause(&mut self, what: &str, error: &BrokerError) {
        let delay = self.next_delay();
        self.attempt += 1;
        let delay_s = (delay.as_secs_f64() * 10.0).round() / 10.0;
        warn!(what, %error, attempt = self.attempt, delay_s, "retrying");
        sleep(delay).await;
    }

    /// The next delay, for callers that do their own waiting and logging.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(LONGEST)
    }

    /// Call this after a success: the next delay is the shortest again.
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
