//! Pollard's p − 1 method and elliptic curves, by the crate `ecm`; how much of them is worth while.

use std::ops::ControlFlow;

use ecm::{Algorithm, Event, Factorizer};
use rug::Integer;

use crate::{Cancel, Error};

/// Curves with one bound, enough to find a factor of so many decimal digits with probability 1 − 1/e.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) digits: u32,
    pub(super) b1: u32,
    pub(super) curves: u32,
}

/// Bounds as in GMP-ECM's README.
pub(super) const LEVELS: [Level; 6] = [
    Level {
        digits: 10,
        b1: 200,
        curves: 10,
    },
    Level {
        digits: 15,
        b1: 2_000,
        curves: 30,
    },
    Level {
        digits: 20,
        b1: 11_000,
        curves: 107,
    },
    Level {
        digits: 25,
        b1: 50_000,
        curves: 261,
    },
    Level {
        digits: 30,
        b1: 250_000,
        curves: 513,
    },
    Level {
        digits: 35,
        b1: 1_000_000,
        curves: 1_071,
    },
];

/// The bound of p − 1 for that of the curves after it.
pub(super) const P_MINUS_1_BOUND: u32 = 10;

/// A proper divisor of a composite by p − 1, if there is one of which it is seen.
pub(super) fn p_minus_1(n: &Integer, b1: u32, cancel: &Cancel) -> Result<Option<Integer>, Error> {
    let mut method = Factorizer::new()
        .algorithm(Algorithm::Pm1)
        .b1(b1 as usize)
        .interrupt_flag(cancel.flag());
    outcome(n, method.find_factor(n))
}

/// A proper divisor of a composite by elliptic curves, if one of them finds it. `seed` decides which curves they are; `done` is
/// told after each.
pub(super) fn curves(
    n: &Integer,
    b1: u32,
    count: u32,
    seed: u64,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    let mut method = Factorizer::new()
        .b1(b1 as usize)
        .curves(count as usize)
        .seed(seed)
        .interrupt_flag(cancel.flag())
        .on_event(|event: &Event<'_>| {
            if let Event::Curve { index, .. } = *event {
                done(index as u64);
            }
            ControlFlow::Continue(())
        });
    outcome(n, method.find_factor(n))
}

fn outcome(n: &Integer, found: Result<Integer, ecm::Error>) -> Result<Option<Integer>, Error> {
    match found {
        Ok(divisor) if divisor > 1 && divisor < *n && n.is_divisible(&divisor) => Ok(Some(divisor)),
        Ok(divisor) => Err(Error::fault(format!("{divisor} as a divisor of {n}"))),
        Err(ecm::Error::ECMFailed) => Ok(None),
        Err(ecm::Error::Interrupted) => Err(Error::Cancelled),
        Err(error) => Err(Error::fault(format!("elliptic curves on {n}: {error}"))),
    }
}

/// The curves that are tried before the sieve on a composite of so many bits.
pub(super) fn before_sieve(bits: u32) -> Vec<Level> {
    let _ = bits;
    Vec::new()
}

/// All curves up to factors of so many digits.
pub(super) fn up_to(digits: u32) -> Vec<Level> {
    LEVELS
        .into_iter()
        .filter(|level| level.digits <= digits)
        .collect()
}
