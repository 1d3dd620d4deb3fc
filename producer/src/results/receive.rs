//! Receives answers: decodes each one, and drops jobs that already have a result.

use std::{
    iter,
    ops::Range,
    time::{Duration, Instant},
};

use primepool_common::{
    message::{
        Certificate, Hex, HexInteger, JobAnswer, JobKind, JobOutcome, NodeSample, UnitAnswer,
        UnitId, decode_answer, is_node_name,
    },
    metrics::points,
};
use tracing::warn;

use super::sink::{Answered, Arrival, Sink, round_to_microseconds};
use crate::{
    run_dir::{Factored, FolderError, Origin, Proof, Row, RowOutcome},
    status::Event,
};

/// Number of refused answers and of wrong results that are logged for each node; a flood must not
/// fill the log.
pub(super) const REFUSALS_TOLD: u64 = 20;

impl<A: Send + 'static> Sink<A> {
    /// Reads one answer; returns the rows of its jobs that have not ended before.
    ///
    /// # Errors
    /// The integers of the jobs cannot be read.
    pub(super) fn read(
        &mut self,
        arrival: &mut Arrival<A>,
    ) -> Result<Option<Answered>, FolderError> {
        let Some(answer) = self.decode(arrival) else {
            return Ok(None);
        };
        if UnitId::of(answer.unit).is_of_campaign() {
            self.read_campaign_unit(answer, arrival);
            return Ok(None);
        }
        let Some((first, end)) = self.units.lock().bounds(answer.unit) else {
            return Ok(self.refuse(Some(&answer.node), "the run has no such unit"));
        };
        let integers = match &self.integers {
            Some(integers) => integers.read(first..end)?,
            None => Vec::new(),
        };
        Ok(self.read_unit(answer, arrival, first..end, integers))
    }

    /// Decodes the body of an answer, which must belong to this run.
    fn decode(&mut self, arrival: &mut Arrival<A>) -> Option<UnitAnswer> {
        let body = std::mem::replace(&mut arrival.body, Err(0));
        let answer = match body.as_deref().map(decode_answer) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.refuse(None, &error.to_string()),
            Err(length) => {
                let reason = format!("no answer of this run has {length} bytes");
                return self.refuse(None, &reason);
            }
        };
        if !is_node_name(&answer.node) {
            return self.refuse(None, "the name of its node is not one");
        }
        let node = Some(&*answer.node);
        if answer.run != self.manifest.run {
            return self.refuse(node, "it belongs to another run");
        }
        Some(answer)
    }

    /// Reads the answer to a unit with these jobs; `integers` are those of the jobs.
    fn read_unit(
        &mut self,
        mut answer: UnitAnswer,
        arrival: &Arrival<A>,
        Range { start: first, end }: Range<u64>,
        integers: Vec<HexInteger>,
    ) -> Option<Answered> {
        let node = Some(&*answer.node);
        self.answered.push(answer.unit);
        // Units that were rejected or handed back say nothing about the pace.
        let is_worked_on = answer.rejected.is_none() && answer.handed_back.is_none();
        let count = (end - first) as usize;
        let all = |outcome: JobOutcome| {
            let one = JobAnswer {
                outcome,
                compute_us: 0,
                candidates: 0,
                certificate: None,
            };
            vec![one; count]
        };
        if answer.handed_back.is_some() || self.is_without_certificates(&answer) {
            let avoided = self.units.lock().avoided(answer.unit);
            let reason = self.on_handed_back(&answer, &avoided)?;
            answer.first = first;
            answer.jobs = all(JobOutcome::Failed { reason });
        }
        let jobs = match answer.rejected {
            None if answer.first != first || answer.jobs.len() != count => {
                return self.refuse(node, "its jobs are not those of its unit");
            }
            None => answer.jobs,
            Some(reason) => all(JobOutcome::Rejected { reason }),
        };
        self.note_samples(&answer.node, &answer.samples);
        let published = self.units.lock().published_at(answer.unit);
        let latency = published.map_or_else(
            || Duration::from_nanos(arrival.at_ns.saturating_sub(answer.published_ns)),
            |published| arrival.at.saturating_duration_since(published),
        );
        let latency_ms = latency.as_secs_f64() * 1e3;
        // A sender can forge figures, so the sum must not overflow.
        let compute_us = jobs.iter().map(|job| job.compute_us);
        let compute_us = compute_us.fold(0, u64::saturating_add);
        let compute_ms = compute_us as f64 / 1e3;
        // The time that a node reports is limited by the latency that the producer measures.
        let time = Duration::from_micros(compute_us).min(latency);
        if is_worked_on {
            self.units.lock().note_time(time, first..end);
        }
        if published.is_some() {
            self.tally.busy(&answer.node, compute_ms);
        }
        let origin = Origin {
            node: answer.node,
            worker: answer.worker,
            latency_ms: round_to_microseconds(latency_ms),
            queue_wait_ms: round_to_microseconds((latency_ms - compute_ms).max(0.0)),
            redelivered: answer.redelivered,
        };
        let (mut duplicates, is_new) = (0, !self.done.has_any(&(first..end)));
        let mut rows = Vec::with_capacity(count);
        let integers = integers.into_iter().map(Some).chain(iter::repeat(None));
        for ((job, answer), integer) in (first..).zip(jobs).zip(integers) {
            if !is_new && self.done.contains(job) {
                duplicates += 1;
                continue;
            }
            rows.push(row(self.manifest.request.kind(), job, integer, answer));
        }
        self.done.insert(first..end);
        if duplicates > 0 {
            self.tally.duplicate(&origin.node, duplicates);
        }
        let (unit, at) = (answer.unit, arrival.at);
        (!rows.is_empty()).then_some(Answered {
            unit,
            origin,
            rows,
            at,
        })
    }

    /// Whether an answer lacks the requested certificates, as answers of older consumers do; its
    /// node then gets no more units of the run. Newer consumers always send a certificate, which
    /// may be empty.
    fn is_without_certificates(&mut self, answer: &UnitAnswer) -> bool {
        let has_none = |job: &JobAnswer| {
            let is_found = matches!(job.outcome, JobOutcome::Ok { .. } | JobOutcome::Factored(_));
            is_found && job.certificate.is_none()
        };
        let lacks = self.manifest.request.work.jobs().proves() && answer.jobs.iter().any(has_none);
        if lacks && self.units.lock().note_unable(&answer.node) {
            let _ = self.events.send(Event::LeftToOthers {
                node: answer.node.clone(),
                reason: "its version makes no certificates; update it".to_owned(),
            });
        }
        lacks
    }

    pub(super) fn note_samples(&mut self, node: &str, samples: &[NodeSample]) {
        for sample in samples {
            let run = Some(self.manifest.run.as_str());
            self.files.metrics.write(&points::node(node, run, sample));
            self.tally.sample(node, sample);
        }
        self.factoring.note_node(node, samples, Instant::now());
    }

    /// Drops an answer and counts it. `node`: the node that the answer names as its origin.
    pub(super) fn refuse<T>(&mut self, node: Option<&str>, reason: &str) -> Option<T> {
        let told = self.tally.refuse(node);
        if told <= REFUSALS_TOLD {
            let node = node.unwrap_or("unknown");
            warn!(%node, %reason, "dropped an answer");
            if told == REFUSALS_TOLD {
                warn!(%node, "further dropped answers are only counted");
            }
        }
        None
    }
}

