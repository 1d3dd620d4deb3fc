//! Many numbers, side by side in the lanes.

use rug::Integer;

use super::bundle::{Curves, ManyNumbers};
use super::plan::CurvePlan;
use crate::{Cancel, Error};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for rug::Integer {}
}

/// A number that can be set in a lane: a word of 64 bits, or an integer of any length.
pub trait Number: Sized + sealed::Sealed {
    #[doc(hidden)]
    fn set(&self, curves: &mut dyn Curves, lane: usize);
    #[doc(hidden)]
    fn divisor(&self, curves: &dyn Curves, lane: usize) -> Option<Self>;
}

impl Number for u64 {
    fn set(&self, curves: &mut dyn Curves, lane: usize) {
        curves.set_word(lane, *self);
    }

    fn divisor(&self, curves: &dyn Curves, lane: usize) -> Option<Self> {
        curves.divisor_word(lane, *self)
    }
}

impl Number for Integer {
    fn set(&self, curves: &mut dyn Curves, lane: usize) {
        curves.set(lane, self);
    }

    fn divisor(&self, curves: &dyn Curves, lane: usize) -> Option<Self> {
        curves.divisor(lane, self)
    }
}

/// Odd composites to be split by curves.
pub(crate) struct Batch<'a, N> {
    pub(crate) curves: &'a mut dyn ManyNumbers,
    pub(crate) plan: &'a CurvePlan,
    pub(crate) numbers: &'a [N],
    /// Largest number of curves on each number.
    pub(crate) most: u32,
    pub(crate) cancel: &'a Cancel,
}

impl<N: Number> Batch<'_, N> {
    /// Runs curves until each number is split or has had `most` curves. `found` receives the index
    /// and a proper divisor of each number that is split. Returns the number of curves run.
    ///
    /// While there are enough numbers, each lane has a number of its own, and takes the next one
    /// when that is split. At the end, each number has several lanes.
    pub(crate) fn split(mut self, found: &mut dyn FnMut(usize, N)) -> Result<u64, Error> {
        let lanes = self.curves.lanes();
        let (mut at, mut tried) = (vec![None; lanes], vec![0; lanes]);
        let (mut next, mut total) = (0, 0);
        loop {
            let mut fresh = 0;
            for lane in 0..lanes {
                if at[lane].is_none() && next < self.numbers.len() {
                    self.numbers[next].set(self.curves, lane);
                    (at[lane], tried[lane]) = (Some(next), 0);
                    fresh |= 1 << lane;
                    next += 1;
                }
            }
            let live = at.iter().flatten().count();
            if 2 * live <= lanes {
                let live = at.iter().zip(&tried).filter(|(at, _)| at.is_some());
                let tried = live.map(|(_, tried)| *tried).max().unwrap_or(0);
                let left = at.into_iter().flatten().collect();
                return Ok(total + self.split_few(left, tried, found)?);
            }
            self.curves.advance(!fresh);
            if fresh != 0 {
                self.curves.restart(fresh);
            }
            self.curves.run(self.plan, self.cancel)?;
            total += live as u64;
            for lane in 0..lanes {
                let Some(place) = at[lane] else {
                    continue;
                };
                tried[lane] += 1;
                let divisor = self.numbers[place].divisor(self.curves, lane);
                if divisor.is_some() || tried[lane] >= self.most {
                    at[lane] = None;
                }
                if let Some(divisor) = divisor {
                    found(place, divisor);
                }
            }
        }
    }

    /// The same for some of the numbers, at most half as many as there are lanes. Up to `tried`
    /// curves have been run on each of them.
    fn split_few(
        &mut self,
        mut left: Vec<usize>,
        mut tried: u32,
        found: &mut dyn FnMut(usize, N),
    ) -> Result<u64, Error> {
        let lanes = self.curves.lanes();
        let mut total = 0;
        while !left.is_empty() && tried < self.most {
            let (numbers, copies) = (left.clone(), lanes / left.len());
            for (lane, &place) in (0..lanes).step_by(copies).zip(&numbers) {
                for lane in lane..lane + copies {
                    self.numbers[place].set(self.curves, lane);
                }
            }
            // Copy c of a number begins with curve `tried` + c.
            self.curves.restart(u32::MAX);
            for step in 1..tried + copies as u32 {
                let is_behind = |lane: &usize| tried + (lane % copies) as u32 >= step;
                let behind = (0..lanes).filter(is_behind);
                let behind = behind.fold(0, |lanes, lane| lanes | 1 << lane);
                self.curves.advance(behind);
            }
            loop {
                self.curves.run(self.plan, self.cancel)?;
                total += (left.len() * copies) as u64;
                tried += copies as u32;
                for (lane, &place) in (0..lanes).step_by(copies).zip(&numbers) {
                    let number = &self.numbers[place];
                    let mut lanes = lane..lane + copies;
                    let divisor = lanes.find_map(|lane| number.divisor(self.curves, lane));
                    if let Some(at) = left.iter().position(|&other| other == place)
                        && let Some(divisor) = divisor
                    {
                        left.swap_remove(at);
                        found(place, divisor);
                    }
                }
                if 2 * left.len() <= numbers.len() || tried >= self.most {
                    break;
                }
                for _ in 0..copies {
                    self.curves.advance(u32::MAX);
                }
            }
        }
        Ok(total)
    }
}
