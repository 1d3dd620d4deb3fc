//! Curves side by side, one in each lane.

use rug::Integer;

use super::edwards::Parameter;
use super::field::{Field, Moduli, Task};
use super::out_of_line::OutOfLine;
use super::plan::CurvePlan;
use super::stages::{StageBuffers, plus_minus, stage_1, stage_2};
use crate::{Cancel, Error, gcd};

/// Curves side by side, one in each lane, each modulo a number of its own.
///
/// [`ManyNumbers`] and [`OneNumber`] set the starting points of the curves. The traits are separate
/// so that code that a size of numbers does not need is not compiled.
pub trait Curves {
    /// The number of lanes.
    fn lanes(&self) -> usize;

    /// Sets the number of a lane, which is odd and above 1.
    fn set(&mut self, lane: usize, n: &Integer);
    /// The same for a number of 64 bits.
    fn set_word(&mut self, lane: usize, n: u64);

    /// Runs both stages of the curves.
    fn run(&mut self, plan: &CurvePlan, cancel: &Cancel) -> Result<(), Error>;

    /// A proper divisor of the number `n` of a lane, if the last run has found one.
    fn divisor(&self, lane: usize, n: &Integer) -> Option<Integer>;
    /// The same for a number of 64 bits.
    fn divisor_word(&self, lane: usize, n: u64) -> Option<u64>;
}

/// Curves on many numbers: each lane goes through the sequence of curves.
pub(crate) trait ManyNumbers: Curves {
    /// Resets the lanes whose bits are set to the first curve.
    fn restart(&mut self, lanes: u32);
    /// Advances the lanes whose bits are set to the next curve.
    fn advance(&mut self, lanes: u32);
}

/// Curves on one number, and p ± 1.
pub(crate) trait OneNumber: Curves {
    /// Sets the curve of a lane to the one given by the parameter (x, y) modulo the lane's number.
    fn place(&mut self, lane: usize, x: &Integer, y: &Integer);
    /// Runs p ± 1 with a different start in each lane; `first` is the index of the first lane's
    /// start.
    fn plus_minus(&mut self, plan: &CurvePlan, first: usize, cancel: &Cancel) -> Result<(), Error>;
}

/// Curves modulo the numbers in `moduli`.
pub(crate) struct Bundle<M: Moduli> {
    moduli: M,
    /// The x, y and z of the parameters, as words.
    parameters: [Vec<u64>; 3],
    next: [Vec<u64>; 3],
    /// Results whose common divisors with the numbers are looked for: of both stages, and of the
    /// first one alone.
    both: Vec<u64>,
    first: Vec<u64>,
    buffers: StageBuffers<M::Field>,
}

impl<M: Moduli + 'static> Bundle<M> {
    fn new(moduli: M) -> Self {
        let words = vec![0; moduli.words()];
        let three = [words.clone(), words.clone(), words.clone()];
        Self {
            moduli,
            parameters: three.clone(),
            next: three,
            both: words.clone(),
            first: words,
            buffers: StageBuffers::new(),
        }
    }

    pub(crate) fn of_many(moduli: M) -> Box<dyn ManyNumbers> {
        Box::new(Self::new(moduli))
    }

    pub(crate) fn of_one(moduli: M) -> Box<dyn OneNumber> {
        Box::new(Self::new(moduli))
    }

    /// Copies the parameters of some lanes from `next`.
    fn take_next(&mut self, lanes: u32) {
        let lanes = (0..M::LANES).filter(|lane| lanes >> lane & 1 == 1);
        for lane in lanes {
            for (to, from) in self.parameters.iter_mut().zip(&self.next) {
                for place in M::places(lane) {
                    to[place] = from[place];
                }
            }
        }
    }
}

impl<M: Moduli + 'static> Curves for Bundle<M> {
    fn lanes(&self) -> usize {
        M::LANES
    }

    fn set(&mut self, lane: usize, n: &Integer) {
        self.moduli.set(lane, n);
    }

    fn set_word(&mut self, lane: usize, n: u64) {
        self.moduli.set_word(lane, n);
    }

    fn run(&mut self, plan: &CurvePlan, cancel: &Cancel) -> Result<(), Error> {
        self.moduli.with(RunStages {
            plan,
            parameters: &self.parameters,
            both: &mut self.both,
            first: &mut self.first,
            buffers: &mut self.buffers,
            cancel,
        })
    }

    fn divisor(&self, lane: usize, n: &Integer) -> Option<Integer> {
        [&self.both, &self.first].into_iter().find_map(|words| {
            let divisor = self.moduli.value(lane, words).gcd(n);
            (divisor > 1 && divisor < *n).then_some(divisor)
        })
    }

    fn divisor_word(&self, lane: usize, n: u64) -> Option<u64> {
        let both = gcd(self.moduli.value_word(lane, n, &self.both), n);
        if both < n {
            return (both > 1).then_some(both);
        }
        let first = gcd(self.moduli.value_word(lane, n, &self.first), n);
        (first > 1 && first < n).then_some(first)
    }
}

