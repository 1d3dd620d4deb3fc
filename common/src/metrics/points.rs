//! Points that several programs write, see `docs/METRICS.md`.

use super::Point;
use crate::{
    broker::QueueFigures, clock::unix_ns, message::NodeSample, pool::Census, topology::QueueState,
};

/// Point `node`: a sample of a consumer, with a tag `run` if a run observed it.
#[must_use]
pub fn node<'a>(node: &'a str, run: Option<&'a str>, sample: &'a NodeSample) -> Point<'a> {
    let could_s = sample.alive_s * f64::from(sample.workers);
    let mem_pct = 100.0 * sample.mem_used_bytes as f64 / sample.mem_total_bytes as f64;
    let mut point = Point::new("node", sample.at_ns)
        .tag("node", node)
        .tag("kernel", &*sample.kernel);
    if let Some(run) = run {
        point = point.tag("run", run);
    }
    point
        .field("workers", sample.workers)
        .field("busy_workers", sample.busy_workers)
        .field("busy_s", sample.busy_s)
        .field("alive_s", sample.alive_s)
        .field("efficiency", sample.busy_s / could_s)
        .field("cores", sample.cores)
        .field("cpu_s", sample.cpu_s)
        .field("cpu_pct", sample.cpu_pct)
        .field("pool_cpu_pct", sample.pool_cpu_pct)
        .field("mem_used_bytes", sample.mem_used_bytes)
        .field("mem_pct", mem_pct)
        .field("rss_bytes", sample.rss_bytes)
        .field("jobs_ok", sample.jobs_ok)
        .field("jobs_failed", sample.jobs_failed)
        .field("in_flight", sample.in_flight)
}

/// Point `pool`: the current members of the pool, as a run sees them.
#[must_use]
pub fn pool<'a>(run: &'a str, census: &Census) -> Point<'a> {
    Point::new("pool", unix_ns())
        .tag("run", run)
        .field("nodes", census.nodes)
        .field("workers", census.workers)
        .field("busy_workers", census.busy_workers)
        .field("runs", census.runs)
}

/// Point `queue`: the current state of a queue, with a tag `run` if a run observed it. `figures`
/// are those that only the management API provides.
#[must_use]
pub fn queue<'a>(
    queue: &'a str,
    run: Option<&'a str>,
    state: &QueueState,
    figures: Option<&QueueFigures>,
) -> Point<'a> {
    let mut point = Point::new("queue", unix_ns()).tag("queue", queue);
    if let Some(run) = run {
        point = point.tag("run", run);
    }
    point = point
        .field("ready", state.ready)
        .field("consumers", state.consumers);
    match figures {
        Some(figures) => point
            .field("unacked", figures.unacked)
            .field("publish_rate", figures.publish_rate)
            .field("deliver_rate", figures.deliver_rate),
        None => point,
    }
}
