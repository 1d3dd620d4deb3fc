//! One worker's part in the sieve of a composite on many machines.

use std::ops::Range;

use rug::Integer;

use super::factor_base::{Base, FactorBase};
use super::kernel::SieveKernel;
use super::parameters::Parameters;
use super::relation::{FULL, Writer, pack};
use super::siever::Siever;
use crate::{Cancel, Error};

/// The sieve of one composite on a worker that sieves some of its families of polynomials.
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
    /// Prepares the sieve, which takes a tenth of a second at 256 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers outside
    /// [`MIN_BITS`](super::MIN_BITS)`..=`[`MAX_BITS`](super::MAX_BITS), and if a prime of the
    /// factor base divides the number.
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

    /// The composite that is sieved.
    #[must_use]
    pub fn number(&self) -> &Integer {
        &self.number
    }

    /// Sieves these families. Returns their relations as a packet, and the number of families
    /// sieved: a range with too many relations for one packet ends early.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if the relations cannot be compressed.
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
