//! The path of answers in process: duplicates, wrong answers, retries, a full disk, campaigns.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::Path,
    sync::{Arc, mpsc::channel},
    time::Instant,
};

use primepool_common::{
    message::{
        Factorization, HexInteger, JobAnswer, JobKind, JobOutcome, Method, Power, RunId,
        UnitAnswer, UnitId, VERSION,
    },
    metrics::MetricsWriter,
};
use primepool_engine::Integer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

use super::{Arrival, Files, Sink, SinkInput, Verifier};
use crate::{
    factoring::Factoring,
    metrics::Metrics,
    request::{Ask, Packing, Verify},
    run_dir::Folder,
    state::{Event, Shared},
    summary::Tally,
};

/// The largest prime of 64 bits.
const PRIME: u64 = 0xffff_ffff_ffff_ffc5;
/// A composite of 64 bits.
const COMPOSITE: u64 = u64::MAX;

/// A run of units of one job each, and what its sink has come to.
struct Run {
    runs: TempDir,
    ask: Ask,
}

/// What became of a sink's input.
struct Outcome {
    /// Numbers of the answers that may be acknowledged.
    settled: Vec<usize>,
    events: Vec<Event>,
    rows: Vec<Value>,
    done: Vec<bool>,
    tally: Tally,
    shared: Arc<Shared>,
}

impl Run {
    fn new(kind: JobKind, count: u64, numbers: Vec<HexInteger>) -> Self {
        let ask = Ask {
            kind,
            bits: if kind == JobKind::Prime { 64 } else { 0 },
            count,
            method: Method::Incremental,
            seed: None,
            deadline_ms: None,
            after: vec![],
            numbers,
            is_balanced: true,
        };
        let runs = tempfile::tempdir().unwrap();
        Self { runs, ask }
    }

    fn primes(count: u64) -> Self {
        Self::new(JobKind::Prime, count, vec![])
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.runs.path().join("r1").join(name)).unwrap_or_default()
    }

    /// Feeds answers, and what comes after them, to the sink of a new run.
    fn feed(&self, answers: &[UnitAnswer], after: Vec<SinkInput<usize>>) -> Outcome {
        let bodies = answers
            .iter()
            .map(|answer| serde_json::to_vec(answer).unwrap());
        self.feed_bodies(bodies.collect(), after, None)
    }

    /// The results go to `output`, if there is one.
    fn feed_bodies(
        &self,
        bodies: Vec<Vec<u8>>,
        after: Vec<SinkInput<usize>>,
        output: Option<&Path>,
    ) -> Outcome {
        let packing = Packing {
            most: 1,
            least: 1,
            workers: 1,
        };
        let (run, ask) = (run(), self.ask.clone());
        let folder = Folder::create(self.runs.path(), run, ask, packing, 0, output).unwrap();
        let (journal, _) = folder.journal().unwrap();
        let shared = Arc::new(Shared::new(packing.bounds(self.ask.count)));
        for unit in 0..self.ask.count {
            journal.add(&[journal.begin(unit)]).unwrap();
            shared.note_published(unit, Instant::now());
        }
        let mut done = vec![false; self.ask.count as usize];
        let factoring = Factoring::open(&folder, &mut done).unwrap();
        let (to_sink, input) = channel();
        let (settled, mut all_settled) = unbounded_channel();
        let (events, mut all_events) = unbounded_channel();
        let sink = Sink::new(
            Arc::new(folder.manifest.clone()),
            Arc::clone(&shared),
            Verifier::new(Verify::All),
            Files {
                results: folder.results().unwrap().0,
                journal,
                metrics: Metrics::new(None, MetricsWriter::disabled()),
            },
            factoring,
            done,
            to_sink.clone(),
            settled,
            events,
        );
        for (number, body) in bodies.into_iter().enumerate() {
            let arrival = Arrival {
                body: Ok(body),
                acker: number,
                at: Instant::now(),
                at_ns: 0,
            };
            to_sink.send(SinkInput::Arrival(arrival)).unwrap();
        }
        for input in after {
            to_sink.send(input).unwrap();
        }
        to_sink.send(SinkInput::End).unwrap();
        let ended = sink.run(&input);
        let mut outcome = Outcome {
            settled: Vec::new(),
            events: Vec::new(),
            rows: Vec::new(),
            done: ended.done,
            tally: ended.tally,
            shared,
        };
        while let Ok(ackers) = all_settled.try_recv() {
            outcome.settled.extend(ackers);
        }
        while let Ok(event) = all_events.try_recv() {
            outcome.events.push(event);
        }
        let results = self.file("results.jsonl");
        let rows = results
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        outcome.rows = rows.collect();
        outcome
    }
}

