//! One hard integer, from what a single worker has left of it to its prime factors.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem,
    time::{Duration, Instant},
};

use primepool_common::message::{
    Factorization, GROUP_UNITS, HexInteger, MAX_SHARE, Power, Share, StageCost,
};
use primepool_engine::{
    Integer,
    factor::{
        MAX_CURVE_BITS, MAX_SIEVE_BITS,
        spread::{self, Added, Collector, Level, Start},
    },
};

use super::checkpoint::{Entry, Stage};

/// Longest time of a worker for a unit, in seconds, that the sizes of units aim at; and the shortest.
const UNIT_SECONDS: (f64, f64) = (0.1, 10.0);

/// Units of each worker that what is left of a stage is cut into, so that the workers finish together.
const UNITS_LEFT: f64 = 4.0;

/// A unit that has no answer after so long, or after so many times as long as others take, is no longer waited for: another takes its place.
const PATIENCE: Duration = Duration::from_secs(60);
const TIMES_A_UNIT: f64 = 20.0;

/// Answers in a row that are none before the stage is given up.
const MOST_FAILURES: u32 = 12;

/// How far back the pace of a stage is looked at.
const PACE: Duration = Duration::from_secs(30);

/// Work for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    /// Number of the unit in its run.
    pub(super) unit: u64,
    /// What it works on.
    pub(super) number: Integer,
    /// What to do with it; without one, to take it apart as far as one worker does.
    pub(super) share: Option<Share>,
}

/// A divisor that is not prime, or may not be.
#[derive(Debug, Clone)]
struct Open {
    value: Integer,
    exponent: u32,
    /// Whether a worker has taken it apart as far as one does: it is a composite then.
    is_hard: bool,
}

/// What is being done with the last of the open divisors.
#[derive(Debug)]
enum Work {
    /// Nothing yet.
    Idle,
    TakeApart,
    Curves {
        level: Level,
        done: u64,
    },
    Sieve(Box<Collector>),
    /// The collector is with whoever solves.
    Solve,
}

/// One hard integer.
#[derive(Debug)]
pub(super) struct Campaign {
    number: Integer,
    /// Whether it is known to have no small factors: curves are not tried.
    is_balanced: bool,
    primes: BTreeMap<Integer, u32>,
    open: Vec<Open>,
    left: Vec<(Integer, u32)>,
    reason: Option<String>,
    costs: Vec<StageCost>,
    work: Work,
    /// For the sieve that is about to begin.
    prepared: Option<Box<Collector>>,
    /// Number of the group of the stage's units.
    group: u32,
    /// Units of this stage so far.
    units: u32,
    /// Families or curves that were handed out.
    upto: u64,
    /// Units that are waited for, and since when.
    outstanding: HashMap<u32, Instant>,
    answered: HashSet<u32>,
    /// Families or curves of this stage that were answered, and the seconds that they took.
    done: f64,
    seconds: f64,
    failures: u32,
    /// Nodes whose answers were wrong.
    pub(super) avoid: Vec<String>,
    pace: VecDeque<(Instant, u64)>,
    /// Lines for the checkpoint.
    entries: Vec<Entry>,
}

/// What an answer turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Good,
    /// There has been one before, or its stage is over.
    Late,
    /// It is wrong; why.
    Wrong(String),
}

/// An answer to a unit.
#[derive(Debug)]
pub enum Answer {
    /// A whole divisor, as far as one worker takes it apart. Checked.
    TakenApart(Factorization),
    /// Curves: a divisor or none.
    Curves(Option<Integer>),
    /// Relations.
    Relations(Vec<u8>),
    /// None: why.
    Failed(String),
}

/// How far the work is, for people and for metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Bits of the divisor that is worked on.
    pub bits: u32,
    /// Name of the stage.
    pub stage: &'static str,
    /// For curves: digits of the factors that are looked for.
    pub digits: u32,
    /// Curves or relations.
    pub done: u64,
    /// Of so many that are expected at most, or needed.
    pub expected: u64,
    /// Curves or relations each second of late.
    pub rate: f64,
    /// Units that workers have, or that wait for them.
    pub outstanding: usize,
}

