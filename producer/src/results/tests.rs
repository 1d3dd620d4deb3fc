//! The processing of answers without a broker: duplicates, wrong answers, retries, a full disk,
//! campaigns.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::Path,
    sync::{Arc, mpsc::channel},
    time::Instant,
};

use primepool_common::{
    message::{
        FactorJobs, Factorization, HexInteger, JobAnswer, JobOutcome, Method, Packet, Power,
        PrimeJobs, RunId, UnitAnswer, UnitId, VERSION, Work,
    },
    metrics::MetricsWriter,
    topology::QueueState,
};
use primepool_engine::{Integer, Kernel};
use rangemap::RangeSet;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

use super::{Arrival, Files, Printer, Sink, SinkInput, Verifier};
use crate::{
    factoring::Factoring,
    metrics::Metrics,
    request::{FactoringAims, Packing, Print, Request, Verify},
    run_dir::{Folder, JobSet},
    status::{Event, Status},
    summary::Tally,
    units::{PublisherAction, SharedUnits, Units},
};

/// The largest prime of 64 bits.
const PRIME: u64 = 0xffff_ffff_ffff_ffc5;
/// A composite of 64 bits.
const COMPOSITE: u64 = u64::MAX;

/// A run with units of one job each, and the outcome of its sink.
struct Run {
    runs: TempDir,
    request: Request,
}

/// The outcome of a sink's inputs.
struct Outcome {
    /// Numbers of the answers that may be acknowledged.
    settled: Vec<usize>,
    events: Vec<Event>,
    rows: Vec<Value>,
    done: JobSet,
    tally: Tally,
    units: SharedUnits,
}

impl Run {
    fn new(work: Work) -> Self {
        let request = Request {
            aims: FactoringAims {
                is_balanced: true,
                ..FactoringAims::default()
            },
            ..Request::new(work)
        };
        let runs = tempfile::tempdir().unwrap();
        Self { runs, request }
    }

    fn primes(count: u64) -> Self {
        Self::new(Work::Prime(PrimeJobs {
            bits: 64,
            count,
            method: Method::Incremental,
        }))
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.runs.path().join("r1").join(name)).unwrap_or_default()
    }

    /// Passes answers, and the inputs after them, to the sink of a new run.
    fn feed(&self, answers: &[UnitAnswer], after: Vec<SinkInput<usize>>) -> Outcome {
        let bodies = answers
            .iter()
            .map(|answer| serde_json::to_vec(answer).unwrap());
        self.feed_bodies(bodies.collect(), after, None)
    }

    /// The same; the results go to `output`, if it is given.
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
            most_jobs: None,
        };
        let (run, request) = (run(), self.request.clone());
        let folder =
            Folder::create(self.runs.path(), run, request, None, packing, 0, output).unwrap();
        let (journal, _) = folder.journal().unwrap();
        let done = JobSet::none_of(self.request.count());
        let manifest = Arc::new(folder.manifest.clone());
        let mut units = Units::new(manifest, folder.weights(), &[], RangeSet::new(), &done);
        for unit in 0..self.request.count() {
            journal.add(&[journal.begin(unit)]).unwrap();
            units.next(Instant::now());
            units.confirm(unit);
        }
        let units = SharedUnits::new(units);
        let mut done = done;
        let factoring = Factoring::open(&folder, &mut done).unwrap();
        let (to_sink, input) = channel();
        let (settled, mut all_settled) = unbounded_channel();
        let (events, mut all_events) = unbounded_channel();
        let sink = Sink::new(
            Arc::new(folder.manifest.clone()),
            folder.integers.clone(),
            units.clone(),
            Arc::new(Status::default()),
            Verifier::new(Verify::All, Kernel::fastest()).unwrap(),
            Files {
                results: folder.results(|_| {}).unwrap(),
                journal,
                metrics: Metrics::new(None, MetricsWriter::disabled()),
                printer: Printer::new(
                    Print::Nothing,
                    true,
                    false,
                    Path::new("/dev/null"),
                    Box::new(|_| Ok(())),
                ),
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
            units,
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
        handed_back: None,
        samples: Vec::new(),
        first: unit,
        jobs: vec![JobAnswer {
            outcome,
            compute_us: 0,
            candidates: 1,
            certificate: None,
        }],
    }
}

fn found(unit: u64, node: &str, value: u64) -> UnitAnswer {
    let value = Some(HexInteger(value.into()));
    answer(unit, node, JobOutcome::Ok { value })
}

/// The units that must be published again.
fn waiting(outcome: &Outcome) -> Vec<u64> {
    let mut units = outcome.units.lock();
    std::iter::from_fn(|| units.next(Instant::now()))
        .map(|next| next.unit().unwrap())
        .collect()
}

/// Answers in separate batches: a lost queue ends a batch.
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
    assert!(outcome.done.is_complete());
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
    assert_eq!(outcome.units.lock().avoided(0), ["liar"]);
    assert_eq!(waiting(&outcome), [0]);
    // If the producer dies now, `resume` publishes the unit again.
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

fn handed_back(unit: u64, node: &str) -> UnitAnswer {
    UnitAnswer {
        handed_back: Some("its results were wrong".to_owned()),
        jobs: vec![],
        first: 0,
        ..found(unit, node, PRIME)
    }
}

/// Unit 0 is handed back `times` times by the node that was wrong, while there are this many
/// consumers.
fn hand_back(run: &Run, consumers: u32, times: usize) -> Outcome {
    let state = QueueState {
        ready: 0,
        consumers,
    };
    let mut inputs = vec![SinkInput::Queue(state, None)];
    let mut answers = vec![found(0, "n1", COMPOSITE)];
    answers.resize(times + 1, handed_back(0, "n1"));
    inputs.extend(one_by_one(&answers));
    run.feed(&[], inputs)
}

