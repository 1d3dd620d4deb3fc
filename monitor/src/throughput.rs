//! Throughput of the pool in jobs per second, from the job counters of the consumers.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::report::NodeLine;

/// Rates in the history: ten minutes at the default interval.
const KEPT: usize = 300;

/// Time without progress of a job counter after which the rate of a consumer is 0.
const IDLE: Duration = Duration::from_secs(15);

/// Highest rate of a consumer, in jobs per second; a higher one is clamped to it.
const MOST: f64 = 1e12;

/// Throughput of the pool over the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    nodes: HashMap<(String, u64), NodeThroughput>,
    history: VecDeque<f64>,
}

#[derive(Debug)]
struct NodeThroughput {
    /// Jobs done so far, and when this number last changed.
    jobs_ok: u64,
    changed: Instant,
    rate: f64,
}

impl Throughput {
    /// Adds the counters in `nodes`, as read at `now`.
    pub(crate) fn note(&mut self, nodes: &[NodeLine], now: Instant) {
        let mut before = std::mem::take(&mut self.nodes);
        for node in nodes.iter().filter(|node| node.silent_s.is_none()) {
            let key = (node.node.clone(), node.instance);
            let throughput = match before.remove(&key) {
                None => NodeThroughput {
                    jobs_ok: node.jobs_ok,
                    changed: now,
                    rate: 0.0,
                },
                Some(throughput) => throughput.after(node.jobs_ok, now),
            };
            self.nodes.insert(key, throughput);
        }
        if self.history.len() == KEPT {
            self.history.pop_front();
        }
        let sum: f64 = self.nodes.values().map(|node| node.rate).sum();
        self.history.push_back(sum);
    }

    /// Jobs per second of the whole pool at each poll, oldest first.
    pub(crate) fn history(&self) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
        self.history.iter().copied()
    }

    /// Jobs per second at the last poll.
    pub(crate) fn now(&self) -> f64 {
        self.history.back().copied().unwrap_or(0.0)
    }
}

impl NodeThroughput {
    fn after(self, jobs_ok: u64, now: Instant) -> Self {
        let elapsed = now.saturating_duration_since(self.changed);
        if jobs_ok == self.jobs_ok {
            // The pool may be polled more often than a consumer announces: keep the last rate for a
            // while.
            let rate = if elapsed > IDLE { 0.0 } else { self.rate };
            return Self { rate, ..self };
        }
        let more = jobs_ok.saturating_sub(self.jobs_ok) as f64;
        Self {
            jobs_ok,
            changed: now,
            rate: (more / elapsed.as_secs_f64().max(0.1)).min(MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use primepool_common::pool::PoolView;

    use super::*;
    use crate::report::{node_lines, tests::node_presence};

    fn node(name: &str, instance: u64, jobs_ok: u64) -> NodeLine {
        let (mut view, now) = (PoolView::default(), Instant::now());
        view.note(node_presence(name), now);
        NodeLine {
            instance,
            jobs_ok,
            ..node_lines(&view, now).remove(0)
        }
    }

    #[test]
    fn a_throughput_is_that_between_two_counts() {
        let (mut throughput, now) = (Throughput::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        throughput.note(&[node("a", 1, 100), node("b", 1, 0)], now);
        assert_eq!(throughput.now(), 0.0, "nothing to compare with");
        throughput.note(&[node("a", 1, 120), node("b", 1, 10)], at(2));
        assert_eq!(throughput.now(), 15.0);
        throughput.note(&[node("a", 1, 120), node("b", 1, 20)], at(4));
        assert_eq!(throughput.now(), 15.0, "a has announced nothing new");
        // A restarted consumer counts from 0.
        throughput.note(&[node("a", 2, 5)], at(6));
        assert_eq!(throughput.now(), 0.0);
        throughput.note(&[node("a", 2, 25)], at(8));
        throughput.note(&[node("a", 2, 25)], at(24));
        assert_eq!(throughput.now(), 0.0, "idle");
        assert_eq!(
            throughput.history().collect::<Vec<_>>(),
            [0.0, 15.0, 15.0, 0.0, 10.0, 0.0]
        );
        throughput.note(&[node("a", 2, 0)], at(25));
        assert_eq!(throughput.now(), 0.0, "a count that falls");
        for second in 0..1000 {
            throughput.note(&[], at(second));
        }
        assert_eq!(throughput.history().len(), KEPT);
    }
}
