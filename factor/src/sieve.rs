//! The self-initialising quadratic sieve, by the crate `rusqsieve`.

use std::time::Duration;

use rug::Integer;
use rug::integer::Order;
use rusqsieve::{
    FactorConfig, FactorError, Natural, Parallelism, ProgressAction, ProgressPhase, ProgressTotal,
    factor_with_progress,
};

use crate::{Cancel, Error};

/// Words of the numbers that the sieve takes: enough for [`MAX_SIEVE_BITS`](crate::MAX_SIEVE_BITS).
const WORDS: usize = 7;

/// Factors above 1, with product n, of a composite without small ones. `None` if the sieve fails. `progress` is told the relations
/// that there are and that are needed.
pub(super) fn split(
    n: &Integer,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Vec<Integer>>, Error> {
    let bytes = n.to_digits::<u8>(Order::Lsf);
    let Ok(number) = Natural::<WORDS>::from_le_bytes(&bytes) else {
        return Ok(None);
    };
    let mut config = FactorConfig::default().with_progress_interval(Duration::ZERO);
    if let Some(one) = Parallelism::threads(1) {
        config = config.with_parallelism(one);
    }
    let found = factor_with_progress(number, config, |snapshot| {
        if let (ProgressPhase::Sieving, ProgressTotal::Estimated(needed)) =
            (snapshot.phase(), snapshot.amount().total())
        {
            progress(snapshot.amount().completed(), needed);
        }
        if cancel.is_cancelled() {
            ProgressAction::Cancel
        } else {
            ProgressAction::Continue
        }
    });
    let factors = match found {
        Ok(factors) => factors,
        Err(FactorError::Cancelled) => return Err(Error::Cancelled),
        Err(_) => return Ok(None),
    };
    let factors: Option<Vec<Integer>> = factors.expanded().map(integer).collect();
    // Nothing is taken on trust: each factor is tested later, the product here.
    Ok(factors.filter(|factors| {
        factors.len() > 1
            && factors.iter().all(|factor| *factor > 1)
            && Integer::from(Integer::product(factors.iter())) == *n
    }))
}

fn integer(natural: &Natural<WORDS>) -> Option<Integer> {
    let mut bytes = [0; 8 * WORDS];
    let length = natural.write_le_bytes(&mut bytes).ok()?;
    Some(Integer::from_digits(&bytes[..length], Order::Lsf))
}