#[test]
fn a_unit_that_is_handed_back_is_published_later_and_holds_up_no_other() {
    let run = Run::primes(1);
    let outcome = hand_back(&run, 2, 1);
    assert!(outcome.rows.is_empty() && outcome.done.is_empty());
    assert_eq!(outcome.settled, [0, 1]);
    assert!(outcome.units.lock().next_due().is_some() || !waiting(&outcome).is_empty());
    // If the producer dies now, `resume` publishes the unit again.
    assert_eq!(run.file("published"), "0\n-0\n-0\n");
    let is_alone = |event: &Event| matches!(event, Event::NoOtherNode(_));
    assert!(!outcome.events.iter().any(is_alone), "{:?}", outcome.events);
}

#[test]
fn a_pool_of_one_node_is_told_of_and_its_jobs_fail() {
    let outcome = hand_back(&Run::primes(1), 1, 6);
    let told = outcome.events.iter().filter_map(|event| match event {
        Event::NoOtherNode(nodes) => Some(&**nodes),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["n1"], "once");
    assert!(outcome.rows.len() == 1 && outcome.done.is_complete());
    assert_eq!(outcome.rows[0]["outcome"], "failed");
    let reason = outcome.rows[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("no other node takes prime jobs"),
        "{reason}"
    );
    let outcome = hand_back(&Run::primes(1), 2, 6);
    assert_eq!(outcome.rows.len(), 0, "another node may take it");
}

#[test]
fn a_unit_that_a_node_may_work_on_is_not_handed_back() {
    let outcome = Run::primes(1).feed(&[handed_back(0, "n1")], vec![]);
    assert!(outcome.rows.is_empty() && outcome.done.is_empty());
    let mut tally = outcome.tally;
    assert_eq!(tally.refuse(None), 2, "one before this one");
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
        reason.contains("/dev/full") && reason.contains("0 of 1 jobs: make room"),
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
    assert!(matches!(outcome.events[..], [Event::QueueLost]));
    assert_eq!(waiting(&outcome), [0, 2]);
    let outcome = Run::primes(3).feed(&answers, vec![SinkInput::Overdue]);
    assert!(matches!(outcome.events[..], [Event::Overdue]));
    assert_eq!(waiting(&outcome), [0, 2]);
}

/// A factor job for the pool, and the composites that a worker leaves.
fn hard_number() -> (impl Fn() -> Work, Factorization) {
    let above = |bits: u32| Integer::from(Integer::u_pow_u(2, bits)).next_prime();
    let number = HexInteger(above(110) * above(112));
    let left = Factorization {
        composites: vec![Power(number.clone(), 1)],
        ..Factorization::default()
    };
    let factor = move || {
        Work::Factor(FactorJobs {
            numbers: vec![number.clone()].into(),
            leave_above: None,
            share: None,
            prove: false,
        })
    };
    (factor, left)
}

#[test]
fn a_composite_that_is_left_to_the_pool_becomes_a_campaign() {
    let (factor, left) = hard_number();
    let factored = |found| answer(0, "a", JobOutcome::Factored(Box::new(found)));
    let run = Run::new(factor());
    let outcome = run.feed(&[factored(left.clone())], vec![]);
    assert!(outcome.rows.is_empty() && outcome.done.is_empty());
    let Some(PublisherAction::Campaign(unit)) = outcome.units.lock().next(Instant::now()) else {
        panic!()
    };
    assert_eq!((unit.first, UnitId::of(unit.unit).batch), (0, 1));
    // The checkpoint is on disk before the answer is acknowledged.
    assert_eq!(outcome.settled, [0]);
    let entries = run.file("factor-0.jsonl");
    assert!(
        entries.contains("taken-apart") && entries.contains("begun"),
        "{entries}"
    );

    // With a reason for stopping, the partial factorisation is a result.
    let reason = Some("not done within 5 ms".to_owned());
    let run = Run::new(factor());
    let outcome = run.feed(&[factored(Factorization { reason, ..left })], vec![]);
    assert_eq!(outcome.rows[0]["outcome"], "partial");
    assert!(outcome.done.is_complete());
    assert!(File::open(run.runs.path().join("r1/factor-0.jsonl")).is_err());
}

/// Both cases: an older consumer answers with relations in its own format, and a newer one hands
/// the unit back.
#[test]
fn a_node_of_another_version_leaves_the_units_of_a_campaign_to_others() {
    let (factor, left) = hard_number();
    let id = UnitId { batch: 1, index: 0 };
    let older = answer(
        id.number(),
        "other",
        JobOutcome::Relations(Packet(vec![0x78, 1, 2, 3])),
    );
    let newer = UnitAnswer {
        handed_back: Some("it asks for relations in another form".to_owned()),
        jobs: vec![],
        ..older.clone()
    };
    for other in [older, newer] {
        let begun = answer(0, "a", JobOutcome::Factored(Box::new(left.clone())));
        let answers = [begun, other.clone(), other];
        let outcome = Run::new(factor()).feed(&[], one_by_one(&answers));
        let told = outcome.events.iter().filter_map(|event| match event {
            Event::LeftToOthers { node, .. } => Some(&**node),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), ["other"], "once");
        assert!(!outcome.tally.has_been_wrong("other"));
        // Another unit replaces the one that the node had.
        let mut units = outcome.units.lock();
        let next = std::iter::from_fn(|| units.next(Instant::now()));
        let replaces = |next: PublisherAction| match next {
            PublisherAction::Campaign(unit) => {
                UnitId::of(unit.unit) != id && unit.avoid == ["other"]
            }
            _ => false,
        };
        assert!({ next }.any(replaces));
    }
}
