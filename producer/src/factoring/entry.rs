//! The lines of a campaign's checkpoint.

use primepool_common::message::{Factorization, HexInteger, Packet};
use serde::{Deserialize, Serialize};

/// One step of a campaign. The state of a campaign is determined by its entries alone, so `resume`
/// can restore it after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    /// A worker has factored a divisor as far as one worker can; the first such divisor is the
    /// integer itself.
    TakenApart {
        of: HexInteger,
        found: Factorization,
        /// Worker time, in microseconds.
        us: u64,
    },
    /// A stage has begun, or continues with another batch of units.
    Begun {
        /// Number of the batch; earlier versions called it a group.
        #[serde(rename = "group")]
        batch: u32,
        /// The divisor that the stage works on.
        of: HexInteger,
        stage: Stage,
        /// Time of a linear algebra without a result, after which the sieve continues, in
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
    /// The curves of a unit found no divisor.
    Curves {
        /// Index of the unit in its batch.
        unit: u32,
        /// Number of curves done.
        done: u64,
        us: u64,
    },
    /// A unit of the sieve was answered.
    Relations {
        unit: u32,
        /// Number of families done.
        families: u64,
        us: u64,
        /// The relations; empty if all of them were known.
        packet: Packet,
    },
    /// A worker could not do a unit.
    Failed { unit: u32, us: u64 },
    /// A divisor was split into two factors.
    Split {
        of: HexInteger,
        /// One of the two factors.
        divisor: HexInteger,
        /// Time of the unit or the linear algebra that found it, in microseconds.
        us: u64,
    },
    /// A composite divisor was given up.
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

/// A stage of the work on a divisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// One worker factors the divisor as far as it can alone.
    TakeApart,
    /// Elliptic curves for factors of a given size.
    Curves {
        /// Size of the factors in decimal digits.
        digits: u32,
    },
    /// The quadratic sieve.
    Sieve,
}
