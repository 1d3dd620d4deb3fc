//! The sieve of one composite on one worker.

use std::num::NonZero;

use rug::Integer;

use super::collector::Collector;
use super::factor_base::{Base, FactorBase};
use super::kernel::SieveKernel;
use super::parameters::Parameters;
use super::siever::Siever;
use crate::{Cancel, Error};

/// Number of families in a row without a new relation after which the sieve gives up.
const BARREN: u32 = 256;

/// A proper divisor of an odd composite that is not a power of a prime. `None` if the sieve fails.
/// `progress` receives the number of relations found and the number needed.
pub(crate) fn split(
    number: &Integer,
    kernel: SieveKernel,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Integer>, Error> {
    let parameters = Parameters::for_bits(number.significant_bits());
    split_with(number, parameters, kernel, cancel, progress)
}

/// [`split`] with parameters of the caller's choice.
///
/// # Errors
///
/// Those of [`FactorBase::build`], and [`Error::Fault`] if a dependency turns out to be wrong.
pub fn split_with(
    number: &Integer,
    parameters: Parameters,
    kernel: SieveKernel,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Integer>, Error> {
    let base = match FactorBase::build(number, &parameters, cancel)? {
        Base::Ready(base) => base,
        Base::Divisor(prime) => return Ok(Some(prime.into())),
    };
    let mut collector = Collector::new(number, base.clone(), parameters);
    let mut siever = Siever::new(base, parameters, kernel);
    let mut barren = 0;
    for family in 0.. {
        let mut is_barren = true;
        siever.sieve(family, cancel, &mut |relation| {
            is_barren &= collector.add_one(&relation) != Some(true);
        })?;
        barren = if is_barren { barren + 1 } else { 0 };
        progress(collector.relations(), collector.needed());
        if collector.is_ready()
            && let Some(divisor) = collector.solve(NonZero::<usize>::MIN, cancel)?
        {
            return Ok(Some(divisor));
        }
        if barren == BARREN {
            break;
        }
    }
    Ok(None)
}
