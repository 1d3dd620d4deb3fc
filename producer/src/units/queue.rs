//! The state machine that decides which unit to publish next.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use primepool_common::message::{MAX_AVOIDED, UnitId, WorkUnit};
use rangemap::RangeSet;

use crate::{
    request::{Bounds, MAX_UNITS, Packing, Weights},
    run_dir::{JobSet, Manifest, Repacking},
};

/// The next action of the publisher.
#[derive(Debug, PartialEq)]
pub(crate) enum PublisherAction {
    /// Publish a unit; if its jobs need integers, the publisher adds them.
    Jobs {
        /// Number of the unit.
        unit: u64,
        /// Its jobs.
        jobs: Range<u64>,
        /// Nodes that must not do the unit.
        avoid: Vec<String>,
    },
    /// Publish a unit of a campaign.
    Campaign(Box<WorkUnit>),
    /// Publish the cancellation of a batch.
    CancelBatch(u32),
    /// Publish nothing yet: write this to disk first, so that after a crash no unit that may have
    /// been published is repacked. Then call [`Units::settled`].
    Settle(Repacking),
}

#[cfg(test)]
impl PublisherAction {
    /// Number of the unit, if there is one.
    pub(crate) fn unit(&self) -> Option<u64> {
        match self {
            Self::Jobs { unit, .. } => Some(*unit),
            Self::Campaign(unit) => Some(unit.unit),
            Self::CancelBatch(_) | Self::Settle(_) => None,
        }
    }
}

/// The units of a run, as a state machine.
#[derive(Debug)]
pub(crate) struct Units {
    manifest: Arc<Manifest>,
    /// Sizes of the units that are not published yet.
    packing: Packing,
    /// First unit that was never published, like all units after it. These are published in order,
    /// after the waiting ones.
    fresh: u64,
    /// Units below this one keep their jobs, even after a crash.
    settled: u64,
    bounds: Bounds,
    /// Work of each job.
    weights: Weights,
    /// Units to publish, in this order; all are below `fresh` or belong to campaigns.
    waiting: VecDeque<u64>,
    /// Units to publish at a later time.
    later: BTreeSet<(Instant, u64)>,
    /// Batches whose cancellation must be published.
    cancelled: Vec<u32>,
    /// When this process first published each unit that has no results yet.
    published: HashMap<u64, Instant>,
    first_published: Option<Instant>,
    /// Units that the broker has confirmed, except those that must be published again.
    confirmed: RangeSet<u64>,
    /// Units that are presumably in a queue or with a consumer.
    outstanding: HashSet<u64>,
    /// Largest number of outstanding units; `None` is no limit.
    window: Option<usize>,
    /// Whether publishing has ended for good.
    is_closed: bool,
    /// For each unit with wrong results, the nodes that sent them.
    avoided: HashMap<u64, Vec<String>>,
    /// Nodes that cannot do any unit of the run, such as those of older versions; only the latest
    /// are kept.
    unable: VecDeque<String>,
    /// Units of campaigns until they are answered or cancelled, with the time of their publication.
    campaign_units: HashMap<u64, (WorkUnit, Option<Instant>)>,
    /// Units that were answered since the sizes were last changed. The next two fields are their
    /// total work and the total time of the workers for it.
    timed: u32,
    timed_work: f64,
    time: Duration,
    longest: Duration,
    /// Number of timed units at which the pace is evaluated next.
    next_look: u32,
}

