//! Values as messages carry them, bounded while they are read.
//!
//! Any program that reaches the broker can send anything. Lists are bounded by their number, texts
//! and integers by their length, before memory is allocated for more.

pub(crate) mod bounded;
mod hex;
mod integer;

pub use bounded::MAX_NAME_BYTES;
pub use hex::Hex;
pub use integer::{HexInteger, MAX_INTEGER_BITS};
