//! All kinds of jobs. To add a kind, add a file like `next_prime.rs` and a line to the list below.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    FactorJobs, JobFields, Jobs, MissingField, NextPrimeJobs, NoopJobs, PrimeJobs, SafePrimeJobs,
    WrittenJobs,
};
use crate::{text::shorten, wire::HexInteger};

/// Defines [`JobKind`] and [`Work`] from the list of kinds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($jobs:ty) = $name:literal,)*) => {
        /// The kind of a job. Its name is the routing key, the message `type` and part of the
        /// queue's name.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum JobKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl JobKind {
            /// Every kind that this build knows.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Name of the kind, as in messages and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }

        /// Jobs of one kind: the jobs of one unit, or all jobs of a run.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Work {
            $($(#[$doc])* $kind($jobs),)*
        }

        impl Work {
            /// Builds jobs of a kind from the fields that the kind uses.
            ///
            /// # Errors
            /// A required field is missing.
            pub fn read(kind: JobKind, fields: JobFields) -> Result<Self, MissingField> {
                Ok(match kind {
                    $(JobKind::$kind => Self::$kind(Jobs::read(fields)?),)*
                })
            }

            /// The kind of these jobs.
            #[must_use]
            pub fn kind(&self) -> JobKind {
                match self {
                    $(Self::$kind(_) => JobKind::$kind,)*
                }
            }

            /// The jobs as a trait object.
            #[must_use]
            pub fn jobs(&self) -> &dyn Jobs {
                match self {
                    $(Self::$kind(jobs) => jobs,)*
                }
            }

            /// The jobs in `range`, which lies within `0..count`. `integers` are the integers of
            /// these jobs, if the kind has any.
            #[must_use]
            pub fn part(&self, range: Range<u64>, integers: Vec<HexInteger>) -> Self {
                match self {
                    $(Self::$kind(jobs) => Self::$kind(jobs.part(range, integers)),)*
                }
            }
        }
    };
}

kinds! {
    /// Random primes of a given size in bits.
    Prime(PrimeJobs) = "prime",
    /// Random safe primes: p and (p − 1) / 2 are both prime.
    SafePrime(SafePrimeJobs) = "safe-prime",
    /// For each integer, the least prime above it.
    NextPrime(NextPrimeJobs) = "next-prime",
    /// For each integer, its prime factors.
    Factor(FactorJobs) = "factor",
    /// Empty jobs, to measure the cost of dispatch.
    Noop(NoopJobs) = "noop",
}

impl Work {
    /// Number of jobs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.jobs().count()
    }

    /// Bits of the largest number that these jobs work on; 0 if there is none.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.jobs().bits()
    }

    /// The fields of these jobs, for writing.
    #[must_use]
    pub fn written(&self) -> WrittenJobs<'_> {
        WrittenJobs {
            kind: self.kind().as_str(),
            ..self.jobs().written()
        }
    }
}

impl Serialize for Work {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(serializer)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                let kinds = Self::ALL.into_iter().filter(|kind| *kind != Self::Noop);
                let names: Vec<_> = kinds.map(Self::as_str).collect();
                format!(
                    "{:?} is not a kind of job: {}",
                    shorten(text, 80),
                    names.join(", ")
                )
            })
    }
}
