//! Curves and p ± 1 with a kernel.

use std::ops::Range;
use std::sync::Arc;

use primepool_engine::Kernel;
use rug::Integer;

use super::many::{Batch, Number};
use super::plan::{CurveBounds, CurvePlan};
use super::{one, sizes};
use crate::{Cancel, Error};

/// Curves and p ± 1 with a kernel. Caches the plans of small bounds, and of the last large one.
pub struct Ecm {
    kernel: Kernel,
    plans: Vec<Arc<CurvePlan>>,
    large: Option<Arc<CurvePlan>>,
}

/// Largest size of a composite in bits: with more bits, a curve would notice a cancellation too
/// late, and would have little chance of success.
pub const MAX_BITS: u32 = 2048;

/// Plans with a first-stage bound of up to this take less than a megabyte each; they are cached.
const MOST_KEPT: u32 = 20_000;

/// Most plans of small bounds in the cache: more than there are levels and classes of size.
const MOST_PLANS: usize = 30;

impl Ecm {
    /// Uses `kernel` if this processor has it, and machine words otherwise.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            plans: Vec::new(),
            large: None,
        }
    }

    fn plan(&mut self, bounds: CurveBounds, cancel: &Cancel) -> Result<Arc<CurvePlan>, Error> {
        let is_same = |plan: &&Arc<CurvePlan>| plan.bounds == bounds;
        if let Some(plan) = self.plans.iter().chain(&self.large).find(is_same) {
            return Ok(plan.clone());
        }
        if bounds.b1 > MOST_KEPT {
            self.large = None;
        }
        let plan = Arc::new(CurvePlan::new(bounds, cancel)?);
        if bounds.b1 > MOST_KEPT {
            self.large = Some(plan.clone());
        } else {
            if self.plans.len() == MOST_PLANS {
                self.plans.remove(0);
            }
            self.plans.push(plan.clone());
        }
        Ok(plan)
    }

    /// A proper divisor of a composite, if one of the curves with these numbers finds it. `done`
    /// receives the number of curves finished. The result is `None` beyond [`MAX_BITS`].
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn curves(
        &mut self,
        n: &Integer,
        b1: u32,
        range: Range<u64>,
        cancel: &Cancel,
        done: &mut dyn FnMut(u64),
    ) -> Result<Option<Integer>, Error> {
        if let Some(answer) = trivial(n) {
            return Ok(answer);
        }
        let Some(mut curves) = sizes::of_one(self.kernel, n.significant_bits()) else {
            return Ok(None);
        };
        let plan = self.plan(CurveBounds::new(b1), cancel)?;
        one::split(&mut *curves, &plan, n, range, cancel, done)
    }

    /// A proper divisor of a composite, if p ± 1 finds it. `None` beyond [`MAX_BITS`].
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn plus_minus(
        &mut self,
        n: &Integer,
        b1: u32,
        cancel: &Cancel,
    ) -> Result<Option<Integer>, Error> {
        if let Some(answer) = trivial(n) {
            return Ok(answer);
        }
        let Some(mut curves) = sizes::of_one(self.kernel, n.significant_bits()) else {
            return Ok(None);
        };
        let plan = self.plan(CurveBounds::of_plus_minus(b1), cancel)?;
        one::plus_minus(&mut *curves, &plan, n, cancel)
    }

    /// Splits odd composites of up to `bits` bits, at most 128, with at most `most` curves on each.
    /// `found` receives the index and a proper divisor of each composite that is split. Returns the
    /// number of curves run.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`]. Divisors passed to `found` before are valid.
    pub fn split_many<N: Number>(
        &mut self,
        numbers: &[N],
        bits: u32,
        b1: u32,
        most: u32,
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, N),
    ) -> Result<u64, Error> {
        let Some(mut curves) = sizes::of_many(self.kernel, bits) else {
            return Ok(0);
        };
        let plan = self.plan(CurveBounds::new(b1), cancel)?;
        let batch = Batch {
            curves: &mut *curves,
            plan: &plan,
            numbers,
            most,
            cancel,
        };
        batch.split(found)
    }
}

/// The answer for numbers without a field: even ones, those below 3, and those that are too large.
fn trivial(n: &Integer) -> Option<Option<Integer>> {
    if n.significant_bits() > MAX_BITS || *n < 3 {
        return Some(None);
    }
    n.is_even().then(|| Some(2.into()))
}
