//! Parts of a search in isolation, for benchmarks.

use std::hint::black_box;

use super::batch::Batch;
use super::digits::write_digits;
use crate::kernel::VectorKernel;
use crate::primality::{Assurance, Confirmation};
use crate::{Cancel, Error, Stream};

/// A batch of numbers to test repeatedly.
pub(crate) struct Workload {
    batch: Batch,
    bits: u32,
}

impl Workload {
    /// A batch of odd numbers of `bits` bits; `None` if the kernel has no field of that size.
    pub(crate) fn new(kernel: &dyn VectorKernel, bits: u32) -> Option<Self> {
        let mut batch = Batch::new(kernel, bits)?;
        let (mut stream, mut n) = (Stream::seeded(1, 0), rug::Integer::new());
        let mut digits = vec![0; batch.limbs()];
        for lane in 0..batch.lanes() {
            stream.draw_start(&mut n, bits).ok()?;
            n.set_bit(0, true);
            write_digits(&n, &mut digits);
            batch.load(lane, &digits);
        }
        Some(Self { batch, bits })
    }

    /// Tests all numbers to base 2. Returns how many numbers there are, and the number of digit
    /// products in as many Montgomery squarings as the numbers have bits: L (L + 1)/2 for the
    /// square of L digits, and L² for its reduction.
    pub(crate) fn run(&mut self) -> Result<(u64, u64), Error> {
        black_box(self.batch.strong_2(&Cancel::new())?);
        let (lanes, limbs) = (self.batch.lanes() as u64, self.batch.limbs() as u64);
        let squaring = lanes * limbs * (3 * limbs + 1) / 2;
        Ok((lanes, u64::from(self.bits) * squaring))
    }

    /// Runs the tests that confirm a hit of a random search on all numbers. Returns how many
    /// numbers there are.
    pub(crate) fn confirm(&mut self) -> Result<u64, Error> {
        let Assurance { lucas, rounds } = Assurance::at_random(self.bits, Confirmation::Complete);
        let cancel = Cancel::new();
        if lucas {
            black_box(self.batch.strong_lucas(&cancel)?);
        }
        let mut bases = Stream::from_os_key()?;
        for _ in 0..rounds {
            black_box(self.batch.strong_random(&mut bases, &cancel)?);
        }
        Ok(self.batch.lanes() as u64)
    }
}
