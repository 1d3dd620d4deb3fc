//! The compute threads. They do nothing but number theory: units come in by one channel, what became of them goes out by
//! another.

use std::{io, sync::Arc, sync::atomic::Ordering::Relaxed, thread};

use crossbeam_channel::{Receiver, Sender};
use primepool_common::message::{JobOutcome, UnitAnswer, VERSION, WorkUnit};
use primepool_engine::Kernel;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, debug, error_span};

use crate::{
    compute::{EngineCompute, run_unit},
    ledger::{Ledger, UnitKey},
    node::Node,
    running::{Running, Stop},
};

/// A unit for the workers.
#[derive(Debug)]
pub(crate) struct Task {
    pub unit: WorkUnit,
    /// Whether the broker had handed it out before.
    pub redelivered: bool,
}

impl Task {
    /// The unit's name in the ledger.
    #[must_use]
    pub(crate) fn key(&self) -> UnitKey {
        (self.unit.run.clone(), self.unit.unit)
    }
}

/// What became of a task.
#[derive(Debug)]
pub(crate) enum Finished {
    /// It was worked on.
    Answered(UnitAnswer),
    /// It was broken off since this process ends: others are to do it.
    HandBack(UnitKey),
    /// Nobody wants it.
    Drop(UnitKey),
}

/// Starts `count` threads that take from `tasks` until its senders are gone.
///
/// # Errors
/// The system gives no more threads, or the processor does not have the kernel.
pub(crate) fn start(
    node: &Arc<Node>,
    count: u32,
    kernel: Kernel,
    tasks: &Receiver<Task>,
    finished: &UnboundedSender<Finished>,
    ledger: &Ledger,
    running: &Running,
) -> io::Result<()> {
    for number in 0..count {
        let compute = EngineCompute::new(kernel).map_err(io::Error::other)?;
        let worker = Worker {
            number,
            node: Arc::clone(node),
            tasks: tasks.clone(),
            finished: finished.clone(),
            ledger: ledger.clone(),
            running: running.clone(),
        };
        let span = Span::current();
        thread::Builder::new()
            .name(format!("compute-{number}"))
            .spawn(move || span.in_scope(|| worker.run(compute)))?;
    }
    Ok(())
}

/// The channel that the workers take from.
#[must_use]
pub(crate) fn channel() -> (Sender<Task>, Receiver<Task>) {
    // Bounded by what the broker hands out unacknowledged.
    crossbeam_channel::unbounded()
}

struct Worker {
    number: u32,
    node: Arc<Node>,
    tasks: Receiver<Task>,
    finished: UnboundedSender<Finished>,
    ledger: Ledger,
    running: Running,
}

impl Worker {
    fn run(self, mut compute: EngineCompute) {
        for task in &self.tasks {
            if !self.ledger.claim(&task.key()) {
                continue;
            }
            let finished = if self.running.is_cancelled(&task.unit) {
                Finished::Drop(task.key())
            } else {
                self.work(&mut compute, task)
            };
            if self.finished.send(finished).is_err() {
                return;
            }
        }
    }

    fn work(&self, compute: &mut EngineCompute, task: Task) -> Finished {
        let span = error_span!(
            "unit",
            run = %task.unit.run,
            unit = task.unit.unit,
            kind = %task.unit.work.kind(),
            worker = self.number
        );
        let _in_unit = span.enter();
        let busy = self.node.busy(self.number as usize);
        let cancel = self.running.begin(self.number, &task.unit);
        let done = run_unit(compute, &task.unit, &cancel);
        let stop = self.running.end(self.number);
        drop(busy);
        let jobs = match (done, stop) {
            (Ok(jobs), _) => jobs,
            (Err(cancelled), Some(Stop::Deadline)) => cancelled.fail(format!(
                "not done within {} ms of a worker's time (--deadline)",
                task.unit.deadline_ms.unwrap_or_default()
            )),
            (Err(_), Some(Stop::RunCancelled)) => return Finished::Drop(task.key()),
            (Err(_), Some(Stop::Shutdown) | None) => return Finished::HandBack(task.key()),
        };
        let answer = UnitAnswer {
            version: VERSION,
            run: task.unit.run,
            unit: task.unit.unit,
            published_ns: task.unit.published_ns,
            redelivered: task.redelivered,
            node: self.node.name.clone(),
            worker: self.number,
            rejected: None,
            handed_back: None,
            samples: Vec::new(),
            first: task.unit.first,
            jobs,
        };
        debug!(jobs = answer.jobs.len(), "done");
        count_outcomes(&self.node, &answer);
        Finished::Answered(answer)
    }
}

fn count_outcomes(node: &Node, answer: &UnitAnswer) {
    let ok = answer
        .jobs
        .iter()
        .filter(|job| match &job.outcome {
            JobOutcome::Ok { .. } | JobOutcome::Relations(_) => true,
            // What was left to others is no failure.
            JobOutcome::Factored(found) => found.reason.is_none(),
            JobOutcome::Failed { .. } | JobOutcome::Rejected { .. } => false,
        })
        .count() as u64;
    node.jobs_ok.fetch_add(ok, Relaxed);
    node.jobs_failed
        .fetch_add(answer.jobs.len() as u64 - ok, Relaxed);
}
