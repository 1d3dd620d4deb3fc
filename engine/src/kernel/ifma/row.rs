//! Eight 64-bit numbers, one a lane, as memory and as a vector register.

#![allow(unsafe_code)]

use std::arch::x86_64::__m512i;

/// Numbers in a vector.
pub(super) const LANES: usize = 8;

/// Bits of a digit: what `vpmadd52` multiplies.
pub(super) const DIGIT_BITS: u32 = 52;

/// The low [`DIGIT_BITS`] bits.
pub(super) const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// The memory of a vector register: word `l` belongs to lane `l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [u64; LANES]);

impl Row {
    pub(super) const ZERO: Self = Self([0; LANES]);

    /// The register with these words.
    #[inline(always)]
    pub(super) fn vector(self) -> __m512i {
        // SAFETY: both types are 64 bytes of plain data, and every bit pattern is valid for both.
        unsafe { std::mem::transmute::<Self, __m512i>(self) }
    }

    /// The words of a register.
    #[inline(always)]
    pub(super) fn from_vector(vector: __m512i) -> Self {
        // SAFETY: both types are 64 bytes of plain data, and every bit pattern is valid for both.
        unsafe { std::mem::transmute::<__m512i, Self>(vector) }
    }
}
