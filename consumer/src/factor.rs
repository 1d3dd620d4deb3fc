//! Factoring: converts the factoring engine's results to answers, with the cost of each stage.

use std::{cell::RefCell, mem, time::Instant};

use primepool_common::message::{
    Factorization, HexInteger, JobOutcome, Packet, Power, Share, StageCost,
};
use primepool_factor::{
    Cancel, Composite, Error, Factorizer, Integer, Limits, MAX_SIEVE_BITS, Progress, Reason,
    quadratic_sieve::Families, spread,
};

/// Factors integers side by side, and passes each outcome with its position to `found`. The cost of
/// the stages is attached to the first outcome of those that were factored together: the share of
/// one integer would be less than a microsecond.
///
/// # Errors
/// [`Error::Cancelled`] and [`Error::Randomness`].
pub(crate) fn outcomes(
    factorizer: &mut Factorizer,
    numbers: &[Integer],
    leave_above: Option<u32>,
    cancel: &Cancel,
    found: &mut dyn FnMut(usize, JobOutcome),
) -> Result<(), Error> {
    let costs = RefCell::new(Costs::default());
    factorizer.factor_many(
        numbers,
        &limits(leave_above),
        cancel,
        &mut |progress| costs.borrow_mut().note(progress),
        &mut |place, result| {
            let outcome = match result {
                Ok(result) => {
                    let stages = mem::take(&mut costs.borrow_mut().stages);
                    let found = factorization(result, stages, leave_above);
                    JobOutcome::Factored(Box::new(found))
                }
                Err(error) => unfactored(error),
            };
            found(place, outcome);
        },
    )
}

fn limits(leave_above: Option<u32>) -> Limits {
    leave_above.map_or_else(Limits::default, Limits::before_spreading)
}

/// Factors `n`. Returns the outcome, and whether a cancel ended it early. An error that concerns
/// only this number becomes its outcome, because the other numbers of the unit have their own
/// outcomes.
///
/// # Errors
/// [`Error::Randomness`].
pub(crate) fn outcome(
    factorizer: &mut Factorizer,
    n: &Integer,
    leave_above: Option<u32>,
    cancel: &Cancel,
) -> Result<(JobOutcome, bool), Error> {
    match factor(factorizer, n, leave_above, cancel) {
        Ok((found, is_cancelled)) => Ok((JobOutcome::Factored(Box::new(found)), is_cancelled)),
        Err(error @ (Error::Invalid { .. } | Error::Fault { .. })) => {
            Ok((unfactored(error), false))
        }
        Err(error) => Err(error),
    }
}

/// The outcome for an integer that cannot be factored because of an error.
fn unfactored(error: Error) -> JobOutcome {
    match error {
        Error::Invalid { reason } => JobOutcome::Rejected { reason },
        error => JobOutcome::Failed {
            reason: error.to_string(),
        },
    }
}

/// Factors `n`. Returns the result, and whether it was cancelled. The composites that remain after
/// a cancel have no reason, because the caller knows why it cancelled. Composites of more than
/// `leave_above` bits have no reason either.
///
/// # Errors
/// The errors of [`Factorizer::factor`].
fn factor(
    factorizer: &mut Factorizer,
    n: &Integer,
    leave_above: Option<u32>,
    cancel: &Cancel,
) -> Result<(Factorization, bool), Error> {
    let mut costs = Costs::default();
    let limits = limits(leave_above);
    let found = factorizer.factor(n, &limits, cancel, &mut |progress| {
        costs.note(progress);
    })?;
    let cancelled = found.is_cancelled();
    Ok((factorization(found, costs.stages, leave_above), cancelled))
}

/// Converts a factorisation to its form in messages.
fn factorization(
    found: primepool_factor::Factorization,
    stages: Vec<StageCost>,
    leave_above: Option<u32>,
) -> Factorization {
    let cancelled = found.is_cancelled();
    let is_asked_for = |left: &&Composite| leave_above.is_some() && left.reason == Reason::TooLarge;
    let mut left = found.composites.iter();
    Factorization {
        reason: if cancelled {
            None
        } else {
            left.find(|left| !is_asked_for(left)).map(why_left)
        },
        factors: found
            .factors
            .into_iter()
            .map(|factor| Power(HexInteger(factor.prime), factor.exponent))
            .collect(),
        composites: found
            .composites
            .into_iter()
            .map(|left| Power(HexInteger(left.value), left.exponent))
            .collect(),
        stages,
    }
}

fn why_left(left: &Composite) -> String {
    let bits = left.value.significant_bits();
    match left.reason {
        Reason::TooLarge => format!(
            "a composite of {bits} bits is left: no curve found a factor, and the sieve takes {MAX_SIEVE_BITS} bits at most"
        ),
        reason => format!("a composite of {bits} bits is left: {}", reason.as_str()),
    }
}

/// Processes a share of the work on `n`. Returns the outcome and the number of curves or families
/// done. `families` keeps the sieve of a composite for the next share.
///
/// # Errors
/// [`Error::Cancelled`], or the errors of [`spread`].
pub(crate) fn share(
    factorizer: &mut Factorizer,
    families: &mut Option<Families>,
    n: &Integer,
    share: Share,
    cancel: &Cancel,
) -> Result<(JobOutcome, u64), Error> {
    match share {
        Share::Curves {
            b1,
            p_minus_1,
            first,
            count,
        } => {
            let mut done = 0;
            let range = first..first + count;
            let ecm = factorizer.ecm();
            let divisor = spread::curves(ecm, n, b1, p_minus_1, range, cancel, &mut |curve| {
                done = curve;
            })?;
            let value = divisor.map(HexInteger);
            Ok((JobOutcome::Ok { value }, done))
        }
        // Units for another form of relations have been handed back before.
        Share::Sieve { first, count, .. } => {
            let mut sieve = match families.take().filter(|sieve| sieve.number() == n) {
                Some(sieve) => sieve,
                None => Families::new(n, factorizer.kernel(), cancel)?,
            };
            let done = sieve.sieve(first..first + u64::from(count), cancel);
            *families = Some(sieve);
            let (packet, done) = done?;
            Ok((JobOutcome::Relations(Packet(packet)), done))
        }
    }
}

