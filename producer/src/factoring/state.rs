//! The state of a campaign, which depends on nothing but its entries.

use std::collections::{BTreeMap, HashSet};

use primepool_common::message::{Factorization, HexInteger, Power, StageCost};
use primepool_factor::{
    Integer,
    quadratic_sieve::{self, Added, Collector, RELATIONS_FORM, Start},
    spread::{self, Level},
};

use super::entry::{Entry, Stage};
use crate::request::FactoringAims;

/// A divisor not yet known to be prime.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) value: Integer,
    pub(super) exponent: u32,
    /// Whether one worker has already factored it as far as it can alone; it is a composite then.
    pub(super) is_hard: bool,
}

/// Progress of the work on the current divisor, the last of the open ones.
#[derive(Debug)]
pub(super) enum StageState {
    /// No stage has begun.
    Idle,
    TakeApart,
    Curves {
        level: Level,
        /// Number of curves done.
        done: u64,
    },
    /// The sieve; `None` while the linear algebra has the collector.
    Sieve(Option<Box<Collector>>),
}

/// The state of one campaign. Only [`CampaignState::apply`] changes it, except that the collector
/// is lent to the linear algebra.
#[derive(Debug)]
pub(super) struct CampaignState {
    pub(super) number: Integer,
    pub(super) aims: FactoringAims,
    pub(super) primes: BTreeMap<Integer, u32>,
    /// Divisors to work on; the last one is the current one.
    pub(super) open: Vec<Part>,
    /// Composites that were given up.
    left: Vec<(Integer, u32)>,
    /// Why the first of them was given up.
    reason: Option<String>,
    costs: Vec<StageCost>,
    pub(super) progress: StageState,
    /// Number of the current batch of the stage; 0 before the first.
    pub(super) batch: u32,
    /// Number of units of this batch that were issued.
    pub(super) units: u32,
    /// Curves or families assigned so far (exclusive upper bound).
    pub(super) upto: u64,
    /// Indices of units of this batch that were answered.
    pub(super) answered: HashSet<u32>,
    /// Number of curves or families of this stage that were answered.
    pub(super) done: f64,
    /// Worker time for them.
    pub(super) seconds: f64,
    /// Number of consecutive failed answers.
    pub(super) failures: u32,
}

impl CampaignState {
    pub(super) fn new(number: Integer, aims: FactoringAims) -> Self {
        Self {
            open: vec![Part {
                value: Integer::from(number.abs_ref()),
                exponent: 1,
                is_hard: false,
            }],
            number,
            aims,
            primes: BTreeMap::new(),
            left: Vec::new(),
            reason: None,
            costs: Vec::new(),
            progress: StageState::Idle,
            batch: 0,
            units: 0,
            upto: 0,
            answered: HashSet::new(),
            done: 0.0,
            seconds: 0.0,
            failures: 0,
        }
    }

    /// The current divisor, if one is open.
    pub(super) fn current(&self) -> Option<&Part> {
        self.open.last()
    }

    /// Whether no divisor is open.
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Worker time so far, in microseconds.
    pub(super) fn spent_us(&self) -> u64 {
        let spent = self.costs.iter().map(|cost| cost.us);
        spent.fold(0, u64::saturating_add)
    }

    /// The factorisation as far as it is known.
    pub(super) fn factorization(&self) -> Factorization {
        let mut composites: BTreeMap<&Integer, u32> = BTreeMap::new();
        for (value, exponent) in &self.left {
            let known = composites.entry(value).or_default();
            *known = known.saturating_add(*exponent);
        }
        let power = |(value, exponent): (&Integer, u32)| Power(HexInteger(value.clone()), exponent);
        Factorization {
            factors: self.primes.iter().map(|(p, e)| power((p, *e))).collect(),
            composites: composites.into_iter().map(power).collect(),
            reason: self.reason.clone(),
            stages: self.costs.clone(),
        }
    }

