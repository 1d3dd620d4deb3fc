//! Tables for other programs: CSV and JSON.

use serde_json::{Value, json};

use super::{charts::MEGABYTE, study::Study, words::Bounds};
use crate::interval::Interval;
use crate::record::{Outcome, Percentiles};

/// A text as a field of CSV.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Columns of percentiles.
fn percentile_columns(name: &str) -> String {
    ["p50", "p95", "p99", "max", "mean"]
        .map(|which| format!("{name}_{which}_ms"))
        .join(",")
}

fn percentiles(of: &Percentiles) -> [String; 5] {
    [of.p50, of.p95, of.p99, of.max, of.mean].map(|value| value.to_string())
}

/// All records, one a line. Empty fields of those that failed.
#[must_use]
pub(crate) fn measurements_csv(study: &Study) -> String {
    let mut csv = format!(
        "nodes,workers,total_workers,repeat,started_ms,outcome,reason,folder,jobs,elapsed_s,primes_per_s,{},{},error_rate,\
         node_efficiency,cpu_pct,rss_bytes,consumer_cpu_s,producer_cpu_s,broker_cpu_s,joined_s,jobs_by_node\n",
        percentile_columns("latency"),
        percentile_columns("queue_wait"),
    );
    for record in &study.records {
        let mut row = vec![
            record.nodes.to_string(),
            record.workers.to_string(),
            record.nodes.saturating_mul(record.workers).to_string(),
            record.repeat.to_string(),
            record.started_ms.to_string(),
        ];
        match &record.outcome {
            Outcome::Failed(reason) => {
                row.extend(["failed".to_owned(), quoted(reason)]);
                row.extend(std::iter::repeat_n(String::new(), 23));
            }
            Outcome::Measured(run) => {
                row.extend(["measured".to_owned(), String::new(), quoted(&run.folder)]);
                row.extend([
                    run.jobs.to_string(),
                    run.elapsed_s.to_string(),
                    run.primes_per_s.to_string(),
                ]);
                row.extend(percentiles(&run.latency_ms));
                row.extend(percentiles(&run.queue_wait_ms));
                row.extend(
                    [
                        run.error_rate,
                        run.node_efficiency,
                        run.cpu_pct,
                        run.rss_bytes,
                        run.consumer_cpu_s,
                        run.producer_cpu_s,
                    ]
                    .map(|value| value.to_string()),
                );
                row.push(
                    run.broker_cpu_s
                        .map(|value| value.to_string())
                        .unwrap_or_default(),
                );
                row.push(run.joined_s.to_string());
                let jobs: Vec<String> = run
                    .jobs_by_node
                    .iter()
                    .map(|(node, jobs)| format!("{node}={jobs}"))
                    .collect();
                row.push(quoted(&jobs.join(" ")));
            }
        }
        csv.push_str(&row.join(","));
        csv.push('\n');
    }
    csv
}

/// A figure of all configurations, none where it was not measured, and its name.
type Column = (&'static str, Vec<Option<Interval>>);

/// Figures of each configuration over its measurements, in the order of the configurations.
fn columns(study: &Study) -> Vec<Column> {
    let each = |figure: &dyn Fn(&crate::record::Figures) -> f64| -> Vec<Option<Interval>> {
        study
            .configurations
            .iter()
            .map(|one| Interval::of(one.runs.iter().map(figure)))
            .collect()
    };
    vec![
        (
            "primes_per_s",
            study
                .configurations
                .iter()
                .map(|one| Some(one.throughput))
                .collect(),
        ),
        (
            "efficiency_pct",
            study
                .configurations
                .iter()
                .map(|one| Some(study.ceiling.efficiency_pct(one)))
                .collect(),
        ),
        ("cpu_pct", each(&|run| run.cpu_pct)),
        (
            "usable_cpu_pct",
            study
                .configurations
                .iter()
                .map(|one| Some(one.interval(|run| study.ceiling.busy_pct(one, run))))
                .collect(),
        ),
        (
            "node_efficiency_pct",
            each(&|run| 100.0 * run.node_efficiency),
        ),
        ("rss_mb", each(&|run| run.rss_bytes / MEGABYTE)),
        ("latency_p50_ms", each(&|run| run.latency_ms.p50)),
        ("latency_p95_ms", each(&|run| run.latency_ms.p95)),
        ("latency_p99_ms", each(&|run| run.latency_ms.p99)),
        ("queue_wait_p50_ms", each(&|run| run.queue_wait_ms.p50)),
        (
            "producer_cores",
            each(&|run| run.producer_cpu_s / run.elapsed_s),
        ),
        (
            "broker_cores",
            each(&|run| {
                run.broker_cpu_s
                    .map_or(f64::NAN, |cpu_s| cpu_s / run.elapsed_s)
            }),
        ),
        ("error_rate", each(&|run| run.error_rate)),
        ("joined_s", each(&|run| run.joined_s)),
    ]
}

/// The configurations, one a line, each figure as median, least and most.
#[must_use]
pub(crate) fn configurations_csv(study: &Study) -> String {
    let columns = columns(study);
    let mut csv = "nodes,workers,total_workers,usable_cores,ceiling_primes_per_s,runs".to_owned();
    for (name, _) in &columns {
        csv.push_str(&format!(",{name}_median,{name}_least,{name}_most"));
    }
    csv.push('\n');
    for (index, one) in study.configurations.iter().enumerate() {
        csv.push_str(&format!(
            "{},{},{},{},{},{}",
            one.nodes,
            one.workers,
            one.total_workers(),
            study.ceiling.cores(one.nodes, one.workers),
            study.ceiling.of(one),
            one.runs.len()
        ));
        for (_, values) in &columns {
            match values[index] {
                Some(value) => {
                    csv.push_str(&format!(",{},{},{}", value.median, value.least, value.most));
                }
                None => csv.push_str(",,,"),
            }
        }
        csv.push('\n');
    }
    csv
}

/// All numbers of the report with its words.
#[must_use]
pub(crate) fn json(
    study: &Study,
    bounds: &[Bounds],
    words: &[String],
    missing: &[String],
) -> Value {
    let columns = columns(study);
    let configurations: Vec<Value> = study
        .configurations
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let mut value = json!({
                "nodes": one.nodes,
                "workers": one.workers,
                "total_workers": one.total_workers(),
                "usable_cores": study.ceiling.cores(one.nodes, one.workers),
                "ceiling_primes_per_s": study.ceiling.of(one),
                "runs": one.runs.len(),
                "median_run": one.median_run().folder,
            });
            for (name, values) in &columns {
                value[*name] = json!(values[index]);
            }
            value
        })
        .collect();
    let failed: Vec<Value> = study
        .failures()
        .into_iter()
        .map(|(record, reason)| {
            json!({"nodes": record.nodes, "workers": record.workers, "repeat": record.repeat, "reason": reason})
        })
        .collect();
    let pair = |one: &super::series::Configuration| json!({"nodes": one.nodes, "workers": one.workers, "primes_per_s": one.throughput});
    json!({
        "settings": study.settings,
        "ceiling": study.ceiling,
        "best": pair(study.best()),
        "smallest": pair(study.smallest()),
        "speed_up": study.best().throughput.median / study.smallest().throughput.median,
        "configurations": configurations,
        "scalings": study.scalings,
        "bounds": bounds,
        "failed": failed,
        "missing_charts": missing,
        "words": words,
    })
}
