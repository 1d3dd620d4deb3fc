//! One hard composite on many machines: batches of curves, and the quadratic sieve cut into ranges of polynomial families.
//!
//! Whoever coordinates makes the batches and keeps a [`Collector`]; whoever works holds [`Families`] or calls [`curves`]. Nothing
//! passes between them but the composite, ranges of numbers, and packets of relations: any batch is as good as any other, so one that
//! is lost is replaced by another, and none has to be waited for.
//!
//! # Sources
//!
//! The sieve is that of the crate `rusqsieve`, release 0.1: the last one whose parts can be called apart. What comes after it is here.

mod collector;
mod nullspace;
mod relation;

use std::ops::Range;

use rug::Integer;
use rug::integer::Order;
use rusqsieve_parts::Natural;
use rusqsieve_parts::low_level::{EngineContext, EngineJob, execute_engine_job, prepare_engine};

pub use self::collector::{Added, Collector, Start};
use self::relation::{FULL, Raw, pack};
use crate::{Cancel, Error, MAX_CURVE_BITS, MAX_SIEVE_BITS};

/// The least number of bits of a composite that this is made for: the factor base below is too small to choose polynomials from.
pub const MIN_BITS: u32 = 128;

/// A level of curves: a run of p − 1, and curves with one bound.
pub use crate::curves::Level;

/// What is worth trying on a composite of so many bits, of whose factors nothing is known, before the sieve is put to it; or instead of the
/// sieve, if it is too large for that; nothing beyond [`MAX_CURVE_BITS`]. What a worker has tried first is left out.
#[must_use]
pub fn levels(bits: u32) -> Vec<Level> {
    let levels = if bits <= MAX_SIEVE_BITS {
        crate::curves::before_sieve(bits)
    } else if bits <= MAX_CURVE_BITS {
        crate::curves::up_to(MOST_DIGITS)
    } else {
        Vec::new()
    };
    levels
        .into_iter()
        .filter(|level| level.digits > TRIED_DIGITS)
        .collect()
}

/// Digits of the factors that are looked for in what the sieve does not take: some minutes of one core at 400 bits, half an hour at 1024.
const MOST_DIGITS: u32 = 30;

/// Factors of so many digits have been looked for by whoever left the composite; see [`Limits::before_spreading`].
///
/// [`Limits::before_spreading`]: crate::Limits::before_spreading
pub(super) const TRIED_DIGITS: u32 = 10;

/// Expected seconds of a curve with this bound.
#[must_use]
pub fn curve_seconds(b1: u32, bits: u32) -> f64 {
    crate::curves::curve_us(b1, bits) as f64 / 1e6
}

/// Expected seconds of the whole sieve: measured up to 256 bits.
#[must_use]
pub fn sieve_seconds(bits: u32) -> f64 {
    crate::curves::sieve_ms(bits) as f64 / 1e3
}

/// Expected seconds of a polynomial family: measured at 192, 224, 240, 256, 288 and 320 bits.
#[must_use]
pub fn family_seconds(bits: u32) -> f64 {
    match bits {
        0..=208 => 0.01,
        209..=224 => 0.04,
        225..=248 => 0.05,
        249..=272 => 0.07,
        273..=304 => 0.2,
        _ => 2.0,
    }
}

/// A proper divisor of a composite by curves `range` of a level, if one of them finds it; before the first curve also by p − 1 with
/// bound `p_minus_1`, unless that is 0. `done` is told the curves done.
///
/// # Errors
///
/// [`Error::Cancelled`], and [`Error::Fault`] if a divisor is none.
pub fn curves(
    n: &Integer,
    b1: u32,
    p_minus_1: u32,
    range: Range<u32>,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    if range.start == 0 && p_minus_1 > 0 {
        let divisor = crate::curves::p_minus_1(n, p_minus_1, cancel)?;
        if divisor.is_some() {
            return Ok(divisor);
        }
    }
    // Other curves than those of other ranges, and than those that `Factorizer::factor` tries.
    let seed = u64::from(b1) << 32 | 1 << 31 | u64::from(range.start);
    crate::curves::curves(n, b1, range.end - range.start, seed, cancel, done)
}

