//! Writes the rows of results and the metric points.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use primepool_common::{
    broker::QueueFigures,
    clock::unix_ns,
    metrics::{Point, points},
    topology::{QueueState, jobs_queue},
};

use super::sink::{Answered, Sink, round_to_microseconds};
use crate::run_dir::{LineWriter, Origin, Row, RowOutcome};

impl<A: Send + 'static> Sink<A> {
    pub(super) fn write(&mut self, answered: &[Answered]) -> io::Result<()> {
        self.text.clear();
        let mut ends = Vec::new();
        for Answered { origin, rows, .. } in answered {
            let writer = LineWriter::new(origin)?;
            for row in rows {
                writer.write(row, &mut self.text)?;
                ends.push(self.text.len());
            }
        }
        if self.text.is_empty() {
            return Ok(());
        }
        self.files.results.write_all(&self.text)?;
        match self.files.results.sync_data() {
            // A pipe or a terminal has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        let rows = answered.iter().flat_map(|answered| &answered.rows);
        let mut start = 0;
        for (row, end) in rows.zip(ends) {
            self.files
                .printer
                .add(&self.text[start..end], row.job, || row.factorization());
            start = end;
        }
        self.files.printer.flush();
        Ok(())
    }

    pub(super) fn note_queue(&mut self, state: QueueState, figures: Option<QueueFigures>) {
        self.consumers = Some(state.consumers);
        self.status.set_consumers(state.consumers);
        self.factoring.note_consumers(state.consumers);
        let queue = jobs_queue(self.manifest.request.kind());
        let run = self.manifest.run.as_str();
        if let Some((job, progress)) = self.factoring.stage_progress(Instant::now()) {
            let point = progress.point(run, job);
            let count = self.manifest.request.count();
            let number = if count > 1 {
                format!("number {} of {count}, ", job + 1)
            } else {
                String::new()
            };
            let stage = format!("{number}{}", progress.describe());
            self.status.set_stage(Some(stage));
            self.files.metrics.write(&point);
        }
        self.files
            .metrics
            .write(&points::queue(&queue, Some(run), &state, figures.as_ref()));
        if let Some(census) = self.status.census() {
            self.files.metrics.write(&points::pool(run, &census));
        }
    }

    /// Writes a point for each outcome among the jobs of an answer. Counts are sums over the jobs;
    /// times are those of one job: the latency is the same for all, and the compute time is their
    /// mean.
    pub(super) fn write_points(&mut self, origin: &Origin, rows: &[Row]) {
        let now = unix_ns();
        let manifest = Arc::clone(&self.manifest);
        let bits = manifest.request.work.jobs().size().to_string();
        for outcome in RowOutcome::ALL {
            let (mut jobs, mut compute_ms, mut candidates) = (0_u64, 0.0, 0_u64);
            for row in rows.iter().filter(|row| row.outcome == outcome) {
                jobs += 1;
                compute_ms += row.compute_ms;
                candidates = candidates.saturating_add(row.candidates);
            }
            if jobs == 0 {
                continue;
            }
            // Points of one series with one time would overwrite each other.
            self.last_point_ns = now.max(self.last_point_ns + 1);
            let point = Point::new("job", self.last_point_ns)
                .tag("run", manifest.run.as_str())
                .tag("node", &*origin.node)
                .tag("kind", manifest.request.kind().as_str())
                .tag("bits", &*bits)
                .tag("outcome", outcome.as_str())
                .field("jobs", jobs)
                .field("latency_ms", origin.latency_ms)
                .field("queue_wait_ms", origin.queue_wait_ms)
                .field(
                    "compute_ms",
                    round_to_microseconds(compute_ms / jobs as f64),
                )
                .field("candidates", candidates)
                .field("redelivered", if origin.redelivered { jobs } else { 0 });
            self.files.metrics.write(&point);
        }
    }
}
