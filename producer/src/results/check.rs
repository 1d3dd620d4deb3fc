//! Verifies results; wrong ones are done again by other nodes.

use std::collections::BTreeMap;

use tracing::warn;

use super::{
    receive::REFUSALS_TOLD,
    sink::{Answered, Sink},
    verify::Claim,
};
use crate::run_dir::RowOutcome;

/// How many times a unit with wrong results is done again before its jobs fail.
const DO_AGAIN: usize = 3;

impl<A: Send + 'static> Sink<A> {
    /// Removes wrong results; returns the units that other nodes must do again. After [`DO_AGAIN`]
    /// attempts, wrong results become failures.
    pub(super) fn verify(
        &mut self,
        answered: &mut [Answered],
    ) -> Result<Vec<u64>, primepool_engine::Error> {
        let mut places = Vec::new();
        let mut results = Vec::new();
        for (i, Answered { origin, rows, .. }) in answered.iter().enumerate() {
            let has_been_wrong = self.tally.has_been_wrong(&origin.node);
            for (j, row) in rows.iter().enumerate() {
                if matches!(row.outcome, RowOutcome::Ok | RowOutcome::Partial) {
                    places.push((i, j));
                    results.push(Claim {
                        value: row.prime.as_ref().map(|hex| &hex.0.0),
                        after: row.after.as_ref().map(|hex| &hex.0.0),
                        factored: row.factored.as_ref(),
                        leaves_to_us: row.reason.is_none(),
                        certificate: row.proof.as_ref().map(|proof| &proof.certificate.0),
                        always: has_been_wrong,
                    });
                }
            }
        }
        let verdicts = self.verifier.check(&self.manifest.request, &results)?;
        let mut wrong: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
        for ((i, j), verdict) in places.into_iter().zip(verdicts) {
            if let Some(reason) = verdict {
                wrong.entry(i).or_default().push((j, reason));
            }
        }
        if self.manifest.request.work.jobs().proves() {
            let bound = self.verifier.bound();
            let rows = answered.iter_mut().flat_map(|answered| &mut answered.rows);
            rows.for_each(|row| row.sort_by_proof(bound));
        }
        let mut again = Vec::new();
        for (i, faults) in wrong {
            let Answered {
                unit, origin, rows, ..
            } = &mut answered[i];
            let node = &origin.node;
            let mut nodes = self.units.lock().wrong_nodes(*unit);
            let is_last = nodes.len() == DO_AGAIN;
            nodes.push(node.clone());
            for (j, reason) in &faults {
                let row = &mut rows[*j];
                self.note_wrong(row.job, node, reason);
                if is_last {
                    row.outcome = RowOutcome::Failed;
                    row.prime = None;
                    row.proof = None;
                    row.factored = None;
                    row.bits = None;
                    row.reason = Some(format!(
                        "the results of {} were wrong: {reason}",
                        nodes.join(", ")
                    ));
                } else {
                    self.done.remove(row.job);
                    self.tally.done_again += 1;
                }
            }
            if !is_last {
                let done = &self.done;
                rows.retain(|row| done.contains(row.job));
                self.units.lock().avoid(*unit, nodes);
                again.push(*unit);
            }
        }
        Ok(again)
    }

    /// Counts a wrong result of a node, and logs it unless there are too many.
    pub(super) fn note_wrong(&mut self, job: u64, node: &str, reason: &str) {
        if self.tally.wrong(node) <= REFUSALS_TOLD {
            warn!(job, %node, %reason, "wrong result");
        }
    }
}
