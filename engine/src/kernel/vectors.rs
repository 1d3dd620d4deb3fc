//! The interface of a vector kernel to the tests and the sieve, independent of its arithmetic.

use super::arithmetic::Arithmetic;
use super::blocks::Steps;
use super::field::Field;
use super::limit;
use super::montgomery::bits_of;
use super::numbers::VectorField;
use super::residues::{self, Residues};

/// A vector kernel: fields and residues with one arithmetic.
pub(crate) trait VectorKernel: Sync {
    /// The number of digits of the smallest field for moduli of up to `bits` bits; `None` if there
    /// is none.
    fn limbs_for(&self, bits: u32) -> Option<usize>;

    /// The smallest field for moduli of up to `bits` bits; `None` if there is none.
    fn field_for(&self, bits: u32) -> Option<Box<dyn Field>>;

    /// The residues for the sieve.
    fn residues(&self) -> Box<dyn Residues>;

    /// Number of lanes of a register.
    fn width(&self) -> u64;

    /// Computes at least `count` products of vectors of digits that do not depend on each other,
    /// and returns their number.
    fn products(&self, count: u64) -> u64;
}

/// A field of `limbs` digits, and its steps.
pub(super) struct Size<A: 'static> {
    pub(super) limbs: usize,
    pub(super) steps: &'static dyn Steps<A>,
}

/// The kernel with one arithmetic. The sizes of its fields are in ascending order.
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
        Some(VectorField::boxed(self.arithmetic, size.limbs, size.steps))
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
