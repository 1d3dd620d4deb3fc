//! What every kind of job says of itself.

use std::ops::Range;

use primepool_engine::{Kernel, certificate::MAX_RELATIVE_BITS};

use super::{Claims, Finding, JobFields, MissingField, WrittenJobs};
use crate::wire::HexInteger;

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

    /// The jobs in `range`, which is within `0..count`; `integers` are theirs, if the kind has any.
    #[must_use]
    fn part(&self, range: Range<u64>, integers: Vec<HexInteger>) -> Self
    where
        Self: Sized;

    /// Whether such jobs exist.
    ///
    /// # Errors
    /// Why they do not.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether each prime that is found is to have a certificate.
    fn proves(&self) -> bool {
        false
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

    /// Whether each job is about an integer of its own.
    fn has_integers(&self) -> bool {
        false
    }

    /// Whether a worker works on the job at this place of a unit side by side with others, so that
    /// they share its time.
    fn shares_time(&self, _place: u64) -> bool {
        false
    }

    /// Whether a finding has the form that the result of a job must have, and what it claims
    /// besides.
    ///
    /// # Errors
    /// What is wrong with the form.
    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String>;
}

/// The ending of a noun that so many things have.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The most bytes of a certificate for primes of so many bits together: each number stands there
/// twice at most, as the number of a step and as a factor.
pub(super) fn certificate_bytes(bits: u32) -> u64 {
    const COMMAS: u64 = 2000;
    MAX_RELATIVE_BITS * 2 * u64::from(bits) / 4 + COMMAS
}
