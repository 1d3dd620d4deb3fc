//! Factoring: what the engine finds, as an answer, with what each stage cost.

use std::time::Instant;

use primepool_common::message::{Factorization, HexInteger, Power, StageCost};
use primepool_engine::{
    Cancel, Engine, Error, Integer,
    factor::{Composite, Limits, MAX_SIEVE_BITS, Progress, Reason},
};

/// Factors `n`. What a cancel leaves is an answer too, without a reason: whoever cancelled knows it. Also says whether that happened.
///
/// # Errors
/// What [`Engine::factor`] says.
pub fn factor(
    engine: &mut Engine,
    n: &Integer,
    cancel: &Cancel,
) -> Result<(Factorization, bool), Error> {
    let mut costs = Costs::default();
    let found = engine.factor(n, &Limits::default(), cancel, &mut |progress| {
        costs.note(progress);
    })?;
    let cancelled = found.is_cancelled();
    let factorization = Factorization {
        reason: if cancelled {
            None
        } else {
            found.composites.first().map(why_left)
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
        stages: costs.stages,
    };
    Ok((factorization, cancelled))
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

/// Time and work of each stage, in the order of their first beginning.
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
    use super::*;

    #[test]
    fn an_answer_has_factors_and_what_they_cost() {
        // 2^3 · 3 · (10^9 + 7) · (10^9 + 9)
        let n = Integer::from(24) * 1_000_000_007 * 1_000_000_009;
        let (found, cancelled) = factor(&mut Engine::default(), &n, &Cancel::new()).unwrap();
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
    fn what_was_found_before_a_cancel_is_an_answer() {
        let cancel = Cancel::new();
        cancel.cancel();
        let n = Integer::from(24) * 1_000_000_007;
        let (found, cancelled) = factor(&mut Engine::default(), &n, &cancel).unwrap();
        assert!(cancelled && !found.is_complete() && found.reason.is_none());
    }
}
