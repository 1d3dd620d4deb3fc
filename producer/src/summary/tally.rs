//! The counters of a session, updated as results arrive.

use std::{collections::BTreeMap, time::Instant};

use primepool_common::{jobs::StageCost, message::NodeSample};

use super::Distribution;
use crate::run_dir::{Origin, Row, RowOutcome};

/// The counters of a session, updated as results arrive.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) latency: Distribution,
    pub(super) queue_wait: Distribution,
    pub(super) compute: Distribution,
    pub(super) candidates: u64,
    pub(super) ok: u64,
    /// Number of `ok` jobs all of whose primes are proven by certificates.
    pub(super) proven: u64,
    pub(super) partial: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
    /// Number of results for jobs that already had one.
    pub(super) duplicates: u64,
    /// Number of messages that were not answers of this run.
    pub(super) refused: u64,
    /// Number of results that were requested again because they were wrong; a job counts each time.
    pub done_again: u64,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) last_arrival: Option<Instant>,
    pub(super) nodes: BTreeMap<String, NodeTally>,
    /// Stages of the first result, if it is a factorisation and the only result of its answer.
    pub(super) stages: Vec<StageCost>,
}

#[derive(Debug, Default)]
pub(super) struct NodeTally {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) wrong: u64,
    pub(super) refused: u64,
    pub(super) duplicates: u64,
    pub(super) busy_ms: f64,
    /// First and last sample of each consumer process with the name of this node.
    pub(super) instances: BTreeMap<u64, (NodeSample, NodeSample)>,
    pub(super) rss_bytes: u64,
}

/// Number of nodes that are counted separately.
const MOST_NODES: usize = 10_000;

/// Name under which the nodes above [`MOST_NODES`] are counted together.
const OTHER_NODES: &str = "(others)";

/// Largest number of different reasons in a summary.
const REASONS: usize = 5;

impl Tally {
    fn node(&mut self, name: &str) -> &mut NodeTally {
        // A sender of answers can make up names, so their number must be limited.
        let is_one_too_many = self.nodes.len() >= MOST_NODES && !self.nodes.contains_key(name);
        let name = if is_one_too_many { OTHER_NODES } else { name };
        self.nodes.entry(name.to_owned()).or_default()
    }

    /// Counts the jobs of an answer that arrived at time `at`.
    pub(crate) fn add(&mut self, origin: &Origin, rows: &[Row], at: Instant) {
        let node = self.node(&origin.node);
        let ok = rows.iter().filter(|row| row.outcome == RowOutcome::Ok);
        let ok = ok.count() as u64;
        node.ok += ok;
        node.failed += rows.len() as u64 - ok;
        for row in rows {
            match row.outcome {
                RowOutcome::Ok => {
                    self.ok += 1;
                    self.proven += u64::from(row.is_proven());
                    self.compute.add(row.compute_ms, 1);
                    self.candidates = self.candidates.saturating_add(row.candidates);
                }
                RowOutcome::Partial => self.partial += 1,
                RowOutcome::Failed => self.failed += 1,
                RowOutcome::Rejected => self.rejected += 1,
            }
            if let Some(reason) = &row.reason
                && (self.reasons.len() < REASONS || self.reasons.contains_key(reason))
            {
                *self.reasons.entry(reason.clone()).or_default() += 1;
            }
        }
        if self.last_arrival.is_none()
            && let [row] = rows
            && let Some(factored) = &row.factored
        {
            self.stages = factored.stages.clone();
        }
        let jobs = rows.len() as u64;
        self.latency.add(origin.latency_ms, jobs);
        self.queue_wait.add(origin.queue_wait_ms, jobs);
        self.last_arrival = self.last_arrival.max(Some(at));
    }

    /// Adds the time of a node's workers for a unit.
    pub(crate) fn busy(&mut self, node: &str, compute_ms: f64) {
        self.node(node).busy_ms += compute_ms;
    }

    /// Counts a wrong result of a node; returns the node's new number of wrong
    /// results.
    pub(crate) fn wrong(&mut self, node: &str) -> u64 {
        let node = self.node(node);
        node.wrong += 1;
        node.wrong
    }

    /// Whether this node has sent a wrong result.
    #[must_use]
    pub(crate) fn has_been_wrong(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.wrong > 0)
    }

    /// Counts a message that is not an answer of this run. Returns the new number of such messages:
    /// of those that name this node, or of all if the node is unknown.
    pub(crate) fn refuse(&mut self, node: Option<&str>) -> u64 {
        self.refused += 1;
        let Some(node) = node else {
            return self.refused;
        };
        let node = self.node(node);
        node.refused += 1;
        node.refused
    }

    /// Counts results of a node for jobs that already had one.
    pub(crate) fn duplicate(&mut self, node: &str, jobs: u64) {
        self.duplicates += jobs;
        self.node(node).duplicates += jobs;
    }

    /// Records a sample of a node.
    pub(crate) fn sample(&mut self, node: &str, sample: &NodeSample) {
        let node = self.node(node);
        node.rss_bytes = node.rss_bytes.max(sample.rss_bytes);
        let (first, last) = node
            .instances
            .entry(sample.instance)
            .or_insert_with(|| (sample.clone(), sample.clone()));
        // Answers of several workers may arrive out of order.
        if sample.alive_s > last.alive_s {
            *last = sample.clone();
        }
        if sample.alive_s < first.alive_s {
            *first = sample.clone();
        }
    }
}