/// Time and work of each stage, in the order in which they first began.
#[derive(Default)]
struct Costs {
    stages: Vec<StageCost>,
    begun: Option<Instant>,
}

impl Costs {
    fn note(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Begun { .. } => self.begun = Some(Instant::now()),
            Progress::Ended { stage, done } => {
                let us = self
                    .begun
                    .take()
                    .map_or(0, |begun| begun.elapsed().as_micros() as u64);
                let name = stage.as_str();
                if let Some(cost) = self.stages.iter_mut().find(|cost| cost.stage == name) {
                    cost.us += us;
                    cost.count += done;
                } else {
                    self.stages.push(StageCost {
                        stage: name.to_owned(),
                        us,
                        count: done,
                    });
                }
            }
            Progress::Advanced { .. } | Progress::Found { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_factor::quadratic_sieve::RELATIONS_FORM;

    use super::*;

    #[test]
    fn an_answer_has_factors_and_what_they_cost() {
        // 2^3 · 3 · (10^9 + 7) · (10^9 + 9)
        let n = Integer::from(24) * 1_000_000_007 * 1_000_000_009;
        let (found, cancelled) =
            factor(&mut Factorizer::default(), &n, None, &Cancel::new()).unwrap();
        let powers: Vec<_> = found
            .factors
            .iter()
            .map(|p| (p.0.0.to_u64().unwrap(), p.1))
            .collect();
        assert_eq!(
            powers,
            [(2, 3), (3, 1), (1_000_000_007, 1), (1_000_000_009, 1)]
        );
        assert!(!cancelled && found.is_complete() && found.reason.is_none());
        assert!(found.stages.iter().any(|cost| cost.count > 0), "{found:?}");
    }

    #[test]
    fn integers_side_by_side_have_an_answer_each_and_their_stages_in_common() {
        let numbers = [-360_i64, 0, 1_000_003 * 1_000_033, 97].map(Integer::from);
        let mut answers = vec![None; numbers.len()];
        let never = Cancel::new();
        outcomes(
            &mut Factorizer::default(),
            &numbers,
            None,
            &never,
            &mut |place, outcome| answers[place] = Some(outcome),
        )
        .unwrap();
        let mut stages = Vec::new();
        for (n, answer) in numbers.iter().zip(answers) {
            match answer.unwrap() {
                JobOutcome::Factored(found) => {
                    assert!(found.is_complete() && found.reason.is_none());
                    let mut product = Integer::from(1);
                    for Power(prime, exponent) in &found.factors {
                        (0..*exponent).for_each(|_| product *= &prime.0);
                    }
                    assert_eq!(product, *n.as_abs());
                    stages.push(found.stages.len());
                }
                JobOutcome::Rejected { .. } => assert_eq!(*n, 0),
                other => panic!("{other:?}"),
            }
        }
        assert!(stages[0] >= 2 && stages[1..] == [0, 0], "{stages:?}");
    }

    #[test]
    fn what_was_found_before_a_cancel_is_an_answer() {
        let cancel = Cancel::new();
        cancel.cancel();
        let n = Integer::from(24) * 1_000_000_007;
        let (found, cancelled) = factor(&mut Factorizer::default(), &n, None, &cancel).unwrap();
        assert!(cancelled && !found.is_complete() && found.reason.is_none());
    }

    #[test]
    fn what_is_left_to_others_has_no_reason() {
        // 6 · (10^20 + 39) · (10^21 + 117)
        let p = Integer::from(Integer::u_pow_u(10, 20)) + 39;
        let q = Integer::from(Integer::u_pow_u(10, 21)) + 117;
        let n = Integer::from(&p * &q) * 6;
        let factor = |leave_above| {
            let mut factorizer = Factorizer::default();
            factor(&mut factorizer, &n, leave_above, &Cancel::new())
                .unwrap()
                .0
        };
        let left = factor(Some(100));
        assert_eq!(left.factors.len(), 2);
        let composite = HexInteger(Integer::from(&p * &q));
        assert_eq!(left.composites, [Power(composite, 1)]);
        assert_eq!(left.reason, None);
        assert!(factor(Some(140)).is_complete());
    }

    #[test]
    fn shares_are_done() {
        let p = Integer::from(Integer::u_pow_u(10, 20)) + 39;
        let q = Integer::from(Integer::u_pow_u(10, 21)) + 117;
        let n = p * q;
        let cancel = Cancel::new();
        let mut factorizer = Factorizer::default();
        let mut families = None;
        let mut sieve = |first| {
            let range = Share::Sieve {
                first,
                count: 3,
                form: RELATIONS_FORM,
            };
            share(&mut factorizer, &mut families, &n, range, &cancel).unwrap()
        };
        let (JobOutcome::Relations(packet), 3) = sieve(5) else {
            panic!()
        };
        assert!(!packet.0.is_empty());
        assert_eq!(sieve(5).0, JobOutcome::Relations(packet));
        let curves = Share::Curves {
            b1: 200,
            p_minus_1: 0,
            first: 7,
            count: 3,
        };
        let (JobOutcome::Ok { value: None }, 3) =
            share(&mut factorizer, &mut families, &n, curves, &cancel).unwrap()
        else {
            panic!()
        };
    }
}
