//! The factoring of one hard integer by the pool: its state, and data of this session only.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    time::{Duration, Instant},
};

use primepool_common::message::{Factorization, HexInteger, MAX_AVOIDED, Packet, Share, UnitId};
use primepool_factor::{
    Integer,
    quadratic_sieve::{Added, Collector},
};

use super::{
    answer::{CampaignAnswer, Verdict},
    decide::Decision,
    entry::Entry,
    progress::{StageProgress, TimeLeft},
    state::{CampaignState, StageState},
};
use crate::request::FactoringAims;

/// A unit is replaced if it has no answer after this time and after [`TIMES_A_UNIT`] times the mean
/// time of a unit.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const TIMES_A_UNIT: f64 = 20.0;

/// Time over which the rate of a stage is measured.
const PACE: Duration = Duration::from_secs(30);

/// Samples of the pace before which the time left is not known.
const FEWEST_SAMPLES: usize = 3;

/// A unit to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) unit: UnitId,
    /// The divisor to work on.
    pub(super) number: Integer,
    /// Its share of the stage; `None` is the whole divisor, to be factored as far as one worker
    /// can.
    pub(super) share: Option<Share>,
}

/// One campaign. Its state changes only through entries, and each of them goes to the checkpoint.
#[derive(Debug)]
pub(super) struct Campaign {
    state: CampaignState,
    /// Units that were issued and have no answer, with the time of issue.
    outstanding: HashMap<u32, Instant>,
    /// The last batch that has ended.
    ended_batch: u32,
    /// Whether an answer has ended the current stage; that answer is not in the set of answered
    /// units.
    is_ended_by_answer: bool,
    /// Nodes that are excluded: their answers were wrong, or they cannot do units of the campaign.
    avoid: Vec<String>,
    /// Samples of the progress of the stage: time, curves or relations so far, share of the work.
    pace: VecDeque<(Instant, u64, f64)>,
    /// Smooths the time left of the stage.
    time_left: TimeLeft,
    /// Entries that are not in the checkpoint yet.
    entries: Vec<Entry>,
}

impl Campaign {
    /// A new campaign.
    pub(super) fn new(number: Integer, aims: FactoringAims) -> Self {
        Self {
            state: CampaignState::new(number, aims),
            outstanding: HashMap::new(),
            ended_batch: 0,
            is_ended_by_answer: false,
            avoid: Vec::new(),
            pace: VecDeque::new(),
            time_left: TimeLeft::default(),
            entries: Vec::new(),
        }
    }

    /// Applies an entry from the checkpoint.
    ///
    /// # Errors
    /// The entry does not follow from the earlier ones.
    pub(super) fn replay(&mut self, entry: &Entry) -> Result<(), String> {
        self.state.apply(entry, None).map(|_| ())
    }

