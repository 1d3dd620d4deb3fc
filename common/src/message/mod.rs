//! Messages: JSON bodies with a `version`, big integers as lower-case hexadecimal strings.
//!
//! Unknown fields are ignored, so that a newer sender may add some; an unknown version or kind is refused.
//!
//! What a message holds is bounded while it is read, see [`crate::wire`].

mod answer;
mod control;
mod decode;
mod presence;
mod run_id;
mod sample;
mod unit;

pub use answer::{JobAnswer, JobOutcome, Packet, UnitAnswer};
pub use control::{Control, Instruction};
pub use decode::{DecodeError, Envelope, decode_answer, decode_unit};
pub use presence::{MAX_PRESENCE_BYTES, NodePresence, Presence, RunPresence, Subject};
pub use run_id::{InvalidRunId, RunId};
pub use sample::NodeSample;
pub use unit::{UnitId, WorkUnit};

pub use crate::jobs::{
    Certificate, FactorJobs, Factorization, FiledCertificate, Integers, JobKind, MAX_SHARE, Method,
    NextPrimeJobs, NoopJobs, Power, PrimeJobs, SafePrimeJobs, Share, StageCost, Work,
};
pub use crate::wire::{Hex, HexInteger, MAX_INTEGER_BITS, MAX_NAME_BYTES};

/// Version of the message format that this build writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// Largest body in bytes that is decoded; anything above is refused unread. A unit of 10,000 primes of 1024 bits answers in 3 MB;
/// RabbitMQ 4 takes up to 16 MiB.
pub const MAX_BODY_BYTES: usize = 12 << 20;

/// Largest number of jobs in one unit.
pub const MAX_UNIT_JOBS: u64 = 50_000;

/// Largest body of a [`Control`] in bytes.
pub const MAX_CONTROL_BYTES: usize = 1 << 10;

/// Most samples in an answer.
pub const MAX_SAMPLES: usize = 2;

/// Most nodes in a unit's `avoid`.
pub const MAX_AVOIDED: usize = 16;

/// Whether a text can be a node's name: 1 to 64 letters, digits, `-`, `_` or `.`, for it becomes a tag of metrics and part of
/// tables.
#[must_use]
pub fn is_node_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(fits)
}

/// `content_type` of every message.
pub const CONTENT_TYPE: &str = "application/json";