impl Campaign {
    /// A new one, of which nothing is known yet.
    #[must_use]
    pub(super) fn new(number: Integer, is_balanced: bool) -> Self {
        Self {
            open: vec![Open {
                value: Integer::from(number.abs_ref()),
                exponent: 1,
                is_hard: false,
            }],
            number,
            is_balanced,
            primes: BTreeMap::new(),
            left: Vec::new(),
            reason: None,
            costs: Vec::new(),
            work: Work::Idle,
            prepared: None,
            group: 0,
            units: 0,
            upto: 0,
            outstanding: HashMap::new(),
            answered: HashSet::new(),
            done: 0.0,
            seconds: 0.0,
            failures: 0,
            avoid: Vec::new(),
            pace: VecDeque::new(),
            entries: Vec::new(),
        }
    }

    /// The lines for the checkpoint since the last time.
    #[must_use]
    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        mem::take(&mut self.entries)
    }

    /// The group of the units of the stage that is going on; 0 before the first.
    #[must_use]
    pub(super) fn group(&self) -> u32 {
        self.group
    }

    /// Microseconds of workers' time so far.
    #[must_use]
    pub(super) fn spent_us(&self) -> u64 {
        self.costs.iter().map(|cost| cost.us).sum()
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// What came of it.
    #[must_use]
    pub(super) fn factorization(&self) -> Factorization {
        let powers = |list: Vec<(&Integer, u32)>| {
            let list = list.into_iter();
            list.map(|(value, exponent)| Power(HexInteger(value.clone()), exponent))
                .collect()
        };
        let mut composites: BTreeMap<&Integer, u32> = BTreeMap::new();
        for (value, exponent) in &self.left {
            let known = composites.entry(value).or_default();
            *known = known.saturating_add(*exponent);
        }
        Factorization {
            factors: powers(self.primes.iter().map(|(p, e)| (p, *e)).collect()),
            composites: powers(composites.into_iter().collect()),
            reason: self.reason.clone(),
            stages: self.costs.clone(),
        }
    }

    /// Takes note of a line: one that was just added, or one of the checkpoint.
    ///
    /// # Errors
    /// It does not fit to those before it.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::TakenApart { of, found, us } => {
                let part = self.close(&of.0)?;
                for cost in &found.stages {
                    self.add_cost(&cost.stage, cost.us, cost.count);
                }
                let staged: u64 = found.stages.iter().map(|cost| cost.us).sum();
                self.add_cost("overhead", us.saturating_sub(staged), 0);
                for Power(prime, exponent) in &found.factors {
                    let known = self.primes.entry(prime.0.clone()).or_default();
                    *known = known.saturating_add(exponent.saturating_mul(part.exponent));
                }
                for Power(value, exponent) in &found.composites {
                    let exponent = exponent.saturating_mul(part.exponent);
                    match &found.reason {
                        None => self.open.push(Open {
                            value: value.0.clone(),
                            exponent,
                            is_hard: true,
                        }),
                        Some(reason) => {
                            self.left.push((value.0.clone(), exponent));
                            self.reason.get_or_insert_with(|| reason.clone());
                        }
                    }
                }
                self.work = Work::Idle;
            }
            Entry::Begun { group, of, stage } => self.begun(*group, &of.0, *stage)?,
            Entry::Issued { units, upto } => {
                self.units = *units;
                self.upto = *upto;
            }
            Entry::Curves { unit, done, us } => {
                self.answered.insert(*unit);
                self.count(*done, *us);
                self.add_cost("ecm", *us, *done);
                if let Work::Curves { done: all, .. } = &mut self.work {
                    *all += done;
                }
            }
            Entry::Relations {
                unit,
                families,
                us,
                packet,
            } => {
                self.answered.insert(*unit);
                self.add_relations(&packet.0, *families, *us)?;
            }
            Entry::Split { of, divisor, us } => {
                let part = self.close(&of.0)?;
                let divisor = &divisor.0;
                if *divisor <= 1 || *divisor >= part.value || !part.value.is_divisible(divisor) {
                    return Err("a divisor that is none".to_owned());
                }
                let cofactor = Integer::from(part.value.div_exact_ref(divisor));
                for value in [divisor.clone(), cofactor] {
                    self.open.push(Open {
                        value,
                        exponent: part.exponent,
                        is_hard: false,
                    });
                }
                let stage = if matches!(self.work, Work::Curves { .. }) {
                    "ecm"
                } else {
                    "linear-algebra"
                };
                self.add_cost(stage, *us, 0);
                self.work = Work::Idle;
            }
            Entry::Left { of, reason } => {
                let part = self.close(&of.0)?;
                self.left.push((part.value, part.exponent));
                self.reason.get_or_insert_with(|| reason.clone());
                self.work = Work::Idle;
            }
        }
        Ok(())
    }

    fn note(&mut self, entry: Entry) {
        // What is made here fits.
        if self.apply(&entry).is_ok() {
            self.entries.push(entry);
        }
    }

    fn begun(&mut self, group: u32, of: &Integer, stage: Stage) -> Result<(), String> {
        let part = self.open.last().filter(|part| part.value == *of);
        let bits = part
            .ok_or("a stage of no divisor")?
            .value
            .significant_bits();
        let goes_on = matches!((&self.work, stage), (Work::Sieve(_), Stage::Sieve));
        if !goes_on {
            self.work = match stage {
                Stage::TakeApart => Work::TakeApart,
                Stage::Curves { digits } => {
                    let levels = spread::levels(bits);
                    let level = levels.into_iter().find(|level| level.digits == digits);
                    let level = level.ok_or("a level of curves that there is not")?;
                    Work::Curves { level, done: 0 }
                }
                Stage::Sieve => match self.prepared.take() {
                    Some(collector) => Work::Sieve(collector),
                    None => match Collector::start(of).map_err(|error| error.to_string())? {
                        Start::Ready(collector) => Work::Sieve(collector),
                        Start::Divisor(_) => return Err("a sieve that cannot be".to_owned()),
                    },
                },
            };
            self.upto = 0;
            self.done = 0.0;
            self.seconds = 0.0;
        }
        self.group = group;
        self.units = 0;
        self.failures = 0;
        self.outstanding.clear();
        self.answered.clear();
        self.pace.clear();
        Ok(())
    }

    fn close(&mut self, value: &Integer) -> Result<Open, String> {
        let part = self.open.pop_if(|part| part.value == *value);
        part.ok_or_else(|| "a divisor that is not worked on".to_owned())
    }

    fn add_relations(&mut self, packet: &[u8], families: u64, us: u64) -> Result<Added, String> {
        let Work::Sieve(collector) = &mut self.work else {
            return Err("relations without a sieve".to_owned());
        };
        let added = collector.add(packet);
        self.count(families, us);
        self.add_cost("sieve", us, added.new);
        Ok(added)
    }

    fn count(&mut self, done: u64, us: u64) {
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

    /// The composite that is worked on, if there is one.
    fn current(&self) -> Option<&Open> {
        self.open.last()
    }

    /// Goes on to the next stage where the one before is over; `next_group` gives the number of its group. Gives the groups that nobody
    /// wants any more, and the collector when it is time to solve.
    pub(super) fn advance(
        &mut self,
        mut next_group: impl FnMut() -> u32,
    ) -> (Vec<u32>, Option<Box<Collector>>) {
        let mut over = Vec::new();
        loop {
            match &self.work {
                Work::TakeApart | Work::Solve => return (over, None),
                Work::Curves { level, done } => {
                    if *done < u64::from(level.curves) {
                        return (over, None);
                    }
                    let digits = level.digits;
                    over.extend(self.end_group());
                    self.next_stage(digits, &mut next_group);
                }
                Work::Sieve(collector) => {
                    if !collector.is_ready() {
                        return (over, None);
                    }
                    over.extend(self.end_group());
                    let Work::Sieve(collector) = mem::replace(&mut self.work, Work::Solve) else {
                        return (over, None);
                    };
                    return (over, Some(collector));
                }
                Work::Idle => {
                    over.extend(self.end_group());
                    let Some(part) = self.current() else {
                        return (over, None);
                    };
                    if part.is_hard {
                        self.next_stage(0, &mut next_group);
                    } else {
                        let of = HexInteger(part.value.clone());
                        self.note(Entry::Begun {
                            group: next_group(),
                            of,
                            stage: Stage::TakeApart,
                        });
                    }
                }
            }
        }
    }

    /// No more units of this stage are waited for: its group, if there are any that nobody has answered.
    fn end_group(&mut self) -> Option<u32> {
        self.outstanding.clear();
        let is_wanted = self.answered.len() < self.units as usize;
        self.units = 0;
        is_wanted.then_some(self.group)
    }

    /// The next level of curves after that for so many digits, or the sieve, or the end.
    fn next_stage(&mut self, digits: u32, next_group: &mut dyn FnMut() -> u32) {
        let Some(part) = self.current() else { return };
        let (of, bits) = (
            HexInteger(part.value.clone()),
            part.value.significant_bits(),
        );
        let levels = if self.is_balanced && self.primes.is_empty() {
            Vec::new()
        } else {
            spread::levels(bits)
        };
        let level = levels.into_iter().find(|level| level.digits > digits);
        if let Some(level) = level {
            let digits = level.digits;
            return self.note(Entry::Begun {
                group: next_group(),
                of,
                stage: Stage::Curves { digits },
            });
        }
        if bits > MAX_SIEVE_BITS {
            let curves = if bits > MAX_CURVE_BITS {
                format!("curves are run on {MAX_CURVE_BITS} at most")
            } else {
                "no curve found a factor".to_owned()
            };
            let reason = format!(
                "a composite of {bits} bits is left: {curves}, and the sieve takes {MAX_SIEVE_BITS} bits at most"
            );
            return self.note(Entry::Left { of, reason });
        }
        match Collector::start(&of.0) {
            Ok(Start::Divisor(divisor)) => self.note(Entry::Split {
                of,
                divisor: HexInteger(divisor),
                us: 0,
            }),
            Ok(Start::Ready(collector)) => {
                self.prepared = Some(collector);
                self.note(Entry::Begun {
                    group: next_group(),
                    of,
                    stage: Stage::Sieve,
                });
            }
            Err(error) => {
                let reason = format!("a composite of {bits} bits is left: {error}");
                self.note(Entry::Left { of, reason });
            }
        }
    }

    /// The linear algebra is over. `group` is for more of the sieve where it has found nothing.
    pub(super) fn solved(
        &mut self,
        collector: Box<Collector>,
        solved: Result<Option<Integer>, String>,
        us: u64,
        group: impl FnOnce() -> u32,
    ) {
        let Some(part) = self.current() else { return };
        let of = HexInteger(part.value.clone());
        match solved {
            Ok(Some(divisor)) => self.note(Entry::Split {
                of,
                divisor: HexInteger(divisor),
                us,
            }),
            Ok(None) => {
                self.work = Work::Sieve(collector);
                self.add_cost("linear-algebra", us, 0);
                self.note(Entry::Begun {
                    group: group(),
                    of,
                    stage: Stage::Sieve,
                });
            }
            Err(reason) => self.note(Entry::Left { of, reason }),
        }
    }

    /// Gives up what is open.
    pub(super) fn give_up(&mut self, reason: &str) -> Option<u32> {
        let group = self.end_group();
        while let Some(part) = self.current() {
            let of = HexInteger(part.value.clone());
            let reason = reason.to_owned();
            self.note(Entry::Left { of, reason });
        }
        group
    }

    /// Units to hand out, so that `workers` have `wanted` of them.
    pub(super) fn issue(&mut self, wanted: usize, workers: f64, now: Instant) -> Vec<Issue> {
        let unit_s = self.seconds / (self.answered.len().max(1) as f64);
        let patience = PATIENCE.max(Duration::from_secs_f64((unit_s * TIMES_A_UNIT).min(1e6)));
        self.outstanding
            .retain(|_, since| now.duration_since(*since) < patience);
        let mut issues = Vec::new();
        while self.outstanding.len() < wanted {
            let Some((share, upto)) = self.next_share(workers) else {
                break;
            };
            let Some(part) = self.current() else { break };
            let unit = self.units;
            issues.push(Issue {
                unit: u64::from(self.group) * GROUP_UNITS + u64::from(unit),
                number: part.value.clone(),
                share,
            });
            self.outstanding.insert(unit, now);
            self.note(Entry::Issued {
                units: unit + 1,
                upto,
            });
        }
        issues
    }

    /// The next unit, and how far families or curves are handed out with it.
    fn next_share(&self, workers: f64) -> Option<(Option<Share>, u64)> {
        let bits = self.current()?.value.significant_bits();
        match &self.work {
            Work::Idle | Work::Solve => None,
            // One at a time.
            Work::TakeApart => self.outstanding.is_empty().then_some((None, 0)),
            Work::Curves { level, done } => {
                let each = self.seconds_each(spread::curve_seconds(level.b1, bits));
                let left = u64::from(level.curves).saturating_sub(self.upto.max(*done)) as f64;
                let count = size(left * each, each, workers);
                let share = Share::Curves {
                    b1: level.b1,
                    p_minus_1: level.p_minus_1,
                    first: u32::try_from(self.upto).ok()?,
                    count,
                };
                Some((Some(share), self.upto + u64::from(count)))
            }
            Work::Sieve(collector) => {
                let each = self.seconds_each(spread::family_seconds(bits));
                let share = collector.relations() as f64 / collector.needed() as f64;
                // At first nothing can be told from what there is.
                let whole = if share > 0.1 {
                    self.seconds / share
                } else {
                    spread::sieve_seconds(bits)
                };
                // What is handed out already is not left.
                let ahead = (self.upto as f64 - self.done).max(0.0) * each;
                let count = size((whole - self.seconds - ahead).max(0.0), each, workers);
                let share = Share::Sieve {
                    first: self.upto,
                    count,
                };
                Some((Some(share), self.upto + u64::from(count)))
            }
        }
    }

    /// Seconds of a curve or a family.
    fn seconds_each(&self, expected: f64) -> f64 {
        if self.done > 0.0 && self.seconds > 0.0 {
            self.seconds / self.done
        } else {
            expected
        }
    }

    /// Takes the answer to a unit of this campaign.
    pub(super) fn take(
        &mut self,
        group: u32,
        unit: u32,
        answer: Answer,
        done: u64,
        us: u64,
    ) -> Verdict {
        if group != self.group || self.answered.contains(&unit) || unit >= self.units {
            return Verdict::Late;
        }
        let Some(part) = self.current() else {
            return Verdict::Late;
        };
        let of = HexInteger(part.value.clone());
        let verdict = match (&self.work, answer) {
            (Work::Idle | Work::Solve, _) => return Verdict::Late,
            (_, Answer::Failed(reason)) => {
                self.add_cost("failed", us, 0);
                self.failures += 1;
                if self.failures >= MOST_FAILURES {
                    self.note(Entry::Left { of, reason });
                }
                self.answered.insert(unit);
                self.outstanding.remove(&unit);
                return Verdict::Good;
            }
            (Work::TakeApart, Answer::TakenApart(found)) => {
                self.note(Entry::TakenApart { of, found, us });
                Verdict::Good
            }
            (Work::Curves { .. }, Answer::Curves(None)) => {
                self.note(Entry::Curves { unit, done, us });
                Verdict::Good
            }
            (Work::Curves { .. }, Answer::Curves(Some(divisor))) => {
                if divisor > 1 && divisor < of.0 && of.0.is_divisible(&divisor) {
                    let divisor = HexInteger(divisor);
                    self.note(Entry::Split { of, divisor, us });
                    Verdict::Good
                } else {
                    Verdict::Wrong("it does not divide".to_owned())
                }
            }
            (Work::Sieve(_), Answer::Relations(packet)) => {
                let Ok(Added { new, known, wrong }) = self.add_relations(&packet, done, us) else {
                    return Verdict::Late;
                };
                if new > 0 {
                    self.entries.push(Entry::Relations {
                        unit,
                        families: done,
                        us,
                        packet: primepool_common::message::Packet(packet),
                    });
                }
                if new + known + wrong == 0 {
                    // Each family has some.
                    Verdict::Wrong("it has no relations".to_owned())
                } else if wrong > 0 {
                    let all = new + known + wrong;
                    Verdict::Wrong(format!("{wrong} of {all} relations do not hold"))
                } else {
                    Verdict::Good
                }
            }
            (_, _) => Verdict::Wrong("it is not of the kind that was asked for".to_owned()),
        };
        // Anybody can send a wrong answer to a unit that another one is at work on: that one's is still to come.
        if verdict == Verdict::Good {
            self.failures = 0;
            self.answered.insert(unit);
            self.outstanding.remove(&unit);
        }
        verdict
    }

    /// No answer to this unit is to be expected: another one takes its place.
    pub(super) fn forget(&mut self, unit: u32) {
        self.outstanding.remove(&unit);
    }

    /// Units that were handed out and are waited for.
    #[must_use]
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The divisor that is worked on.
    #[must_use]
    pub(super) fn open_divisor(&self) -> Option<&Integer> {
        Some(&self.current()?.value)
    }

    /// Whether units of it are still wanted.
    #[must_use]
    pub(super) fn wants_units(&self) -> bool {
        !matches!(self.work, Work::Idle | Work::Solve)
    }

    /// How far it is.
    pub(super) fn standing(&mut self, now: Instant) -> Option<Standing> {
        let bits = self.current()?.value.significant_bits();
        let (stage, digits, done, expected) = match &self.work {
            Work::Idle | Work::TakeApart => ("take-apart", 0, 0, 1),
            Work::Curves { level, done } => ("ecm", level.digits, *done, level.curves.into()),
            Work::Sieve(collector) => ("sieve", 0, collector.relations(), collector.needed()),
            Work::Solve => ("linear-algebra", 0, 0, 1),
        };
        self.pace.push_back((now, done));
        while self.pace.len() > 2 && now.duration_since(self.pace[1].0) > PACE {
            self.pace.pop_front();
        }
        let rate = self.pace.front().map_or(0.0, |&(at, before)| {
            let seconds = now.duration_since(at).as_secs_f64();
            done.saturating_sub(before) as f64 / seconds.max(1e-3)
        });
        Some(Standing {
            bits,
            stage,
            digits,
            done,
            expected,
            rate,
            outstanding: self.outstanding.len(),
        })
    }

    /// The integer.
    #[must_use]
    pub(super) fn number(&self) -> &Integer {
        &self.number
    }
}