    pub(super) fn state(&self) -> &CampaignState {
        &self.state
    }

    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        mem::take(&mut self.entries)
    }

    /// Nodes that are excluded: their answers were wrong, or they cannot do units of the campaign.
    pub(super) fn avoided(&self) -> &[String] {
        &self.avoid
    }

    /// Number of units that were issued and have no answer.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Records how far a single worker has factored the integer.
    pub(super) fn begin(&mut self, found: Factorization, us: u64) {
        if let Some(part) = self.state.current() {
            let of = HexInteger(part.value.clone());
            self.commit(Entry::TakenApart { of, found, us });
        }
    }

    /// Processes an answer. `done`: number of curves or families; `us`: worker time in
    /// microseconds.
    pub(super) fn on_answer(
        &mut self,
        unit: UnitId,
        answer: CampaignAnswer,
        done: u64,
        us: u64,
    ) -> Verdict {
        if unit.batch != self.state.batch {
            return Verdict::Late;
        }
        let entries = match self.state.on_answer(unit.index, answer, done, us) {
            Ok(entries) => entries,
            Err(verdict) => return verdict,
        };
        for entry in entries {
            let verdict = match entry {
                Entry::Relations { .. } => self.commit_relations(entry),
                entry => self.commit(entry),
            };
            if verdict != Verdict::Good {
                // Any client of the broker may have sent a wrong answer, so the unit stays
                // outstanding.
                return verdict;
            }
        }
        self.outstanding.remove(&unit.index);
        self.is_ended_by_answer = matches!(self.state.progress, StageState::Idle);
        Verdict::Good
    }

    fn commit(&mut self, decision: impl Into<Decision>) -> Verdict {
        let Decision { entry, prepared } = decision.into();
        match self.state.apply(&entry, prepared) {
            Ok(_) => {
                if matches!(entry, Entry::Begun { .. }) {
                    self.outstanding.clear();
                    self.pace.clear();
                    self.time_left = TimeLeft::default();
                    self.is_ended_by_answer = false;
                }
                self.entries.push(entry);
                Verdict::Good
            }
            Err(reason) => Verdict::Wrong(reason),
        }
    }

    /// Applies relations. If all of them were known, only their cost is kept.
    fn commit_relations(&mut self, mut entry: Entry) -> Verdict {
        let added = match self.state.apply(&entry, None) {
            Ok(added) => added,
            Err(reason) => return Verdict::Wrong(reason),
        };
        let Added { new, known, wrong } = added;
        if let Entry::Relations { packet, .. } = &mut entry
            && new == 0
        {
            *packet = Packet(Vec::new());
        }
        if new > 0 || (known > 0 && wrong == 0) {
            self.entries.push(entry);
        }
        match (new + known + wrong, wrong) {
            (0, _) => Verdict::Wrong("it has no relations".to_owned()),
            (_, 0) => Verdict::Good,
            (all, wrong) => Verdict::Wrong(format!("{wrong} of {all} relations do not hold")),
        }
    }

    /// Excludes a node from the campaign, since its answer was wrong or it cannot do the unit.
    /// Re-issues the unit once per node; otherwise each forged answer would trigger a new unit.
    /// Returns whether the node is newly excluded.
    pub(super) fn avoid(&mut self, unit: UnitId, node: &str) -> bool {
        let is_new =
            self.avoid.len() < MAX_AVOIDED && !self.avoid.iter().any(|avoided| avoided == node);
        if is_new {
            self.avoid.push(node.to_owned());
            self.outstanding.remove(&unit.index);
        }
        is_new
    }

    /// Begins the next stages where earlier ones are over. Returns the batches to cancel, and the
    /// collector once it has enough relations.
    pub(super) fn advance(
        &mut self,
        mut next_batch: impl FnMut() -> u32,
    ) -> (Vec<u32>, Option<Box<Collector>>) {
        let mut ended = Vec::new();
        while self.state.is_stage_over() {
            ended.extend(self.end_batch());
            let Some(decision) = self.state.next_stage(next_batch()) else {
                break;
            };
            if self.commit(decision) != Verdict::Good {
                break;
            }
        }
        let collector = self.state.lend_collector();
        if collector.is_some() || self.state.is_over() {
            ended.extend(self.end_batch());
        }
        (ended, collector)
    }

    /// Ends the current batch. Returns its number if it must be cancelled, because some units have
    /// no answer.
    fn end_batch(&mut self) -> Option<u32> {
        let CampaignState {
            batch,
            units,
            answered,
            ..
        } = &self.state;
        self.outstanding.clear();
        let answered = answered.len() + usize::from(self.is_ended_by_answer);
        let is_wanted = self.ended_batch != *batch && answered < *units as usize;
        self.ended_batch = *batch;
        is_wanted.then_some(*batch)
    }

    /// Processes the result of the linear algebra. `batch`: number of the next batch of the sieve,
    /// in case no divisor was found.
    pub(super) fn on_solved(
        &mut self,
        collector: Box<Collector>,
        solved: Result<Option<Integer>, String>,
        us: u64,
        batch: u32,
    ) {
        self.state.return_collector(collector);
        if let Some(entry) = self.state.on_solved(solved, us, batch) {
            self.commit(entry);
        }
    }

    /// Gives up every open divisor; returns the batch to cancel, if there is one.
    pub(super) fn give_up(&mut self, reason: &str) -> Option<u32> {
        let batch = self.end_batch();
        for entry in self.state.give_up(reason) {
            self.commit(entry);
        }
        batch
    }

    /// Issues units until `wanted` are outstanding; `workers` workers share the rest of the stage.
    pub(super) fn issue(&mut self, wanted: usize, workers: f64, now: Instant) -> Vec<Issue> {
        let unit_s = self.state.seconds / (self.state.answered.len().max(1) as f64);
        let patience = Duration::from_secs_f64((unit_s * TIMES_A_UNIT).min(1e6)).max(PATIENCE);
        self.outstanding
            .retain(|_, since| now.duration_since(*since) < patience);
        let mut issues = Vec::new();
        while self.outstanding.len() < wanted {
            let next = self.state.next_unit(self.outstanding.len(), workers);
            let (Some((share, entry)), Some(part)) = (next, self.state.current()) else {
                break;
            };
            let (batch, index) = (self.state.batch, self.state.units);
            issues.push(Issue {
                unit: UnitId { batch, index },
                number: part.value.clone(),
                share,
            });
            self.outstanding.insert(index, now);
            self.commit(entry);
        }
        issues
    }

    /// Progress of the current stage.
    pub(super) fn stage_progress(&mut self, now: Instant) -> Option<StageProgress> {
        let bits = self.state.current()?.value.significant_bits();
        let (stage, digits, done, expected): (_, _, u64, u64) = match &self.state.progress {
            StageState::Idle | StageState::TakeApart => ("take-apart", 0, 0, 1),
            StageState::Curves { level, done } => ("ecm", level.digits, *done, level.curves.into()),
            StageState::Sieve(Some(collector)) => {
                ("sieve", 0, collector.relations(), collector.needed())
            }
            StageState::Sieve(None) => ("linear-algebra", 0, 0, 1),
        };
        let share = match &self.state.progress {
            StageState::Sieve(Some(collector)) => collector.share_done(),
            _ => (done as f64 / expected.max(1) as f64).min(1.0),
        };
        self.pace.push_back((now, done, share));
        while self.pace.len() > 2 && now.duration_since(self.pace[1].0) > PACE {
            self.pace.pop_front();
        }
        let (mut rate, mut share_rate) = (0.0, 0.0);
        if let Some(&(at, done_before, share_before)) = self.pace.front() {
            let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
            rate = done.saturating_sub(done_before) as f64 / seconds;
            share_rate = (share - share_before) / seconds;
        }
        let is_known = share_rate > 0.0 && (self.pace.len() > FEWEST_SAMPLES);
        let left_s = is_known.then(|| self.time_left.update((1.0 - share) / share_rate, now));
        Some(StageProgress {
            bits,
            stage,
            digits,
            done,
            expected,
            rate,
            share,
            left_s,
            outstanding: self.outstanding.len(),
        })
    }
}