/// The sieve as a worker holds it: for one composite.
pub struct Families {
    number: Integer,
    context: EngineContext,
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Families of {}", self.number)
    }
}

impl Families {
    /// Takes some tens of milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers out of [`MIN_BITS`]`..=`[`MAX_SIEVE_BITS`], and if a prime of the factor base divides the number.
    pub fn new(number: &Integer) -> Result<Self, Error> {
        Ok(Self {
            context: prepare_engine(natural(number)?)
                .map_err(|error| Error::invalid(format!("no sieve for {number}: {error}")))?,
            number: number.clone(),
        })
    }

    /// The composite.
    #[must_use]
    pub fn number(&self) -> &Integer {
        &self.number
    }

    /// The relations of these families, as a packet, and how many families that are: a range with too many relations for one packet
    /// ends early. Looks at `cancel` after each family (40 ms at 224 bits, 70 ms at 256, 2 s at 320).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if what the sieve gives cannot be read.
    pub fn sieve(&self, families: Range<u64>, cancel: &Cancel) -> Result<(Vec<u8>, u64), Error> {
        let width = width(&self.number);
        let mut relations = Vec::new();
        let mut done = 0;
        for family in families {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let bytes = execute_engine_job(&self.context, EngineJob { family }).to_bytes();
            let family = Raw(&bytes)
                .family()
                .ok_or_else(|| Error::fault("the sieve's relations cannot be read"))?;
            for relation in &family {
                relation.write(width, &mut relations);
            }
            done += 1;
            if relations.len() > FULL {
                break;
            }
        }
        let packet = pack(&relations)
            .map_err(|error| Error::fault(format!("relations cannot be compressed: {error}")))?;
        Ok((packet, done))
    }
}

fn natural(number: &Integer) -> Result<Natural, Error> {
    let bits = number.significant_bits();
    if number.is_negative() || !(MIN_BITS..=MAX_SIEVE_BITS).contains(&bits) {
        return Err(Error::invalid(format!(
            "the sieve takes {MIN_BITS} to {MAX_SIEVE_BITS} bits, not {bits}"
        )));
    }
    let bytes = number.to_digits::<u8>(Order::Lsf);
    Natural::from_le_bytes(&bytes).map_err(|_| Error::fault("a number does not fit"))
}

/// Bytes of a root.
fn width(number: &Integer) -> usize {
    number.significant_digits::<u8>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rug::ops::Pow;

    use super::*;

    pub(super) fn next_prime(base: u32, power: u32) -> Integer {
        Integer::from(base).pow(power).next_prime()
    }

    /// A product of two primes with 136 bits.
    pub(super) fn semiprime() -> (Integer, Integer) {
        let p = next_prime(3, 43);
        (&p * next_prime(5, 29), p)
    }

    #[test]
    fn curves_find_what_their_level_is_for() {
        // A factor of 17 digits.
        let p = next_prime(10, 16);
        let n = &p * next_prime(7, 70);
        let levels = levels(n.significant_bits());
        let level = levels.iter().find(|level| level.digits == 20).unwrap();
        let found = (0..level.curves).step_by(20).find_map(|first| {
            let range = first..first + 20;
            curves(
                &n,
                level.b1,
                level.p_minus_1,
                range,
                &Cancel::new(),
                &mut |_| {},
            )
            .unwrap()
        });
        assert_eq!(found, Some(p));
    }

    #[test]
    fn a_cancel_ends_both() {
        let (n, _) = semiprime();
        let cancel = Cancel::new();
        cancel.cancel();
        let families = Families::new(&n).unwrap();
        assert!(matches!(
            families.sieve(0..9, &cancel),
            Err(Error::Cancelled)
        ));
        let cancelled = curves(&n, 11_000, 0, 0..9, &cancel, &mut |_| {});
        assert!(matches!(cancelled, Err(Error::Cancelled)));
    }

    #[test]
    fn sizes_are_checked() {
        for bits in [MIN_BITS - 1, MAX_SIEVE_BITS + 1] {
            let n = Integer::from(1) << (bits - 1);
            assert!(matches!(Families::new(&n), Err(Error::Invalid { .. })));
            assert!(matches!(Collector::start(&n), Err(Error::Invalid { .. })));
        }
    }
}
