//! How far a factorization goes.

use crate::{MAX_SIEVE_BITS, spread};

/// How far a factorization goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The sieve is put to composites of at most so many bits; 0 for none. At most
    /// [`MAX_SIEVE_BITS`] count.
    pub sieve_bits: u32,
    /// On composites that the sieve is not put to, curves go on until a prime factor of so many
    /// decimal digits would have been found with probability 1 − 1/e: 10, 15, 20, 25, 30, 35 or
    /// 40; 0
    /// for no curves.
    pub curve_digits: u32,
}

impl Limits {
    /// For who leaves composites above so many bits to several workers ([`spread`]): what one
    /// worker should try first.
    #[must_use]
    pub fn before_spreading(sieve_bits: u32) -> Self {
        Self {
            sieve_bits,
            curve_digits: spread::TRIED_DIGITS,
        }
    }
}

impl Default for Limits {
    /// Everything up to [`MAX_SIEVE_BITS`], and factors of 30 digits of what is larger.
    fn default() -> Self {
        Self {
            sieve_bits: MAX_SIEVE_BITS,
            curve_digits: 30,
        }
    }
}
