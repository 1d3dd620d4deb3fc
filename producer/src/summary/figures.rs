//! The figures of a run.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use primepool_common::{jobs::StageCost, message::NodeSample};
use serde::Serialize;

use super::{Quantiles, Tally, tally::NodeTally};
use crate::{
    request::Verify,
    run_dir::{JobSet, Manifest},
};

/// What the metrics server says of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReadBack {
    /// The server and the database.
    pub server: String,
    /// Points of answers to jobs.
    pub points: u64,
    /// Jobs that ended well, by these points; in all sessions of the run.
    pub jobs_ok: u64,
}

/// Figures of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeSummary {
    /// Name of the node.
    pub node: String,
    pub workers: u32,
    /// Cores' worth of time that its consumers may use.
    pub cores: f64,
    /// Jobs that it did well.
    pub jobs_ok: u64,
    /// Jobs that it failed or rejected, wrong results included.
    pub jobs_failed: u64,
    /// Results that the producer found wrong; other nodes did their jobs again.
    pub wrong_results: u64,
    /// Messages that say that they come from it and were no answers of this run.
    pub refused_messages: u64,
    /// Results that came from it when their jobs had one already.
    pub duplicates: u64,
    /// Seconds that its workers worked on this run.
    pub busy_s: f64,
    /// Busy time of the workers per time that they were there during the run.
    pub efficiency: Option<f64>,
    /// CPU use of the consumer, per cent of the cores that it may use.
    pub pool_cpu_pct: Option<f64>,
    /// CPU use of the whole node at the last sample, per cent of all its cores.
    pub cpu_pct: Option<f64>,
    /// Most resident memory of a consumer.
    pub rss_bytes: u64,
    /// Use of the node's memory, per cent.
    pub mem_pct: Option<f64>,
}

/// Figures of a run: of this session, except `jobs_ok_before`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub run: String,
    /// Kind of its jobs.
    pub kind: String,
    /// Bits of each prime.
    pub bits: u32,
    pub jobs: u64,
    /// Jobs that ended well in earlier sessions.
    pub jobs_ok_before: u64,
    /// Jobs that ended well.
    pub jobs_ok: u64,
    /// Jobs that ended well all of whose primes are proven, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_proven: Option<u64>,
    /// Factorisations that are not complete.
    pub jobs_partial: u64,
    /// Jobs that the engine could not do or whose results were wrong.
    pub jobs_failed: u64,
    /// Jobs that are invalid.
    pub jobs_rejected: u64,
    /// Jobs without an answer.
    pub jobs_missing: u64,
    /// Results that came more than once and were dropped.
    pub duplicates: u64,
    /// Messages that were no answers of this run.
    pub refused_messages: u64,
    /// How often a job was done again by another node because its result was wrong.
    pub jobs_done_again: u64,
    /// Jobs that did not end well per ended job.
    pub error_rate: f64,
    /// What went wrong, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// Units that the jobs are packed into.
    pub units: u64,
    /// Seconds from the first publication to the last result, or until the run was given up.
    pub elapsed_s: f64,
    /// Jobs that ended well, per second.
    pub jobs_per_s: f64,
    pub latency_ms: Option<Quantiles>,
    /// The part of it in which nobody worked on the unit.
    pub queue_wait_ms: Option<Quantiles>,
    /// Time of a worker.
    pub compute_ms: Option<Quantiles>,
    /// Probable-prime tests per job.
    pub candidates_per_job: f64,
    /// Busy time of all workers per time that they were there.
    pub efficiency: Option<f64>,
    /// Which results were checked.
    pub verified: String,
    /// Every node that took part.
    pub nodes: Vec<NodeSummary>,
    /// What the metrics server holds of the run, read back from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influxdb: Option<ReadBack>,
    /// Stages of the only job of a run, if it is a factorisation.
    #[serde(skip)]
    pub(super) stages: Vec<StageCost>,
    #[serde(skip)]
    pub(super) what: String,
}

/// When a session was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    /// The first publication, or the start of the session if nothing was published.
    pub start: Instant,
    /// When the session ended, unless all jobs had ended.
    pub given_up: Option<Instant>,
}

