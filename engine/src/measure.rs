//! Parts of the vector kernels for benchmarks. Not for other use; may change at any time.

use crate::search::Workload;
use crate::{Error, Kernel};

/// Computes at least `count` independent products of vectors of digits, and returns the number of
/// digit products. `None` if the processor does not have the kernel, or if it is not a vector
/// kernel.
#[must_use]
pub fn limit(kernel: Kernel, count: u64) -> Option<u64> {
    let vectors = kernel.vectors()?;
    Some(vectors.products(count) * vectors.width())
}

/// Strong tests to base 2 with a vector kernel.
pub struct Tests(Workload);

impl Tests {
    /// Tests of random odd numbers of `bits` bits; `None` if no vector kernel supports them.
    #[must_use]
    pub fn new(kernel: Kernel, bits: u32) -> Option<Self> {
        Workload::new(kernel.vectors()?, bits).map(Self)
    }

    /// Tests the numbers once. Returns how many there are, and the number of digit products in
    /// their squarings.
    ///
    /// # Errors
    ///
    /// Never fails: the test is not cancelled.
    pub fn run(&mut self) -> Result<(u64, u64), Error> {
        self.0.run()
    }

    /// Runs the tests that confirm a hit of a random search on all numbers. Returns their number.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system's generator failed.
    pub fn confirm(&mut self) -> Result<u64, Error> {
        self.0.confirm()
    }
}
