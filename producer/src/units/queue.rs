//! The state machine.

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

/// What is to be published next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// A unit. Where its jobs have integers, these are still to be added.
    Jobs {
        /// Number of the unit.
        unit: u64,
        /// Its jobs.
        jobs: Range<u64>,
        /// Nodes that must leave it to others.
        avoid: Vec<String>,
    },
    /// A unit of a campaign.
    Campaign(Box<WorkUnit>),
    /// The cancellation of a batch.
    CancelBatch(u32),
    /// Nothing: first this has to be on disk, so that after a crash no unit that may have been
    /// published is packed anew. Then [`Units::settled`].
    Settle(Repacking),
}

#[cfg(test)]
impl Next {
    /// Number of the unit, if it is one.
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
    /// No unit from this one on was ever published. They are to be published in order, after those
    /// that wait.
    fresh: u64,
    /// Units below this one keep their jobs, also after a crash.
    settled: u64,
    bounds: Bounds,
    /// The work of each job.
    weights: Weights,
    /// Units to publish, in this order, all of them below `fresh` or of campaigns.
    waiting: VecDeque<u64>,
    /// Units to publish once a time has come.
    later: BTreeSet<(Instant, u64)>,
    /// Batches whose cancellation is to be published.
    cancelled: Vec<u32>,
    /// When this process first published each unit that has no results yet.
    published: HashMap<u64, Instant>,
    first_published: Option<Instant>,
    /// Units that the broker has confirmed, unless they are to be published again.
    confirmed: RangeSet<u64>,
    /// Units that are on the broker or with a consumer, as far as is known.
    outstanding: HashSet<u64>,
    /// Most of them; no limit if there is none.
    window: Option<usize>,
    /// Whether nothing is to be published any more.
    is_closed: bool,
    /// Of units with wrong results: the nodes that these came from.
    avoided: HashMap<u64, Vec<String>>,
    /// Nodes that cannot do any unit of the run, the last ones that said so.
    unable: VecDeque<String>,
    /// Units of campaigns, until they are answered or cancelled, and when they were published.
    campaign_units: HashMap<u64, (WorkUnit, Option<Instant>)>,
    /// Answered units since the sizes were last changed, their work, and the time of workers for all
    /// of them.
    timed: u32,
    timed_work: f64,
    time: Duration,
    longest: Duration,
    /// Number of timed units at which the pace is looked at next.
    next_look: u32,
}

impl Units {
    /// The units of `manifest`, of whose jobs the work is `weights`; `confirmed` are published
    /// already. Publishes those of the others that have a job that is not done.
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
        // A damaged journal may name others.
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

