//! The elliptic-curve method (Lenstra, *Factoring integers with elliptic curves*, 1987), and p ± 1
//! in the same lanes.
//!
//! The arithmetic of curves is written once (`edwards`, `stages`) for any `field`: that of one
//! number in machine words (`words`), or that of several numbers in the vectors of an engine kernel
//! (`vectors`). The steps depend on the bounds alone (`plan`), so that all lanes take the same
//! steps. `many` runs a different number in each lane, `one` a different curve of one number.
//!
//! This is a separate crate because its fields, of a dozen sizes for each kernel, take longer to
//! compile than the rest of factoring.

mod bundle;
mod ecm;
mod edwards;
mod field;
mod gcd;
mod many;
mod one;
mod out_of_line;
#[doc(hidden)]
pub mod plan;
mod primality;
mod sizes;
mod stages;
mod strong;
mod vectors;
mod words;

pub use primepool_engine::{Cancel, Error, Integer, Kernel};

pub use self::ecm::{Ecm, MAX_BITS};
pub use self::gcd::gcd;
pub use self::many::Number;
pub use self::primality::WordPrimality;