/// The row of a job; `integer` is the integer of the job.
fn row(kind: JobKind, job: u64, mut integer: Option<HexInteger>, answer: JobAnswer) -> Row {
    let (mut value, mut factored) = (None, None);
    let (outcome, reason) = match answer.outcome {
        JobOutcome::Ok { value: found } => {
            value = found;
            (RowOutcome::Ok, None)
        }
        // Relations are requested only in campaigns.
        JobOutcome::Relations(_) => (RowOutcome::Ok, None),
        JobOutcome::Factored(mut found) => {
            let outcome = RowOutcome::of(&found);
            let reason = found.reason.take();
            factored = integer.take().map(|n| Factored::new(n, *found));
            (outcome, reason)
        }
        JobOutcome::Failed { reason } => (RowOutcome::Failed, Some(reason)),
        JobOutcome::Rejected { reason } => (RowOutcome::Rejected, Some(reason)),
    };
    let after = integer.filter(|_| kind == JobKind::NextPrime);
    Row {
        job,
        outcome,
        bits: value.as_ref().map(|value| value.0.significant_bits()),
        prime: value.map(Hex),
        after: after.map(Hex),
        factored,
        reason,
        proof: answer
            .certificate
            .map(|Certificate(certificate)| Box::new(Proof::new(certificate))),
        compute_ms: answer.compute_us as f64 / 1e3,
        candidates: answer.candidates,
    }
}