    /// Takes what is to be published next, at the time `at`. What is not confirmed goes back by
    /// [`Units::give_back`].
    pub(crate) fn next(&mut self, at: Instant) -> Option<Next> {
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
            let waiting = self.waiting.front().copied();
            let fresh = (self.fresh < self.count()).then_some(self.fresh);
            let number = waiting.or(fresh)?;
            let is_full = self
                .window
                .is_some_and(|most| self.outstanding.len() >= most);
            // What is published again takes no other place.
            if is_full && !self.outstanding.contains(&number) {
                return None;
            }
            if let Some(repacking) = self.unsettled(number) {
                return Some(Next::Settle(repacking));
            }
            if waiting.is_some() {
                self.waiting.pop_front();
            }
            // A unit of a campaign that is answered or cancelled is not published again.
            if let Some(next) = self.publish(number, at) {
                self.outstanding.insert(number);
                return Some(next);
            }
        }
    }

    /// What has to be on disk before a unit is published: that it and some of those after it keep
    /// their jobs. A unit may be with a consumer although its confirmation was never written down.
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

    /// What [`Next::Settle`] gave is on disk.
    pub(crate) fn settled(&mut self, repacking: &Repacking) {
        self.settled = repacking.from;
    }

    /// A unit, as it is published at this time; nothing if it is that of a campaign and over.
    fn publish(&mut self, number: u64, at: Instant) -> Option<Next> {
        if UnitId::of(number).is_of_campaign() {
            let (unit, published) = self.campaign_units.get_mut(&number)?;
            published.get_or_insert(at);
            self.first_published.get_or_insert(at);
            return Some(Next::Campaign(Box::new(unit.clone())));
        }
        self.first_published.get_or_insert(at);
        self.published.entry(number).or_insert(at);
        self.fresh = self.fresh.max(number + 1);
        let (first, end) = self.bounds(number)?;
        Some(Next::Jobs {
            unit: number,
            jobs: first..end,
            avoid: self.avoided(number),
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
        self.has_more() || !self.campaign_units.is_empty()
    }

    /// Whether a unit could be published now.
    fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.fresh < self.count()
    }

    /// These units were answered.
    pub(crate) fn answered(&mut self, units: &[u64]) {
        for unit in units {
            self.outstanding.remove(unit);
        }
    }

    /// These units have their results.
    pub(crate) fn forget(&mut self, units: impl Iterator<Item = u64>) {
        for unit in units {
            self.published.remove(&unit);
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
        !self.has_more() && self.later.is_empty() && self.cancelled.is_empty()
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
        if unit < self.count() {
            self.confirmed.insert(unit..unit + 1);
        }
    }

    /// Publishes these before all others: they have waited longest. Those that were never published
    /// have their turn still.
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

    /// Whether a unit is one of the run that was never published.
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

    /// Publishes a unit when it is `due`, if it was published before.
    pub(crate) fn publish_later(&mut self, unit: u64, due: Instant) {
        if self.is_fresh(unit) {
            return;
        }
        self.unconfirm(unit);
        self.outstanding.remove(&unit);
        self.waiting.retain(|waiting| *waiting != unit);
        self.later.insert((due, unit));
    }

    /// Publishes the units that were published and have a job that is not done, before all others.
    pub(crate) fn publish_unanswered(&mut self, done: &JobSet) {
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

    /// When this process first published a unit; nothing once it has its results.
    #[must_use]
    pub(crate) fn published_at(&self, unit: u64) -> Option<Instant> {
        if UnitId::of(unit).is_of_campaign() {
            return self.campaign_units.get(&unit)?.1;
        }
        self.published.get(&unit).copied()
    }

    /// When this process first published a unit at all.
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

    /// Notes a node that cannot do any unit of the run. Says whether that is new.
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

    /// Notes the nodes that must not do this unit.
    pub(crate) fn avoid(&mut self, unit: u64, nodes: Vec<String>) {
        self.avoided.insert(unit, nodes);
    }

    /// First job of a unit and the one after its last, if the run has such a unit.
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

    /// Number of units that the broker has confirmed, except those that are to be published again.
    #[must_use]
    pub(crate) fn confirmed(&self) -> u64 {
        let ranges = self.confirmed.iter();
        ranges.map(|units| units.end - units.start).sum()
    }

    /// Packs the jobs that were never published anew, as far as the measured pace asks for it and
    /// `workers` are there. The result has to be on disk before the next unit is taken.
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
        // The past counts as one unit of the new size.
        (self.timed, self.timed_work) = (1, packing.most as f64);
        self.time = Duration::try_from_secs_f64(job_s * self.timed_work).unwrap_or(Duration::MAX);
        self.next_look = LEAST_TIMED;
        (self.packing, self.settled) = (packing, self.fresh);
        Some(repacking)
    }

    /// Whether so many more units were timed that the pace is known better than before. Says so once.
    pub(crate) fn has_new_pace(&mut self) -> bool {
        let is_new = self.timed >= self.next_look;
        if is_new {
            self.next_look = self.timed.saturating_mul(2);
        }
        is_new
    }

    /// Notes how long a worker took for these jobs; those of a campaign's unit count as none.
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

    /// How many things it keeps in memory.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let sets = self.outstanding.len() + self.campaign_units.len() + self.avoided.len();
        let queues = self.waiting.len() + self.later.len() + self.cancelled.len();
        sets + queues + self.published.len() + self.confirmed.len()
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
            // The unit that two gaps are in counts once.
            let from = units.last().map_or(first, |unit: &u64| first.max(unit + 1));
            units.extend(from..=last);
        }
        units
    }
}

/// Packs the jobs from the first one of a unit on anew.
fn repack(bounds: &mut Bounds, weights: &Weights, repacking: &Repacking) {
    if repacking.from < bounds.units() {
        bounds.truncate(repacking.from);
        repacking.packing.extend(bounds, weights);
    }
}

/// Units that are timed before the others are packed anew.
const LEAST_TIMED: u32 = 8;

/// Units whose jobs are settled at a time, at the least: each time is a write to the disk.
const LEAST_SETTLED: usize = 32;
