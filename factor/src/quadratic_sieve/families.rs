//! The sieve of one composite on many machines, as a worker holds it.

use std::ops::Range;

use rug::Integer;

use super::factor_base::{Base, FactorBase};
use super::kernel::SieveKernel;
use super::parameters::Parameters;
use super::relation::{FULL, Writer, pack};
use super::siever::Siever;
use crate::{Cancel, Error};

/// The sieve of one composite, in parts for many machines.
pub struct Families {
    number: Integer,
    siever: Siever,
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Families of {}", self.number)
    }
}

impl Families {
    /// Prepares the sieve: a tenth of a second at 256 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers out of [`MIN_BITS`](super::MIN_BITS)`..=`[`MAX_BITS`](super::MAX_BITS),
    /// and if a prime of the factor base divides the number.
    pub fn new(number: &Integer, kernel: SieveKernel, cancel: &Cancel) -> Result<Self, Error> {
        let parameters = Parameters::for_bits(number.significant_bits());
        match FactorBase::build(number, &parameters, cancel)? {
            Base::Ready(base) => Ok(Self {
                number: number.clone(),
                siever: Siever::new(base, parameters, kernel),
            }),
            Base::Divisor(prime) => Err(Error::invalid(format!(
                "no sieve for {number}: {prime} divides it"
            ))),
        }
    }

    /// The composite.
    #[must_use]
    pub fn number(&self) -> &Integer {
        &self.number
    }

    /// The relations of these families, as a packet, and how many families that are: a range with
    /// too many relations for one packet ends early.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if the packet cannot be made.
    pub fn sieve(
        &mut self,
        families: Range<u64>,
        cancel: &Cancel,
    ) -> Result<(Vec<u8>, u64), Error> {
        let mut writer = Writer::default();
        let mut done = 0;
        for family in families {
            self.siever
                .sieve(family, cancel, &mut |relation| writer.write(&relation))?;
            done += 1;
            if writer.bytes.len() > FULL {
                break;
            }
        }
        let packet = pack(&writer.bytes)
            .map_err(|error| Error::fault(format!("relations cannot be compressed: {error}")))?;
        Ok((packet, done))
    }
}
