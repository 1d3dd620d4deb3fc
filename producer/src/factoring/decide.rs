//! The decisions of a campaign: pure functions from its state and an event to entries.

use primepool_common::message::{HexInteger, MAX_SHARE, Packet, Share};
use primepool_factor::{
    Integer, MAX_CURVE_BITS, MAX_SIEVE_BITS,
    quadratic_sieve::{self, Collector, RELATIONS_FORM, Start},
    spread::{self, CURVES_AT_ONCE},
};

use super::{
    answer::{CampaignAnswer, Verdict},
    entry::{Entry, Stage},
    state::{CampaignState, StageState},
};

/// Shortest and longest worker time of a unit that its size aims at, in seconds.
const UNIT_SECONDS: (f64, f64) = (0.1, 5.0);

/// Number of units for each worker into which the rest of a stage is divided, so that the workers
/// finish together.
const UNITS_LEFT: f64 = 4.0;

/// Number of consecutive failed answers after which a divisor is given up.
pub(super) const MOST_FAILURES: u32 = 12;

/// The next entry of a campaign. `prepared`: the collector of a sieve that begins with the entry,
/// since creating one takes up to some seconds.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) entry: Entry,
    pub(super) prepared: Option<Box<Collector>>,
}

impl From<Entry> for Decision {
    fn from(entry: Entry) -> Self {
        Self {
            entry,
            prepared: None,
        }
    }
}

impl CampaignState {
    /// The entries that follow from an answer to unit `unit` of the current batch. `done`: number
    /// of curves or families; `us`: worker time in microseconds.
    ///
    /// # Errors
    /// The answer is late or wrong. Relations are checked only when the entry is applied.
    pub(super) fn on_answer(
        &self,
        unit: u32,
        answer: CampaignAnswer,
        done: u64,
        us: u64,
    ) -> Result<Vec<Entry>, Verdict> {
        if unit >= self.units || self.answered.contains(&unit) {
            return Err(Verdict::Late);
        }
        let Some(part) = self.current() else {
            return Err(Verdict::Late);
        };
        let of = HexInteger(part.value.clone());
        let wrong = |reason: &str| Err(Verdict::Wrong(reason.to_owned()));
        Ok(match (&self.progress, answer) {
            (StageState::Idle | StageState::Sieve(None), _) => return Err(Verdict::Late),
            (_, CampaignAnswer::Failed(reason)) => {
                let mut entries = vec![Entry::Failed { unit, us }];
                if self.failures + 1 >= MOST_FAILURES {
                    entries.push(Entry::Left { of, reason, us: 0 });
                }
                entries
            }
            (StageState::TakeApart, CampaignAnswer::TakenApart(found)) => {
                vec![Entry::TakenApart { of, found, us }]
            }
            (StageState::Curves { .. }, CampaignAnswer::Curves(None)) => {
                vec![Entry::Curves { unit, done, us }]
            }
            (StageState::Curves { .. }, CampaignAnswer::Curves(Some(divisor))) => {
                if divisor <= 1 || divisor >= of.0 || !of.0.is_divisible(&divisor) {
                    return wrong("it does not divide");
                }
                let divisor = HexInteger(divisor);
                vec![Entry::Split { of, divisor, us }]
            }
            (StageState::Sieve(_), CampaignAnswer::Relations(packet)) if packet.is_empty() => {
                return wrong("it has no relations");
            }
            (StageState::Sieve(_), CampaignAnswer::Relations(packet))
                if quadratic_sieve::form(&packet).is_some_and(|form| form != RELATIONS_FORM) =>
            {
                return Err(Verdict::OtherForm);
            }
            (StageState::Sieve(_), CampaignAnswer::Relations(packet)) => vec![Entry::Relations {
                unit,
                families: done,
                us,
                packet: Packet(packet),
            }],
            _ => return wrong("it is not of the kind that was asked for"),
        })
    }

    /// Whether the current stage is over, so that [`CampaignState::next_stage`] is due.
    pub(super) fn is_stage_over(&self) -> bool {
        match &self.progress {
            StageState::Idle => !self.is_over(),
            StageState::Curves { level, done } => *done >= u64::from(level.curves),
            StageState::TakeApart | StageState::Sieve(_) => false,
        }
    }

