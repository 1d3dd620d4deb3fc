//! Where the answers end: each job once, verified, on disk, counted. Runs on a thread of its own, since both the checks and the
//! disk take time.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::Instant,
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

/// Most answers that are checked, written and synced together.
const BATCH: usize = 256;

/// Bytes of answers after which a batch is full: what is read of them takes ten times as much memory.
const BATCH_BYTES: usize = 1 << 20;

/// Something for the sink.
#[derive(Debug)]
pub(crate) enum SinkInput<A = Acker> {
    /// An answer.
    Arrival(Arrival<A>),
    /// The length of the job queue right now, and what the management API says of it.
    Queue(QueueState, Option<QueueFigures>),
    /// The queue of the answers was gone for a while, and what was in it with it.
    QueueLost,
    /// Answers may have gone astray, and none is to be expected any more.
    Overdue,
    /// Units that have no answer are neither in the queue nor with a consumer.
    UnitsLost {
        units: usize,
        /// Messages in the queue of dead letters.
        dead: u32,
    },
    /// The linear algebra of a sieve is over.
    Solved(Box<Solved>),
    /// The end: whatever comes later is left to the broker.
    End,
}

/// An answer as it came from the broker. `A` acknowledges it; tests have their own.
#[derive(Debug)]
pub(crate) struct Arrival<A = Acker> {
    /// The message's body; only its length if no answer of this run can be so long.
    pub body: Result<Vec<u8>, usize>,
    pub acker: A,
    pub at: Instant,
    /// The same in nanoseconds since 1970.
    pub at_ns: u64,
}

/// What the sink works with.
pub(crate) struct Sink<A = Acker> {
    pub(super) manifest: Arc<Manifest>,
    /// The integers of the jobs, if they have any.
    pub(super) integers: Option<IntegersFile>,
    pub(super) units: SharedUnits,
    pub(super) status: Arc<Status>,
    pub(super) verifier: Verifier,
    pub(super) files: Files,
    pub(super) factoring: Factoring,
    /// For what is worked out on other threads.
    pub(super) to_self: Sender<SinkInput<A>>,
    /// What is written next; kept for its memory.
    pub(super) text: Vec<u8>,
    pub(super) done: JobSet,
    pub(super) tally: Tally,
    pub(super) settled: UnboundedSender<Vec<A>>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) last_point_ns: u64,
    /// Consumers that are subscribed to the job queue, as far as is known.
    pub(super) consumers: Option<u32>,
    /// How often each unit was handed back.
    pub(super) handed_back: HashMap<u64, u32>,
    /// Whether the user was told that no other node is there.
    pub(super) is_alone_told: bool,
    /// Units of the batch at hand that were answered.
    pub(super) answered: Vec<u64>,
    /// Units that were handed back, and when they are to be published again.
    pub(super) later: Vec<(u64, Instant)>,
    /// The start of this session.
    pub(super) started: Instant,
}

/// What the sink writes to.
pub(crate) struct Files {
    pub results: File,
    /// The journal of confirmed units.
    pub journal: Journal,
    pub metrics: Metrics,
    pub printer: Printer,
}

/// What is left when the sink has ended.
pub(crate) struct Ended {
    /// The figures of this session.
    pub tally: Tally,
    /// Which jobs have ended.
    pub done: JobSet,
    /// For the last point.
    pub metrics: Metrics,
    /// For the last lines.
    pub printer: Printer,
}

impl<A: Send + 'static> Sink<A> {
    /// A sink that goes on where `done` says.
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

    /// Takes what comes until [`SinkInput::End`].
    pub(crate) fn run(mut self, input: &Receiver<SinkInput<A>>) -> Ended {
        self.files
            .metrics
            .write(&metrics::start_point(&self.manifest));
        let mut arrivals = Vec::new();
        'batches: while let Ok(first) = input.recv() {
            let mut next = Some(first);
            let mut ended = false;
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
            }
            if let Err(reason) = self.take(&mut arrivals) {
                // Nothing of this batch is acknowledged: the broker keeps it for `resume`.
                let _ = self.events.send(Event::Failed(reason));
                break 'batches;
            }
            // With the answers that came before it.
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
        Ended {
            tally: self.tally,
            done: self.done,
            metrics: self.files.metrics,
            printer: self.files.printer,
        }
    }

    /// Checks, writes, syncs, and only then settles a batch.
    fn take(&mut self, arrivals: &mut Vec<Arrival<A>>) -> Result<(), String> {
        if arrivals.is_empty() && !self.factoring.is_active() {
            return Ok(());
        }
        let mut answered = Vec::with_capacity(arrivals.len());
        for arrival in arrivals.iter_mut() {
            answered.extend(self.read(arrival).map_err(|error| error.to_string())?);
        }
        // Once for the batch: it wakes the publisher.
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

/// An answer that was read.
pub(super) struct Answered {
    pub(super) unit: u64,
    pub(super) origin: Origin,
    pub(super) rows: Vec<Row>,
    pub(super) at: Instant,
}

/// A number of milliseconds without the digits that say nothing.
pub(super) fn microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
