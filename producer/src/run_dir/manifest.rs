//! What is needed to make a run's units again.

use std::path::PathBuf;

use primepool_common::{
    message::{MAX_BODY_BYTES, RunId},
    text::json_error,
};
use serde::{Deserialize, Serialize};

use crate::request::{Packing, Request};

/// The first format of the manifest; its runs are resumed as they were packed.
const FIRST_VERSION: u32 = 1;

/// The units of a run may be packed anew while it goes on, see [`super::Repacking`]; a program that
/// does not know that must not resume it.
pub(super) const WITH_REPACKINGS: u32 = 2;

/// The integers of the jobs are in a file, see [`super::IntegersFile`].
pub(super) const WITH_INTEGERS: u32 = 3;

/// The primes of the run are to have certificates.
pub(super) const WITH_CERTIFICATES: u32 = 4;

/// What is needed to make a run's units again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this file.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The jobs.
    #[serde(flatten)]
    pub request: Request,
    /// How they are packed.
    pub packing: Packing,
    /// AMQP priority of the units.
    pub priority: u8,
    /// The results, as an absolute path.
    pub output: PathBuf,
}

impl Manifest {
    /// Whether the units may be packed anew while the run goes on.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.version > FIRST_VERSION && self.packing.is_adaptive()
    }

    /// Reads one: nothing of it is worked with that could not have been written.
    ///
    /// # Errors
    /// What is wrong with it.
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

    /// Most bytes of an answer to one of the run's units: digits and columns of its jobs, or why each was not done, and two
    /// samples.
    #[must_use]
    pub fn largest_answer(&self) -> usize {
        if self.request.is_spread() {
            // Relations of the sieve.
            return MAX_BODY_BYTES;
        }
        let job = self.request.work.jobs().answer_bytes() + ANSWER_JOB_BYTES;
        let jobs = self.packing.most_ever(&self.request).saturating_mul(job);
        usize::try_from(jobs.saturating_add(ANSWER_HEAD_BYTES))
            .unwrap_or(usize::MAX)
            .min(MAX_BODY_BYTES)
    }
}

/// Bytes of an answer that come with each job, besides its result; most are for a reason why it failed.
const ANSWER_JOB_BYTES: u64 = 512;

/// Bytes of an answer without jobs.
const ANSWER_HEAD_BYTES: u64 = 64 << 10;
