//! The fields of jobs in messages and run folders: one flat object for all kinds.

use serde::{Deserialize, Serialize};

use super::{Method, Share};
use crate::wire::HexInteger;

/// The fields of jobs as they were read; each kind uses its own fields and ignores the others.
#[derive(Debug, Default, Deserialize)]
pub struct JobFields {
    /// Bits of each prime.
    #[serde(default)]
    pub bits: Option<u32>,
    /// Number of jobs; not needed if the integers are listed.
    #[serde(default)]
    pub count: Option<u64>,
    /// How a random prime is chosen.
    #[serde(default)]
    pub method: Method,
    /// Whether to certify each prime. For random primes it stands for [`Method::Provable`]; a
    /// consumer that does not know this field answers without certificates.
    #[serde(default)]
    pub prove: bool,
    /// Bits of the largest integer, if the integers are in a file.
    #[serde(default)]
    pub most_bits: Option<u32>,
    /// Integers to search above, for `next-prime` jobs.
    #[serde(default)]
    pub after: Option<Vec<HexInteger>>,
    /// Integers to factor, for `factor` jobs.
    #[serde(default)]
    pub numbers: Option<Vec<HexInteger>>,
    /// Composites with more bits than this are left to the pool.
    #[serde(default)]
    pub leave_above: Option<u32>,
    /// The share of the work on one integer.
    #[serde(default)]
    pub share: Option<Share>,
}

impl JobFields {
    pub(super) fn bits(&self) -> Result<u32, MissingField> {
        self.bits.ok_or(MissingField("bits"))
    }

    pub(super) fn count(&self) -> Result<u64, MissingField> {
        self.count.ok_or(MissingField("count"))
    }
}

/// A field is missing that jobs of this kind require.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
pub struct MissingField(pub(super) &'static str);

/// The fields of jobs as they are written.
#[derive(Debug, Default, Serialize)]
pub struct WrittenJobs<'a> {
    /// Name of the kind.
    pub kind: &'static str,
    /// See [`JobFields::bits`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// See [`JobFields::count`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// See [`JobFields::most_bits`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_bits: Option<u32>,
    /// See [`JobFields::method`].
    #[serde(skip_serializing_if = "Method::is_unnamed")]
    pub method: Method,
    /// See [`JobFields::prove`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prove: bool,
    /// See [`JobFields::after`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<&'a [HexInteger]>,
    /// See [`JobFields::numbers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<&'a [HexInteger]>,
    /// See [`JobFields::leave_above`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_above: Option<u32>,
    /// See [`JobFields::share`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}
