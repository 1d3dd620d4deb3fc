//! The figures of a run, and how they are shown.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::{Duration, Instant},
};

use primepool_common::{cli::show_duration, message::NodeSample};
use serde::Serialize;

use crate::{
    folder::Manifest,
    progress::plural,
    row::{Origin, Row, RowOutcome},
    verify::Verify,
};

/// What the metrics server says of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadBack {
    /// The server and the database.
    pub server: String,
    /// Points of answers to jobs.
    pub points: u64,
    /// Jobs that ended well, by these points; in all sessions of the run.
    pub jobs_ok: u64,
    /// Median of the answers' latency.
    pub latency_p50_ms: f64,
    /// 95 % of the answers were faster.
    pub latency_p95_ms: f64,
    /// Mean of a worker's time for a job.
    pub compute_ms: f64,
}

/// What is counted while results come in.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of each answer, with the number of jobs that it is the figure of.
    latency_ms: Vec<(f64, u64)>,
    queue_wait_ms: Vec<(f64, u64)>,
    compute_ms: Vec<(f64, u64)>,
    candidates: u64,
    ok: u64,
    partial: u64,
    failed: u64,
    rejected: u64,
    /// Results of jobs that had one.
    duplicates: u64,
    /// Messages that were no answers of this run.
    refused: u64,
    /// Jobs that were asked for again because their result was wrong, each as often as that happened.
    pub done_again: u64,
    reasons: BTreeMap<String, u64>,
    last_arrival: Option<Instant>,
    nodes: BTreeMap<String, NodeTally>,
}

#[derive(Debug, Default)]
struct NodeTally {
    ok: u64,
    failed: u64,
    wrong: u64,
    refused: u64,
    duplicates: u64,
    busy_ms: f64,
    /// First and last sample of each process of that name.
    instances: BTreeMap<u64, (NodeSample, NodeSample)>,
    rss_bytes: u64,
}

/// Nodes that are told apart.
const MOST_NODES: usize = 10_000;

/// Name that stands for those above [`MOST_NODES`].
const OTHER_NODES: &str = "(others)";

/// Reasons of failures that a summary names.
const REASONS: usize = 5;

impl Tally {
    fn node(&mut self, name: &str) -> &mut NodeTally {
        // Whoever can send answers can make up names.
        let is_one_too_many = self.nodes.len() >= MOST_NODES && !self.nodes.contains_key(name);
        let name = if is_one_too_many { OTHER_NODES } else { name };
        self.nodes.entry(name.to_owned()).or_default()
    }

