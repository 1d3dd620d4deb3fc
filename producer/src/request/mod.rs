//! The jobs that the user requests, and their packing into work units.

mod bounds;
mod integers;
mod packing;
mod print;
mod run;
mod semiprimes;
mod verify;
mod weights;

pub use bounds::Bounds;
pub use integers::{IntegerSource, read_integers};
pub(crate) use packing::MAX_UNITS;
pub use packing::{Packing, UnitSize};
pub use print::Print;
pub use run::{FactoringAims, Request};
pub(crate) use run::{LEAVE_ABOVE_BITS, MAX_COUNT};
pub use semiprimes::Semiprimes;
pub use verify::Verify;
pub use weights::Weights;
pub(crate) use weights::{BLOCK, work_us};
