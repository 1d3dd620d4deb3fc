//! What every kind of job says of itself.

use std::ops::Range;

use primepool_engine::Kernel;

use super::{Claims, Finding, JobFields, MissingField, WrittenJobs};

/// Jobs of one kind: those of one unit, or all of a run.
pub trait Jobs {
    /// Takes the fields that the kind has.
    ///
    /// # Errors
    /// One of them is missing.
    fn read(fields: JobFields) -> Result<Self, MissingField>
    where
        Self: Sized;

    /// The same fields, to be written; `kind` is left empty.
    fn written(&self) -> WrittenJobs<'_>;

    /// Number of jobs.
    fn count(&self) -> u64;

    /// Bits of the largest number in question; 0 where there is none.
    fn bits(&self) -> u32;

    /// Bits that every result has; 0 where the kind has no such size.
    fn size(&self) -> u32 {
        0
    }

    /// The jobs in `range`, which is within `0..count`.
    #[must_use]
    fn slice(&self, range: Range<u64>) -> Self
    where
        Self: Sized;

    /// Whether such jobs exist.
    ///
    /// # Errors
    /// Why they do not.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Why this build cannot work on such jobs although another version can.
    fn needs_other_build(&self) -> Option<String> {
        None
    }

    /// Expected seconds of one worker for one job, if it is one of the largest. `kernel` is the one
    /// that workers are expected to have.
    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64;

    /// Upper estimate of the bytes of an answer to one job: digits and columns.
    fn answer_bytes(&self) -> u64 {
        u64::from(self.bits()) / 4 + 30
    }

    /// What the jobs are, in the plural unless it is one: `primes of 1024 bits`.
    fn describe(&self) -> String;

    /// Whether one worker works on the jobs of a unit side by side, so that they share its time.
    fn is_side_by_side(&self) -> bool {
        false
    }

    /// Whether a finding has the form that the result of job `job` must have, and what it claims
    /// besides.
    ///
    /// # Errors
    /// What is wrong with the form.
    fn check(&self, job: u64, finding: &Finding<'_>) -> Result<Claims, String>;
}

/// The ending of a noun that so many things have.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The jobs in `range` of a list with one item for each.
pub(super) fn slice_of<T: Clone>(list: &[T], range: Range<u64>) -> Vec<T> {
    list[range.start as usize..range.end as usize].to_vec()
}