    /// Takes the collector out when it has enough relations.
    pub(super) fn lend_collector(&mut self) -> Option<Box<Collector>> {
        match &mut self.progress {
            StageState::Sieve(collector) => collector.take_if(|collector| collector.is_ready()),
            _ => None,
        }
    }

    /// Puts the collector back.
    pub(super) fn return_collector(&mut self, collector: Box<Collector>) {
        if let StageState::Sieve(place) = &mut self.progress {
            *place = Some(collector);
        }
    }

    /// Applies an entry, either a new one or one from the checkpoint. Returns what became of the
    /// relations in it. `prepared`: the collector of a sieve that begins, if it exists already.
    ///
    /// # Errors
    /// The entry does not follow from the earlier ones; the state is unchanged then.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        prepared: Option<Box<Collector>>,
    ) -> Result<Added, String> {
        match entry {
            Entry::TakenApart { of, found, us } => self.taken_apart(&of.0, found, *us)?,
            Entry::Begun {
                batch,
                of,
                stage,
                us,
            } => {
                self.begun(*batch, &of.0, *stage, prepared)?;
                self.add_cost("linear-algebra", *us, 0);
            }
            Entry::Issued { units, upto } => {
                self.units = *units;
                self.upto = *upto;
            }
            Entry::Curves { unit, done, us } => {
                self.answer(*unit, *done, *us);
                self.add_cost("ecm", *us, *done);
                if let StageState::Curves { done: all, .. } = &mut self.progress {
                    *all = all.saturating_add(*done);
                }
            }
            Entry::Relations {
                unit,
                families,
                us,
                packet,
            } => return self.relations(*unit, *families, *us, &packet.0),
            Entry::Failed { unit, us } => {
                self.answered.insert(*unit);
                self.failures += 1;
                self.add_cost("failed", *us, 0);
            }
            Entry::Split { of, divisor, us } => self.split(&of.0, &divisor.0, *us)?,
            Entry::Left { of, reason, us } => {
                let part = self.close(&of.0)?;
                self.left.push((part.value, part.exponent));
                self.reason.get_or_insert_with(|| reason.clone());
                self.add_cost("linear-algebra", *us, 0);
            }
        }
        Ok(Added::default())
    }

    fn taken_apart(&mut self, of: &Integer, found: &Factorization, us: u64) -> Result<(), String> {
        let part = self.close(of)?;
        for cost in &found.stages {
            self.add_cost(&cost.stage, cost.us, cost.count);
        }
        let staged = found.stages.iter().map(|cost| cost.us);
        let staged = staged.fold(0, u64::saturating_add);
        self.add_cost("overhead", us.saturating_sub(staged), 0);
        for Power(prime, exponent) in &found.factors {
            let known = self.primes.entry(prime.0.clone()).or_default();
            *known = known.saturating_add(exponent.saturating_mul(part.exponent));
        }
        for Power(value, exponent) in &found.composites {
            let exponent = exponent.saturating_mul(part.exponent);
            if found.is_left_to_pool() {
                self.open.push(Part {
                    value: value.0.clone(),
                    exponent,
                    is_hard: true,
                });
            } else {
                self.left.push((value.0.clone(), exponent));
                let reason = found.reason.clone().unwrap_or_default();
                self.reason.get_or_insert(reason);
            }
        }
        Ok(())
    }

    fn begun(
        &mut self,
        batch: u32,
        of: &Integer,
        stage: Stage,
        prepared: Option<Box<Collector>>,
    ) -> Result<(), String> {
        let part = self.current().filter(|part| part.value == *of);
        let part = part.ok_or("a stage of no divisor")?;
        let goes_on = matches!(
            (&self.progress, stage),
            (StageState::Sieve(Some(_)), Stage::Sieve)
        );
        if !goes_on {
            self.progress = match stage {
                Stage::TakeApart => StageState::TakeApart,
                Stage::Curves { digits } => {
                    let bits = part.value.significant_bits();
                    let level = spread::level(bits, self.aims.effort, digits);
                    let level = level.ok_or("an unknown level of curves")?;
                    StageState::Curves { level, done: 0 }
                }
                Stage::Sieve => StageState::Sieve(Some(match prepared {
                    Some(collector) => collector,
                    None => match Collector::start(of).map_err(|error| error.to_string())? {
                        Start::Ready(collector) => collector,
                        Start::Divisor(_) => return Err("a sieve of this divisor".to_owned()),
                    },
                })),
            };
            self.upto = 0;
            self.done = 0.0;
            self.seconds = 0.0;
        }
        self.batch = batch;
        self.units = 0;
        self.failures = 0;
        self.answered.clear();
        Ok(())
    }

    /// Adds a packet. It counts if it has new relations, or if all of its relations are valid.
    fn relations(
        &mut self,
        unit: u32,
        families: u64,
        us: u64,
        packet: &[u8],
    ) -> Result<Added, String> {
        let StageState::Sieve(Some(collector)) = &mut self.progress else {
            return Err("relations without a sieve".to_owned());
        };
        // Relations in the format of an earlier version are unusable. Their families are lost, but
        // no others.
        if quadratic_sieve::form(packet).is_some_and(|form| form < RELATIONS_FORM) {
            self.add_cost("sieve", us, 0);
            self.answered.insert(unit);
            return Ok(Added::default());
        }
        let added = if packet.is_empty() {
            Added::default()
        } else {
            collector.add(packet)
        };
        let all_known = added.known > 0 && added.wrong == 0;
        if packet.is_empty() || added.new > 0 || all_known {
            self.add_cost("sieve", us, added.new);
            if added.wrong == 0 {
                self.answer(unit, families, us);
            }
        }
        Ok(added)
    }

    fn split(&mut self, of: &Integer, divisor: &Integer, us: u64) -> Result<(), String> {
        let is_proper = *divisor > 1 && *divisor < *of && of.is_divisible(divisor);
        if !is_proper {
            return Err("a divisor that does not divide".to_owned());
        }
        let stage = match self.progress {
            StageState::Curves { .. } => "ecm",
            _ => "linear-algebra",
        };
        let part = self.close(of)?;
        let cofactor = Integer::from(part.value.div_exact_ref(divisor));
        for value in [divisor.clone(), cofactor] {
            self.open.push(Part {
                value,
                exponent: part.exponent,
                is_hard: false,
            });
        }
        self.add_cost(stage, us, 0);
        Ok(())
    }

    /// Removes the current divisor from the open ones; it must be `value`.
    fn close(&mut self, value: &Integer) -> Result<Part, String> {
        let part = self.open.pop_if(|part| part.value == *value);
        let part = part.ok_or_else(|| "a divisor that is not worked on".to_owned())?;
        self.progress = StageState::Idle;
        Ok(part)
    }

    fn answer(&mut self, unit: u32, done: u64, us: u64) {
        self.answered.insert(unit);
        self.failures = 0;
        self.done += done as f64;
        self.seconds += us as f64 / 1e6;
    }

    fn add_cost(&mut self, stage: &str, us: u64, count: u64) {
        if us == 0 && count == 0 {
            return;
        }
        if let Some(cost) = self.costs.iter_mut().find(|cost| cost.stage == stage) {
            cost.us = cost.us.saturating_add(us);
            cost.count = cost.count.saturating_add(count);
        } else {
            self.costs.push(StageCost {
                stage: stage.to_owned(),
                us,
                count,
            });
        }
    }
}

#[cfg(test)]
impl CampaignState {
    /// The comparable parts of the state, as text.
    pub(super) fn snapshot(&self) -> String {
        let mut answered: Vec<_> = self.answered.iter().collect();
        answered.sort_unstable();
        format!(
            "{:?} {:?} {answered:?} {:?}",
            self.factorization(),
            self.open,
            (
                &self.progress,
                self.batch,
                self.units,
                self.upto,
                self.done,
                self.seconds,
                self.failures,
            )
        )
    }
}
