//! The manifest: everything that is needed to rebuild the units of a run.

use std::path::PathBuf;

use primepool_common::{
    message::{MAX_BODY_BYTES, RunId},
    text::json_error,
};
use serde::{Deserialize, Serialize};

use crate::request::{Packing, Request};

/// First format of the manifest. Its runs are resumed with their original packing.
const FIRST_VERSION: u32 = 1;

/// From this version on, the units of a run may be repacked while it goes on, see
/// [`super::Repacking`]. A program that does not support this must not resume the run.
pub(super) const WITH_REPACKINGS: u32 = 2;

/// From this version on, the integers of the jobs may be in a file, see [`super::IntegersFile`].
pub(super) const WITH_INTEGERS: u32 = 3;

/// From this version on, the primes of the run may need certificates.
pub(super) const WITH_CERTIFICATES: u32 = 4;

/// Everything that is needed to rebuild the units of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format of this file.
    pub version: u32,
    /// Identifier of the run.
    pub run: RunId,
    /// The requested jobs.
    #[serde(flatten)]
    pub request: Request,
    /// How the jobs are packed into units at the start of the run.
    pub packing: Packing,
    /// AMQP priority of the units.
    pub priority: u8,
    /// Absolute path of the results file.
    pub output: PathBuf,
}

impl Manifest {
    /// Whether the units may be repacked while the run goes on.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.version > FIRST_VERSION && self.packing.is_adaptive()
    }

    /// Parses and validates a manifest, which must be that of `run`.
    ///
    /// # Errors
    /// Returns what is wrong with the manifest.
    pub fn read(text: &[u8], run: &RunId) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(text).map_err(|error| json_error(&error))?;
        if !(FIRST_VERSION..=WITH_CERTIFICATES).contains(&manifest.version) {
            return Err(format!(
                "it is of version {}, this build reads versions {FIRST_VERSION} to {WITH_CERTIFICATES}",
                manifest.version
            ));
        }
        if manifest.run != *run {
            return Err(format!("it is that of run {}", manifest.run));
        }
        if manifest.priority > 9 {
            return Err(format!("priority {} (0 to 9)", manifest.priority));
        }
        manifest.request.validate(&manifest.packing)?;
        Ok(manifest)
    }

    /// Upper limit of the bytes of an answer to one of the run's units: digits and columns of its
    /// jobs, or a reason for each job that failed, and two samples.
    #[must_use]
    pub fn largest_answer(&self) -> usize {
        if self.request.is_spread() {
            // Answers may contain relations of the sieve.
            return MAX_BODY_BYTES;
        }
        let job = self.request.work.jobs().answer_bytes() + ANSWER_JOB_BYTES;
        let jobs = self.packing.most_ever(&self.request).saturating_mul(job);
        usize::try_from(jobs.saturating_add(ANSWER_HEAD_BYTES))
            .unwrap_or(usize::MAX)
            .min(MAX_BODY_BYTES)
    }
}

/// Bytes of an answer for each job besides its result; most of them allow for the reason of a
/// failure.
const ANSWER_JOB_BYTES: u64 = 512;

/// Bytes of an answer that has no jobs.
const ANSWER_HEAD_BYTES: u64 = 64 << 10;
