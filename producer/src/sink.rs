//! Where the answers end: each job once, verified, on disk, counted. Runs on a thread of its own, since both the checks and the
//! disk take time.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::Receiver},
    time::{Duration, Instant},
};

use lapin::Acker;
use primepool_common::{
    clock::unix_ns,
    message::{JobAnswer, JobOutcome, NodeSample, decode_answer},
    metrics::{LineProtocolFile, Point},
    topology::{QueueState, jobs_queue},
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::{
    folder::Manifest,
    row::{Hex, Row, RowOutcome},
    state::{Event, Shared},
    summary::Tally,
    verify::Verifier,
};

/// Most answers that are checked, written and synced together.
const BATCH: usize = 256;

/// Something for the sink.
#[derive(Debug)]
pub enum SinkInput {
    /// An answer.
    Arrival(Arrival),
    /// The length of the job queue, and when it was asked for in nanoseconds since 1970.
    Queue(QueueState, u64),
    /// The queue of the answers was gone for a while, and what was in it with it.
    QueueLost,
    /// The end: whatever comes later is left to the broker.
    End,
}

/// An answer as it came from the broker.
#[derive(Debug)]
pub struct Arrival {
    /// The message's body.
    pub body: Vec<u8>,
    /// Acknowledges it.
    pub acker: Acker,
    /// When it came.
    pub at: Instant,
    /// The same in nanoseconds since 1970.
    pub at_ns: u64,
}

/// What the sink works with.
pub struct Sink {
    manifest: Arc<Manifest>,
    shared: Arc<Shared>,
    verifier: Verifier,
    results: File,
    metrics: Option<LineProtocolFile>,
    done: Vec<bool>,
    tally: Tally,
    settled: UnboundedSender<Vec<Acker>>,
    events: UnboundedSender<Event>,
    last_point_ns: u64,
}

impl Sink {
    /// A sink that goes on where `done` says.
    #[must_use]
    pub fn new(
        manifest: Arc<Manifest>,
        shared: Arc<Shared>,
        verifier: Verifier,
        files: (File, Option<LineProtocolFile>),
        done: Vec<bool>,
        settled: UnboundedSender<Vec<Acker>>,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            manifest,
            shared,
            verifier,
            results: files.0,
            metrics: files.1,
            done,
            tally: Tally::default(),
            settled,
            events,
            last_point_ns: 0,
        }
    }

    /// Takes what comes until [`SinkInput::End`]; gives the figures of this session and which jobs are done.
    pub fn run(mut self, input: &Receiver<SinkInput>) -> (Tally, Vec<bool>) {
        let mut arrivals = Vec::new();
        'batches: while let Ok(first) = input.recv() {
            let mut next = Some(first);
            let mut ended = false;
            while let Some(item) = next {
                match item {
                    SinkInput::Arrival(arrival) => arrivals.push(arrival),
                    SinkInput::Queue(state, at_ns) => self.note_queue(state, at_ns),
                    SinkInput::QueueLost => {
                        let missing = self.shared.unanswered(&self.done);
                        let _ = self.events.send(Event::PublishAgain(missing));
                    }
                    SinkInput::End => {
                        ended = true;
                        break;
                    }
                }
                if arrivals.len() == BATCH {
                    break;
                }
                next = input.try_recv().ok();
            }
            if let Err(reason) = self.take(&mut arrivals) {
                // Nothing of this batch is acknowledged: the broker keeps it for `resume`.
                let _ = self.events.send(Event::SinkFailed(reason));
                break 'batches;
            }
            if ended {
                break;
            }
        }
        if let Some(metrics) = &mut self.metrics {
            let _ = metrics.flush();
        }
        (self.tally, self.done)
    }

    /// Checks, writes, syncs, and only then settles a batch.
    fn take(&mut self, arrivals: &mut Vec<Arrival>) -> Result<(), String> {
        if arrivals.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for arrival in arrivals.iter() {
            self.read(arrival, &mut rows);
        }
        self.verify(&mut rows)
            .map_err(|error| format!("cannot verify results: {error}"))?;
        self.write(&rows).map_err(|error| {
            format!(
                "cannot write {}: {error}; make room for it",
                self.manifest.output.display()
            )
        })?;
        self.write_points(&rows);
        let is_bad = |(row, _): &&(Row, Instant)| row.outcome != RowOutcome::Ok;
        let not_ok = rows.iter().filter(is_bad).count();
        for (row, at) in &rows {
            self.tally.add(row, *at);
        }
        self.shared.jobs_not_ok.fetch_add(not_ok as u64, Relaxed);
        let done = self.shared.jobs_done.fetch_add(rows.len() as u64, Relaxed) + rows.len() as u64;
        let ackers = arrivals.drain(..).map(|arrival| arrival.acker).collect();
        let _ = self.settled.send(ackers);
        if done == self.manifest.ask.count {
            let _ = self.events.send(Event::Complete);
        }
        Ok(())
    }

    /// Adds the rows of one answer, those that are new.
    fn read(&mut self, arrival: &Arrival, rows: &mut Vec<(Row, Instant)>) {
        let answer = match decode_answer(&arrival.body) {
            Ok(answer) => answer,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let Some((first, end)) = self.shared.bounds_checked(answer.unit) else {
            return self.refuse("the run has no such unit");
        };
        if answer.run != self.manifest.run {
            return self.refuse("it belongs to another run");
        }
        for sample in &answer.samples {
            let manifest = Arc::clone(&self.manifest);
            self.write_point(&node_point(&manifest, &answer.node, sample));
            self.tally.sample(&answer.node, sample);
        }
        let published = self.shared.published_at(answer.unit);
        let latency = published.map_or_else(
            || Duration::from_nanos(arrival.at_ns.saturating_sub(answer.published_ns)),
            |published| arrival.at.saturating_duration_since(published),
        );
        let latency_ms = latency.as_secs_f64() * 1e3;
        let compute_ms: f64 = answer.jobs.iter().map(|job| job.compute_ms).sum();
        if published.is_some() {
            self.tally.busy(&answer.node, compute_ms);
        }
        let meta = RowMeta {
            node: answer.node.into(),
            worker: answer.worker,
            redelivered: answer.redelivered,
            latency_ms: microseconds(latency_ms),
            queue_wait_ms: microseconds((latency_ms - compute_ms).max(0.0)),
        };
        let jobs = match answer.rejected {
            None => answer.jobs,
            Some(reason) => (first..end)
                .map(|job| JobAnswer {
                    job,
                    outcome: JobOutcome::Rejected {
                        reason: reason.clone(),
                    },
                    compute_ms: 0.0,
                    candidates: 0,
                })
                .collect(),
        };
        for job in jobs {
            if !(first..end).contains(&job.job) {
                self.refuse("a job is not of its unit");
                continue;
            }
            let done = &mut self.done[job.job as usize];
            if *done {
                self.tally.duplicates += 1;
                continue;
            }
            *done = true;
            rows.push((meta.row(&self.manifest, job), arrival.at));
        }
    }

    fn refuse(&mut self, reason: &str) {
        self.tally.refused += 1;
        warn!("drops an answer: {reason}");
    }

    /// Turns results that are wrong into failures.
    fn verify(&mut self, rows: &mut [(Row, Instant)]) -> Result<(), primepool_engine::Error> {
        let is_ok = |(_, (row, _)): &(usize, &(Row, Instant))| row.outcome == RowOutcome::Ok;
        let (places, results): (Vec<_>, Vec<_>) = rows
            .iter()
            .enumerate()
            .filter(is_ok)
            .map(|(place, (row, _))| (place, (row.job, row.prime.as_ref().map(|hex| &hex.0))))
            .unzip();
        let verdicts = self.verifier.check(&self.manifest.ask, &results)?;
        for (place, verdict) in places.into_iter().zip(verdicts) {
            if let Some(wrong) = verdict {
                let row = &mut rows[place].0;
                warn!(job = row.job, node = %row.node, "a result is wrong: {wrong}");
                row.outcome = RowOutcome::Failed;
                row.reason = Some(format!("the result of node {} is wrong: {wrong}", row.node));
                self.tally.wrong(&row.node);
            }
        }
        Ok(())
    }

    fn write(&mut self, rows: &[(Row, Instant)]) -> io::Result<()> {
        let mut text = Vec::new();
        for (row, _) in rows {
            serde_json::to_writer(&mut text, row)?;
            text.push(b'\n');
        }
        self.results.write_all(&text)?;
        match self.results.sync_data() {
            // A pipe or a terminal has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn note_queue(&mut self, state: QueueState, at_ns: u64) {
        let queue = jobs_queue(self.manifest.ask.kind);
        let point = Point::new("queue", at_ns)
            .tag("queue", queue)
            .field("ready", state.ready)
            .field("consumers", state.consumers);
        self.write_point(&point);
    }

    fn write_points(&mut self, rows: &[(Row, Instant)]) {
        let now = unix_ns();
        let manifest = Arc::clone(&self.manifest);
        let bits = manifest.ask.bits.to_string();
        for (row, _) in rows {
            // Points of one series with one time would overwrite each other.
            self.last_point_ns = now.max(self.last_point_ns + 1);
            let point = Point::new("job", self.last_point_ns)
                .tag("run", manifest.run.as_str())
                .tag("node", &*row.node)
                .tag("kind", manifest.ask.kind.as_str())
                .tag("bits", &*bits)
                .tag("outcome", row.outcome.as_str())
                .field("latency_ms", row.latency_ms)
                .field("queue_wait_ms", row.queue_wait_ms)
                .field("compute_ms", row.compute_ms)
                .field("candidates", row.candidates)
                .field("redelivered", row.redelivered);
            self.write_point(&point);
        }
    }

    /// Metrics are worth less than results: a file that cannot be written is given up with a warning.
    fn write_point(&mut self, point: &Point<'_>) {
        if let Some(metrics) = &mut self.metrics
            && let Err(error) = metrics.write(point)
        {
            warn!("metrics are no longer written: {error}");
            self.metrics = None;
        }
    }
}

/// What the rows of one answer have in common.
struct RowMeta {
    node: Arc<str>,
    worker: u32,
    redelivered: bool,
    latency_ms: f64,
    queue_wait_ms: f64,
}

impl RowMeta {
    fn row(&self, manifest: &Manifest, job: JobAnswer) -> Row {
        let (outcome, value, reason) = match job.outcome {
            JobOutcome::Ok { value } => (RowOutcome::Ok, value, None),
            JobOutcome::Failed { reason } => (RowOutcome::Failed, None, Some(reason)),
            JobOutcome::Rejected { reason } => (RowOutcome::Rejected, None, Some(reason)),
        };
        let after = manifest.ask.after.get(job.job as usize);
        Row {
            job: job.job,
            outcome,
            bits: value.as_ref().map(|value| value.0.significant_bits()),
            prime: value.map(|value| Hex(value.0)),
            after: after.map(|after| Hex(after.0.clone())),
            reason,
            node: Arc::clone(&self.node),
            worker: self.worker,
            latency_ms: self.latency_ms,
            queue_wait_ms: self.queue_wait_ms,
            compute_ms: microseconds(job.compute_ms),
            candidates: job.candidates,
            redelivered: self.redelivered,
        }
    }
}

/// A number of milliseconds without the digits that say nothing.
fn microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

fn node_point<'a>(manifest: &'a Manifest, node: &'a str, sample: &NodeSample) -> Point<'a> {
    let percent = |part: f64, whole: f64| 100.0 * part / whole;
    Point::new("node", sample.at_ns)
        .tag("run", manifest.run.as_str())
        .tag("node", node)
        .field("workers", sample.workers)
        .field("busy_workers", sample.busy_workers)
        .field("busy_s", sample.busy_s)
        .field("alive_s", sample.alive_s)
        .field(
            "efficiency",
            sample.busy_s / (sample.alive_s * f64::from(sample.workers)),
        )
        .field("cpu_pct", sample.cpu_pct)
        .field("pool_cpu_s", sample.cpu_s)
        .field("mem_used_bytes", sample.mem_used_bytes)
        .field(
            "mem_pct",
            percent(sample.mem_used_bytes as f64, sample.mem_total_bytes as f64),
        )
        .field("rss_bytes", sample.rss_bytes)
        .field("jobs_ok", sample.jobs_ok)
        .field("jobs_failed", sample.jobs_failed)
        .field("in_flight", sample.in_flight)
}
