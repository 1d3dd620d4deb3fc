//! Where the answers end: each job once, verified, on disk, counted. Runs on a thread of its own, since both the checks and the
//! disk take time.

mod campaigns;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use lapin::Acker;
use primepool_common::{
    broker::QueueFigures,
    clock::unix_ns,
    message::{JobAnswer, JobOutcome, NodeSample, UnitId, decode_answer, is_node_name},
    metrics::{Point, points},
    topology::{QueueState, jobs_queue},
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::{
    factoring::{Concluded, Factoring, Solved},
    folder::{Journal, Manifest},
    metrics::{self, Metrics},
    row::{Factored, Hex, Origin, Row, RowOutcome, write_lines},
    state::{Event, Shared},
    summary::Tally,
    verify::{Claim, Verifier},
};

/// Most answers that are checked, written and synced together.
const BATCH: usize = 256;

/// Refused answers and wrong results that the log has a line for, of each node; a flood must not fill it.
const REFUSALS_TOLD: u64 = 20;

/// Something for the sink.
#[derive(Debug)]
pub enum SinkInput {
    /// An answer.
    Arrival(Arrival),
    /// The length of the job queue right now, and what the management API says of it.
    Queue(QueueState, Option<QueueFigures>),
    /// The queue of the answers was gone for a while, and what was in it with it.
    QueueLost,
    /// Answers may have gone astray, and none is to be expected any more.
    Overdue,
    /// The linear algebra of a sieve is over.
    Solved(Box<Solved>),
    /// The end: whatever comes later is left to the broker.
    End,
}

/// How often a unit is done again because results were wrong, before its jobs have failed.
const DO_AGAIN: usize = 3;

/// An answer as it came from the broker.
#[derive(Debug)]
pub struct Arrival {
    /// The message's body; only its length if no answer of this run can be so long.
    pub body: Result<Vec<u8>, usize>,
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
    files: Files,
    factoring: Factoring,
    /// For what is worked out on other threads.
    to_self: Sender<SinkInput>,
    /// What is written next; kept for its memory.
    text: Vec<u8>,
    done: Vec<bool>,
    tally: Tally,
    settled: UnboundedSender<Vec<Acker>>,
    events: UnboundedSender<Event>,
    last_point_ns: u64,
    /// The start of this session.
    started: Instant,
}

/// What the sink writes to.
pub struct Files {
    /// The run's results.
    pub results: File,
    /// The journal of confirmed units.
    pub journal: Journal,
    /// Its metrics.
    pub metrics: Metrics,
}

/// What is left when the sink has ended.
pub struct Ended {
    /// The figures of this session.
    pub tally: Tally,
    /// Which jobs have ended.
    pub done: Vec<bool>,
    /// For the last point.
    pub metrics: Metrics,
}

impl Sink {
    /// A sink that goes on where `done` says.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the parts of a run, used once")]
    pub fn new(
        manifest: Arc<Manifest>,
        shared: Arc<Shared>,
        verifier: Verifier,
        files: Files,
        factoring: Factoring,
        done: Vec<bool>,
        to_self: Sender<SinkInput>,
        settled: UnboundedSender<Vec<Acker>>,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            manifest,
            shared,
            verifier,
            files,
            factoring,
            to_self,
            text: Vec::new(),
            done,
            tally: Tally::default(),
            settled,
            events,
            last_point_ns: 0,
            started: Instant::now(),
        }
    }

    /// Takes what comes until [`SinkInput::End`].
    pub fn run(mut self, input: &Receiver<SinkInput>) -> Ended {
        self.files
            .metrics
            .write(&metrics::start_point(&self.manifest));
        let mut arrivals = Vec::new();
        'batches: while let Ok(first) = input.recv() {
            let mut next = Some(first);
            let mut ended = false;
            let mut ask_again: Option<fn(Vec<u64>) -> Event> = None;
            while let Some(item) = next {
                match item {
                    SinkInput::Arrival(arrival) => arrivals.push(arrival),
                    SinkInput::Queue(state, figures) => self.note_queue(state, figures),
                    SinkInput::Solved(solved) => self.factoring.on_solved(*solved),
                    SinkInput::QueueLost => {
                        ask_again = Some(Event::QueueLost);
                        break;
                    }
                    SinkInput::Overdue => {
                        ask_again = Some(Event::Overdue);
                        break;
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
                let _ = self.events.send(Event::Failed(reason));
                break 'batches;
            }
            // With the answers that came before it.
            if let Some(event) = ask_again {
                let missing = self.shared.unanswered(&self.done);
                let _ = self.events.send(event(missing));
            }
            if ended {
                break;
            }
        }
        for job in self.factoring.jobs() {
            self.done[job as usize] = false;
        }
        Ended {
            tally: self.tally,
            done: self.done,
            metrics: self.files.metrics,
        }
    }

    /// Checks, writes, syncs, and only then settles a batch.
    fn take(&mut self, arrivals: &mut Vec<Arrival>) -> Result<(), String> {
        if arrivals.is_empty() && !self.factoring.is_active() {
            return Ok(());
        }
        let mut answered: Vec<Answered> = arrivals
            .iter_mut()
            .filter_map(|arrival| self.read(arrival))
            .collect();
        let again = self
            .verify(&mut answered)
            .map_err(|error| format!("cannot verify results: {error}"))?;
        self.hand_over(&mut answered)?;
        let concluded = self.advance_factoring(&mut answered)?;
        self.write(&answered).map_err(|error| {
            format!(
                "cannot write {}: {error}; make room for it",
                self.manifest.output.display()
            )
        })?;
        concluded.into_iter().for_each(Concluded::is_written);
        let (mut ended, mut not_ok) = (0, 0);
        if !again.is_empty() {
            self.files
                .journal
                .retract(&again)
                .map_err(|error| error.to_string())?;
            let _ = self.events.send(Event::Publish(again));
        }
        for Answered {
            origin, rows, at, ..
        } in &answered
        {
            self.write_points(origin, rows);
            self.tally.add(origin, rows, *at);
            let is_bad = |row: &&Row| row.outcome != RowOutcome::Ok;
            not_ok += rows.iter().filter(is_bad).count() as u64;
            ended += rows.len() as u64;
        }
        self.shared.jobs_not_ok.fetch_add(not_ok, Relaxed);
        let done = self.shared.jobs_done.fetch_add(ended, Relaxed) + ended;
        let ackers = arrivals.drain(..).map(|arrival| arrival.acker).collect();
        let _ = self.settled.send(ackers);
        if done == self.manifest.ask.count {
            let _ = self.events.send(Event::Complete);
        }
        Ok(())
    }

    /// Reads one answer: the rows of those of its jobs that have not ended before.
    fn read(&mut self, arrival: &mut Arrival) -> Option<Answered> {
        let body = std::mem::replace(&mut arrival.body, Err(0));
        let answer = match body.as_deref().map(decode_answer) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.refuse(None, &error.to_string()),
            Err(length) => {
                let reason = format!("no answer of this run has {length} bytes");
                return self.refuse(None, &reason);
            }
        };
        if !is_node_name(&answer.node) {
            return self.refuse(None, "the name of its node is not one");
        }
        let node = Some(&*answer.node);
        if answer.run != self.manifest.run {
            return self.refuse(node, "it belongs to another run");
        }
        if UnitId::of(answer.unit).is_of_campaign() {
            self.read_campaign_unit(answer, arrival);
            return None;
        }
        let Some((first, end)) = self.shared.bounds_checked(answer.unit) else {
            return self.refuse(node, "the run has no such unit");
        };
        let count = (end - first) as usize;
        let jobs = match answer.rejected {
            None if answer.first != first || answer.jobs.len() != count => {
                return self.refuse(node, "its jobs are not those of its unit");
            }
            None => answer.jobs,
            Some(reason) => {
                let rejected = JobAnswer {
                    outcome: JobOutcome::Rejected { reason },
                    compute_us: 0,
                    candidates: 0,
                };
                vec![rejected; count]
            }
        };
        self.note_samples(&answer.node, &answer.samples);
        let published = self.shared.published_at(answer.unit);
        let latency = published.map_or_else(
            || Duration::from_nanos(arrival.at_ns.saturating_sub(answer.published_ns)),
            |published| arrival.at.saturating_duration_since(published),
        );
        let latency_ms = latency.as_secs_f64() * 1e3;
        // Whoever sends answers can make up figures.
        let compute_us = jobs.iter().map(|job| job.compute_us);
        let compute_us = compute_us.fold(0, u64::saturating_add);
        let compute_ms = compute_us as f64 / 1e3;
        // What a node says of itself is bounded by what we see.
        self.shared
            .note_unit(Duration::from_micros(compute_us).min(latency));
        if published.is_some() {
            self.tally.busy(&answer.node, compute_ms);
        }
        let origin = Origin {
            node: answer.node,
            worker: answer.worker,
            latency_ms: microseconds(latency_ms),
            queue_wait_ms: microseconds((latency_ms - compute_ms).max(0.0)),
            redelivered: answer.redelivered,
        };
        let mut duplicates = 0;
        let mut rows = Vec::with_capacity(count);
        for (job, answer) in (first..).zip(jobs) {
            let done = &mut self.done[job as usize];
            if *done {
                duplicates += 1;
                continue;
            }
            *done = true;
            rows.push(row(&self.manifest, job, answer));
        }
        if duplicates > 0 {
            self.tally.duplicate(&origin.node, duplicates);
        }
        let (unit, at) = (answer.unit, arrival.at);
        (!rows.is_empty()).then_some(Answered {
            unit,
            origin,
            rows,
            at,
        })
    }

    fn note_samples(&mut self, node: &str, samples: &[NodeSample]) {
        for sample in samples {
            let run = Some(self.manifest.run.as_str());
            self.files.metrics.write(&points::node(node, run, sample));
            self.tally.sample(node, sample);
        }
        self.factoring.note_node(node, samples, Instant::now());
    }

    /// `node`: where it says that it comes from.
    fn refuse<T>(&mut self, node: Option<&str>, reason: &str) -> Option<T> {
        let told = self.tally.refuse(node);
        if told <= REFUSALS_TOLD {
            let node = node.unwrap_or("unknown");
            warn!(%node, "drops an answer: {reason}");
            if told == REFUSALS_TOLD {
                warn!("further answers that are dropped are only counted");
            }
        }
        None
    }

    /// Takes results out that are wrong; gives the units that are to be done again by other nodes. Where that has been tried
    /// often enough, they become failures.
    fn verify(&mut self, answered: &mut [Answered]) -> Result<Vec<u64>, primepool_engine::Error> {
        let mut places = Vec::new();
        let mut results = Vec::new();
        for (i, Answered { origin, rows, .. }) in answered.iter().enumerate() {
            let has_been_wrong = self.tally.has_been_wrong(&origin.node);
            for (j, row) in rows.iter().enumerate() {
                if matches!(row.outcome, RowOutcome::Ok | RowOutcome::Partial) {
                    places.push((i, j));
                    results.push(Claim {
                        job: row.job,
                        value: row.prime.as_ref().map(|hex| &hex.0.0),
                        factored: row.factored.as_ref(),
                        leaves_to_us: row.reason.is_none(),
                        always: has_been_wrong,
                    });
                }
            }
        }
        let verdicts = self.verifier.check(&self.manifest.ask, &results)?;
        let mut wrong: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
        for ((i, j), verdict) in places.into_iter().zip(verdicts) {
            if let Some(reason) = verdict {
                wrong.entry(i).or_default().push((j, reason));
            }
        }
        let mut again = Vec::new();
        for (i, faults) in wrong {
            let Answered {
                unit, origin, rows, ..
            } = &mut answered[i];
            let node = &origin.node;
            let mut nodes = self.shared.avoided(*unit);
            let is_last = nodes.len() == DO_AGAIN;
            nodes.push(node.clone());
            for (j, reason) in &faults {
                let row = &mut rows[*j];
                if self.tally.wrong(node) <= REFUSALS_TOLD {
                    warn!(job = row.job, %node, "a result is wrong: {reason}");
                }
                if is_last {
                    row.outcome = RowOutcome::Failed;
                    row.prime = None;
                    row.factored = None;
                    row.bits = None;
                    row.reason = Some(format!(
                        "the results of {} were wrong: {reason}",
                        nodes.join(", ")
                    ));
                } else {
                    self.done[row.job as usize] = false;
                    self.tally.done_again += 1;
                }
            }
            if !is_last {
                let done = &self.done;
                rows.retain(|row| done[row.job as usize]);
                self.shared.avoid(*unit, nodes);
                again.push(*unit);
            }
        }
        Ok(again)
    }

    fn write(&mut self, answered: &[Answered]) -> io::Result<()> {
        self.text.clear();
        for Answered { origin, rows, .. } in answered {
            write_lines(origin, rows, &mut self.text)?;
        }
        if self.text.is_empty() {
            return Ok(());
        }
        self.files.results.write_all(&self.text)?;
        match self.files.results.sync_data() {
            // A pipe or a terminal has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn note_queue(&mut self, state: QueueState, figures: Option<QueueFigures>) {
        self.factoring.note_consumers(state.consumers);
        let queue = jobs_queue(self.manifest.ask.kind);
        let run = self.manifest.run.as_str();
        if let Some((job, progress)) = self.factoring.stage_progress(Instant::now()) {
            let point = progress.point(run, job);
            let count = self.manifest.ask.count;
            let number = if count > 1 {
                format!("number {} of {count}, ", job + 1)
            } else {
                String::new()
            };
            let standing = format!("{number}{}", progress.describe());
            self.shared.set_standing(Some(standing));
            self.files.metrics.write(&point);
        }
        self.files
            .metrics
            .write(&points::queue(&queue, Some(run), &state, figures.as_ref()));
    }

    /// A point for each outcome among the jobs of an answer. Counts are sums over them, times are of one job: the latency is
    /// the same for all, of the compute time it is the mean.
    fn write_points(&mut self, origin: &Origin, rows: &[Row]) {
        let now = unix_ns();
        let manifest = Arc::clone(&self.manifest);
        let bits = manifest.ask.bits.to_string();
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
                .tag("kind", manifest.ask.kind.as_str())
                .tag("bits", &*bits)
                .tag("outcome", outcome.as_str())
                .field("jobs", jobs)
                .field("latency_ms", origin.latency_ms)
                .field("queue_wait_ms", origin.queue_wait_ms)
                .field("compute_ms", microseconds(compute_ms / jobs as f64))
                .field("candidates", candidates)
                .field("redelivered", if origin.redelivered { jobs } else { 0 });
            self.files.metrics.write(&point);
        }
    }
}

