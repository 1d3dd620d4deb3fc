//! Tests of the state machine without a broker.
#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use primepool_common::message::{
    FactorJobs, HexInteger, MAX_AVOIDED, Method, PrimeJobs, UnitId, VERSION, Work, WorkUnit,
};
use rangemap::RangeSet;

use super::*;
use crate::{
    request::{Packing, Request, Weights},
    run_dir::{JobSet, Manifest, Repacking},
};

fn manifest(count: u64, packing: Packing) -> Manifest {
    let request = Request::new(Work::Prime(PrimeJobs {
        bits: 64,
        count,
        method: Method::Incremental,
    }));
    Manifest {
        version: 2,
        run: "r1".parse().unwrap(),
        request,
        packing,
        priority: 0,
        output: "results.jsonl".into(),
    }
}

/// The units of a run of equal jobs.
fn start(
    manifest: Arc<Manifest>,
    repackings: &[Repacking],
    confirmed: RangeSet<u64>,
    done: &JobSet,
) -> Units {
    let weights = Weights::equal(manifest.request.count());
    Units::new(manifest, weights, repackings, confirmed, done)
}

/// Five units of two jobs.
fn units(confirmed: &[u64], done: &JobSet) -> Units {
    let packing = Packing {
        most: 2,
        least: 2,
        workers: 1,
        most_jobs: None,
    };
    let confirmed = confirmed.iter().map(|unit| *unit..unit + 1).collect();
    start(Arc::new(manifest(10, packing)), &[], confirmed, done)
}

fn drain(units: &mut Units) -> Vec<u64> {
    drain_at(units, Instant::now())
}

fn drain_at(units: &mut Units, at: Instant) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(unit) = settled_next(units, at).and_then(|next| next.unit()) {
        numbers.push(unit);
    }
    numbers
}

/// The next action, after settling the repackings that it needs.
fn settled_next(units: &mut Units, at: Instant) -> Option<PublisherAction> {
    loop {
        match units.next(at) {
            Some(PublisherAction::Settle(repacking)) => units.settled(&repacking),
            next => return next,
        }
    }
}

fn campaign_unit(batch: u32, index: u32) -> WorkUnit {
    WorkUnit {
        version: VERSION,
        run: "r1".parse().unwrap(),
        unit: UnitId { batch, index }.number(),
        first: 0,
        published_ns: 0,
        seed: None,
        avoid: vec![],
        deadline_ms: None,
        hand_back: false,
        verified: false,
        work: Work::Factor(FactorJobs {
            numbers: vec![HexInteger(91.into())].into(),
            leave_above: None,
            share: None,
            prove: false,
        }),
    }
}

#[test]
fn what_is_neither_confirmed_nor_done_is_published_in_order() {
    assert_eq!(
        drain(&mut units(&[], &JobSet::none_of(10))),
        [0, 1, 2, 3, 4]
    );
    let done = JobSet::with(10, [4, 5, 9]);
    let mut some = units(&[1, 77], &done);
    assert_eq!((some.count(), some.confirmed()), (5, 1));
    assert_eq!(drain(&mut some), [0, 3, 4]);
    assert!(some.is_idle());
}

#[test]
fn nodes_that_cannot_do_a_run_are_avoided_by_all_its_units() {
    let mut all = units(&[], &JobSet::none_of(10));
    all.avoid(0, vec!["liar".to_owned()]);
    assert!(all.note_unable("old"));
    assert!(!all.note_unable("old"), "told once");
    assert_eq!(all.avoided(0), ["liar", "old"]);
    assert_eq!(all.avoided(1), ["old"]);
    assert_eq!(all.wrong_nodes(0), ["liar"]);
    // The latest nodes, as many as a unit may exclude.
    for node in 0..40 {
        all.note_unable(&format!("n{node}"));
    }
    let avoided = all.avoided(0);
    assert_eq!(avoided.len(), MAX_AVOIDED);
    assert!(avoided.contains(&"n39".to_owned()) && avoided.contains(&"liar".to_owned()));
}

