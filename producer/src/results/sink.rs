//! The sink: processes answers in batches, on a separate thread.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use lapin::Acker;
use primepool_common::{broker::QueueFigures, message::UnitId, topology::QueueState};
use tokio::sync::mpsc::UnboundedSender;

use super::{Printer, Verifier};
use crate::{
    factoring::{Concluded, Factoring, Solved},
    metrics::{self, Metrics},
    run_dir::{IntegersFile, JobSet, Journal, Manifest, Origin, Row, RowOutcome},
    status::{Event, Status},
    summary::Tally,
    units::SharedUnits,
};

/// Largest number of answers that are checked, written and synced together.
const BATCH: usize = 256;

/// Size of the answers, in bytes, above which a batch is full; decoded, they take ten times as much
/// memory.
const BATCH_BYTES: usize = 1 << 20;

/// Pause in which more answers may join those of a small batch. Short units are answered in bursts;
/// a burst that is processed as a whole fills the vector lanes of the verification, and is synced,
/// acknowledged and replaced by new units only once.
const GATHER: Duration = Duration::from_millis(5);

/// Size of the answers, in bytes, above which a batch is no longer small: some tens of short units.
const SMALL_BYTES: usize = 16 << 10;

/// An input of the sink.
#[derive(Debug)]
pub(crate) enum SinkInput<A = Acker> {
    /// An answer.
    Arrival(Arrival<A>),
    /// The present length of the job queue, and its figures from the management API.
    Queue(QueueState, Option<QueueFigures>),
    /// The results queue was lost for a while, together with its messages.
    QueueLost,
    /// Answers may have been lost, and no more are expected.
    Overdue,
    /// Some unanswered units are neither in the queue nor with a consumer.
    UnitsLost {
        units: usize,
        /// Messages in the dead-letter queue.
        dead: u32,
    },
    /// The result of the linear algebra of a sieve.
    Solved(Box<Solved>),
    /// The end of the session: later answers stay with the broker.
    End,
}

/// An answer as received from the broker. `A` is the type that acknowledges it; tests use another
/// one.
#[derive(Debug)]
pub(crate) struct Arrival<A = Acker> {
    /// Body of the message, or only its length if no answer of this run can be that long.
    pub body: Result<Vec<u8>, usize>,
    pub acker: A,
    pub at: Instant,
    /// Time of arrival in nanoseconds since 1970.
    pub at_ns: u64,
}

/// The sink of a run.
pub(crate) struct Sink<A = Acker> {
    pub(super) manifest: Arc<Manifest>,
    /// The integers of the jobs, if they have any.
    pub(super) integers: Option<IntegersFile>,
    pub(super) units: SharedUnits,
    pub(super) status: Arc<Status>,
    pub(super) verifier: Verifier,
    pub(super) files: Files,
    pub(super) factoring: Factoring,
    /// Input for results that other threads compute.
    pub(super) to_self: Sender<SinkInput<A>>,
    /// Buffer of lines to write; kept to reuse its memory.
    pub(super) text: Vec<u8>,
    pub(super) done: JobSet,
    pub(super) tally: Tally,
    pub(super) settled: UnboundedSender<Vec<A>>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) last_point_ns: u64,
    /// Last known number of consumers that are subscribed to the job queue.
    pub(super) consumers: Option<u32>,
    /// How many times each unit was handed back.
    pub(super) handed_back: HashMap<u64, u32>,
    /// Whether the user was told that there is no other node.
    pub(super) is_alone_told: bool,
    /// Units that were answered in the current batch.
    pub(super) answered: Vec<u64>,
    /// Units that were handed back, and when to publish them again.
    pub(super) later: Vec<(u64, Instant)>,
    /// Start of this session.
    pub(super) started: Instant,
}

/// The outputs of the sink.
pub(crate) struct Files {
    pub results: File,
    /// The journal of confirmed units.
    pub journal: Journal,
    pub metrics: Metrics,
    pub printer: Printer,
}

/// The state that the sink leaves at its end.
pub(crate) struct FinishedSink {
    /// The figures of this session.
    pub tally: Tally,
    /// The jobs that have ended.
    pub done: JobSet,
    /// For the last metric point.
    pub metrics: Metrics,
    /// For the last lines of output.
    pub printer: Printer,
}

