//! What the tests and the sieve see of a vector kernel, whatever its arithmetic is.

use super::arithmetic::Arithmetic;
use super::field::Field;
use super::limit;
use super::montgomery::bits_of;
use super::residues::{self, Residues};

/// A vector kernel.
pub(crate) trait VectorKernel: Sync {
    /// The number of digits of the least field for moduli of up to so many bits.
    fn limbs_for(&self, bits: u32) -> Option<usize>;

    /// The least field for moduli of up to so many bits.
    fn field_for(&self, bits: u32) -> Option<Box<dyn Field>>;

    /// The residues of the sieve.
    fn residues(&self) -> Box<dyn Residues>;

    /// Lanes of a register.
    fn width(&self) -> u64;

    /// Does at least `count` products of vectors of digits that wait for nothing, and returns how
    /// many.
    fn products(&self, count: u64) -> u64;
}

/// A field of so many digits, and how it is made.
pub(super) struct Size<A> {
    pub(super) limbs: usize,
    pub(super) make: fn(A) -> Box<dyn Field>,
}

/// The kernel with an arithmetic, and the sizes of its fields, ascending.
pub(super) struct Vectors<A: 'static> {
    pub(super) arithmetic: A,
    pub(super) sizes: &'static [Size<A>],
}

impl<A: Arithmetic> VectorKernel for Vectors<A> {
    fn limbs_for(&self, bits: u32) -> Option<usize> {
        let mut limbs = self.sizes.iter().map(|size| size.limbs);
        limbs.find(|&limbs| bits <= bits_of(limbs))
    }

    fn field_for(&self, bits: u32) -> Option<Box<dyn Field>> {
        let size = self.sizes.iter().find(|size| bits <= bits_of(size.limbs))?;
        Some((size.make)(self.arithmetic))
    }

    fn residues(&self) -> Box<dyn Residues> {
        residues::boxed(self.arithmetic)
    }

    fn width(&self) -> u64 {
        A::COUNT as u64
    }

    fn products(&self, count: u64) -> u64 {
        limit::products(self.arithmetic, count)
    }
}
