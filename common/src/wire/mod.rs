//! Values as messages encode them, with limits that are enforced while reading.
//!
//! Any program that reaches the broker can send anything. The number of items of a list and the
//! length of texts and integers are checked before more memory is allocated.

pub(crate) mod bounded;
mod hex;
mod integer;

pub use bounded::MAX_NAME_BYTES;
pub use hex::Hex;
pub use integer::{HexInteger, MAX_INTEGER_BITS};