    /// The decision that begins the next stage, with `batch` as the number of its first batch.
    pub(super) fn next_stage(&self, batch: u32) -> Option<Decision> {
        let part = self.current()?;
        let of = HexInteger(part.value.clone());
        let begun = |of, stage| Entry::Begun {
            batch,
            of,
            stage,
            us: 0,
        };
        if !part.is_hard {
            return Some(begun(of, Stage::TakeApart).into());
        }
        let after = match &self.progress {
            StageState::Curves { level, .. } => level.digits,
            _ => 0,
        };
        let bits = part.value.significant_bits();
        let levels = if self.aims.is_balanced && self.primes.is_empty() {
            Vec::new()
        } else {
            spread::levels(bits, self.aims.effort)
        };
        if let Some(level) = levels.into_iter().find(|level| level.digits > after) {
            let digits = level.digits;
            return Some(begun(of, Stage::Curves { digits }).into());
        }
        let left = |of, why: String| {
            let reason = format!("a composite of {bits} bits is left: {why}");
            Decision::from(Entry::Left { of, reason, us: 0 })
        };
        if bits > MAX_SIEVE_BITS {
            let curves = if bits > MAX_CURVE_BITS {
                format!("curves are run on {MAX_CURVE_BITS} at most")
            } else {
                let effort = self.aims.effort;
                let missed = |digits| (100.0 * spread::missed(digits, bits, effort)).ceil();
                format!(
                    "no curve found a factor (one of {} digits is missed with a probability of {} %, of {effort} digits {} %)",
                    effort - 5,
                    missed(effort - 5),
                    missed(effort)
                )
            };
            let why = format!("{curves}, and the sieve takes {MAX_SIEVE_BITS} bits at most");
            return Some(left(of, why));
        }
        Some(match Collector::start(&of.0) {
            Ok(Start::Divisor(divisor)) => Entry::Split {
                of,
                divisor: HexInteger(divisor),
                us: 0,
            }
            .into(),
            Ok(Start::Ready(collector)) => Decision {
                entry: begun(of, Stage::Sieve),
                prepared: Some(collector),
            },
            Err(error) => left(of, error.to_string()),
        })
    }

    /// The entry that follows from the result of the linear algebra. `batch`: number of the next
    /// batch of the sieve, in case no divisor was found.
    pub(super) fn on_solved(
        &self,
        solved: Result<Option<Integer>, String>,
        us: u64,
        batch: u32,
    ) -> Option<Entry> {
        let of = HexInteger(self.current()?.value.clone());
        Some(match solved {
            Ok(Some(divisor)) => Entry::Split {
                of,
                divisor: HexInteger(divisor),
                us,
            },
            Ok(None) => Entry::Begun {
                batch,
                of,
                stage: Stage::Sieve,
                us,
            },
            Err(reason) => Entry::Left { of, reason, us },
        })
    }

    /// Entries that give up every open divisor.
    pub(super) fn give_up(&self, reason: &str) -> Vec<Entry> {
        let open = self.open.iter().rev();
        open.map(|part| Entry::Left {
            of: HexInteger(part.value.clone()),
            reason: reason.to_owned(),
            us: 0,
        })
        .collect()
    }

    /// Whether the current stage needs units.
    pub(super) fn wants_units(&self) -> bool {
        !matches!(self.progress, StageState::Idle | StageState::Sieve(None))
    }

    /// The next unit's share of the stage (`None`: the whole divisor), and the entry that issues
    /// it. `outstanding` units have no answer yet; `workers` workers share the rest of the stage.
    pub(super) fn next_unit(
        &self,
        outstanding: usize,
        workers: f64,
    ) -> Option<(Option<Share>, Entry)> {
        let bits = self.current()?.value.significant_bits();
        let (share, upto) = match &self.progress {
            StageState::Idle | StageState::Sieve(None) => return None,
            // Only one unit at a time.
            StageState::TakeApart if outstanding > 0 => return None,
            StageState::TakeApart => (None, 0),
            StageState::Curves { level, done } => {
                let each = self.seconds_each(spread::curve_seconds(level.b1, bits));
                let left = u64::from(level.curves).saturating_sub(self.upto.max(*done)) as f64;
                let count = size(left * each, each, workers);
                let count = count.next_multiple_of(CURVES_AT_ONCE);
                let share = Share::Curves {
                    b1: level.b1,
                    p_minus_1: level.p_minus_1,
                    first: u32::try_from(self.upto).ok()?,
                    count,
                };
                (Some(share), self.upto + u64::from(count))
            }
            StageState::Sieve(Some(collector)) => {
                let each = self.seconds_each(spread::family_seconds(bits));
                let share = collector.share_done();
                // The first relations do not allow an estimate.
                let whole = if share > 0.1 {
                    self.seconds / share
                } else {
                    spread::sieve_seconds(bits)
                };
                let ahead = (self.upto as f64 - self.done).max(0.0) * each;
                let count = size((whole - self.seconds - ahead).max(0.0), each, workers);
                let share = Share::Sieve {
                    first: self.upto,
                    count,
                    form: RELATIONS_FORM,
                };
                (Some(share), self.upto + u64::from(count))
            }
        };
        let units = self.units.checked_add(1)?;
        Some((share, Entry::Issued { units, upto }))
    }

    /// Seconds of a worker for a curve or a family: as measured, or `expected` before the first
    /// answer.
    fn seconds_each(&self, expected: f64) -> f64 {
        if self.done > 0.0 && self.seconds > 0.0 {
            self.seconds / self.done
        } else {
            expected
        }
    }
}

/// Number of curves or families in the next unit, if the rest of the stage takes `left_s` seconds
/// of a worker.
fn size(left_s: f64, each_s: f64, workers: f64) -> u32 {
    let (least, most) = UNIT_SECONDS;
    let seconds = (left_s / (workers * UNITS_LEFT)).clamp(least, most);
    ((seconds / each_s) as u32).clamp(1, MAX_SHARE)
}
