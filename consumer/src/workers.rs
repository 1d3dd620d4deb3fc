//! The worker threads. They do nothing but number theory: units come in by one channel, and results
//! go out by another.

use std::{io, sync::Arc, sync::atomic::Ordering::Relaxed, thread};

use primepool_common::message::{JobAnswer, JobOutcome, UnitAnswer, VERSION, WorkUnit};
use primepool_engine::Kernel;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, debug, error_span};

use crate::{
    compute::{CancelledUnit, EngineCompute, run_together, run_unit},
    ledger::{Ledger, UnitKey},
    node::Node,
    running::{Running, Stop},
    tasks::{Task, Tasks},
};

/// The result of a task.
#[derive(Debug)]
pub(crate) enum Finished {
    /// The unit was processed.
    Answered(UnitAnswer),
    /// The unit was interrupted because this process ends: other consumers must process it.
    Requeue(UnitKey),
    /// The unit is no longer wanted.
    Discard(UnitKey),
}

/// Starts `count` threads that process `tasks` until the queue is closed.
///
/// # Errors
/// The system cannot start another thread, or the processor does not support the kernel.
pub(crate) fn start(
    node: &Arc<Node>,
    count: u32,
    kernel: Kernel,
    tasks: &Tasks,
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

struct Worker {
    number: u32,
    node: Arc<Node>,
    tasks: Tasks,
    finished: UnboundedSender<Finished>,
    ledger: Ledger,
    running: Running,
}

impl Worker {
    fn run(self, mut compute: EngineCompute) {
        while let Some(mut tasks) = self.tasks.take() {
            tasks.retain(|task| self.ledger.claim(&task.key()));
            let (cancelled, tasks): (Vec<_>, Vec<_>) = tasks
                .into_iter()
                .partition(|task| self.running.is_cancelled(&task.unit));
            let dropped = cancelled.iter().map(|task| Finished::Discard(task.key()));
            let finished = dropped.chain(self.work(&mut compute, tasks));
            for finished in finished {
                if self.finished.send(finished).is_err() {
                    return;
                }
            }
        }
    }

    /// Processes one unit, or several that go together.
    fn work(&self, compute: &mut EngineCompute, tasks: Vec<Task>) -> Vec<Finished> {
        let Some(first) = tasks.first() else {
            return Vec::new();
        };
        let span = error_span!(
            "unit",
            run = %first.unit.run,
            unit = first.unit.unit,
            kind = %first.unit.work.kind(),
            worker = self.number
        );
        let _in_unit = span.enter();
        let busy = self.node.busy(self.number as usize);
        let cancel = self.running.begin(self.number, &first.unit);
        let units: Vec<&WorkUnit> = tasks.iter().map(|task| &task.unit).collect();
        let done: Vec<_> = match run_together(compute, &units, &cancel) {
            Some(answers) => answers.into_iter().map(Ok).collect(),
            None => {
                let alone = units.iter().map(|unit| run_unit(compute, unit, &cancel));
                alone.collect()
            }
        };
        let stop = self.running.end(self.number);
        drop(busy);
        self.node.units_done.fetch_add(tasks.len() as u64, Relaxed);
        let done = tasks.into_iter().zip(done);
        done.map(|(task, done)| self.finish(task, done, stop))
            .collect()
    }

    fn finish(
        &self,
        task: Task,
        done: Result<Vec<JobAnswer>, CancelledUnit>,
        stop: Option<Stop>,
    ) -> Finished {
        let jobs = match (done, stop) {
            (Ok(jobs), _) => jobs,
            (Err(cancelled), Some(Stop::Deadline)) => cancelled.fail(format!(
                "not done within {} ms of a worker's time (--deadline)",
                task.unit.deadline_ms.unwrap_or_default()
            )),
            (Err(_), Some(Stop::RunCancelled)) => return Finished::Discard(task.key()),
            (Err(_), Some(Stop::Shutdown) | None) => return Finished::Requeue(task.key()),
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
            // Composites that are left to others do not count as a failure.
            JobOutcome::Factored(found) => found.reason.is_none(),
            JobOutcome::Failed { .. } | JobOutcome::Rejected { .. } => false,
        })
        .count() as u64;
    node.jobs_ok.fetch_add(ok, Relaxed);
    node.jobs_failed
        .fetch_add(answer.jobs.len() as u64 - ok, Relaxed);
}