/// An answer that was read.
struct Answered {
    unit: u64,
    origin: Origin,
    rows: Vec<Row>,
    /// When it came.
    at: Instant,
}

fn row(manifest: &Manifest, job: u64, answer: JobAnswer) -> Row {
    let (mut value, mut factored) = (None, None);
    let (outcome, reason) = match answer.outcome {
        JobOutcome::Ok { value: found } => {
            value = found;
            (RowOutcome::Ok, None)
        }
        // Nobody has asked for them.
        JobOutcome::Relations(_) => (RowOutcome::Ok, None),
        JobOutcome::Factored(mut found) => {
            let n = manifest.ask.numbers.get(job as usize);
            let outcome = if found.is_complete() {
                RowOutcome::Ok
            } else {
                RowOutcome::Partial
            };
            let reason = found.reason.take();
            factored = n.map(|n| Factored::new(n.clone(), *found));
            (outcome, reason)
        }
        JobOutcome::Failed { reason } => (RowOutcome::Failed, Some(reason)),
        JobOutcome::Rejected { reason } => (RowOutcome::Rejected, Some(reason)),
    };
    let after = manifest.ask.after.get(job as usize);
    Row {
        job,
        outcome,
        bits: value.as_ref().map(|value| value.0.significant_bits()),
        prime: value.map(Hex),
        after: after.map(|after| Hex(after.clone())),
        factored,
        reason,
        compute_ms: answer.compute_us as f64 / 1e3,
        candidates: answer.candidates,
    }
}

/// A number of milliseconds without the digits that say nothing.
fn microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