/// Curves or families of a unit, when so many seconds of them are left.
fn size(left_s: f64, each_s: f64, workers: f64) -> u32 {
    let (least, most) = UNIT_SECONDS;
    let seconds = (left_s / (workers * UNITS_LEFT)).clamp(least, most);
    ((seconds / each_s) as u32).clamp(1, MAX_SHARE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{Packet, group_of};
    use primepool_engine::{Cancel, factor::spread::Families};
    use proptest::prelude::*;

    use super::*;

    /// A product of two primes above 10^20 and 10^21.
    fn semiprime() -> Integer {
        product(20, 21)
    }

    /// Of the first primes with more than so many digits.
    fn product(one: u32, other: u32) -> Integer {
        let above = |digits| Integer::from(Integer::u_pow_u(10, digits)).next_prime();
        above(one) * above(other)
    }

    /// A campaign whose sieve has begun, and what it has written of that.
    fn at_the_sieve() -> Campaign {
        let n = semiprime();
        let mut campaign = Campaign::new(n.clone(), true);
        let of = HexInteger(n);
        let found = Factorization {
            composites: vec![Power(of.clone(), 1)],
            ..Factorization::default()
        };
        campaign.note(Entry::TakenApart { of, found, us: 5 });
        let mut groups = 0..;
        campaign.advance(|| groups.next().unwrap() + 1);
        assert!(matches!(campaign.work, Work::Sieve(_)), "{campaign:?}");
        campaign
    }

    fn issue(campaign: &mut Campaign, count: usize, at: Instant) -> Vec<Issue> {
        campaign.issue(count, 1.0, at)
    }

    /// What an honest worker answers.
    fn work(issue: &Issue) -> (Answer, u64) {
        let Some(Share::Sieve { first, count }) = issue.share else {
            // All divisors here are prime.
            let found = Factorization {
                factors: vec![Power(HexInteger(issue.number.clone()), 1)],
                ..Factorization::default()
            };
            return (Answer::TakenApart(found), 1);
        };
        let families = Families::new(&issue.number).unwrap();
        let range = first..first + u64::from(count.min(8));
        let (packet, done) = families.sieve(range, &Cancel::new()).unwrap();
        (Answer::Relations(packet), done)
    }

    fn answer(campaign: &mut Campaign, issue: &Issue, (answer, done): (Answer, u64)) -> Verdict {
        let (group, unit) = (group_of(issue.unit), issue.unit as u32);
        campaign.take(group, unit, answer, done, 1000)
    }

    /// To the end, by one worker who loses every third unit.
    fn finish(campaign: &mut Campaign) {
        let mut groups = 100..;
        let mut now = Instant::now();
        for turn in 0.. {
            let (_, collector) = campaign.advance(|| groups.next().unwrap());
            if let Some(mut collector) = collector {
                let solved = collector.solve().map_err(|error| error.to_string());
                campaign.solved(collector, solved, 7, || groups.next().unwrap());
            }
            if campaign.is_over() {
                return;
            }
            for issue in issue(campaign, 1, now) {
                if turn % 3 != 2 {
                    let answered = work(&issue);
                    assert_eq!(answer(campaign, &issue, answered), Verdict::Good);
                }
            }
            now += PATIENCE;
        }
    }

    #[test]
    fn it_ends_with_the_factors_whatever_is_lost() {
        let mut campaign = at_the_sieve();
        finish(&mut campaign);
        let found = campaign.factorization();
        assert!(found.is_complete());
        let product: Integer = found.factors.iter().map(|p| p.0.0.clone()).product();
        assert_eq!((found.factors.len(), product), (2, semiprime()));
        let stages: Vec<_> = found.stages.iter().map(|cost| &*cost.stage).collect();
        assert_eq!(stages, ["overhead", "sieve", "linear-algebra"]);
    }

    #[test]
    fn who_reads_the_checkpoint_goes_on_from_there() {
        let mut campaign = at_the_sieve();
        let units = issue(&mut campaign, 3, Instant::now());
        let answered = work(&units[0]);
        assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
        let mut again = Campaign::new(semiprime(), true);
        for entry in campaign.take_entries() {
            again.apply(&entry).unwrap();
        }
        let Some(Standing { done, .. }) = campaign.standing(Instant::now()) else {
            panic!()
        };
        assert_eq!(again.standing(Instant::now()).unwrap().done, done);
        assert_eq!(again.spent_us(), campaign.spent_us());
        assert_eq!(again.factorization(), campaign.factorization());
        // Answers to what was handed out before still count, once; what is handed out now is other work.
        for (unit, verdict) in [(1, Verdict::Good), (1, Verdict::Late), (0, Verdict::Late)] {
            let answered = work(&units[unit]);
            assert_eq!(answer(&mut again, &units[unit], answered), verdict);
        }
        let next = issue(&mut again, 1, Instant::now());
        assert_eq!(next[0].unit, units[2].unit + 1);
        let first = |issue: &Issue| match issue.share {
            Some(Share::Sieve { first, .. }) => first,
            _ => panic!("{issue:?}"),
        };
        assert!(first(&next[0]) > first(&units[2]));
        finish(&mut again);
        assert!(again.factorization().is_complete());
    }

    #[test]
    fn what_is_not_answered_is_replaced_and_still_welcome() {
        let mut campaign = at_the_sieve();
        let start = Instant::now();
        let units = issue(&mut campaign, 2, start);
        assert_eq!(units.len(), 2);
        assert_eq!(issue(&mut campaign, 2, start), []);
        let later = issue(&mut campaign, 2, start + PATIENCE);
        assert_eq!(later.len(), 2);
        let answered = work(&units[0]);
        assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
    }

    #[test]
    fn wrong_answers_leave_room_for_right_ones() {
        let mut campaign = at_the_sieve();
        let units = issue(&mut campaign, 1, Instant::now());
        // Right for another number.
        let (of_other, _) = Families::new(&product(19, 22))
            .unwrap()
            .sieve(0..4, &Cancel::new())
            .unwrap();
        for bad in [
            Answer::Relations(vec![]),
            Answer::Relations(vec![1; 100]),
            Answer::Relations(of_other),
            Answer::Curves(None),
            Answer::Curves(Some(semiprime())),
            Answer::TakenApart(Factorization::default()),
        ] {
            let verdict = answer(&mut campaign, &units[0], (bad, 1));
            assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict:?}");
        }
        let answered = work(&units[0]);
        assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
        // Units and groups that were never handed out.
        for unit in [GROUP_UNITS + 99, 9 * GROUP_UNITS] {
            let other = Issue {
                unit,
                ..units[0].clone()
            };
            let answered = work(&units[0]);
            assert_eq!(answer(&mut campaign, &other, answered), Verdict::Late);
        }
    }

    #[test]
    fn who_gives_up_says_what_is_left() {
        let mut campaign = at_the_sieve();
        let group = campaign.group();
        assert_eq!(campaign.give_up("too late"), None, "nobody is at work");
        let mut campaign = at_the_sieve();
        issue(&mut campaign, 1, Instant::now());
        assert_eq!(campaign.give_up("too late"), Some(group));
        assert!(campaign.is_over());
        let found = campaign.factorization();
        assert_eq!(found.composites, [Power(HexInteger(semiprime()), 1)]);
        assert_eq!(found.reason.as_deref(), Some("too late"));
    }

    #[test]
    fn nobody_waits_for_ever_for_those_who_cannot() {
        let mut campaign = at_the_sieve();
        for _ in 0..MOST_FAILURES {
            let units = issue(&mut campaign, 1, Instant::now());
            let failed = Answer::Failed("no memory".to_owned());
            assert_eq!(answer(&mut campaign, &units[0], (failed, 0)), Verdict::Good);
        }
        campaign.advance(|| 100);
        assert!(campaign.is_over());
        assert_eq!(
            campaign.factorization().reason.as_deref(),
            Some("no memory")
        );
    }

    #[test]
    fn a_number_of_unknown_shape_gets_all_levels() {
        let n: Integer = Integer::from(Integer::u_pow_u(2, 500)) - 1;
        let mut campaign = Campaign::new(n.clone(), false);
        let of = HexInteger(n);
        let composites = vec![Power(of.clone(), 1)];
        let found = Factorization {
            composites,
            ..Factorization::default()
        };
        campaign.note(Entry::TakenApart { of, found, us: 0 });
        let mut digits = Vec::new();
        loop {
            campaign.advance(|| 1);
            let Work::Curves { level, .. } = campaign.work else {
                break;
            };
            digits.push(level.digits);
            let mut done = 0;
            while done < level.curves {
                let units = issue(&mut campaign, 1, Instant::now());
                let Some(Share::Curves { first, count, .. }) = units[0].share else {
                    panic!()
                };
                assert_eq!(first, done);
                done += count;
                let nothing = (Answer::Curves(None), count.into());
                assert_eq!(answer(&mut campaign, &units[0], nothing), Verdict::Good);
            }
        }
        assert_eq!(digits, [15, 20, 25, 30]);
        assert!(campaign.is_over(), "too large for the sieve");
        assert!(!campaign.factorization().is_complete());
    }

    proptest! {
        #[test]
        fn a_damaged_checkpoint_is_no_panic(kinds in proptest::collection::vec(0..7_u8, 0..6)) {
            let of = HexInteger(semiprime());
            let mut campaign = Campaign::new(semiprime(), true);
            for kind in kinds {
                let of = of.clone();
                let entry = match kind {
                    0 => Entry::TakenApart { of, found: Factorization::default(), us: 0 },
                    1 => Entry::Begun { group: 1, of, stage: Stage::TakeApart },
                    2 => Entry::Begun { group: 2, of, stage: Stage::Curves { digits: 20 } },
                    3 => Entry::Issued { units: 1, upto: 5 },
                    4 => Entry::Relations { unit: 0, families: 1, us: 1, packet: Packet(vec![1]) },
                    5 => Entry::Split { of, divisor: HexInteger(7.into()), us: 0 },
                    _ => Entry::Left { of, reason: String::new() },
                };
                let _ = campaign.apply(&entry);
            }
            let _ = campaign.factorization();
        }
    }
}