    /// Counts the jobs of an answer that came at that time.
    pub fn add(&mut self, origin: &Origin, rows: &[Row], at: Instant) {
        let node = self.node(&origin.node);
        let ok = rows.iter().filter(|row| row.outcome == RowOutcome::Ok);
        let ok = ok.count() as u64;
        node.ok += ok;
        node.failed += rows.len() as u64 - ok;
        for row in rows {
            match row.outcome {
                RowOutcome::Ok => {
                    self.ok += 1;
                    self.compute_ms.push((row.compute_ms, 1));
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
        let jobs = rows.len() as u64;
        self.latency_ms.push((origin.latency_ms, jobs));
        self.queue_wait_ms.push((origin.queue_wait_ms, jobs));
        self.last_arrival = self.last_arrival.max(Some(at));
    }

    /// Counts a node's work on a unit.
    pub fn busy(&mut self, node: &str, compute_ms: f64) {
        self.node(node).busy_ms += compute_ms;
    }

    /// Counts a wrong result; how many of this node there are now.
    pub fn wrong(&mut self, node: &str) -> u64 {
        let node = self.node(node);
        node.wrong += 1;
        node.wrong
    }

    /// Whether a result of this node was wrong.
    #[must_use]
    pub fn has_been_wrong(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.wrong > 0)
    }

    /// Counts a message that is no answer of this run; how many there are now, of this node if it could be read.
    pub fn refuse(&mut self, node: Option<&str>) -> u64 {
        self.refused += 1;
        let Some(node) = node else {
            return self.refused;
        };
        let node = self.node(node);
        node.refused += 1;
        node.refused
    }

    /// Counts results of jobs that had one.
    pub fn duplicate(&mut self, node: &str, jobs: u64) {
        self.duplicates += jobs;
        self.node(node).duplicates += jobs;
    }

    /// Notes a sample of a node.
    pub fn sample(&mut self, node: &str, sample: &NodeSample) {
        let node = self.node(node);
        node.rss_bytes = node.rss_bytes.max(sample.rss_bytes);
        let (first, last) = node
            .instances
            .entry(sample.instance)
            .or_insert_with(|| (sample.clone(), sample.clone()));
        // Answers of several workers may overtake each other.
        if sample.alive_s > last.alive_s {
            *last = sample.clone();
        }
        if sample.alive_s < first.alive_s {
            *first = sample.clone();
        }
    }
}

/// Quantiles of a figure, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them are below.
    pub p50: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Quantiles {
    /// By nearest rank, of values that each stand for so many jobs; nothing of nothing.
    #[must_use]
    pub fn of(mut values: Vec<(f64, u64)>) -> Option<Self> {
        values.retain(|(_, jobs)| *jobs > 0);
        values.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let &(max, _) = values.last()?;
        let count: u64 = values.iter().map(|(_, jobs)| jobs).sum();
        let (mut passed, mut ranked) = (0, values.iter());
        let mut value = max;
        let mut rank = |q: f64| {
            // Asked for in rising order: one walk along the values.
            let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
            while passed < rank
                && let Some(&(next, jobs)) = ranked.next()
            {
                value = next;
                passed += jobs;
            }
            value
        };
        Some(Self {
            p50: rank(0.50),
            p95: rank(0.95),
            p99: rank(0.99),
            max,
            mean: values.iter().map(|(v, jobs)| v * *jobs as f64).sum::<f64>() / count as f64,
        })
    }
}

/// Figures of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeSummary {
    /// Name of the node.
    pub node: String,
    /// Its compute threads.
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
pub struct Summary {
    /// The run.
    pub run: String,
    /// Kind of its jobs.
    pub kind: String,
    /// Bits of each prime.
    pub bits: u32,
    /// Jobs asked for.
    pub jobs: u64,
    /// Jobs that ended well in earlier sessions.
    pub jobs_ok_before: u64,
    /// Jobs that ended well.
    pub jobs_ok: u64,
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
    /// Seconds from the first publication to the last result.
    pub elapsed_s: f64,
    /// Jobs that ended well, per second.
    pub jobs_per_s: f64,
    /// Publication to result.
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
    #[serde(skip)]
    what: String,
}

impl Summary {
    /// Puts the figures together. `done`: which jobs have ended, `ok_before`: how many of them well before this session,
    /// `start`: the first publication of this session, or its start if nothing was published.
    #[must_use]
    pub fn new(
        manifest: &Manifest,
        units: u64,
        tally: Tally,
        done: &[bool],
        ok_before: u64,
        start: Instant,
        verify: Verify,
    ) -> Self {
        let span = tally
            .last_arrival
            .map_or(Duration::ZERO, |last| last.saturating_duration_since(start));
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
            kind: manifest.ask.kind.to_string(),
            bits: manifest.ask.bits,
            jobs: manifest.ask.count,
            jobs_ok_before: ok_before,
            jobs_ok: tally.ok,
            jobs_partial: tally.partial,
            jobs_failed: tally.failed,
            jobs_rejected: tally.rejected,
            jobs_missing: done.iter().filter(|done| !**done).count() as u64,
            duplicates: tally.duplicates,
            refused_messages: tally.refused,
            jobs_done_again: tally.done_again,
            error_rate: per(not_ok, (tally.ok + not_ok) as f64),
            reasons: tally.reasons,
            units,
            elapsed_s,
            jobs_per_s: per(tally.ok, elapsed_s),
            latency_ms: Quantiles::of(tally.latency_ms),
            queue_wait_ms: Quantiles::of(tally.queue_wait_ms),
            compute_ms: Quantiles::of(tally.compute_ms),
            candidates_per_job: per(tally.candidates, tally.ok as f64),
            efficiency: (there > 0.0 && busy > 0.0).then(|| busy / there),
            verified: format!("{verify:?}").to_lowercase(),
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
            influxdb: None,
            what: manifest.ask.describe(),
        }
    }

    /// Whether every job ended well.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.jobs_ok_before + self.jobs_ok == self.jobs
    }
}

