//! Estimates the number of workers in the pool from the reports of its nodes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use primepool_common::message::NodeSample;

/// Time after which a silent node is no longer counted.
const SILENCE: Duration = Duration::from_secs(120);

/// Assumed workers of a node that has not reported its number: a node has at least two cores.
const WORKERS_A_NODE: f64 = 2.0;

/// The workers of each node.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Number of workers of each node, and the time of its last answer.
    nodes: HashMap<String, (u32, Instant)>,
    /// Number of subscribed consumers according to the broker.
    consumers: u32,
}

impl Workers {
    /// Records an answer of a node, with its samples.
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

    /// The estimated number of workers, at least 1. A consumer that has not reported its workers
    /// counts as much as the average node.
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