#[test]
fn a_unit_has_its_jobs_and_the_nodes_to_avoid() {
    let mut all = units(&[], &JobSet::none_of(10));
    all.avoid(0, vec!["liar".to_owned()]);
    let at = Instant::now();
    let first = PublisherAction::Jobs {
        unit: 0,
        jobs: 0..2,
        avoid: vec!["liar".to_owned()],
    };
    assert_eq!(all.next(at), Some(first));
    assert_eq!(all.published_at(0), Some(at));
    assert_eq!((all.published_at(1), all.published_at(99)), (None, None));
    all.publish_first(&[0]);
    all.next(at + Duration::from_secs(1));
    assert_eq!(all.published_at(0), Some(at), "the first time counts");
    all.forget([0].into_iter());
    assert_eq!(all.published_at(0), None);
    assert_eq!((all.bounds(4), all.bounds(5)), (Some((8, 10)), None));
    assert_eq!(all.bounds(u64::MAX), None);
}

#[test]
fn units_that_are_published_again_go_first_and_count_once() {
    let mut all = units(&[], &JobSet::none_of(10));
    for _ in 0..3 {
        all.next(Instant::now());
    }
    for unit in 0..3 {
        all.confirm(unit);
    }
    assert_eq!(all.confirmed(), 3);
    all.publish_first(&[1, 4]);
    all.publish_later(3, Instant::now());
    assert_eq!(all.confirmed(), 2, "unit 1 is to be published again");
    assert_eq!(
        drain(&mut all),
        [1, 3, 4],
        "those that were not published have their turn"
    );
    for unit in [1, 4, 3, 1, 1] {
        all.confirm(unit);
    }
    assert_eq!(all.confirmed(), 5);
    let done = JobSet::with(10, (0..10).filter(|job| *job != 3));
    all.publish_unanswered(&done);
    assert_eq!(drain(&mut all), [1]);
}

#[test]
fn what_a_lost_connection_has_not_confirmed_is_published_in_the_same_order() {
    let mut all = units(&[], &JobSet::none_of(10));
    all.cancel_batch(7);
    assert_eq!(
        all.next(Instant::now()),
        Some(PublisherAction::CancelBatch(7))
    );
    for _ in 0..2 {
        all.next(Instant::now());
    }
    all.give_back(&[0, 1], &[7]);
    assert_eq!(
        all.next(Instant::now()),
        Some(PublisherAction::CancelBatch(7))
    );
    assert_eq!(drain(&mut all), [0, 1, 2, 3, 4]);
}

#[test]
fn units_of_a_campaign_are_published_until_they_are_answered_or_cancelled() {
    let mut all = units(&[], &JobSet::with(10, 0..10));
    let (a, b) = (campaign_unit(1, 0), campaign_unit(2, 0));
    all.publish_campaign(vec![a.clone(), b.clone()]);
    assert_eq!(drain(&mut all), [a.unit, b.unit]);
    assert!(all.published_at(a.unit).is_some());
    all.confirm(a.unit);
    assert_eq!(all.confirmed(), 0);
    all.end_campaign_unit(a.unit);
    assert_eq!(all.published_at(a.unit), None);
    all.give_back(&[a.unit, b.unit], &[]);
    all.cancel_batch(2);
    assert_eq!(
        all.next(Instant::now()),
        Some(PublisherAction::CancelBatch(2))
    );
    assert_eq!(all.next(Instant::now()), None);
}

#[test]
fn a_window_bounds_what_is_outstanding() {
    let mut all = units(&[4], &JobSet::none_of(10));
    all.set_window(Some(3));
    assert_eq!(drain(&mut all), [0, 1], "unit 4 is outstanding from before");
    assert!(all.wants_more() && !all.is_idle());
    all.answered(&[0]);
    assert_eq!(drain(&mut all), [2]);
    // A unit that is published again is counted in the window already.
    all.publish_first(&[1]);
    assert_eq!(drain(&mut all), [1]);
    // A unit that was handed back is not outstanding until it is published again.
    let due = Instant::now() + Duration::from_secs(3600);
    all.publish_later(4, due);
    assert_eq!(drain(&mut all), [3]);
    assert_eq!(drain_at(&mut all, due), [0; 0], "it waits for a place");
    all.answered(&[3]);
    assert_eq!(drain_at(&mut all, due), [4]);
    all.publish_first(&[0]);
    assert_eq!(drain(&mut all), [0; 0]);
    all.set_window(None);
    assert_eq!(drain(&mut all), [0]);
    assert!(!all.wants_more());
}

