//! Messages: JSON bodies with a `version`; big integers are lower-case hexadecimal strings.
//!
//! Unknown fields are ignored, so that a newer sender can add fields. An unknown version or kind is
//! refused.
//!
//! The size of all values is limited while they are read, see [`crate::wire`].

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

/// Version of the message format that this build writes; it reads no other version.
pub const VERSION: u32 = 1;

/// Largest body that is decoded, in bytes; a larger one is refused without being read. The answer
/// to a unit of 10,000 primes of 1024 bits has 3 MB; RabbitMQ 4 accepts up to 16 MiB.
pub const MAX_BODY_BYTES: usize = 12 << 20;

/// Most jobs in a unit.
pub const MAX_UNIT_JOBS: u64 = 50_000;

/// Largest body of a [`Control`] message, in bytes.
pub const MAX_CONTROL_BYTES: usize = 1 << 10;

/// Most node samples in an answer.
pub const MAX_SAMPLES: usize = 2;

/// Most nodes in a unit's `avoid`.
pub const MAX_AVOIDED: usize = 16;

/// Whether a text is a valid node name: 1 to 64 letters, digits, `-`, `_` or `.`, because it
/// becomes a tag of metrics and a cell of tables.
#[must_use]
pub fn is_node_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(fits)
}

/// AMQP `content_type` of every message.
pub const CONTENT_TYPE: &str = "application/json";
