//! One number, with a different curve in each lane.

use std::ops::Range;

use rug::Integer;

use super::bundle::OneNumber;
use super::edwards::{COEFFICIENT, FIRST, GENERATOR};
use super::plan::CurvePlan;
use crate::{Cancel, Error};

/// A position in the sequence of parameters of a number's curves: the multiples of the generator,
/// from the double on.
struct Parameters<'a> {
    n: &'a Integer,
    x: Integer,
    y: Integer,
}

/// The reason why there is no next parameter: the number and a denominator have this common
/// divisor.
struct Common(Integer);

impl<'a> Parameters<'a> {
    /// The parameter of a curve.
    fn of(n: &'a Integer, curve: u64) -> Result<Self, Common> {
        let multiple = curve + 2;
        let mut parameter = Self {
            n,
            x: Integer::from(GENERATOR.0) % n,
            y: Integer::from(GENERATOR.1) % n,
        };
        for bit in (0..multiple.ilog2()).rev() {
            if multiple >> bit == 1 || multiple >> (bit + 1) == 1 {
                // The double of the generator.
                parameter.x = Integer::from(FIRST.0).modulo(n);
                parameter.y = Integer::from(FIRST.1).modulo(n);
            } else {
                parameter.double()?;
            }
            if multiple >> bit & 1 == 1 {
                parameter.step()?;
            }
        }
        Ok(parameter)
    }

    /// Advances to the next multiple.
    fn step(&mut self) -> Result<(), Common> {
        let (x, y) = GENERATOR;
        let slope = self.quotient(y - Integer::from(&self.y), x - Integer::from(&self.x))?;
        self.go(&slope, &x.into());
        Ok(())
    }

    /// Advances to the double of this multiple.
    fn double(&mut self) -> Result<(), Common> {
        // The derivative of (x + 80)(x + 144)(x + 60) is 3 x² + 568 x + 24960.
        let square = Integer::from(self.x.square_ref());
        let above = square * 3 + Integer::from(&self.x * (2 * COEFFICIENT)) + 24_960;
        let slope = self.quotient(above, Integer::from(&self.y * 2))?;
        let x = self.x.clone();
        self.go(&slope, &x);
        Ok(())
    }

    fn quotient(&self, above: Integer, below: Integer) -> Result<Integer, Common> {
        match below.invert(self.n) {
            Ok(inverse) => Ok((above * inverse).modulo(self.n)),
            Err(below) => Err(Common(below.gcd(self.n))),
        }
    }

    /// Moves to the negated third intersection of the curve with a line: the line through this
    /// point and a point whose x is `other`.
    fn go(&mut self, slope: &Integer, other: &Integer) {
        let x = Integer::from(slope.square_ref()) - COEFFICIENT - other - &self.x;
        let x = x.modulo(self.n);
        let y = slope * Integer::from(&self.x - &x) - &self.y;
        (self.x, self.y) = (x, y.modulo(self.n));
    }
}

/// A proper divisor of an odd composite, if one of these curves finds it. `done` receives the
/// number of curves finished.
pub(crate) fn split(
    curves: &mut dyn OneNumber,
    plan: &CurvePlan,
    n: &Integer,
    range: Range<u64>,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    let proper = |divisor: Integer| (divisor < *n && divisor > 1).then_some(divisor);
    let lanes = curves.lanes();
    for lane in 0..lanes {
        curves.set(lane, n);
    }
    let mut parameters = match Parameters::of(n, range.start) {
        Ok(parameters) => parameters,
        Err(Common(divisor)) => return Ok(proper(divisor)),
    };
    for first in range.clone().step_by(lanes) {
        for lane in 0..lanes {
            curves.place(lane, &parameters.x, &parameters.y);
            if let Err(Common(divisor)) = parameters.step() {
                return Ok(proper(divisor));
            }
        }
        curves.run(plan, cancel)?;
        // Lanes beyond the end of the range are ignored, so that the result does not depend on the
        // number of lanes.
        let end = range.end.min(first + lanes as u64);
        done(end - range.start);
        let mut lanes = 0..(end - first) as usize;
        let divisor = lanes.find_map(|lane| curves.divisor(lane, n));
        if divisor.is_some() {
            return Ok(divisor);
        }
    }
    Ok(None)
}

/// Number of starts of p ± 1 that are tried. The probability that all of them stand for the same
/// one of p − 1 and p + 1 is 1/8, and less if there are more lanes.
const STARTS: usize = 4;

/// A proper divisor of an odd composite, if p ± 1 finds it.
pub(crate) fn plus_minus(
    curves: &mut dyn OneNumber,
    plan: &CurvePlan,
    n: &Integer,
    cancel: &Cancel,
) -> Result<Option<Integer>, Error> {
    for lane in 0..curves.lanes() {
        curves.set(lane, n);
    }
    // Each start stands for p − 1 or for p + 1, with equal probability.
    for first in (0..STARTS).step_by(curves.lanes()) {
        curves.plus_minus(plan, first, cancel)?;
        let divisor = (0..curves.lanes()).find_map(|lane| curves.divisor(lane, n));
        if divisor.is_some() {
            return Ok(divisor);
        }
    }
    Ok(None)
}