#[test]
fn memory_follows_what_is_outstanding() {
    let packing = Packing { most: 4, ..FINE };
    let count = 10_000_000_000;
    let manifest = Arc::new(manifest(count, packing));
    let mut units = start(
        manifest.clone(),
        &[],
        RangeSet::new(),
        &JobSet::none_of(count),
    );
    units.set_window(Some(10));
    let mut done = JobSet::none_of(count);
    for _ in 0..10_000 {
        let taken = drain(&mut units);
        assert!(units.kept() <= 21, "{}", units.kept());
        for unit in &taken {
            units.confirm(*unit);
            let (first, end) = units.bounds(*unit).unwrap();
            done.insert(first..end);
        }
        units.answered(&taken);
        units.forget(taken.into_iter());
    }
    assert_eq!((units.confirmed(), units.kept()), (100_000, 1));
    // After a crash near the end of the run, three units have no result.
    let last = units.count() - 1;
    let mut done = JobSet::with(count, []);
    done.insert(8..count - 1);
    let mut again = start(manifest, &[], std::iter::once(1..last + 1).collect(), &done);
    assert_eq!((again.kept(), again.outstanding()), (4, 2));
    assert_eq!(drain(&mut again), [0]);
}

#[test]
fn a_unit_for_later_waits_for_its_time_and_holds_up_no_other() {
    let mut all = units(&[], &JobSet::none_of(10));
    let start = Instant::now();
    let due = start + Duration::from_secs(1);
    all.next(start);
    all.publish_later(0, due);
    assert_eq!((all.next_due(), all.is_idle()), (Some(due), false));
    assert_eq!(drain_at(&mut all, start), [1, 2, 3, 4]);
    assert!(!all.is_idle());
    assert_eq!(drain_at(&mut all, due), [0]);
    assert!(all.is_idle() && all.next_due().is_none());
    all.publish_later(0, due + Duration::from_secs(1));
    all.publish_first(&[0]);
    assert_eq!(drain_at(&mut all, due), [0]);
    assert!(all.is_idle(), "not a second time");
}

/// Sizes that may be adapted.
const ADAPTIVE: Packing = Packing {
    most: 100,
    least: 100,
    workers: 4,
    most_jobs: None,
};

/// Units of two jobs or one.
const FINE: Packing = Packing {
    most: 2,
    least: 1,
    workers: 4,
    most_jobs: None,
};

/// A run of a thousand jobs, in units of a hundred at first.
fn adaptive() -> Units {
    let manifest = Arc::new(manifest(1000, ADAPTIVE));
    start(manifest, &[], RangeSet::new(), &JobSet::none_of(1000))
}

#[test]
fn what_was_never_published_is_packed_by_the_measured_pace() {
    let mut units = adaptive();
    for _ in 0..2 {
        settled_next(&mut units, Instant::now());
    }
    assert_eq!(units.adapt(4), None, "nothing is measured");
    // A job takes 50 ms: a full unit has four.
    for _ in 0..8 {
        assert!(!units.has_new_pace());
        units.note_time(Duration::from_secs(5), 0..100);
    }
    assert!(units.has_new_pace() && !units.has_new_pace());
    let repacking = units.adapt(4).unwrap();
    assert_eq!((repacking.from, repacking.packing.most), (2, 4));
    let count = units.count();
    assert!((202..802).contains(&count), "{count}");
    assert_eq!(
        (units.bounds(1), units.bounds(2)),
        (Some((100, 200)), Some((200, 204)))
    );
    assert_eq!(units.bounds(count - 1).unwrap().1, 1000);
    let full = Some(Duration::from_millis(200));
    assert_eq!(units.mean_time(), full, "of the units to come");
    for _ in 0..8 {
        units.note_time(Duration::from_millis(200), 0..4);
    }
    assert!(units.has_new_pace());
    assert_eq!((units.adapt(4), units.mean_time()), (None, full));
    let mut jobs = 200;
    while let Some(PublisherAction::Jobs { jobs: next, .. }) =
        settled_next(&mut units, Instant::now())
    {
        assert_eq!(next.start, jobs);
        jobs = next.end;
    }
    assert_eq!(jobs, 1000, "each job once");

    // After a crash the numbers mean the same jobs.
    let manifest = Arc::new(manifest(1000, ADAPTIVE));
    let confirmed = [0..2, 5..6].into_iter().collect();
    let done = JobSet::with(1000, 204..208);
    let mut again = start(manifest, &[repacking], confirmed, &done);
    assert_eq!(again.count(), count);
    let first = &drain(&mut again)[..4];
    assert_eq!(first, [2, 4, 6, 7], "3 is done, 5 is published");
}

