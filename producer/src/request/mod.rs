//! From what the user asks for to work units.

mod integers;
mod packing;
mod print;
mod run;
mod semiprimes;
mod verify;

pub use integers::read_integers;
pub use packing::{Packing, UnitSize};
pub use print::Print;
pub use run::Request;
pub(crate) use run::{LEAVE_ABOVE_BITS, MAX_COUNT};
pub use semiprimes::Semiprimes;
pub use verify::Verify;