impl NodeTally {
    /// Also gives the seconds that the node's workers were there during `elapsed_s`, summed.
    fn summary(self, node: String, elapsed_s: f64) -> (NodeSummary, f64) {
        let (mut workers, mut cores) = (0, 0.0);
        let mut there_s = 0.0;
        let (mut cpu_s, mut core_s) = (0.0, 0.0);
        let mut latest: Option<&NodeSample> = None;
        for (first, last) in self.instances.values() {
            workers += last.workers;
            cores += last.cores;
            there_s += f64::from(last.workers) * elapsed_s.min(last.alive_s);
            cpu_s += last.cpu_s - first.cpu_s;
            core_s += (last.alive_s - first.alive_s) * last.cores;
            if latest.is_none_or(|latest| latest.at_ns < last.at_ns) {
                latest = Some(last);
            }
        }
        let busy_s = self.busy_ms / 1e3;
        let percent = |part: f64, whole: f64| (whole > 0.0).then(|| 100.0 * part / whole);
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
            efficiency: (there_s > 0.0 && busy_s > 0.0).then(|| busy_s / there_s),
            pool_cpu_pct: percent(cpu_s, core_s),
            cpu_pct: latest.map(|sample| sample.cpu_pct).filter(|pct| *pct > 0.0),
            rss_bytes: self.rss_bytes,
            mem_pct: latest
                .and_then(|s| percent(s.mem_used_bytes as f64, s.mem_total_bytes as f64)),
        };
        (summary, there_s)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = show_duration(Duration::from_secs_f64(self.elapsed_s));
        let ok = self.jobs_ok + self.jobs_ok_before;
        write!(f, "{ok} of {} {}", self.jobs, self.what)?;
        if self.jobs_ok_before > 0 {
            write!(f, ", {} of them", self.jobs_ok)?;
        }
        writeln!(f, " in {elapsed}   run {}\n", self.run)?;
        let unit = match &*self.kind {
            "noop" => "jobs/s",
            "factor" => "numbers/s",
            _ => "primes/s",
        };
        writeln!(f, "  throughput   {} {unit}", figure(self.jobs_per_s))?;
        for (label, quantiles) in [
            ("latency", self.latency_ms),
            ("queue wait", self.queue_wait_ms),
            ("compute", self.compute_ms),
        ] {
            if let Some(q) = quantiles {
                writeln!(
                    f,
                    "  {label:<12} p50 {:>9}   p95 {:>9}   p99 {:>9}",
                    milliseconds(q.p50),
                    milliseconds(q.p95),
                    milliseconds(q.p99)
                )?;
            }
        }
        if let Some(efficiency) = self.efficiency {
            writeln!(
                f,
                "  efficiency   {:.1} % of the workers' time",
                100.0 * efficiency
            )?;
        }
        write!(f, "  errors       {:.1} %", 100.0 * self.error_rate)?;
        write!(f, "   verified: {}", self.verified)?;
        if self.duplicates > 0 {
            write!(f, "   duplicates dropped: {}", self.duplicates)?;
        }
        if self.refused_messages > 0 {
            write!(f, "   foreign messages dropped: {}", self.refused_messages)?;
        }
        writeln!(f)?;
        let liars: Vec<_> = self.nodes.iter().filter(|n| n.wrong_results > 0).collect();
        if !liars.is_empty() {
            let names: Vec<_> = liars.iter().map(|node| &*node.node).collect();
            writeln!(
                f,
                "  WRONG        results of {}: a broken machine or a dishonest one; take it out of the pool. {} done again elsewhere",
                names.join(", "),
                plural(self.jobs_done_again, "job"),
            )?;
        }
        for (reason, count) in &self.reasons {
            writeln!(f, "               {count} × {reason}")?;
        }
        if !self.nodes.is_empty() {
            self.write_nodes(f)?;
        }
        if let Some(read) = &self.influxdb {
            writeln!(
                f,
                "\n  InfluxDB     {} jobs in {} answers   latency p50 {}   p95 {}   compute {} a job\n               read back from {}",
                read.jobs_ok,
                read.points,
                milliseconds(read.latency_p50_ms),
                milliseconds(read.latency_p95_ms),
                milliseconds(read.compute_ms),
                read.server
            )?;
        }
        Ok(())
    }
}