impl<M: Moduli + 'static> ManyNumbers for Bundle<M> {
    fn restart(&mut self, lanes: u32) {
        self.moduli.with(FirstParameter { to: &mut self.next });
        self.take_next(lanes);
    }

    fn advance(&mut self, lanes: u32) {
        self.moduli.with(NextParameter {
            from: &self.parameters,
            to: &mut self.next,
        });
        self.take_next(lanes);
    }
}

impl<M: Moduli + 'static> OneNumber for Bundle<M> {
    fn place(&mut self, lane: usize, x: &Integer, y: &Integer) {
        let one = Integer::from(1);
        for (coordinate, words) in [x, y, &one].into_iter().zip(&mut self.parameters) {
            self.moduli.put(lane, coordinate, words);
        }
    }

    fn plus_minus(&mut self, plan: &CurvePlan, first: usize, cancel: &Cancel) -> Result<(), Error> {
        for lane in 0..M::LANES {
            let start = STARTS[(first + lane) % STARTS.len()].into();
            self.moduli.put(lane, &start, &mut self.next[0]);
        }
        self.moduli.with(PlusMinus {
            plan,
            start: &self.next[0],
            both: &mut self.both,
            first: &mut self.first,
            buffers: &mut self.buffers,
            cancel,
        })
    }
}

/// The starts V_1 of p ± 1. V_1² − 4 is a square modulo some primes and a non-square modulo others;
/// the starts differ in which primes these are.
const STARTS: [u32; 8] = [3, 5, 6, 9, 10, 11, 13, 15];

/// Computes the parameters of the first curve.
struct FirstParameter<'a> {
    to: &'a mut [Vec<u64>; 3],
}

impl<F: Field> Task<F> for FirstParameter<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: &F) {
        let f = &OutOfLine(f);
        store(f, &Parameter::first(f), self.to);
    }
}

/// Computes the parameters of the next curve.
struct NextParameter<'a> {
    from: &'a [Vec<u64>; 3],
    to: &'a mut [Vec<u64>; 3],
}

impl<F: Field> Task<F> for NextParameter<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: &F) {
        let f = &OutOfLine(f);
        store(f, &load(f, self.from).next(f), self.to);
    }
}

/// Runs both stages of the curves.
struct RunStages<'a, F: Field> {
    plan: &'a CurvePlan,
    parameters: &'a [Vec<u64>; 3],
    both: &'a mut [u64],
    first: &'a mut [u64],
    buffers: &'a mut StageBuffers<F>,
    cancel: &'a Cancel,
}

impl<F: Field> Task<F> for RunStages<'_, F> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run(self, f: &F) -> Result<(), Error> {
        let out_of_line = &OutOfLine(f);
        let point = load(out_of_line, self.parameters).point(out_of_line);
        let q = stage_1(f, self.plan, &point, self.buffers, self.cancel)?;
        f.store(&q.x, self.first);
        let both = stage_2(f, self.plan, &q, self.buffers, self.cancel)?;
        f.store(&both, self.both);
        Ok(())
    }
}

/// Runs both stages of p ± 1.
struct PlusMinus<'a, F: Field> {
    plan: &'a CurvePlan,
    start: &'a [u64],
    both: &'a mut [u64],
    first: &'a mut [u64],
    buffers: &'a mut StageBuffers<F>,
    cancel: &'a Cancel,
}

impl<F: Field> Task<F> for PlusMinus<'_, F> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run(self, f: &F) -> Result<(), Error> {
        let found = plus_minus(f, self.plan, &f.load(self.start), self.buffers, self.cancel)?;
        f.store(&found.first, self.first);
        f.store(&found.both, self.both);
        Ok(())
    }
}

#[inline(always)]
fn load<F: Field>(f: &F, [x, y, z]: &[Vec<u64>; 3]) -> Parameter<F> {
    Parameter {
        x: f.load(x),
        y: f.load(y),
        z: f.load(z),
    }
}

#[inline(always)]
fn store<F: Field>(f: &F, parameter: &Parameter<F>, [x, y, z]: &mut [Vec<u64>; 3]) {
    f.store(&parameter.x, x);
    f.store(&parameter.y, y);
    f.store(&parameter.z, z);
}