#[test]
fn what_was_published_in_any_session_keeps_its_jobs() {
    let manifest = Arc::new(manifest(1000, ADAPTIVE));
    // After the loss of a queue, nothing counts as confirmed, but job 350 has its result.
    let done = JobSet::with(1000, [350]);
    let mut units = start(manifest, &[], RangeSet::new(), &done);
    for _ in 0..8 {
        units.note_time(Duration::from_secs(5), 0..100);
    }
    let repacking = units.adapt(4).unwrap();
    assert_eq!(repacking.from, 4);
    assert_eq!(drain(&mut units)[..5], [0, 1, 2, 3, 4]);
}

#[test]
fn what_may_have_been_published_before_a_crash_keeps_its_jobs() {
    let mut units = adaptive();
    let Some(PublisherAction::Settle(settled)) = units.next(Instant::now()) else {
        panic!("nothing to write down");
    };
    assert_eq!(settled.from, units.count(), "it has only ten units");
    let before: Vec<_> = (0..units.count()).map(|unit| units.bounds(unit)).collect();
    units.settled(&settled);
    assert_eq!(drain(&mut units).len(), 10);

    // The producer dies before a confirm is recorded.
    let manifest = Arc::new(manifest(1000, ADAPTIVE));
    let mut again = start(
        manifest,
        &[settled],
        RangeSet::new(),
        &JobSet::none_of(1000),
    );
    for _ in 0..8 {
        again.note_time(Duration::from_secs(5), 0..100);
    }
    assert_eq!(again.adapt(4), None, "nothing is left to be packed anew");
    let after: Vec<_> = (0..again.count()).map(|unit| again.bounds(unit)).collect();
    assert_eq!(after, before);
    assert_eq!(drain(&mut again).len(), 10);
}

#[test]
fn units_are_settled_a_window_at_a_time() {
    let manifest = Arc::new(manifest(1000, FINE));
    let mut units = start(
        manifest.clone(),
        &[],
        RangeSet::new(),
        &JobSet::none_of(1000),
    );
    units.set_window(Some(100));
    let mut written = vec![];
    loop {
        match units.next(Instant::now()) {
            Some(PublisherAction::Settle(settled)) => {
                units.settled(&settled);
                written.push(settled);
            }
            Some(PublisherAction::Jobs { unit, .. }) => units.answered(&[unit]),
            _ => break,
        }
    }
    let from: Vec<_> = written.iter().map(|settled| settled.from).collect();
    let (most, last) = (units.count() / 100 + 1, units.count());
    assert!(
        from.len() as u64 <= most && from.last() == Some(&last),
        "{from:?}"
    );
    // Replayed repackings change no jobs; units that were not settled may be repacked.
    let mut again = start(
        manifest,
        &written[..1],
        RangeSet::new(),
        &JobSet::none_of(1000),
    );
    assert!((0..last).all(|unit| again.bounds(unit) == units.bounds(unit)));
    for _ in 0..8 {
        again.note_time(Duration::from_millis(1), 0..1);
    }
    assert_eq!(again.adapt(4).unwrap().from, 100);
}

#[test]
fn runs_of_earlier_versions_and_of_fixed_sizes_stay_as_they_are() {
    let fixed = Packing {
        most: 100,
        least: 100,
        workers: 1,
        most_jobs: None,
    };
    let first_version = Manifest {
        version: 1,
        ..manifest(1000, ADAPTIVE)
    };
    for manifest in [manifest(1000, fixed), first_version] {
        let mut units = start(
            Arc::new(manifest),
            &[],
            RangeSet::new(),
            &JobSet::none_of(1000),
        );
        for _ in 0..8 {
            units.note_time(Duration::from_secs(5), 0..100);
        }
        assert_eq!(units.adapt(4), None);
    }
}

#[test]
fn the_time_of_a_unit_is_the_mean() {
    let mut all = units(&[], &JobSet::none_of(10));
    assert_eq!(all.mean_time(), None);
    all.note_time(Duration::from_secs(1), 0..2);
    all.note_time(Duration::from_secs(2), 0..2);
    assert_eq!(all.mean_time(), Some(Duration::from_millis(1500)));
}
