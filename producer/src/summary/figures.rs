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

/// Figures of a run as stored on the metrics server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReadBack {
    /// Address of the server, and its database.
    pub server: String,
    /// Number of points of answers.
    pub points: u64,
    /// Number of jobs with outcome `ok` in these points, over all sessions of the run.
    pub jobs_ok: u64,
}

/// Figures of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeSummary {
    /// Name of the node.
    pub node: String,
    pub workers: u32,
    /// Number of cores that its consumers may use; a cgroup limit can make it fractional.
    pub cores: f64,
    /// Number of its jobs with outcome `ok`.
    pub jobs_ok: u64,
    /// Number of its jobs with another outcome, including jobs that failed because its result was
    /// wrong.
    pub jobs_failed: u64,
    /// Number of its results that the producer found wrong; other nodes do these jobs again.
    pub wrong_results: u64,
    /// Number of messages that name this node as their origin but are not answers of this run.
    pub refused_messages: u64,
    /// Number of its results for jobs that already had one.
    pub duplicates: u64,
    /// Time that its workers worked on this run, in seconds.
    pub busy_s: f64,
    /// Busy time of its workers / time that they were present during the run.
    pub efficiency: Option<f64>,
    /// CPU use of its consumers, in per cent of the cores that they may use.
    pub pool_cpu_pct: Option<f64>,
    /// CPU use of the whole node at the last sample, in per cent of all its cores.
    pub cpu_pct: Option<f64>,
    /// Largest resident memory of one of its consumers, in bytes.
    pub rss_bytes: u64,
    /// Memory use of the whole node at the last sample, in per cent.
    pub mem_pct: Option<f64>,
}

/// Figures of a run. They cover this session only, except `jobs_ok_before`, `jobs_missing` and
/// `influxdb`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub run: String,
    /// Kind of the jobs.
    pub kind: String,
    /// Size of the primes or integers, in bits.
    pub bits: u32,
    pub jobs: u64,
    /// Number of jobs with outcome `ok` in earlier sessions.
    pub jobs_ok_before: u64,
    /// Number of jobs with outcome `ok`.
    pub jobs_ok: u64,
    /// Number of `ok` jobs all of whose primes are proven; `None` if the run requests no proofs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_proven: Option<u64>,
    /// Number of jobs with outcome `partial`: incomplete factorisations.
    pub jobs_partial: u64,
    /// Number of jobs with outcome `failed`.
    pub jobs_failed: u64,
    /// Number of jobs with outcome `rejected`: they are invalid.
    pub jobs_rejected: u64,
    /// Number of jobs that have not ended.
    pub jobs_missing: u64,
    /// Number of results that were dropped because their jobs already had one.
    pub duplicates: u64,
    /// Number of messages that were not answers of this run.
    pub refused_messages: u64,
    /// Number of results that were requested from another node because they were wrong.
    pub jobs_done_again: u64,
    /// Ended jobs with an outcome other than `ok` / all ended jobs.
    pub error_rate: f64,
    /// Reasons of outcomes other than `ok`, with the number of jobs; limited to a few reasons.
    pub reasons: BTreeMap<String, u64>,
    /// Number of units of the run.
    pub units: u64,
    /// Seconds from the first publication to the last result, or until the run was given up.
    pub elapsed_s: f64,
    /// Number of `ok` jobs per second.
    pub jobs_per_s: f64,
    pub latency_ms: Option<Quantiles>,
    /// The part of the latency in which no worker computed the unit.
    pub queue_wait_ms: Option<Quantiles>,
    /// Worker time of a job.
    pub compute_ms: Option<Quantiles>,
    /// Probable-prime tests per job.
    pub candidates_per_job: f64,
    /// Busy time of all workers / time that they were present during the run.
    pub efficiency: Option<f64>,
    /// Policy by which results were checked for primality.
    pub verified: String,
    /// All nodes that took part.
    pub nodes: Vec<NodeSummary>,
    /// Figures of the run as read back from the metrics server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influxdb: Option<ReadBack>,
    /// Stages of the factorisation, if it is the only job of the run.
    #[serde(skip)]
    pub(super) stages: Vec<StageCost>,
    #[serde(skip)]
    pub(super) jobs_text: String,
}

/// The time of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    /// Time of the first publication, or of the start of the session if nothing was published.
    pub start: Instant,
    /// Time at which the session ended, unless all jobs had ended.
    pub given_up: Option<Instant>,
}

impl Summary {
    /// Computes the figures at the end of a session. `done`: the jobs that have ended; `ok_before`:
    /// number of jobs with outcome `ok` in earlier sessions; `period`: time of this session.
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
        let present: f64 = nodes.iter().map(|(_, present_s)| present_s).sum();
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
            efficiency: share(busy, present),
            verified: format!("{verify:?}").to_lowercase(),
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
            influxdb: None,
            stages: tally.stages,
            jobs_text: manifest.request.work.jobs().describe(),
        }
    }

    /// Whether all jobs have ended with outcome `ok`.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.jobs_ok_before + self.jobs_ok == self.jobs
    }
}

/// Shortest time between two samples from which a share of CPU time is computed, in seconds. CPU
/// time comes in ticks of a hundredth of a second.
const LEAST_MEASURED_S: f64 = 0.2;

/// Shortest run for which the CPU use of whole nodes is shown, in seconds; nodes sample it once a
/// second.
const LEAST_NODE_CPU_S: f64 = 2.0;

/// `busy` / `present`, at most 1: the two times are measured on different clocks, which may differ
/// a little. `None` if either is zero.
fn share(busy: f64, present: f64) -> Option<f64> {
    (present > 0.0 && busy > 0.0).then(|| (busy / present).min(1.0))
}

impl NodeTally {
    /// The figures of a node in a session of `elapsed_s` seconds, and the time that its workers
    /// were present during the session, in seconds, summed over the workers.
    pub(super) fn summary(self, node: String, elapsed_s: f64) -> (NodeSummary, f64) {
        let (mut workers, mut cores) = (0, 0.0);
        let mut present_s = 0.0;
        let (mut cpu_s, mut core_s, mut measured_s) = (0.0, 0.0, 0.0_f64);
        let mut latest: Option<&NodeSample> = None;
        for (first, last) in self.instances.values() {
            workers += last.workers;
            cores += last.cores;
            present_s += f64::from(last.workers) * elapsed_s.min(last.alive_s);
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
            efficiency: share(busy_s, present_s),
            pool_cpu_pct: cpu_pct,
            cpu_pct: latest
                .map(|sample| sample.cpu_pct)
                .filter(|_| elapsed_s >= LEAST_NODE_CPU_S),
            rss_bytes: self.rss_bytes,
            mem_pct: latest
                .and_then(|s| percent(s.mem_used_bytes as f64, s.mem_total_bytes as f64)),
        };
        (summary, present_s)
    }
}
