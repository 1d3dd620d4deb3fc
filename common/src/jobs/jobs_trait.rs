//! The trait that every kind of job implements.

use std::ops::Range;

use primepool_engine::{Kernel, certificate::MAX_RELATIVE_BITS};

use super::{Claims, Finding, JobFields, MissingField, WrittenJobs};
use crate::wire::HexInteger;

/// Jobs of one kind: the jobs of one unit, or all jobs of a run.
pub trait Jobs {
    /// Builds the jobs from the fields that their kind uses.
    ///
    /// # Errors
    /// A required field is missing.
    fn read(fields: JobFields) -> Result<Self, MissingField>
    where
        Self: Sized;

    /// The fields of these jobs, for writing; `kind` is left empty.
    fn written(&self) -> WrittenJobs<'_>;

    /// Number of jobs.
    fn count(&self) -> u64;

    /// Bits of the largest number to work on; 0 if there is none.
    fn bits(&self) -> u32;

    /// Bits of every result; 0 if results of this kind have no fixed size.
    fn size(&self) -> u32 {
        0
    }

    /// The jobs in `range`, which lies within `0..count`. `integers` are the integers of these
    /// jobs, if the kind has any.
    #[must_use]
    fn part(&self, range: Range<u64>, integers: Vec<HexInteger>) -> Self
    where
        Self: Sized;

    /// Checks that such jobs can exist.
    ///
    /// # Errors
    /// The reason why they cannot.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether to certify each prime that is found.
    fn proves(&self) -> bool {
        false
    }

    /// The reason why this build cannot process such jobs although another version can; `None` if
    /// it can.
    fn needs_other_build(&self) -> Option<String> {
        None
    }

    /// Expected time of one worker for one of the largest of these jobs, in seconds. `kernel` is
    /// the kernel that the workers are expected to use.
    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64;

    /// Upper estimate of the size of an answer to one job, in bytes: digits and columns.
    fn answer_bytes(&self) -> u64 {
        u64::from(self.bits()) / 4 + 30
    }

    /// Description of the jobs, in the plural unless there is only one: `primes of 1024 bits`.
    fn describe(&self) -> String;

    /// Whether each job has its own integer as input.
    fn has_integers(&self) -> bool {
        false
    }

    /// Whether a worker processes the job at this position of a unit side by side with others, so
    /// that they share its time.
    fn shares_time(&self, _place: u64) -> bool {
        false
    }

    /// Checks that a finding has the form that the result of a job must have, and returns its
    /// further claims.
    ///
    /// # Errors
    /// The reason why the form is wrong.
    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String>;
}

/// The plural ending of a noun after this count.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Most bytes of the certificates for primes whose bits add up to `bits`. Each number appears at
/// most twice: as the number of a step, and as a factor.
pub(super) fn certificate_bytes(bits: u32) -> u64 {
    const COMMAS: u64 = 2000;
    MAX_RELATIVE_BITS * 2 * u64::from(bits) / 4 + COMMAS
}