impl Summary {
    fn write_nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .nodes
            .iter()
            .map(|n| n.node.len())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(
            f,
            "\n  {:<width$}  workers    jobs  failed  efficiency  CPU pool  CPU node  memory pool  memory node",
            "node"
        )?;
        for node in &self.nodes {
            let percent = |value: Option<f64>| {
                value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} %"))
            };
            let efficiency = node
                .efficiency
                .map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value));
            // Of those that have sent no sample, and of what many have done together, there is no more than the jobs.
            let known = |value: String| {
                if node.workers == 0 {
                    "–".to_owned()
                } else {
                    value
                }
            };
            let mut line = format!(
                "  {:<width$}  {:>7}  {:>6}  {:>6}  {:>10}  {:>8}  {:>8}  {:>11}  {:>11}",
                node.node,
                known(node.workers.to_string()),
                node.jobs_ok,
                node.jobs_failed,
                efficiency,
                percent(node.pool_cpu_pct),
                percent(node.cpu_pct),
                known(format!("{:.1} MB", node.rss_bytes as f64 / 1e6)),
                percent(node.mem_pct),
            );
            for (count, what) in [
                (node.wrong_results, "wrong results!"),
                (node.refused_messages, "refused messages!"),
            ] {
                if count > 0 {
                    write!(line, "  {count} {what}")?;
                }
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// Three significant digits or so.
fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn milliseconds(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1e3)
    } else {
        format!("{} ms", figure(value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let one_by_one = (1..=100).rev().map(|n| (f64::from(n), 1)).collect();
        let in_tens = (0..10).map(|tens| (f64::from(tens), 10)).collect();
        let q = Quantiles::of(in_tens).unwrap();
        assert_eq!((q.p50, q.p95, q.p99, q.mean), (4.0, 9.0, 9.0, 4.5));
        let q = Quantiles::of(one_by_one).unwrap();
        assert_eq!(
            (q.p50, q.p95, q.p99, q.max, q.mean),
            (50.0, 95.0, 99.0, 100.0, 50.5)
        );
        assert_eq!(Quantiles::of(vec![(7.0, 1)]).unwrap().p99, 7.0);
        assert_eq!(Quantiles::of(vec![]), None);
        assert_eq!(Quantiles::of(vec![(7.0, 0)]), None);
    }

    fn sample(instance: u64, alive_s: f64, cpu_s: f64) -> NodeSample {
        NodeSample {
            instance,
            kernel: "gmp".into(),
            at_ns: (alive_s * 1e9) as u64,
            workers: 2,
            busy_workers: 1,
            busy_s: 0.0,
            alive_s,
            cores: 2.0,
            cpu_s,
            cpu_pct: 50.0,
            pool_cpu_pct: 0.0,
            mem_used_bytes: 1,
            mem_total_bytes: 4,
            rss_bytes: 1000,
            jobs_ok: 0,
            jobs_failed: 0,
            in_flight: 0,
        }
    }

    #[test]
    fn efficiency_is_busy_time_per_time_there() {
        let mut tally = Tally::default();
        tally.busy("n", 3000.0);
        for s in [
            sample(1, 10.0, 5.0),
            sample(1, 14.0, 9.0),
            sample(1, 12.0, 6.0),
        ] {
            tally.sample("n", &s);
        }
        // Came late: it was there for half a second of the run.
        tally.sample("n", &sample(2, 0.5, 0.0));
        let node = tally.nodes.remove("n").unwrap();
        let (summary, there_s) = node.summary("n".into(), 2.0);
        assert_eq!(there_s, 2.0 * 2.0 + 2.0 * 0.5);
        assert_eq!(summary.efficiency, Some(3.0 / 5.0));
        assert_eq!(summary.pool_cpu_pct, Some(50.0));
        assert_eq!(summary.workers, 4);
    }
}