fn run() -> RunId {
    "r1".parse().unwrap()
}

fn answer(unit: u64, node: &str, outcome: JobOutcome) -> UnitAnswer {
    UnitAnswer {
        version: VERSION,
        run: run(),
        unit,
        published_ns: 0,
        redelivered: false,
        node: node.to_owned(),
        worker: 0,
        rejected: None,
        samples: Vec::new(),
        first: unit,
        jobs: vec![JobAnswer {
            outcome,
            compute_us: 0,
            candidates: 1,
        }],
    }
}

fn found(unit: u64, node: &str, value: u64) -> UnitAnswer {
    let value = Some(HexInteger(value.into()));
    answer(unit, node, JobOutcome::Ok { value })
}

/// Answers that come in batches of their own: a lost queue ends a batch.
fn one_by_one(answers: &[UnitAnswer]) -> Vec<SinkInput<usize>> {
    let inputs = answers.iter().enumerate().flat_map(|(number, answer)| {
        let arrival = Arrival {
            body: Ok(serde_json::to_vec(answer).unwrap()),
            acker: number,
            at: Instant::now(),
            at_ns: 0,
        };
        [SinkInput::Arrival(arrival), SinkInput::QueueLost]
    });
    inputs.collect()
}

#[test]
fn each_job_has_one_row_however_often_it_is_answered() {
    let answers = [
        found(0, "a", PRIME),
        found(0, "b", PRIME),
        found(1, "a", PRIME),
        found(0, "a", PRIME),
    ];
    let outcome = Run::primes(2).feed(&answers, vec![]);
    assert_eq!(outcome.rows.len(), 2);
    assert_eq!(outcome.done, [true, true]);
    assert_eq!(
        outcome.settled,
        [0, 1, 2, 3],
        "duplicates are acknowledged too"
    );
    let is_complete = |event: &&Event| matches!(event, Event::Complete);
    assert_eq!(outcome.events.iter().filter(is_complete).count(), 1);
}

#[test]
fn a_wrong_result_is_done_again_by_another_node() {
    let run = Run::primes(1);
    let outcome = run.feed(&[found(0, "liar", COMPOSITE)], vec![]);
    assert_eq!((outcome.rows.len(), &*outcome.settled), (0, &[0][..]));
    assert_eq!(outcome.shared.avoided(0), ["liar"]);
    assert!(
        matches!(&outcome.events[..], [Event::Publish(units)] if units[..] == [0]),
        "{:?}",
        outcome.events
    );
    // A producer that dies now publishes it again.
    assert_eq!(run.file("published"), "0\n-0\n");
    assert!(outcome.tally.has_been_wrong("liar"));

    let answers = [found(0, "liar", COMPOSITE), found(0, "b", PRIME)];
    let outcome = Run::primes(1).feed(&[], one_by_one(&answers));
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!(outcome.rows[0]["node"], "b");
}

#[test]
fn a_job_fails_after_wrong_results_of_four_nodes() {
    let nodes = ["a", "b", "c", "d"];
    let answers = nodes.map(|node| found(0, node, COMPOSITE));
    let outcome = Run::primes(1).feed(&[], one_by_one(&answers));
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!(outcome.rows[0]["outcome"], "failed");
    let reason = outcome.rows[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("results of a, b, c, d were wrong"),
        "{reason}"
    );
    assert_eq!(outcome.settled, [0, 1, 2, 3]);
}

