//! From what the user asks for to work units.

mod ask;
mod integers;
mod packing;
mod semiprimes;
mod verify;

pub use ask::Ask;
pub(crate) use ask::{LEAVE_ABOVE_BITS, MAX_COUNT};
pub use integers::read_integers;
pub use packing::{Packing, UnitSize};
pub use semiprimes::Semiprimes;
pub use verify::Verify;
