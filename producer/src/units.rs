//! The units of a run: which ones are to be published next, and what is known of each until it is
//! answered. The publisher pulls from here; the results say here what is to be published again.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use primepool_common::message::{UnitId, WorkUnit};
use tokio::sync::Notify;

use crate::{
    request::Packing,
    run_dir::{Manifest, Repacking},
};

/// What is to be published next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// A unit.
    Unit(Box<WorkUnit>),
    /// The cancellation of a batch.
    CancelBatch(u32),
}

/// The units of a run, as a state machine.
#[derive(Debug)]
pub(crate) struct Units {
    manifest: Arc<Manifest>,
    /// Sizes of the units that are not published yet.
    packing: Packing,
    /// No unit from this one on was ever published.
    fresh: u64,
    /// Index of each unit's first job, and the number of jobs at the end.
    bounds: Vec<u64>,
    /// Units to publish, in this order.
    waiting: VecDeque<u64>,
    /// Units to publish once a time has come.
    later: BTreeSet<(Instant, u64)>,
    /// Batches whose cancellation is to be published.
    cancelled: Vec<u32>,
    /// When this process first published each unit.
    published: Vec<Option<Instant>>,
    first_published: Option<Instant>,
    /// Units that the broker has confirmed, unless they are to be published again.
    confirmed: HashSet<u64>,
    /// Units that are on the broker or with a consumer, as far as is known.
    outstanding: HashSet<u64>,
    /// Most of them; no limit if there is none.
    window: Option<usize>,
    /// Whether nothing is to be published any more.
    is_closed: bool,
    /// Of units with wrong results: the nodes that these came from.
    avoided: HashMap<u64, Vec<String>>,
    /// Units of campaigns, until they are answered or cancelled, and when they were published.
    campaign_units: HashMap<u64, (WorkUnit, Option<Instant>)>,
    /// Answered units, their jobs, and the time of workers for all of them.
    timed: u32,
    timed_jobs: u64,
    time: Duration,
    longest: Duration,
}

