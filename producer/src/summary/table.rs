//! The summary as a table.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use primepool_common::cli::show_duration;

use super::Summary;
use crate::{progress::plural, results::WHOLE_POOL};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = show_duration(Duration::from_secs_f64(self.elapsed_s));
        let ok = self.jobs_ok + self.jobs_ok_before;
        write!(f, "{ok} of {} {}", self.jobs, self.jobs_text)?;
        if self.jobs_ok_before > 0 {
            write!(f, ", {} of them", self.jobs_ok)?;
        }
        writeln!(f, " in {elapsed}   run {}\n", self.run)?;
        if self.jobs == 1 {
            self.write_only_job(f)?;
        } else {
            self.write_figures(f)?;
        }
        self.write_outcomes(f)?;
        if self.jobs > 1 && !self.nodes.is_empty() {
            self.write_nodes(f)?;
        }
        if let Some(read) = &self.influxdb {
            writeln!(
                f,
                "\n  InfluxDB     {} in {}, read back from {}",
                plural(read.jobs_ok, "job"),
                plural(read.points, "answer"),
                read.server
            )?;
        }
        Ok(())
    }
}

impl Summary {
    /// Writes the figures of a run of one job, for which a throughput and quantiles mean nothing.
    fn write_only_job(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy_s: f64 = self.nodes.iter().map(|node| node.busy_s).sum();
        writeln!(f, "  compute      {} of workers' time", seconds(busy_s))?;
        // Omit stages of less than a thousandth of the busy time.
        let stages = self.stages.iter();
        let stages = stages
            .filter(|stage| stage.us as f64 >= 1e3 * busy_s)
            .map(|stage| {
                let counted = match &*stage.stage {
                    "ecm" => format!(" ({})", plural(stage.count, "curve")),
                    "sieve" => format!(" ({})", plural(stage.count, "relation")),
                    _ => String::new(),
                };
                let time = seconds(stage.us as f64 / 1e6);
                format!("{} {time}{counted}", stage.stage)
            });
        let stages: Vec<_> = stages.collect();
        if !stages.is_empty() {
            writeln!(f, "  stages       {}", stages.join(", "))?;
        }
        let workers = self.nodes.iter().filter(|node| node.busy_s > 0.0);
        let names: Vec<_> = workers.map(|node| &*node.node).collect();
        if !names.is_empty() {
            writeln!(f, "  nodes        {}", names.join(", "))?;
        }
        Ok(())
    }

    fn write_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        Ok(())
    }

    fn write_outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  errors       {:.1} %", 100.0 * self.error_rate)?;
        if self.jobs_missing > 0 {
            let ended = self.jobs - self.jobs_missing;
            write!(f, " of {} that ended", plural(ended, "job"))?;
            write!(f, "   not done: {}", self.jobs_missing)?;
        }
        if self.jobs_ok + self.jobs_partial > 0 {
            write!(f, "   verified: {}", self.verified)?;
        }
        if let Some(proven) = self.jobs_proven {
            write!(f, "   proven: {proven} of {}", self.jobs_ok)?;
            if proven < self.jobs_ok {
                write!(f, ", probable: {}", self.jobs_ok - proven)?;
            }
        }
        if self.duplicates > 0 {
            write!(f, "   duplicates dropped: {}", self.duplicates)?;
        }
        if self.refused_messages > 0 {
            write!(f, "   foreign messages dropped: {}", self.refused_messages)?;
        }
        writeln!(f)?;
        let wrong_nodes: Vec<_> = self.nodes.iter().filter(|n| n.wrong_results > 0).collect();
        if !wrong_nodes.is_empty() {
            let names: Vec<_> = wrong_nodes.iter().map(|node| &*node.node).collect();
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
        Ok(())
    }

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
        for node in self.nodes.iter().filter(|node| node.node != WHOLE_POOL) {
            let percent = |value: Option<f64>| {
                value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} %"))
            };
            let efficiency = node
                .efficiency
                .map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value));
            // A node without samples has no known workers or memory.
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
        let together = self.nodes.iter().find(|node| node.node == WHOLE_POOL);
        if let Some(together) = together {
            let jobs = plural(together.jobs_ok + together.jobs_failed, "job");
            writeln!(f, "  all nodes together: {jobs}")?;
        }
        Ok(())
    }
}

/// About three significant digits.
fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn seconds(value: f64) -> String {
    show_duration(Duration::from_secs_f64(value))
}

fn milliseconds(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1e3)
    } else {
        format!("{} ms", figure(value))
    }
}