impl<A: Send + 'static> Sink<A> {
    /// A sink for a run whose jobs in `done` have ended.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the parts of a run, used once")]
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        integers: Option<IntegersFile>,
        units: SharedUnits,
        status: Arc<Status>,
        verifier: Verifier,
        files: Files,
        factoring: Factoring,
        done: JobSet,
        to_self: Sender<SinkInput<A>>,
        settled: UnboundedSender<Vec<A>>,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            manifest,
            integers,
            units,
            status,
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
            consumers: None,
            handed_back: HashMap::new(),
            is_alone_told: false,
            answered: Vec::new(),
            later: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Processes inputs until [`SinkInput::End`] or a failure.
    pub(crate) fn run(mut self, input: &Receiver<SinkInput<A>>) -> FinishedSink {
        self.files
            .metrics
            .write(&metrics::start_point(&self.manifest));
        let mut arrivals = Vec::new();
        'batches: while let Ok(first) = input.recv() {
            let mut next = Some(first);
            let (mut is_gathered, mut ended) = (false, false);
            let mut lost = None;
            let mut bytes = 0;
            while let Some(item) = next {
                match item {
                    SinkInput::Arrival(arrival) => {
                        bytes += arrival.body.as_ref().map_or(0, Vec::len);
                        arrivals.push(arrival);
                    }
                    SinkInput::Queue(state, figures) => self.note_queue(state, figures),
                    SinkInput::Solved(solved) => self.factoring.on_solved(*solved),
                    SinkInput::QueueLost => {
                        lost = Some(Event::QueueLost);
                        break;
                    }
                    SinkInput::Overdue => {
                        lost = Some(Event::Overdue);
                        break;
                    }
                    SinkInput::UnitsLost { units, dead } => {
                        lost = Some(Event::UnitsLost { units, dead });
                        break;
                    }
                    SinkInput::End => {
                        ended = true;
                        break;
                    }
                }
                if arrivals.len() == BATCH || bytes >= BATCH_BYTES {
                    break;
                }
                next = input.try_recv().ok();
                if next.is_none() && !is_gathered && bytes < SMALL_BYTES {
                    is_gathered = true;
                    thread::sleep(GATHER);
                    next = input.try_recv().ok();
                }
            }
            if let Err(reason) = self.process_batch(&mut arrivals) {
                // This batch is not acknowledged: the broker keeps it for `resume`.
                let _ = self.events.send(Event::Failed(reason));
                break 'batches;
            }
            // Handled after the answers that arrived before it.
            if let Some(event) = lost {
                self.units
                    .update(|units| units.publish_unanswered(&self.done));
                let _ = self.events.send(event);
            }
            if ended {
                break;
            }
        }
        for job in self.factoring.jobs() {
            self.done.remove(job);
        }
        FinishedSink {
            tally: self.tally,
            done: self.done,
            metrics: self.files.metrics,
            printer: self.files.printer,
        }
    }

    /// Checks, writes and syncs a batch of answers, and only then settles them.
    fn process_batch(&mut self, arrivals: &mut Vec<Arrival<A>>) -> Result<(), String> {
        if arrivals.is_empty() && !self.factoring.is_active() {
            return Ok(());
        }
        let mut answered = Vec::with_capacity(arrivals.len());
        for arrival in arrivals.iter_mut() {
            answered.extend(self.read(arrival).map_err(|error| error.to_string())?);
        }
        // Once for the whole batch, since it wakes the publisher.
        let units = mem::take(&mut self.answered);
        if !units.is_empty() {
            self.units.update(|all| all.answered(&units));
        }
        let again = self
            .verify(&mut answered)
            .map_err(|error| format!("cannot verify results: {error}"))?;
        self.hand_over(&mut answered)?;
        let concluded = self.advance_factoring(&mut answered)?;
        self.write(&answered).map_err(|error| {
            format!(
                "cannot write {}: {error}. It has the results of {} of {} jobs: make room for the others",
                self.manifest.output.display(),
                self.status.jobs_done(),
                self.manifest.request.count()
            )
        })?;
        concluded.into_iter().for_each(Concluded::remove_checkpoint);
        let (mut ended, mut not_ok) = (0, 0);
        let mut kept: HashSet<u64> = again.iter().copied().collect();
        kept.extend(self.later.iter().map(|(unit, _)| *unit));
        if !again.is_empty() {
            self.files
                .journal
                .retract(&again)
                .map_err(|error| error.to_string())?;
            self.units.update(|units| units.publish_first(&again));
        }
        if !self.later.is_empty() {
            let units = self.later.iter().map(|(unit, _)| *unit);
            // Units of campaigns are not in the journal.
            let units = units.filter(|unit| !UnitId::of(*unit).is_of_campaign());
            let units: Vec<u64> = units.collect();
            self.files
                .journal
                .retract(&units)
                .map_err(|error| error.to_string())?;
            let later = mem::take(&mut self.later);
            self.units.update(|units| {
                for (unit, due) in later {
                    units.publish_later(unit, due);
                }
            });
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
        let ended_units = units.into_iter().filter(|unit| !kept.contains(unit));
        self.units.lock().forget(ended_units);
        let done = self.status.add(ended, not_ok);
        let ackers = arrivals.drain(..).map(|arrival| arrival.acker).collect();
        let _ = self.settled.send(ackers);
        if done == self.manifest.request.count() {
            let _ = self.events.send(Event::Complete);
        }
        Ok(())
    }
}

/// A decoded answer.
pub(super) struct Answered {
    pub(super) unit: u64,
    pub(super) origin: Origin,
    pub(super) rows: Vec<Row>,
    pub(super) at: Instant,
}

/// Rounds a time in milliseconds to whole microseconds.
pub(super) fn round_to_microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