impl Summary {
    /// Puts the figures together. `done`: which jobs have ended, `ok_before`: how many of them well before this session,
    /// `period`: of this session.
    #[must_use]
    pub(crate) fn new(
        manifest: &Manifest,
        units: u64,
        tally: Tally,
        done: &JobSet,
        ok_before: u64,
        period: Period,
        verify: Verify,
    ) -> Self {
        let end = tally.last_arrival.max(period.given_up);
        let span = end.map(|end| end.saturating_duration_since(period.start));
        let span = span.unwrap_or(Duration::ZERO);
        let elapsed_s = span.as_secs_f64();
        let not_ok = tally.partial + tally.failed + tally.rejected;
        let per = |count: u64, whole: f64| {
            if whole > 0.0 {
                count as f64 / whole
            } else {
                0.0
            }
        };
        let nodes: Vec<_> = tally
            .nodes
            .into_iter()
            .map(|(name, node)| node.summary(name, elapsed_s))
            .collect();
        let there: f64 = nodes.iter().map(|(_, there_s)| there_s).sum();
        let busy: f64 = nodes.iter().map(|(node, _)| node.busy_s).sum();
        Self {
            run: manifest.run.to_string(),
            kind: manifest.request.kind().to_string(),
            bits: manifest.request.work.jobs().size(),
            jobs: manifest.request.count(),
            jobs_ok_before: ok_before,
            jobs_ok: tally.ok,
            jobs_proven: manifest
                .request
                .work
                .jobs()
                .proves()
                .then_some(tally.proven),
            jobs_partial: tally.partial,
            jobs_failed: tally.failed,
            jobs_rejected: tally.rejected,
            jobs_missing: done.missing(),
            duplicates: tally.duplicates,
            refused_messages: tally.refused,
            jobs_done_again: tally.done_again,
            error_rate: per(not_ok, (tally.ok + not_ok) as f64),
            reasons: tally.reasons,
            units,
            elapsed_s,
            jobs_per_s: per(tally.ok, elapsed_s),
            latency_ms: tally.latency.quantiles(),
            queue_wait_ms: tally.queue_wait.quantiles(),
            compute_ms: tally.compute.quantiles(),
            candidates_per_job: per(tally.candidates, tally.ok as f64),
            efficiency: share(busy, there),
            verified: format!("{verify:?}").to_lowercase(),
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
            influxdb: None,
            stages: tally.stages,
            what: manifest.request.work.jobs().describe(),
        }
    }

    /// Whether every job ended well.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.jobs_ok_before + self.jobs_ok == self.jobs
    }
}

/// Shortest time between two samples from which a share of CPU time is computed, in seconds.
const LEAST_MEASURED_S: f64 = 0.2;

/// Shortest run whose nodes' CPU use is shown, in seconds: it is sampled once a second.
const LEAST_NODE_CPU_S: f64 = 2.0;

/// Busy time per time there. Both are measured on different clocks, which may differ a little.
fn share(busy: f64, there: f64) -> Option<f64> {
    (there > 0.0 && busy > 0.0).then(|| (busy / there).min(1.0))
}

impl NodeTally {
    /// Also gives the seconds that the node's workers were there during `elapsed_s`, summed.
    pub(super) fn summary(self, node: String, elapsed_s: f64) -> (NodeSummary, f64) {
        let (mut workers, mut cores) = (0, 0.0);
        let mut there_s = 0.0;
        let (mut cpu_s, mut core_s, mut measured_s) = (0.0, 0.0, 0.0_f64);
        let mut latest: Option<&NodeSample> = None;
        for (first, last) in self.instances.values() {
            workers += last.workers;
            cores += last.cores;
            there_s += f64::from(last.workers) * elapsed_s.min(last.alive_s);
            cpu_s += last.cpu_s - first.cpu_s;
            core_s += (last.alive_s - first.alive_s) * last.cores;
            measured_s = measured_s.max(last.alive_s - first.alive_s);
            if latest.is_none_or(|latest| latest.at_ns < last.at_ns) {
                latest = Some(last);
            }
        }
        let busy_s = self.busy_ms / 1e3;
        let percent =
            |part: f64, whole: f64| (whole > 0.0).then(|| 100.0 * (part / whole).min(1.0));
        // CPU time comes in ticks of a hundredth of a second.
        let cpu_pct = percent(cpu_s, core_s).filter(|_| measured_s >= LEAST_MEASURED_S);
        let summary = NodeSummary {
            node,
            workers,
            cores,
            jobs_ok: self.ok,
            jobs_failed: self.failed,
            wrong_results: self.wrong,
            refused_messages: self.refused,
            duplicates: self.duplicates,
            busy_s,
            efficiency: share(busy_s, there_s),
            pool_cpu_pct: cpu_pct,
            cpu_pct: latest
                .map(|sample| sample.cpu_pct)
                .filter(|_| elapsed_s >= LEAST_NODE_CPU_S),
            rss_bytes: self.rss_bytes,
            mem_pct: latest
                .and_then(|s| percent(s.mem_used_bytes as f64, s.mem_total_bytes as f64)),
        };
        (summary, there_s)
    }
}
