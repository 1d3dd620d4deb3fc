//! Connects the answers with [`crate::factoring`]: campaigns for integers that are too hard for one
//! worker.

use std::{
    thread,
    time::{Duration, Instant},
};

use primepool_common::{
    message::{HexInteger, JobOutcome, UnitAnswer, UnitId},
    text,
};
use tracing::warn;

use super::{
    sink::{Answered, Arrival, Sink, SinkInput, round_to_microseconds},
    verify::Claim,
};
use crate::{
    factoring::{CampaignAnswer, CampaignCommand, Concluded, LinearAlgebra, Verdict},
    run_dir::{Factored, Origin, Proof, Row, RowOutcome},
    status::Event,
};

/// Node name shown for results that several nodes found together.
pub(crate) const WHOLE_POOL: &str = "(pool)";

impl<A: Send + 'static> Sink<A> {
    /// Processes the answer to a unit of a campaign.
    pub(super) fn read_campaign_unit(&mut self, answer: UnitAnswer, arrival: &Arrival<A>) {
        let id = UnitId::of(answer.unit);
        // An answer without jobs does not name its job.
        let job = self.units.lock().campaign_job(answer.unit);
        let job = job.unwrap_or(answer.first);
        if let Some(reason) = &answer.handed_back {
            let avoided = self.factoring.avoided(job).to_vec();
            if !avoided.contains(&answer.node) {
                self.leave_to_others(job, id, &answer.node, reason);
                return;
            }
            if let Some(reason) = self.on_handed_back(&answer, &avoided) {
                self.factoring.give_up(job, id, &reason);
            }
            return;
        }
        let UnitAnswer { node, unit, .. } = answer;
        self.note_samples(&node, &answer.samples);
        let published = self.units.lock().published_at(unit);
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
        // The time that a node reports is limited by the latency that the producer measures.
        let latency = published.map_or(Duration::MAX, |published| {
            arrival.at.saturating_duration_since(published)
        });
        let us = us.min(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if published.is_some() {
            self.tally.busy(&node, us as f64 / 1e3);
            self.units.lock().note_time(Duration::from_micros(us), 0..0);
        }
        let mut wrong = None;
        let answer = match outcome {
            JobOutcome::Ok { value } => CampaignAnswer::Curves(value.map(|value| value.0)),
            JobOutcome::Relations(packet) => CampaignAnswer::Relations(packet.0),
            JobOutcome::Factored(found) => {
                let Some(divisor) = self.factoring.divisor(job, id) else {
                    return;
                };
                let divisor = HexInteger(divisor.clone());
                wrong = self.fault(&Factored::new(divisor, (*found).clone()), &found.reason);
                CampaignAnswer::TakenApart(*found)
            }
            JobOutcome::Failed { reason } | JobOutcome::Rejected { reason } => {
                CampaignAnswer::Failed(reason)
            }
        };
        let verdict = match wrong {
            Some(reason) => Verdict::Wrong(reason),
            None => self.factoring.on_answer(job, id, answer, done, us),
        };
        match verdict {
            Verdict::Good => self.units.update(|units| units.end_campaign_unit(unit)),
            Verdict::Late => {}
            Verdict::Wrong(reason) => {
                self.note_wrong(job, &node, &reason);
                self.factoring.avoid(job, id, &node);
            }
            Verdict::OtherForm => {
                self.leave_to_others(job, id, &node, "its relations are those of another version");
            }
        }
    }

    /// Excludes a node that cannot do a job's units from the job, without counting it as a wrong
    /// answer.
    fn leave_to_others(&mut self, job: u64, unit: UnitId, node: &str, reason: &str) {
        if self.factoring.avoid(job, unit, node) {
            let _ = self.events.send(Event::LeftToOthers {
                node: node.to_owned(),
                reason: text::reason(reason),
            });
        }
    }

    /// Checks a factorisation; returns what is wrong with it.
    fn fault(&mut self, factored: &Factored, reason: &Option<String>) -> Option<String> {
        let claim = Claim {
            value: None,
            after: None,
            factored: Some(factored),
            leaves_to_us: reason.is_none(),
            certificate: None,
            always: true,
        };
        match self.verifier.check(&self.manifest.request, &[claim]) {
            Ok(verdicts) => verdicts.into_iter().next().flatten(),
            Err(error) => Some(format!("it could not be checked: {error}")),
        }
    }

    /// Begins campaigns for the integers that workers have left to the pool, and removes these from
    /// the results.
    pub(super) fn hand_over(&mut self, answered: &mut [Answered]) -> Result<(), String> {
        let mut left = Vec::new();
        for answered in answered {
            answered
                .rows
                .retain_mut(|row| match row.take_left_to_pool() {
                    None => true,
                    Some((n, found)) => {
                        left.push((row.job, n, found, (row.compute_ms * 1e3) as u64));
                        false
                    }
                });
        }
        let aims = self.manifest.request.aims;
        for (job, n, found, us) in left {
            let begun = self.factoring.begin(job, n, aims, found, us);
            begun.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Advances the campaigns. Adds the results of finished ones to `answered`.
    pub(super) fn advance_factoring(
        &mut self,
        answered: &mut Vec<Answered>,
    ) -> Result<Vec<Concluded>, String> {
        if !self.factoring.is_active() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let window = self.units.lock().window();
        let commands = self.factoring.advance(&self.manifest, window, now);
        let commands = commands.map_err(|error| error.to_string())?;
        // The entries must be on disk before units are published.
        self.factoring.save().map_err(|error| error.to_string())?;
        let mut all_concluded = Vec::new();
        for command in commands {
            match command {
                CampaignCommand::CancelBatch(batch) => {
                    self.units.update(|units| units.cancel_batch(batch));
                }
                CampaignCommand::Solve(task) => self.solve(task)?,
                CampaignCommand::Publish(units) => {
                    self.units.update(|all| all.publish_campaign(units));
                }
                CampaignCommand::Conclude(concluded) => {
                    answered.push(self.conclude(&concluded, now));
                    all_concluded.push(concluded);
                }
            }
        }
        if !self.factoring.is_active() {
            self.status.set_stage(None);
        }
        Ok(all_concluded)
    }

    /// Runs the linear algebra on a separate thread.
    fn solve(&self, task: LinearAlgebra) -> Result<(), String> {
        let to_self = self.to_self.clone();
        let work = move || {
            let solved = Box::new(task.solve());
            let _ = to_self.send(SinkInput::Solved(solved));
        };
        thread::Builder::new()
            .name("linear-algebra".to_owned())
            .spawn(work)
            .map(|_| ())
            .map_err(|error| format!("no thread for the linear algebra: {error}"))
    }

    /// Proves the factors that the pool has found, if the run requests proofs. Only large factors
    /// occur here, and their proofs take a second or two of this thread, while answers wait.
    fn certify(&mut self, row: &mut Row) {
        let Some(factored) = &row.factored else {
            return;
        };
        if self.manifest.request.work.jobs().proves() {
            let primes = factored.factors.iter().map(|(prime, _)| prime.0.0.clone());
            let primes: Vec<_> = primes.collect();
            let certificate = self.verifier.certify(&primes).unwrap_or_else(|error| {
                warn!(%error, "cannot prove factors");
                Default::default()
            });
            row.proof = Some(Box::new(Proof::new(certificate)));
            row.sort_by_proof(self.verifier.bound());
        }
    }

    /// Converts the result of a campaign into a row.
    fn conclude(&mut self, concluded: &Concluded, now: Instant) -> Answered {
        let found = &concluded.found;
        let factored = Factored::new(HexInteger(concluded.number.clone()), found.clone());
        let mut row = Row {
            job: concluded.job,
            outcome: RowOutcome::of(found),
            prime: None,
            bits: None,
            after: None,
            factored: None,
            reason: found.reason.clone(),
            proof: None,
            compute_ms: concluded.us as f64 / 1e3,
            candidates: 0,
        };
        // Each part was verified on arrival; this checks the whole.
        match self.fault(&factored, &found.reason) {
            None => {
                row.factored = Some(factored);
                self.certify(&mut row);
            }
            Some(fault) => {
                row.outcome = RowOutcome::Failed;
                row.reason = Some(fault);
            }
        }
        let first = self.units.lock().first_published();
        let first = first.unwrap_or(self.started);
        let latency = now.saturating_duration_since(first).as_secs_f64() * 1e3;
        Answered {
            unit: 0,
            origin: Origin {
                node: WHOLE_POOL.to_owned(),
                worker: 0,
                latency_ms: round_to_microseconds(latency),
                queue_wait_ms: 0.0,
                redelivered: false,
            },
            rows: vec![row],
            at: now,
        }
    }
}
