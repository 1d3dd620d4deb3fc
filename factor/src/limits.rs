//! How far a factorization goes.

use crate::{MAX_SIEVE_BITS, spread};

/// Limits of the work on one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Composites of up to this many bits are sieved; 0 for no sieve. Values above
    /// [`MAX_SIEVE_BITS`] count as [`MAX_SIEVE_BITS`].
    pub sieve_bits: u32,
    /// Composites that are not sieved get as many curves as find a prime factor of this many
    /// decimal digits with probability 1 − 1/e: 10, 15, 20, 25, 30, 35 or 40; 0 for no curves.
    pub curve_digits: u32,
}

impl Limits {
    /// The limits of one worker that leaves composites above `sieve_bits` bits to several workers
    /// ([`spread`]).
    #[must_use]
    pub fn before_spreading(sieve_bits: u32) -> Self {
        Self {
            sieve_bits,
            curve_digits: spread::TRIED_DIGITS,
        }
    }
}

impl Default for Limits {
    /// The sieve up to [`MAX_SIEVE_BITS`], and curves for factors of 30 digits of larger
    /// composites.
    fn default() -> Self {
        Self {
            sieve_bits: MAX_SIEVE_BITS,
            curve_digits: 30,
        }
    }
}