impl Units {
    /// The units of `manifest`, of which `confirmed` are published already. Publishes those of the
    /// others that have a job that is not done.
    #[must_use]
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        repackings: &[Repacking],
        mut confirmed: HashSet<u64>,
        done: &[bool],
    ) -> Self {
        let mut bounds = manifest.packing.bounds(manifest.request.count());
        let mut packing = manifest.packing;
        for repacking in repackings {
            repack(&mut bounds, repacking);
            packing = repacking.packing;
        }
        let count = bounds.len() as u64 - 1;
        // A damaged journal may name others.
        confirmed.retain(|unit| *unit < count);
        let mut units = Self {
            manifest,
            packing,
            fresh: 0,
            timed_jobs: 0,
            published: vec![None; count as usize],
            bounds,
            waiting: VecDeque::new(),
            later: BTreeSet::new(),
            cancelled: Vec::new(),
            first_published: None,
            confirmed,
            outstanding: HashSet::new(),
            window: None,
            is_closed: false,
            avoided: HashMap::new(),
            campaign_units: HashMap::new(),
            timed: 0,
            time: Duration::ZERO,
            longest: Duration::ZERO,
        };
        let unanswered = units.unanswered(done);
        let is_confirmed = |unit: &u64| units.confirmed.contains(unit);
        let (outstanding, waiting): (Vec<_>, Vec<_>) =
            unanswered.into_iter().partition(is_confirmed);
        let is_touched = |unit: &u64| {
            let (first, end) = units.bounds(*unit).unwrap_or_default();
            units.confirmed.contains(unit) || done[first as usize..end as usize].contains(&true)
        };
        let touched = (0..count).rev().find(is_touched);
        units.fresh = touched.map_or(0, |unit| unit + 1);
        units.outstanding = outstanding.into_iter().collect();
        units.waiting = waiting.into();
        units
    }

    /// Takes what is to be published next, at the time `at`, which is `published_ns` nanoseconds
    /// since 1970. What is not confirmed goes back by [`Units::give_back`].
    pub(crate) fn next(&mut self, at: Instant, published_ns: u64) -> Option<Next> {
        if let Some(batch) = self.cancelled.pop() {
            return Some(Next::CancelBatch(batch));
        }
        while let Some(&(due, unit)) = self.later.first()
            && due <= at
        {
            self.later.pop_first();
            self.put_first(&[unit]);
        }
        loop {
            let number = *self.waiting.front()?;
            let is_full = self
                .window
                .is_some_and(|most| self.outstanding.len() >= most);
            // What is published again takes no other place.
            if is_full && !self.outstanding.contains(&number) {
                return None;
            }
            self.waiting.pop_front();
            // A unit of a campaign that is answered or cancelled is not published again.
            if let Some(unit) = self.unit(number, at, published_ns) {
                self.outstanding.insert(number);
                if !UnitId::of(number).is_of_campaign() {
                    self.fresh = self.fresh.max(number + 1);
                }
                return Some(Next::Unit(Box::new(unit)));
            }
        }
    }

    fn unit(&mut self, number: u64, at: Instant, published_ns: u64) -> Option<WorkUnit> {
        self.first_published.get_or_insert(at);
        if UnitId::of(number).is_of_campaign() {
            let (unit, published) = self.campaign_units.get_mut(&number)?;
            published.get_or_insert(at);
            return Some(WorkUnit {
                published_ns,
                ..unit.clone()
            });
        }
        self.published[number as usize].get_or_insert(at);
        let Manifest { request, run, .. } = &*self.manifest;
        let (first, end) = self.bounds(number)?;
        Some(WorkUnit {
            avoid: self.avoided(number),
            ..request.unit(run, number, first, end, published_ns)
        })
    }

    /// Sets the number of units that may be outstanding.
    pub(crate) fn set_window(&mut self, window: Option<usize>) {
        self.window = window;
    }

    /// The number of units that may be outstanding, if there is a limit.
    #[must_use]
    pub(crate) fn window(&self) -> Option<usize> {
        self.window
    }

    /// Whether more units would be outstanding if the window were larger.
    #[must_use]
    pub(crate) fn wants_more(&self) -> bool {
        !self.waiting.is_empty() || !self.campaign_units.is_empty()
    }

    /// These units were answered.
    pub(crate) fn answered(&mut self, units: &[u64]) {
        for unit in units {
            self.outstanding.remove(unit);
        }
    }

    /// Nothing is to be published any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether nothing is to be published any more.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether nothing is to be published.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.later.is_empty() && self.cancelled.is_empty()
    }

    /// When the next of the units that wait for a time is due.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    /// These were taken, in this order, and the broker has not confirmed them: it may get them
    /// twice.
    pub(crate) fn give_back(&mut self, units: &[u64], cancelled: &[u32]) {
        self.put_first(units);
        self.cancelled.extend(cancelled);
    }

    /// The broker has confirmed a unit. Units of campaigns are not counted.
    pub(crate) fn confirm(&mut self, unit: u64) {
        if !UnitId::of(unit).is_of_campaign() {
            self.confirmed.insert(unit);
        }
    }

    /// Publishes these before all others: they have waited longest.
    pub(crate) fn publish_first(&mut self, units: &[u64]) {
        for unit in units {
            self.confirmed.remove(unit);
        }
        self.put_first(units);
    }

    fn put_first(&mut self, units: &[u64]) {
        let first: HashSet<u64> = units.iter().copied().collect();
        self.waiting.retain(|unit| !first.contains(unit));
        self.later.retain(|(_, unit)| !first.contains(unit));
        for unit in units.iter().rev() {
            self.waiting.push_front(*unit);
        }
    }

    /// Publishes a unit when it is `due`.
    pub(crate) fn publish_later(&mut self, unit: u64, due: Instant) {
        self.confirmed.remove(&unit);
        self.outstanding.remove(&unit);
        self.waiting.retain(|waiting| *waiting != unit);
        self.later.insert((due, unit));
    }

    /// Publishes the units that have a job that is not done, before all others.
    pub(crate) fn publish_unanswered(&mut self, done: &[bool]) {
        let units = self.unanswered(done);
        self.publish_first(&units);
    }

    /// Publishes units of campaigns, before all others.
    pub(crate) fn publish_campaign(&mut self, units: Vec<WorkUnit>) {
        let numbers: Vec<u64> = units.iter().map(|unit| unit.unit).collect();
        let units = units.into_iter().map(|unit| (unit.unit, (unit, None)));
        self.campaign_units.extend(units);
        self.publish_first(&numbers);
    }

    /// Forgets the units of a batch, and publishes its cancellation.
    pub(crate) fn cancel_batch(&mut self, batch: u32) {
        let is_of_batch = |unit: &u64| UnitId::of(*unit).batch == batch;
        self.campaign_units.retain(|unit, _| !is_of_batch(unit));
        self.waiting.retain(|unit| !is_of_batch(unit));
        self.later.retain(|(_, unit)| !is_of_batch(unit));
        self.outstanding.retain(|unit| !is_of_batch(unit));
        self.cancelled.push(batch);
    }

    /// The job of a unit of a campaign, until the unit is answered or cancelled.
    #[must_use]
    pub(crate) fn campaign_job(&self, unit: u64) -> Option<u64> {
        self.campaign_units.get(&unit).map(|(unit, _)| unit.first)
    }

    /// A unit of a campaign is answered: it needs no publication any more.
    pub(crate) fn end_campaign_unit(&mut self, unit: u64) {
        self.campaign_units.remove(&unit);
        self.outstanding.remove(&unit);
    }

    /// When this process first published a unit. Units of campaigns are known only until they are
    /// answered.
    #[must_use]
    pub(crate) fn published_at(&self, unit: u64) -> Option<Instant> {
        if UnitId::of(unit).is_of_campaign() {
            return self.campaign_units.get(&unit)?.1;
        }
        *self.published.get(unit as usize)?
    }

    /// When this process first published a unit at all.
    #[must_use]
    pub(crate) fn first_published(&self) -> Option<Instant> {
        self.first_published
    }

    /// Nodes that must not do this unit.
    #[must_use]
    pub(crate) fn avoided(&self, unit: u64) -> Vec<String> {
        self.avoided.get(&unit).cloned().unwrap_or_default()
    }

    /// Notes the nodes that must not do this unit.
    pub(crate) fn avoid(&mut self, unit: u64, nodes: Vec<String>) {
        self.avoided.insert(unit, nodes);
    }

    /// First job of a unit and the one after its last, if the run has such a unit.
    #[must_use]
    pub(crate) fn bounds(&self, unit: u64) -> Option<(u64, u64)> {
        let unit = usize::try_from(unit).ok()?;
        let end = self.bounds.get(unit.checked_add(1)?)?;
        Some((self.bounds[unit], *end))
    }

    /// Number of units; those of campaigns are not counted.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.published.len() as u64
    }

    /// Number of units that the broker has confirmed, except those that are to be published again.
    #[must_use]
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.len() as u64
    }

    /// Packs the jobs that were never published anew, as far as the measured pace asks for it and
    /// `workers` are there. The result has to be on disk before the next unit is taken.
    pub(crate) fn adapt(&mut self, workers: u32) -> Option<Repacking> {
        let Manifest { request, .. } = &*self.manifest;
        if !self.manifest.is_adaptive() || self.timed_jobs == 0 || self.timed < LEAST_TIMED {
            return None;
        }
        let job_s = self.time.as_secs_f64() / self.timed_jobs as f64;
        let (first, _) = self.bounds(self.fresh)?;
        let left = request.count() - first;
        let packing = self.packing.adapted(request, job_s, left, workers)?;
        let repacking = Repacking {
            from: self.fresh,
            packing,
        };
        repack(&mut self.bounds, &repacking);
        self.packing = packing;
        let (from, count) = (self.fresh, self.bounds.len() as u64 - 1);
        self.published.resize(count as usize, None);
        let is_fresh = |unit: &u64| !UnitId::of(*unit).is_of_campaign() && *unit >= from;
        self.waiting.retain(|unit| !is_fresh(unit));
        self.waiting.extend(from..count);
        Some(repacking)
    }

    /// Notes how long a worker took for a unit of so many jobs.
    pub(crate) fn note_time(&mut self, time: Duration, jobs: u64) {
        self.timed_jobs = self.timed_jobs.saturating_add(jobs);
        self.timed = self.timed.saturating_add(1);
        self.time = self.time.saturating_add(time);
        self.longest = self.longest.max(time);
    }

    /// The longest time that a worker took for a unit.
    #[must_use]
    pub(crate) fn longest_time(&self) -> Duration {
        self.longest
    }

    /// Number of units that have no answer, as far as they were published.
    #[must_use]
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// How long workers take for a unit, on average; nothing before the first answer.
    #[must_use]
    pub(crate) fn mean_time(&self) -> Option<Duration> {
        (self.timed > 0).then(|| self.time / self.timed)
    }

    fn unanswered(&self, done: &[bool]) -> Vec<u64> {
        let jobs = self.bounds.windows(2);
        (0..)
            .zip(jobs)
            .filter(|(_, jobs)| done[jobs[0] as usize..jobs[1] as usize].contains(&false))
            .map(|(unit, _)| unit)
            .collect()
    }
}

