//! The lines of a campaign's checkpoint.

use primepool_common::message::{Factorization, HexInteger, Packet};
use serde::{Deserialize, Serialize};

/// One step of a campaign. A campaign's state follows from its entries alone, so a producer that
/// was killed goes on from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    /// A worker has taken a divisor apart as far as one worker does; the first one is the integer
    /// itself.
    TakenApart {
        of: HexInteger,
        found: Factorization,
        /// Worker time, in microseconds.
        us: u64,
    },
    /// A stage has begun, or goes on in another batch of units.
    Begun {
        /// Number of the batch. The name in the file is from before batches had this name.
        #[serde(rename = "group")]
        batch: u32,
        /// The divisor that the stage works on.
        of: HexInteger,
        stage: Stage,
        /// Time of a linear algebra that found nothing, after which the sieve goes on, in
        /// microseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        us: u64,
    },
    /// Units of the batch were issued.
    Issued {
        /// Number of units so far.
        units: u32,
        /// Curves or families assigned so far (exclusive upper bound).
        upto: u64,
    },
    /// A unit of curves has found nothing.
    Curves {
        /// Index of the unit in its batch.
        unit: u32,
        /// Curves done.
        done: u64,
        us: u64,
    },
    /// A unit of the sieve was answered.
    Relations {
        unit: u32,
        /// Families done.
        families: u64,
        us: u64,
        /// Its relations; empty if all of them were known.
        packet: Packet,
    },
    /// A worker could not do a unit.
    Failed { unit: u32, us: u64 },
    /// A divisor is the product of two.
    Split {
        of: HexInteger,
        /// One of the two.
        divisor: HexInteger,
        /// Time of the unit or the linear algebra that found it, in microseconds.
        us: u64,
    },
    /// A divisor stays whole.
    Left {
        of: HexInteger,
        reason: String,
        /// Time of a linear algebra that failed, in microseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        us: u64,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(us: &u64) -> bool {
    *us == 0
}

/// What is done with a divisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// One worker takes it apart as far as one worker does.
    TakeApart,
    /// Elliptic curves of the level for factors of this size.
    Curves {
        /// Decimal digits.
        digits: u32,
    },
    /// The quadratic sieve.
    Sieve,
}