impl Units {
    /// The units of `manifest`. `weights`: work of the jobs; `confirmed`: units that are published
    /// already. Every other unit is published if one of its jobs is not in `done`.
    #[must_use]
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        weights: Weights,
        repackings: &[Repacking],
        mut confirmed: RangeSet<u64>,
        done: &JobSet,
    ) -> Self {
        let mut bounds = Bounds::from(0);
        manifest.packing.extend(&mut bounds, &weights);
        let (mut packing, mut settled) = (manifest.packing, 0);
        for repacking in repackings {
            repack(&mut bounds, &weights, repacking);
            (packing, settled) = (repacking.packing, repacking.from);
        }
        let count = bounds.units();
        // A damaged journal may name units that do not exist.
        confirmed.remove(count..u64::MAX);
        let last_confirmed = confirmed.last().map(|units| units.end - 1);
        let last_begun = done.last().and_then(|job| bounds.unit_of(job));
        let touched = last_confirmed.max(last_begun).map_or(0, |unit| unit + 1);
        let mut units = Self {
            manifest,
            packing,
            fresh: touched.max(settled).min(count),
            settled,
            timed_work: 0.0,
            weights,
            published: HashMap::new(),
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
            unable: VecDeque::new(),
            campaign_units: HashMap::new(),
            timed: 0,
            time: Duration::ZERO,
            longest: Duration::ZERO,
            next_look: LEAST_TIMED,
        };
        let unanswered = units.unanswered(done);
        for unit in unanswered {
            if units.confirmed.contains(&unit) {
                units.outstanding.insert(unit);
            } else {
                units.waiting.push_back(unit);
            }
        }
        units
    }

    /// Takes the next action at time `at`. Units and cancellations that the broker does not confirm
    /// must be returned with [`Units::give_back`].
    pub(crate) fn next(&mut self, at: Instant) -> Option<PublisherAction> {
        if let Some(batch) = self.cancelled.pop() {
            return Some(PublisherAction::CancelBatch(batch));
        }
        while let Some(&(due, unit)) = self.later.first()
            && due <= at
        {
            self.later.pop_first();
            self.put_first(&[unit]);
        }
        loop {
            let waiting = self.waiting.front().copied();
            let fresh = (self.fresh < self.count()).then_some(self.fresh);
            let number = waiting.or(fresh)?;
            let is_full = self
                .window
                .is_some_and(|most| self.outstanding.len() >= most);
            // A unit that is published again is counted in the window already.
            if is_full && !self.outstanding.contains(&number) {
                return None;
            }
            if let Some(repacking) = self.unsettled(number) {
                return Some(PublisherAction::Settle(repacking));
            }
            if waiting.is_some() {
                self.waiting.pop_front();
            }
            // A campaign's unit that was answered or cancelled is skipped.
            if let Some(next) = self.publish(number, at) {
                self.outstanding.insert(number);
                return Some(next);
            }
        }
    }

    /// The record that must be on disk before unit `number` is published: this unit and some units
    /// after it keep their jobs. A consumer may have a unit although its confirmation was never
    /// recorded.
    fn unsettled(&self, number: u64) -> Option<Repacking> {
        let may_change = self.manifest.is_adaptive() && !UnitId::of(number).is_of_campaign();
        (may_change && number >= self.settled).then(|| {
            let ahead = self.window.unwrap_or(usize::MAX).max(LEAST_SETTLED) as u64;
            Repacking {
                from: number.saturating_add(ahead).min(self.count()),
                packing: self.packing,
            }
        })
    }

    /// Records that the repacking from [`PublisherAction::Settle`] is on disk.
    pub(crate) fn settled(&mut self, repacking: &Repacking) {
        self.settled = repacking.from;
    }

    /// Marks a unit as published at time `at`; `None` if it is a campaign's unit that was answered
    /// or cancelled.
    fn publish(&mut self, number: u64, at: Instant) -> Option<PublisherAction> {
        if UnitId::of(number).is_of_campaign() {
            let (unit, published) = self.campaign_units.get_mut(&number)?;
            published.get_or_insert(at);
            self.first_published.get_or_insert(at);
            return Some(PublisherAction::Campaign(Box::new(unit.clone())));
        }
        self.first_published.get_or_insert(at);
        self.published.entry(number).or_insert(at);
        self.fresh = self.fresh.max(number + 1);
        let (first, end) = self.bounds(number)?;
        Some(PublisherAction::Jobs {
            unit: number,
            jobs: first..end,
            avoid: self.avoided(number),
        })
    }

    /// Sets the largest number of outstanding units.
    pub(crate) fn set_window(&mut self, window: Option<usize>) {
        self.window = window;
    }

    /// The largest number of outstanding units; `None` is no limit.
    #[must_use]
    pub(crate) fn window(&self) -> Option<usize> {
        self.window
    }

    /// Whether a larger window would allow more outstanding units.
    #[must_use]
    pub(crate) fn wants_more(&self) -> bool {
        self.has_more() || !self.campaign_units.is_empty()
    }

    /// Whether there is a unit to publish, regardless of the window.
    fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.fresh < self.count()
    }

    /// Records that these units were answered.
    pub(crate) fn answered(&mut self, units: &[u64]) {
        for unit in units {
            self.outstanding.remove(unit);
        }
    }

    /// Drops the publication times of units whose results are known.
    pub(crate) fn forget(&mut self, units: impl Iterator<Item = u64>) {
        for unit in units {
            self.published.remove(&unit);
        }
    }

    /// Ends publishing for good.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether publishing has ended for good.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether there is nothing to publish, now or at a later time.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_more() && self.later.is_empty() && self.cancelled.is_empty()
    }

    /// When the next delayed unit is due.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    /// Returns units and cancellations that were taken, in this order, but not confirmed. The
    /// broker may receive them twice.
    pub(crate) fn give_back(&mut self, units: &[u64], cancelled: &[u32]) {
        self.put_first(units);
        self.cancelled.extend(cancelled);
    }

    /// Records that the broker has confirmed a unit. Units of campaigns are not counted.
    pub(crate) fn confirm(&mut self, unit: u64) {
        if unit < self.count() {
            self.confirmed.insert(unit..unit + 1);
        }
    }

    /// Publishes these units before all others, since they have waited longest. Units that were
    /// never published keep their place in the order.
    pub(crate) fn publish_first(&mut self, units: &[u64]) {
        for unit in units {
            self.unconfirm(*unit);
        }
        self.put_first(units);
    }

    fn unconfirm(&mut self, unit: u64) {
        if unit < self.count() {
            self.confirmed.remove(unit..unit + 1);
        }
    }

    /// Whether a unit was never published; a campaign's unit does not count.
    fn is_fresh(&self, unit: u64) -> bool {
        !UnitId::of(unit).is_of_campaign() && unit >= self.fresh
    }

    fn put_first(&mut self, units: &[u64]) {
        let first: HashSet<u64> = units.iter().copied().collect();
        self.waiting.retain(|unit| !first.contains(unit));
        self.later.retain(|(_, unit)| !first.contains(unit));
        for unit in units.iter().rev() {
            if !self.is_fresh(*unit) {
                self.waiting.push_front(*unit);
            }
        }
    }

    /// Publishes a unit again at time `due`; does nothing if it was never published.
    pub(crate) fn publish_later(&mut self, unit: u64, due: Instant) {
        if self.is_fresh(unit) {
            return;
        }
        self.unconfirm(unit);
        self.outstanding.remove(&unit);
        self.waiting.retain(|waiting| *waiting != unit);
        self.later.insert((due, unit));
    }

    /// Publishes again, before all others, the units that were published and have a job that is not
    /// done.
    pub(crate) fn publish_unanswered(&mut self, done: &JobSet) {
        let units = self.unanswered(done);
        self.publish_first(&units);
    }

    /// Publishes units of campaigns before all others.
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

    /// The job of a campaign's unit; `None` once the unit was answered or cancelled.
    #[must_use]
    pub(crate) fn campaign_job(&self, unit: u64) -> Option<u64> {
        self.campaign_units.get(&unit).map(|(unit, _)| unit.first)
    }

    /// Records that a campaign's unit was answered and needs no further publication.
    pub(crate) fn end_campaign_unit(&mut self, unit: u64) {
        self.campaign_units.remove(&unit);
        self.outstanding.remove(&unit);
    }

    /// When this process first published a unit; `None` once its results are known.
    #[must_use]
    pub(crate) fn published_at(&self, unit: u64) -> Option<Instant> {
        if UnitId::of(unit).is_of_campaign() {
            return self.campaign_units.get(&unit)?.1;
        }
        self.published.get(&unit).copied()
    }

    /// When this process first published any unit.
    #[must_use]
    pub(crate) fn first_published(&self) -> Option<Instant> {
        self.first_published
    }

    /// Nodes that must not do this unit, at most [`MAX_AVOIDED`].
    #[must_use]
    pub(crate) fn avoided(&self, unit: u64) -> Vec<String> {
        let mut nodes = self.wrong_nodes(unit);
        for node in self.unable.iter().rev() {
            if nodes.len() < MAX_AVOIDED && !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        nodes
    }

    /// Nodes whose results for this unit were wrong.
    #[must_use]
    pub(crate) fn wrong_nodes(&self, unit: u64) -> Vec<String> {
        self.avoided.get(&unit).cloned().unwrap_or_default()
    }

    /// Records a node that cannot do any unit of the run. Returns whether it was unknown before.
    pub(crate) fn note_unable(&mut self, node: &str) -> bool {
        let before = self.unable.len();
        self.unable.retain(|known| known != node);
        let is_new = self.unable.len() == before;
        if self.unable.len() == MAX_AVOIDED {
            self.unable.pop_front();
        }
        self.unable.push_back(node.to_owned());
        is_new
    }

    /// Sets the nodes whose results for this unit were wrong.
    pub(crate) fn avoid(&mut self, unit: u64, nodes: Vec<String>) {
        self.avoided.insert(unit, nodes);
    }

    /// First job of a unit and the job after its last one, if the run has such a unit.
    #[must_use]
    pub(crate) fn bounds(&self, unit: u64) -> Option<(u64, u64)> {
        let jobs = self.bounds.jobs(unit)?;
        Some((jobs.start, jobs.end))
    }

    /// Number of units; those of campaigns are not counted.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.bounds.units()
    }

    /// Number of units that the broker has confirmed, except those that must be published again.
    #[must_use]
    pub(crate) fn confirmed(&self) -> u64 {
        let ranges = self.confirmed.iter();
        ranges.map(|units| units.end - units.start).sum()
    }

    /// Repacks the jobs that were never published, if the measured pace and the number of `workers`
    /// require other sizes. The repacking must be on disk before the next unit is taken.
    pub(crate) fn adapt(&mut self, workers: u32) -> Option<Repacking> {
        let Manifest { request, .. } = &*self.manifest;
        if !self.manifest.is_adaptive() || self.timed_work <= 0.0 || self.timed < LEAST_TIMED {
            return None;
        }
        let job_s = self.time.as_secs_f64() / self.timed_work;
        let (first, _) = self.bounds(self.fresh)?;
        let left = self.weights.of(first..request.count());
        let packing = self.packing.adapted(request, job_s, left, workers)?;
        let repacking = Repacking {
            from: self.fresh,
            packing,
        };
        let mut bounds = self.bounds.clone();
        repack(&mut bounds, &self.weights, &repacking);
        if bounds.units() > MAX_UNITS {
            return None;
        }
        self.bounds = bounds;
        // The measurements so far count as one unit of the new size.
        (self.timed, self.timed_work) = (1, packing.most as f64);
        self.time = Duration::try_from_secs_f64(job_s * self.timed_work).unwrap_or(Duration::MAX);
        self.next_look = LEAST_TIMED;
        (self.packing, self.settled) = (packing, self.fresh);
        Some(repacking)
    }

    /// Whether the number of timed units has doubled since the last time that this returned `true`.
    pub(crate) fn has_new_pace(&mut self) -> bool {
        let is_new = self.timed >= self.next_look;
        if is_new {
            self.next_look = self.timed.saturating_mul(2);
        }
        is_new
    }

    /// Records the time that a worker took for a unit with these jobs. For a campaign's unit the
    /// range is empty.
    pub(crate) fn note_time(&mut self, time: Duration, jobs: Range<u64>) {
        self.timed_work += self.weights.of(jobs);
        self.timed = self.timed.saturating_add(1);
        self.time = self.time.saturating_add(time);
        self.longest = self.longest.max(time);
    }

    /// The longest time that a worker took for a unit.
    #[must_use]
    pub(crate) fn longest_time(&self) -> Duration {
        self.longest
    }

    /// Number of entries in memory.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let sets = self.outstanding.len() + self.campaign_units.len() + self.avoided.len();
        let queues = self.waiting.len() + self.later.len() + self.cancelled.len();
        sets + queues + self.published.len() + self.confirmed.len()
    }

    /// Number of units that were published and have no answer.
    #[must_use]
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Mean time that a worker takes for a unit; `None` before the first answer.
    #[must_use]
    pub(crate) fn mean_time(&self) -> Option<Duration> {
        (self.timed > 0).then(|| self.time / self.timed)
    }

    /// Units that were published and have a job that is not done.
    fn unanswered(&self, done: &JobSet) -> Vec<u64> {
        let end = self.bounds.jobs(self.fresh).map(|jobs| jobs.start);
        let end = end.unwrap_or(self.bounds.end());
        let mut units = Vec::new();
        for jobs in done.missing_of(&(0..end)) {
            let [first, last] = [jobs.start, jobs.end - 1].map(|job| self.bounds.unit_of(job));
            let (Some(first), Some(last)) = (first, last) else {
                continue;
            };
            // A unit that contains two gaps counts once.
            let from = units.last().map_or(first, |unit: &u64| first.max(unit + 1));
            units.extend(from..=last);
        }
        units
    }
}

/// Repacks the jobs from the first unit of `repacking` on.
fn repack(bounds: &mut Bounds, weights: &Weights, repacking: &Repacking) {
    if repacking.from < bounds.units() {
        bounds.truncate(repacking.from);
        repacking.packing.extend(bounds, weights);
    }
}

/// Number of units that must be timed before a repacking.
const LEAST_TIMED: u32 = 8;

/// Smallest number of units that are settled at a time, since each time needs a write to disk.
const LEAST_SETTLED: usize = 32;
