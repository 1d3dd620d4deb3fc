//! What the benchmarks need to see of the vector kernels; not for other use, and it may change at
//! any time.

use crate::search::Workload;
use crate::{Error, Kernel};

/// Does at least `count` products of vectors of digits that wait for nothing, and returns how many
/// products of digits that is; nothing if the processor does not have the kernel, or it is no
/// vector kernel.
#[must_use]
pub fn limit(kernel: Kernel, count: u64) -> Option<u64> {
    let vectors = kernel.vectors()?;
    Some(vectors.products(count) * vectors.width())
}

/// Strong tests to base 2 with a vector kernel.
pub struct Tests(Workload);

impl Tests {
    /// Of odd numbers of so many bits, if there is a vector kernel for them.
    #[must_use]
    pub fn new(kernel: Kernel, bits: u32) -> Option<Self> {
        Workload::new(kernel.vectors()?, bits).map(Self)
    }

    /// Tests them, and returns how many they are and how many products of digits their squarings
    /// are.
    ///
    /// # Errors
    ///
    /// None in fact.
    pub fn run(&mut self) -> Result<(u64, u64), Error> {
        self.0.run()
    }

    /// Does with them what confirms a find of a random search, and returns how many they are.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system's generator failed.
    pub fn confirm(&mut self) -> Result<u64, Error> {
        self.0.confirm()
    }
}
