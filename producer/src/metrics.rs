//! Destinations of the run's metric points: the file `metrics.lp`, and the metrics server if one is
//! configured.

use std::time::Duration;

use primepool_common::{
    clock::unix_ns,
    message::RunId,
    metrics::{
        InfluxTarget, LineProtocolFile, MetricsReader, MetricsWriter, Point, Stats, influxql_string,
    },
};
use tracing::warn;

use crate::{
    run_dir::Manifest,
    summary::{ReadBack, Summary},
};

/// Longest time that the end of a run waits for the metrics server; points not accepted by then
/// remain in the file.
const CLOSING: Duration = Duration::from_secs(5);

/// Writes the run's points to its destinations.
pub(crate) struct Metrics {
    file: Option<LineProtocolFile>,
    server: MetricsWriter,
}

impl Metrics {
    /// A writer to the metrics server and, if there is one, the file.
    #[must_use]
    pub(crate) fn new(file: Option<LineProtocolFile>, server: MetricsWriter) -> Self {
        Self { file, server }
    }

    /// Writes a point. Metrics matter less than results: if the file cannot be written, this logs a
    /// warning and stops writing to it.
    pub(crate) fn write(&mut self, point: &Point<'_>) {
        self.server.write(point);
        if let Some(file) = &mut self.file
            && let Err(error) = file.write(point)
        {
            warn!(%error, "cannot write metrics.lp any more");
            self.file = None;
        }
    }

    /// Flushes everything within a time limit; returns how many points were sent or lost. Blocks.
    pub(crate) fn close(mut self) -> Stats {
        if let Some(file) = &mut self.file
            && let Err(error) = file.flush()
        {
            warn!(%error, "metrics.lp is not complete");
        }
        self.server.close(CLOSING)
    }
}

/// Queries the server for the run's figures, in InfluxQL.
///
/// # Errors
/// The server does not answer; returns a message for the user.
pub(crate) async fn read_back(target: InfluxTarget, run: &RunId) -> Result<ReadBack, String> {
    let server = target.to_string();
    let reader = MetricsReader::new(target).map_err(|error| error.to_string())?;
    let condition = format!(
        "\"run\" = {} AND \"outcome\" = 'ok'",
        influxql_string(run.as_str())
    );
    let figures = reader
        .query(&format!(
            "SELECT COUNT(\"jobs\") AS points, SUM(\"jobs\") AS jobs FROM \"job\" WHERE {condition}"
        ))
        .await
        .map_err(|error| error.to_string())?;
    let figure = |column| {
        figures
            .first()
            .and_then(|first| first.number(column))
            .unwrap_or(0.0) as u64
    };
    Ok(ReadBack {
        server,
        points: figure("points"),
        jobs_ok: figure("jobs"),
    })
}

/// Point of the measurement `run` with event `start`.
#[must_use]
pub(crate) fn start_point(manifest: &Manifest) -> Point<'_> {
    let request = &manifest.request;
    let text = format!(
        "run {}: {} {}",
        manifest.run,
        request.count(),
        request.work.jobs().describe()
    );
    run_point(manifest, "start").field("text", text)
}

/// Point of the measurement `run` with event `end` and the summary's figures.
#[must_use]
pub(crate) fn end_point<'a>(manifest: &'a Manifest, summary: &Summary) -> Point<'a> {
    let nodes = &summary.nodes;
    let workers: u32 = nodes.iter().map(|node| node.workers).sum();
    let text = format!(
        "run {}: {} of {} in {:.2} s, {:.1}/s",
        manifest.run,
        summary.jobs_ok_before + summary.jobs_ok,
        summary.jobs,
        summary.elapsed_s,
        summary.jobs_per_s
    );
    let mut point = run_point(manifest, "end")
        .tag("nodes", nodes.len().to_string())
        .tag("workers", workers.to_string())
        .field("text", text)
        .field("jobs_ok", summary.jobs_ok)
        .field("jobs_failed", summary.jobs_failed)
        .field("jobs_rejected", summary.jobs_rejected)
        .field("elapsed_s", summary.elapsed_s)
        .field("jobs_per_s", summary.jobs_per_s)
        .field("error_rate", summary.error_rate);
    if let Some(latency) = summary.latency_ms {
        point = point
            .field("latency_p50_ms", latency.p50)
            .field("latency_p95_ms", latency.p95)
            .field("latency_p99_ms", latency.p99);
    }
    let mean = |figure: fn(&crate::summary::NodeSummary) -> Option<f64>| {
        let known: Vec<f64> = nodes.iter().filter_map(figure).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    for (key, value) in [
        ("efficiency", summary.efficiency),
        ("pool_cpu_pct", mean(|node| node.pool_cpu_pct)),
        ("cpu_pct", mean(|node| node.cpu_pct)),
        ("mem_pct", mean(|node| node.mem_pct)),
    ] {
        if let Some(value) = value {
            point = point.field(key, value);
        }
    }
    match nodes.iter().map(|node| node.rss_bytes).max() {
        Some(rss_bytes) => point.field("rss_bytes", rss_bytes),
        None => point,
    }
}

fn run_point<'a>(manifest: &'a Manifest, event: &'static str) -> Point<'a> {
    let request = &manifest.request;
    Point::new("run", unix_ns())
        .tag("run", manifest.run.as_str())
        .tag("kind", request.kind().as_str())
        .tag("bits", request.work.jobs().size().to_string())
        .tag("event", event)
        .field("jobs", request.count())
}
