use super::MissingField;
use crate::wire::HexInteger;

/// The integers of jobs, one per job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integers {
    /// The integers themselves.
    Listed(Vec<HexInteger>),
    /// The integers of a run whose producer keeps them in a file. This form is never in a message.
    InFile {
        /// Number of integers.
        count: u64,
        /// Bits of the largest integer.
        bits: u32,
    },
}

impl Integers {
    /// Reads the integers from the fields of a message or a manifest.
    pub(super) fn read(
        listed: Option<Vec<HexInteger>>,
        count: Option<u64>,
        most_bits: Option<u32>,
        name: &'static str,
    ) -> Result<Self, MissingField> {
        match (listed, count.zip(most_bits)) {
            (Some(listed), _) => Ok(Self::Listed(listed)),
            (None, Some((count, bits))) => Ok(Self::InFile { count, bits }),
            (None, None) => Err(MissingField(name)),
        }
    }

    /// Number of integers.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Listed(listed) => listed.len() as u64,
            Self::InFile { count, .. } => *count,
        }
    }

    /// Bits of the largest integer; 0 if there is none.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self {
            Self::Listed(listed) => {
                let bits = listed.iter().map(|n| n.0.significant_bits());
                bits.max().unwrap_or(0)
            }
            Self::InFile { bits, .. } => *bits,
        }
    }

    /// The integers themselves; empty if they are in a file.
    #[must_use]
    pub fn listed(&self) -> &[HexInteger] {
        match self {
            Self::Listed(listed) => listed,
            Self::InFile { .. } => &[],
        }
    }

    /// The field with the integers, and the field with the bits of the largest one if they are in a
    /// file.
    pub(super) fn written(&self) -> (Option<&[HexInteger]>, Option<u32>) {
        match self {
            Self::Listed(listed) => (Some(listed), None),
            Self::InFile { bits, .. } => (None, Some(*bits)),
        }
    }
}

impl From<Vec<HexInteger>> for Integers {
    fn from(listed: Vec<HexInteger>) -> Self {
        Self::Listed(listed)
    }
}
