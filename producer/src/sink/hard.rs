//! What the sink does with integers that are too hard for one worker: between the answers and [`crate::spread`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use primepool_common::message::{HexInteger, JobOutcome, UnitAnswer};
use tracing::warn;

use super::{Answered, Arrival, REFUSALS_TOLD, Sink, microseconds};
use crate::{
    row::{Factored, Origin, Row, RowOutcome},
    spread::{Answer, Concluded, POOL, Verdict},
    state::Event,
    verify::Claim,
};

impl Sink {
    /// Takes the answer to a unit of one integer at which the whole pool works.
    pub(super) fn read_grouped(&mut self, answer: UnitAnswer, arrival: &Arrival) {
        let UnitAnswer {
            node,
            unit,
            first: job,
            ..
        } = answer;
        self.note_samples(&node, &answer.samples);
        let published = self.shared.published_at(unit);
        let is_one = answer.jobs.len() == 1;
        let (outcome, done, us) = match (answer.rejected, answer.jobs.into_iter().next()) {
            (Some(reason), _) => (JobOutcome::Rejected { reason }, 0, 0),
            (None, Some(answer)) if is_one => {
                (answer.outcome, answer.candidates, answer.compute_us)
            }
            (None, _) => {
                self.refuse::<()>(Some(&node), "its jobs are not those of its unit");
                return;
            }
        };
        // What a node says of itself is bounded by what we see.
        let latency = published.map_or(Duration::MAX, |published| {
            arrival.at.saturating_duration_since(published)
        });
        let us = us.min(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if published.is_some() {
            self.tally.busy(&node, us as f64 / 1e3);
            self.shared.note_unit(Duration::from_micros(us));
        }
        let mut wrong = None;
        let answer = match outcome {
            JobOutcome::Ok { value } => Answer::Curves(value.map(|value| value.0)),
            JobOutcome::Relations(packet) => Answer::Relations(packet.0),
            JobOutcome::Factored(found) => {
                let Some(divisor) = self.spread.divisor(job, unit) else {
                    return;
                };
                let divisor = HexInteger(divisor.clone());
                wrong = self.fault(
                    job,
                    &Factored::new(divisor, (*found).clone()),
                    &found.reason,
                );
                Answer::TakenApart(*found)
            }
            JobOutcome::Failed { reason } | JobOutcome::Rejected { reason } => {
                Answer::Failed(reason)
            }
        };
        let verdict = match wrong {
            Some(reason) => Verdict::Wrong(reason),
            None => self.spread.take(job, unit, answer, done, us),
        };
        if verdict == Verdict::Good {
            self.shared.end_grouped(unit);
        }
        if let Verdict::Wrong(reason) = verdict {
            if self.tally.wrong(&node) <= REFUSALS_TOLD {
                warn!(job, %node, "a result is wrong: {reason}");
            }
            self.spread.avoid(job, unit, &node);
        }
    }

    /// What is wrong with a factorisation, if anything is.
    fn fault(&mut self, job: u64, factored: &Factored, reason: &Option<String>) -> Option<String> {
        let claim = Claim {
            job,
            value: None,
            factored: Some(factored),
            leaves_to_us: reason.is_none(),
            always: true,
        };
        match self.verifier.check(&self.manifest.ask, &[claim]) {
            Ok(verdicts) => verdicts.into_iter().next().flatten(),
            Err(error) => Some(format!("it could not be checked: {error}")),
        }
    }

    /// Takes out those integers of which one worker has left composites to us.
    pub(super) fn hand_over(&mut self, answered: &mut [Answered]) -> Result<(), String> {
        let manifest = Arc::clone(&self.manifest);
        for row in answered.iter_mut().flat_map(|answered| &mut answered.rows) {
            if row.outcome == RowOutcome::Partial
                && row.reason.is_none()
                && let Some(factored) = row.factored.take()
            {
                let us = (row.compute_ms * 1e3) as u64;
                self.spread
                    .begin(&manifest, row.job, factored.into_found(), us)
                    .map_err(|error| error.to_string())?;
            }
        }
        for answered in answered {
            let is_handed_over =
                |row: &Row| row.outcome == RowOutcome::Partial && row.factored.is_none();
            answered.rows.retain(|row| !is_handed_over(row));
        }
        Ok(())
    }

    /// Goes on with the integers at which the whole pool works; adds those that are done.
    pub(super) fn spread_on(
        &mut self,
        answered: &mut Vec<Answered>,
    ) -> Result<Vec<Concluded>, String> {
        if !self.spread.is_active() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let (orders, concluded) = self
            .spread
            .advance(&self.manifest, now)
            .map_err(|error| format!("{error:#}"))?;
        for Concluded {
            job,
            number,
            found,
            us,
            ..
        } in &concluded
        {
            let reason = found.reason.clone();
            let factored = Factored::new(HexInteger(number.clone()), found.clone());
            let mut row = Row {
                job: *job,
                outcome: if found.is_complete() {
                    RowOutcome::Ok
                } else {
                    RowOutcome::Partial
                },
                prime: None,
                bits: None,
                after: None,
                factored: None,
                reason: reason.clone(),
                compute_ms: *us as f64 / 1e3,
                candidates: 0,
            };
            // Each part of it was checked when it came.
            match self.fault(*job, &factored, &reason) {
                None => row.factored = Some(factored),
                Some(fault) => {
                    row.outcome = RowOutcome::Failed;
                    row.reason = Some(fault);
                }
            }
            let first = self.shared.first_published().unwrap_or(self.started);
            let latency = now.saturating_duration_since(first).as_secs_f64() * 1e3;
            answered.push(Answered {
                unit: 0,
                origin: Origin {
                    node: POOL.to_owned(),
                    worker: 0,
                    latency_ms: microseconds(latency),
                    queue_wait_ms: 0.0,
                    redelivered: false,
                },
                rows: vec![row],
                at: now,
            });
        }
        self.spread.save().map_err(|error| error.to_string())?;
        if !self.spread.is_active() {
            self.shared.set_standing(None);
        }
        for group in orders.cancel {
            self.shared.drop_group(group);
            let _ = self.events.send(Event::CancelGroup(group));
        }
        if !orders.units.is_empty() {
            let units = orders.units.iter().map(|unit| unit.unit).collect();
            self.shared.add_grouped(orders.units);
            let _ = self.events.send(Event::Publish(units));
        }
        Ok(concluded)
    }
}
