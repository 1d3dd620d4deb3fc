//! What the benchmarks need to see of the vector kernel; not for other use, and it may change at any time.

use crate::Error;
use crate::kernel::{Ifma, Work, multiply_adds};

/// Does at least `count` independent vector multiply-adds of the kind the kernel is made of, and returns how many; nothing
/// if the processor has no such thing.
#[must_use]
pub fn limit(count: u64) -> Option<u64> {
    Ifma::detect().map(|proof| multiply_adds(proof, count))
}

/// Strong tests to base 2 with the vector kernel.
pub struct Tests(Work);

impl Tests {
    /// Of odd numbers of so many bits, if there is a vector kernel for them.
    #[must_use]
    pub fn new(bits: u32) -> Option<Self> {
        Work::new(Ifma::detect()?, bits).map(Self)
    }

    /// Tests them, and returns how many they are and how many vector multiply-adds their squarings are.
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