/// Packs the jobs from the first one of a unit on anew.
fn repack(bounds: &mut Vec<u64>, repacking: &Repacking) {
    let Some(jobs) = bounds.last().copied() else {
        return;
    };
    let from = usize::try_from(repacking.from).unwrap_or(usize::MAX);
    if from < bounds.len() - 1 {
        let first = bounds[from];
        bounds.truncate(from);
        let tail = repacking.packing.bounds(jobs - first);
        bounds.extend(tail.into_iter().map(|job| first + job));
    }
}

/// Units that are timed before the others are packed anew.
const LEAST_TIMED: u32 = 8;

/// [`Units`] for several threads; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct SharedUnits(Arc<(Mutex<Units>, Notify)>);

impl SharedUnits {
    /// Shares them.
    #[must_use]
    pub(crate) fn new(units: Units) -> Self {
        Self(Arc::new((Mutex::new(units), Notify::new())))
    }

    /// The units, for as long as the guard lives. No call of them blocks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Units> {
        // Each call leaves them whole, whatever thread panics elsewhere.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them and wakes the publisher.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Units)) {
        change(&mut self.lock());
        self.0.1.notify_one();
    }

    /// Waits for the next [`SharedUnits::update`]; at once if there was one since the last call.
    pub(crate) async fn updated(&self) {
        self.0.1.notified().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{FactorJobs, HexInteger, Method, PrimeJobs, VERSION, Work};

    use super::*;
    use crate::request::Request;

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

    /// Five units of two jobs.
    fn units(confirmed: &[u64], done: &[bool]) -> Units {
        let packing = Packing {
            most: 2,
            least: 2,
            workers: 1,
        };
        let confirmed = confirmed.iter().copied().collect();
        Units::new(Arc::new(manifest(10, packing)), &[], confirmed, done)
    }

    fn drain(units: &mut Units) -> Vec<u64> {
        drain_at(units, Instant::now())
    }

    fn drain_at(units: &mut Units, at: Instant) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(Next::Unit(unit)) = units.next(at, 5) {
            numbers.push(unit.unit);
        }
        numbers
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
            work: Work::Factor(FactorJobs {
                numbers: vec![HexInteger(91.into())],
                leave_above: None,
                share: None,
            }),
        }
    }

    #[test]
    fn what_is_neither_confirmed_nor_done_is_published_in_order() {
        assert_eq!(drain(&mut units(&[], &[false; 10])), [0, 1, 2, 3, 4]);
        let mut done = [false; 10];
        done[4..6].fill(true);
        done[9] = true;
        let mut some = units(&[1, 77], &done);
        assert_eq!((some.count(), some.confirmed()), (5, 1));
        assert_eq!(drain(&mut some), [0, 3, 4]);
        assert!(some.is_idle());
    }

    #[test]
    fn a_unit_has_its_jobs_and_the_nodes_to_avoid() {
        let mut all = units(&[], &[false; 10]);
        all.avoid(0, vec!["liar".to_owned()]);
        let at = Instant::now();
        let Some(Next::Unit(unit)) = all.next(at, 5) else {
            panic!()
        };
        assert_eq!(
            (unit.first, unit.work.count(), unit.published_ns),
            (0, 2, 5)
        );
        assert_eq!(unit.avoid, ["liar"]);
        assert_eq!(all.published_at(0), Some(at));
        assert_eq!((all.published_at(1), all.published_at(99)), (None, None));
        all.publish_first(&[0]);
        all.next(at + Duration::from_secs(1), 6);
        assert_eq!(all.published_at(0), Some(at), "the first time counts");
        assert_eq!((all.bounds(4), all.bounds(5)), (Some((8, 10)), None));
        assert_eq!(all.bounds(u64::MAX), None);
    }

    #[test]
    fn units_that_are_published_again_go_first_and_count_once() {
        let mut all = units(&[], &[false; 10]);
        for _ in 0..3 {
            all.next(Instant::now(), 5);
        }
        for unit in 0..3 {
            all.confirm(unit);
        }
        assert_eq!(all.confirmed(), 3);
        all.publish_first(&[1, 4]);
        assert_eq!(all.confirmed(), 2, "unit 1 is to be published again");
        assert_eq!(drain(&mut all), [1, 4, 3]);
        for unit in [1, 4, 3, 1, 1] {
            all.confirm(unit);
        }
        assert_eq!(all.confirmed(), 5);
        let mut done = [true; 10];
        done[3] = false;
        all.publish_unanswered(&done);
        assert_eq!(drain(&mut all), [1]);
    }

    #[test]
    fn what_a_lost_connection_has_not_confirmed_is_published_in_the_same_order() {
        let mut all = units(&[], &[false; 10]);
        all.cancel_batch(7);
        assert_eq!(all.next(Instant::now(), 5), Some(Next::CancelBatch(7)));
        for _ in 0..2 {
            all.next(Instant::now(), 5);
        }
        all.give_back(&[0, 1], &[7]);
        assert_eq!(all.next(Instant::now(), 5), Some(Next::CancelBatch(7)));
        assert_eq!(drain(&mut all), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn units_of_a_campaign_are_published_until_they_are_answered_or_cancelled() {
        let mut all = units(&[], &[true; 10]);
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
        assert_eq!(all.next(Instant::now(), 5), Some(Next::CancelBatch(2)));
        assert_eq!(all.next(Instant::now(), 5), None);
    }

    #[test]
    fn a_window_bounds_what_is_outstanding() {
        let mut all = units(&[4], &[false; 10]);
        all.set_window(Some(3));
        assert_eq!(drain(&mut all), [0, 1], "unit 4 is outstanding from before");
        assert!(all.wants_more() && !all.is_idle());
        all.answered(&[0]);
        assert_eq!(drain(&mut all), [2]);
        // What is published again takes no other place.
        all.publish_first(&[1]);
        assert_eq!(drain(&mut all), [1]);
        // What was handed back is not outstanding meanwhile.
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
    fn a_unit_for_later_waits_for_its_time_and_holds_up_no_other() {
        let mut all = units(&[], &[false; 10]);
        let start = Instant::now();
        let due = start + Duration::from_secs(1);
        all.next(start, 0);
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

    /// A run of a thousand jobs in units of a hundred, of which the first two are published.
    fn adaptive() -> Units {
        let packing = Packing {
            most: 100,
            least: 100,
            workers: 4,
        };
        let manifest = manifest(1000, packing);
        Units::new(Arc::new(manifest), &[], HashSet::new(), &[false; 1000])
    }

    #[test]
    fn what_was_never_published_is_packed_by_the_measured_pace() {
        let mut units = adaptive();
        for _ in 0..2 {
            units.next(Instant::now(), 0);
        }
        assert_eq!(units.adapt(4), None, "nothing is measured");
        // A job takes 50 ms: a full unit has four.
        for _ in 0..8 {
            units.note_time(Duration::from_secs(5), 100);
        }
        let repacking = units.adapt(4).unwrap();
        assert_eq!((repacking.from, repacking.packing.most), (2, 4));
        let count = units.count();
        assert!((202..802).contains(&count), "{count}");
        assert_eq!(
            (units.bounds(1), units.bounds(2)),
            (Some((100, 200)), Some((200, 204)))
        );
        assert_eq!(units.bounds(count - 1).unwrap().1, 1000);
        assert_eq!(units.adapt(4), None, "it is right now");
        let mut jobs = 0;
        while let Some(Next::Unit(unit)) = units.next(Instant::now(), 0) {
            assert_eq!(unit.first, 200 + jobs);
            jobs += unit.work.count();
        }
        assert_eq!(jobs, 800, "each job once");

        // After a crash the numbers mean the same jobs.
        let manifest = Arc::new(manifest(1000, adaptive().packing));
        let confirmed = [0, 1, 5].into_iter().collect();
        let mut done = [false; 1000];
        done[204..208].fill(true);
        let mut again = Units::new(manifest, &[repacking], confirmed, &done);
        assert_eq!(again.count(), count);
        let first = &drain(&mut again)[..4];
        assert_eq!(first, [2, 4, 6, 7], "3 is done, 5 is published");
    }

    #[test]
    fn what_was_published_in_any_session_keeps_its_jobs() {
        let manifest = Arc::new(manifest(1000, adaptive().packing));
        // A queue was lost: nothing counts as confirmed, but job 350 has its result.
        let mut done = [false; 1000];
        done[350] = true;
        let mut units = Units::new(manifest, &[], HashSet::new(), &done);
        for _ in 0..8 {
            units.note_time(Duration::from_secs(5), 100);
        }
        let repacking = units.adapt(4).unwrap();
        assert_eq!(repacking.from, 4);
        assert_eq!(drain(&mut units)[..5], [0, 1, 2, 3, 4]);
    }

    #[test]
    fn runs_of_earlier_versions_and_of_fixed_sizes_stay_as_they_are() {
        let fixed = Packing {
            most: 100,
            least: 100,
            workers: 1,
        };
        let first_version = Manifest {
            version: 1,
            ..manifest(1000, adaptive().packing)
        };
        for manifest in [manifest(1000, fixed), first_version] {
            let mut units = Units::new(Arc::new(manifest), &[], HashSet::new(), &[false; 1000]);
            for _ in 0..8 {
                units.note_time(Duration::from_secs(5), 100);
            }
            assert_eq!(units.adapt(4), None);
        }
    }

    #[test]
    fn the_time_of_a_unit_is_the_mean() {
        let mut all = units(&[], &[false; 10]);
        assert_eq!(all.mean_time(), None);
        all.note_time(Duration::from_secs(1), 2);
        all.note_time(Duration::from_secs(2), 2);
        assert_eq!(all.mean_time(), Some(Duration::from_millis(1500)));
    }
}
