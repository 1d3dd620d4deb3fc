//! The history that the dashboard keeps: the pool and its runs over the last hour.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use primepool_common::message::RunId;
use serde::Serialize;

use crate::report::{Report, RunLine};

/// Time span of the history.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Most runs with a history; further runs are shown only while they are live.
const MOST_RUNS: usize = 200;

/// The pool at one poll.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PoolSample {
    /// Unix time in milliseconds, by this machine's clock.
    pub(super) at_ms: u64,
    pub(super) jobs_per_s: f64,
    pub(super) workers: u64,
    pub(super) busy_workers: u64,
    /// Units ready in the queues of all kinds.
    pub(super) ready: u64,
}

/// A run at one poll.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunSample {
    /// Unix time in milliseconds, by this machine's clock.
    pub(super) at_ms: u64,
    pub(super) done: u64,
    pub(super) jobs_per_s: f64,
}

/// A run of the last hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunHistory {
    /// The last announcement.
    pub(super) line: RunLine,
    /// Whether the run is no longer announced, because its producer has ended.
    pub(super) ended: bool,
    samples: VecDeque<RunSample>,
}

/// The pool and its runs over the last hour.
#[derive(Debug)]
pub(super) struct History {
    /// Most samples of the pool and of each run.
    kept: usize,
    samples: VecDeque<PoolSample>,
    runs: HashMap<RunId, RunHistory>,
}

impl History {
    /// An empty history of a pool that is polled at the interval `every`.
    pub(super) fn new(every: Duration) -> Self {
        let kept = REMEMBERED.as_millis() / every.as_millis().max(1);
        Self {
            kept: usize::try_from(kept).unwrap_or(1).max(1),
            samples: VecDeque::new(),
            runs: HashMap::new(),
        }
    }

    /// Adds a report, and the runs that ended since the report before.
    pub(super) fn note(
        &mut self,
        report: &Report,
        departed: &VecDeque<RunLine>,
        jobs_per_s: f64,
        at_ms: u64,
    ) {
        let live = report.nodes.iter().filter(|node| node.silent_s.is_none());
        let (mut workers, mut busy_workers) = (0, 0);
        for node in live {
            workers += u64::from(node.workers);
            busy_workers += u64::from(node.busy_workers);
        }
        let waiting = report.queues.iter().filter(|queue| queue.kind.is_some());
        let ready = waiting.fold(0_u64, |sum, queue| sum.saturating_add(queue.ready));
        let sample = PoolSample {
            at_ms,
            jobs_per_s,
            workers,
            busy_workers,
            ready,
        };
        push(&mut self.samples, sample, self.kept);
        for run in self.runs.values_mut() {
            run.ended = true;
        }
        self.note_runs(departed.iter(), true, at_ms);
        self.note_runs(report.runs.iter(), false, at_ms);
        let oldest = at_ms.saturating_sub(REMEMBERED.as_millis() as u64);
        self.runs.retain(|_, run| {
            let last = run.samples.back().map_or(0, |sample| sample.at_ms);
            last >= oldest
        });
    }

    fn note_runs<'l>(&mut self, lines: impl Iterator<Item = &'l RunLine>, ended: bool, at_ms: u64) {
        for line in lines {
            let sample = RunSample {
                at_ms,
                done: line.done,
                jobs_per_s: line.jobs_per_s,
            };
            if self.runs.len() >= MOST_RUNS && !self.runs.contains_key(&line.run) {
                continue;
            }
            let run = self
                .runs
                .entry(line.run.clone())
                .or_insert_with(|| RunHistory {
                    line: line.clone(),
                    ended,
                    samples: VecDeque::new(),
                });
            run.line.clone_from(line);
            run.ended = ended;
            push(&mut run.samples, sample, self.kept);
        }
    }

    /// Samples newer than `at_ms` (Unix time in milliseconds), oldest first.
    pub(super) fn since(&self, at_ms: u64) -> Vec<&PoolSample> {
        let newer = self.samples.iter().filter(|sample| sample.at_ms > at_ms);
        newer.collect()
    }

    /// The history of a run, if it has one.
    pub(super) fn run(&self, run: &RunId) -> Option<&RunHistory> {
        self.runs.get(run)
    }

    /// Runs of the last hour that are no longer announced, most recent first.
    pub(super) fn ended(&self) -> Vec<&RunLine> {
        let mut ended: Vec<_> = self.runs.values().filter(|run| run.ended).collect();
        let last = |run: &RunHistory| run.samples.back().map_or(0, |sample| sample.at_ms);
        ended.sort_by(|a, b| (last(b), &b.line.run).cmp(&(last(a), &a.line.run)));
        ended.iter().map(|run| &run.line).collect()
    }
}

fn push<T>(samples: &mut VecDeque<T>, sample: T, kept: usize) {
    if samples.len() == kept {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::tests::report;

    const EVERY: Duration = Duration::from_secs(2);
    const NOBODY: VecDeque<RunLine> = VecDeque::new();

    #[test]
    fn an_hour_is_kept() {
        let mut history = History::new(EVERY);
        let pool = report(&[]);
        for look in 1..=2000 {
            history.note(&pool, &NOBODY, 1.5, 2000 * look);
        }
        let all = history.since(0);
        assert_eq!(all.len(), 1800);
        assert_eq!((all[0].at_ms, all[0].workers), (2000 * 201, 2));
        assert_eq!((all[0].busy_workers, all[0].jobs_per_s), (1, 1.5));
        let new = history.since(2000 * 1998);
        let new: Vec<_> = new.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(new, [2000 * 1999, 2000 * 2000]);
    }

    #[test]
    fn a_run_that_has_ended_stays_for_an_hour() {
        let mut history = History::new(EVERY);
        history.note(&report(&[("r1", 4.0), ("r2", 2.0)]), &NOBODY, 6.0, 1000);
        let mut farewell = report(&[("r1", 5.0)]).runs;
        farewell[0].done = 100;
        history.note(&report(&[("r2", 3.0)]), &farewell.into(), 3.0, 3000);
        let r1 = "r1".parse().unwrap();
        let run = history.run(&r1).unwrap();
        assert!(run.ended && run.samples.len() == 2);
        assert_eq!(run.line.done, 100);
        let r2 = history.run(&"r2".parse().unwrap()).unwrap();
        assert!(!r2.ended && r2.samples.len() == 2);
        assert_eq!(r2.line.jobs_per_s, 3.0);
        let ended = history.ended();
        assert!(ended.len() == 1 && ended[0].run == r1);
        history.note(&report(&[("r2", 3.0)]), &NOBODY, 3.0, 5000);
        history.note(&report(&[]), &NOBODY, 0.0, 3_604_000);
        assert_eq!(history.run(&r1), None);
        assert!(history.run(&"r2".parse().unwrap()).is_some());
    }

    #[test]
    fn a_flood_of_runs_fills_no_memory() {
        let mut history = History::new(EVERY);
        let names: Vec<_> = (0..500).map(|run| format!("r{run}")).collect();
        let runs: Vec<_> = names.iter().map(|run| (run.as_str(), 1.0)).collect();
        history.note(&report(&runs), &NOBODY, 1.0, 1000);
        assert_eq!(history.runs.len(), MOST_RUNS);
    }
}
