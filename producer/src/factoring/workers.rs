//! How many workers the pool has, as far as its nodes have said.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use primepool_common::message::NodeSample;

/// A node that has said nothing for so long is not counted.
const SILENCE: Duration = Duration::from_secs(120);

/// Workers of a node that has not said how many it has: two cores are the least a node has.
const WORKERS_A_NODE: f64 = 2.0;

/// The workers of each node.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Workers of each node, and when it was last heard of.
    nodes: HashMap<String, (u32, Instant)>,
    /// Consumers that are subscribed, by the broker's count.
    consumers: u32,
}

impl Workers {
    /// Notes an answer of a node, with the samples in it.
    pub(super) fn note_node(&mut self, node: &str, samples: &[NodeSample], now: Instant) {
        if let Some(sample) = samples.last() {
            self.note_workers(node, sample.workers, now);
        } else if let Some((_, at)) = self.nodes.get_mut(node) {
            *at = now;
        }
    }

    fn note_workers(&mut self, node: &str, workers: u32, now: Instant) {
        self.nodes.insert(node.to_owned(), (workers, now));
    }

    pub(super) fn note_consumers(&mut self, consumers: u32) {
        self.consumers = consumers;
    }

    /// The number of workers, at least one. Consumers that have not said how many they have count
    /// as much as the others do on average.
    pub(super) fn count(&mut self, now: Instant) -> f64 {
        self.nodes
            .retain(|_, (_, at)| now.duration_since(*at) < SILENCE);
        let known: u32 = self.nodes.values().map(|(workers, _)| *workers).sum();
        let known = f64::from(known);
        let each = if self.nodes.is_empty() {
            WORKERS_A_NODE
        } else {
            known / self.nodes.len() as f64
        };
        known.max(f64::from(self.consumers) * each).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_count_until_they_fall_silent() {
        let (mut workers, now) = (Workers::default(), Instant::now());
        assert_eq!(workers.count(now), 1.0);
        workers.note_consumers(3);
        assert_eq!(workers.count(now), 6.0);
        workers.note_workers("a", 8, now);
        assert_eq!(workers.count(now), 24.0);
        workers.note_workers("b", 2, now + SILENCE / 2);
        assert_eq!(workers.count(now), 15.0);
        assert_eq!(workers.count(now + SILENCE), 6.0);
        workers.note_consumers(0);
        assert_eq!(workers.count(now + SILENCE), 2.0);
        assert_eq!(workers.count(now + 2 * SILENCE), 1.0);
    }
}