#[test]
fn nothing_is_acknowledged_that_is_not_on_disk() {
    let run = Run::primes(1);
    let body = serde_json::to_vec(&found(0, "a", PRIME)).unwrap();
    let outcome = run.feed_bodies(vec![body], vec![], Some(Path::new("/dev/full")));
    assert_eq!(outcome.settled, [0; 0]);
    let [Event::Failed(reason)] = &outcome.events[..] else {
        panic!("{:?}", outcome.events)
    };
    assert!(
        reason.contains("/dev/full") && reason.contains("make room"),
        "{reason}"
    );
}

#[test]
fn messages_that_are_no_answers_of_the_run_are_dropped_and_acknowledged() {
    let good = found(0, "a", PRIME);
    let body = |answer: UnitAnswer| serde_json::to_vec(&answer).unwrap();
    let bodies = vec![
        b"{".to_vec(),
        body(UnitAnswer {
            run: "r2".parse().unwrap(),
            ..good.clone()
        }),
        body(UnitAnswer {
            unit: 7,
            first: 7,
            ..good.clone()
        }),
        body(UnitAnswer {
            jobs: vec![],
            ..good.clone()
        }),
        body(UnitAnswer {
            first: 1,
            ..good.clone()
        }),
        body(UnitAnswer {
            node: "a\u{1b}[2J".to_owned(),
            ..good.clone()
        }),
        body(good),
    ];
    let mut outcome = Run::primes(2).feed_bodies(bodies, vec![], None);
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!(outcome.settled, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(outcome.tally.refuse(None), 7, "six before this one");
}

#[test]
fn units_without_a_result_are_asked_for_again_when_answers_are_lost() {
    let answers = [found(1, "a", PRIME)];
    let outcome = Run::primes(3).feed(&answers, vec![SinkInput::QueueLost]);
    assert!(
        matches!(&outcome.events[..], [Event::QueueLost(units)] if units[..] == [0, 2]),
        "{:?}",
        outcome.events
    );
    let outcome = Run::primes(3).feed(&answers, vec![SinkInput::Overdue]);
    assert!(matches!(&outcome.events[..], [Event::Overdue(units)] if units[..] == [0, 2]));
}

#[test]
fn a_composite_that_is_left_to_the_pool_becomes_a_campaign() {
    let above = |bits: u32| Integer::from(Integer::u_pow_u(2, bits)).next_prime();
    let number = HexInteger(above(110) * above(112));
    let left = Factorization {
        composites: vec![Power(number.clone(), 1)],
        ..Factorization::default()
    };
    let factored = |found| answer(0, "a", JobOutcome::Factored(Box::new(found)));
    let run = Run::new(JobKind::Factor, 1, vec![number.clone()]);
    let outcome = run.feed(&[factored(left.clone())], vec![]);
    assert_eq!((outcome.rows.len(), &*outcome.done), (0, &[false][..]));
    let [Event::Publish(units)] = &outcome.events[..] else {
        panic!("{:?}", outcome.events)
    };
    assert!(
        units.iter().all(|unit| UnitId::of(*unit).batch == 1),
        "{units:?}"
    );
    let unit = outcome.shared.campaign_unit(units[0]).unwrap();
    assert_eq!(unit.first, 0);
    // It is on disk before the answer is acknowledged.
    assert_eq!(outcome.settled, [0]);
    let entries = run.file("factor-0.jsonl");
    assert!(
        entries.contains("taken-apart") && entries.contains("begun"),
        "{entries}"
    );

    // With a reason to stop there, it is a result.
    let reason = Some("not done within 5 ms".to_owned());
    let run = Run::new(JobKind::Factor, 1, vec![number]);
    let outcome = run.feed(&[factored(Factorization { reason, ..left })], vec![]);
    assert_eq!(outcome.rows[0]["outcome"], "partial");
    assert_eq!(outcome.done, [true]);
    assert!(File::open(run.runs.path().join("r1/factor-0.jsonl")).is_err());
}
