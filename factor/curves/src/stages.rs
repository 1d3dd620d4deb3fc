//! The two stages of a curve, and of p ± 1.

use rug::Integer;

use super::edwards::{Addend, Point, add, double};
use super::field::{Field, Task};
use super::out_of_line::OutOfLine;
use super::plan::{CurveBounds, CurvePlan};
use crate::{Cancel, Error};

/// Steps of the first stage between two polls of the cancellation flag. A step is at most about ten
/// doublings.
const STEPS_BETWEEN_LOOKS: usize = 64;

/// Multiplications of the second stage between two polls.
const PRODUCTS_BETWEEN_LOOKS: usize = 4096;

/// Memory of the stages, reused by one curve after the other.
pub(crate) struct StageBuffers<F: Field> {
    odd_multiples: Vec<Addend<F>>,
    gaps: Vec<Addend<F>>,
    steps: Steps<F>,
}

/// Baby steps, then giant steps: numerators and denominators of y, and values computed from them.
struct Steps<F: Field> {
    above: Vec<F::Factor>,
    below: Vec<F::Factor>,
    /// For each step, the product of all denominators before it.
    before: Vec<F::Factor>,
    /// For each step, y times the product of all denominators.
    values: Vec<F::Product>,
}

impl<F: Field> StageBuffers<F> {
    pub(crate) fn new() -> Self {
        Self {
            odd_multiples: Vec::new(),
            gaps: Vec::new(),
            steps: Steps {
                above: Vec::new(),
                below: Vec::new(),
                before: Vec::new(),
                values: Vec::new(),
            },
        }
    }
}

impl<F: Field> Steps<F> {
    fn clear(&mut self) {
        self.above.clear();
        self.below.clear();
        self.before.clear();
        self.values.clear();
    }

    /// Adds a step. `all` is the product of all denominators so far.
    #[inline(always)]
    fn push(&mut self, f: &F, all: &mut F::Factor, above: F::Factor, below: F::Factor) {
        let push = Push {
            steps: self,
            all,
            above: &above,
            below: &below,
        };
        if F::IS_SMALL {
            push.run(f);
        } else {
            f.call(push);
        }
    }

    /// Brings all steps to the same denominator, with 4 multiplications for each and no inversion.
    #[inline(always)]
    fn unify(&mut self, f: &F) {
        let mut after = f.one();
        self.values.resize(self.above.len(), f.zero());
        for i in (0..self.values.len()).rev() {
            let others = f.factor(&f.multiply(&after, &self.before[i]));
            self.values[i] = f.multiply(&self.above[i], &others);
            after = f.factor(&f.multiply(&after, &self.below[i]));
        }
    }
}

struct Push<'a, F: Field> {
    steps: &'a mut Steps<F>,
    all: &'a mut F::Factor,
    above: &'a F::Factor,
    below: &'a F::Factor,
}

impl<F: Field> Task<F> for Push<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: &F) {
        self.steps.above.push(*self.above);
        self.steps.below.push(*self.below);
        self.steps.before.push(*self.all);
        *self.all = f.factor(&f.multiply(self.all, self.below));
    }
}

/// The point times the plan's exponent, with T. It is the identity, with X = 0, modulo each prime
/// factor for which the order of the point divides the exponent.
#[inline(always)]
pub(crate) fn stage_1<F: Field>(
    f: &F,
    plan: &CurvePlan,
    point: &Point<F>,
    buffers: &mut StageBuffers<F>,
    cancel: &Cancel,
) -> Result<Point<F>, Error> {
    let multiples = &mut buffers.odd_multiples;
    multiples.clear();
    multiples.push(Addend::new(f, point));
    let highest = plan.highest.unsigned_abs() as usize / 2;
    let (mut multiple, mut q) = (*point, *point);
    let mut two = *point;
    double::<F, true>(f, &mut two);
    let two = Addend::new(f, &two);
    for i in 1..plan.odd_multiples {
        add::<F, true>(f, &mut multiple, &two, false);
        multiples.push(Addend::new(f, &multiple));
        if i == highest {
            q = multiple;
        }
    }
    for (i, window) in plan.windows.iter().enumerate() {
        if i.is_multiple_of(STEPS_BETWEEN_LOOKS) {
            cancel.check()?;
        }
        for _ in 1..window.doublings {
            double::<F, false>(f, &mut q);
        }
        double::<F, true>(f, &mut q);
        if window.digit != 0 {
            let addend = &multiples[window.digit.unsigned_abs() as usize / 2];
            add::<F, false>(f, &mut q, addend, window.digit < 0);
        }
    }
    Ok(q)
}

/// The product of all differences between the y of giant and baby steps, times a unit. It is 0
/// modulo each prime factor for which the order of Q is a prime of the second stage, or 1.
#[inline(always)]
pub(crate) fn stage_2<F: Field>(
    f: &F,
    plan: &CurvePlan,
    q: &Point<F>,
    buffers: &mut StageBuffers<F>,
    cancel: &Cancel,
) -> Result<F::Product, Error> {
    cancel.check()?;
    let steps = &mut buffers.steps;
    steps.clear();
    let mut all = f.one();
    let half_giant = push_baby_steps(f, plan, q, &mut buffers.gaps, steps, &mut all);
    cancel.check()?;
    push_giant_steps(f, plan, &half_giant, steps, &mut all, cancel)?;
    cancel.check()?;
    steps.unify(f);
    let (baby_steps, giant_steps) = steps.values.split_at(plan.baby_steps.len());
    f.call(Differences {
        plan,
        baby_steps,
        giant_steps,
        cancel,
    })
}

/// Computes the baby steps, and returns D/2 · Q.
#[inline(always)]
fn push_baby_steps<F: Field>(
    f: &F,
    plan: &CurvePlan,
    q: &Point<F>,
    gaps: &mut Vec<Addend<F>>,
    steps: &mut Steps<F>,
    all: &mut F::Factor,
) -> Point<F> {
    let CurveBounds { step, .. } = plan.bounds;
    let one = Addend::new(f, q);
    let mut two = *q;
    double::<F, true>(f, &mut two);
    gaps.clear();
    gaps.push(Addend::new(f, &two));
    let distances = plan.baby_steps.windows(2).map(|pair| pair[1] - pair[0]);
    let widest = distances.max().unwrap_or(2);
    let mut gap = two;
    double::<F, true>(f, &mut gap);
    for i in 1..widest / 2 {
        if i > 1 {
            add::<F, true>(f, &mut gap, &gaps[0], false);
        }
        gaps.push(Addend::new(f, &gap));
    }
    let out_of_line = &OutOfLine(f);
    let last_below_half = plan.baby_steps.partition_point(|&baby| 2 * baby <= step) - 1;
    let (mut at, mut place, mut half) = (*q, 1, *q);
    for (i, &baby) in plan.baby_steps.iter().enumerate() {
        if baby > place {
            let gap = &gaps[(baby - place) as usize / 2 - 1];
            add::<F, true>(f, &mut at, gap, false);
            place = baby;
        }
        if i == last_below_half {
            half = at;
        }
        steps.push(f, all, out_of_line.factor(&at.y), out_of_line.factor(&at.z));
    }
    // For half of the values of D, D/2 is odd and not a baby step; for the others it is even.
    let rest = match step / 2 - plan.baby_steps[last_below_half] {
        1 => &one,
        _ => &gaps[0],
    };
    add::<F, true>(f, &mut half, rest, false);
    half
}

/// Computes the giant steps: two on the Edwards curve, the others by differential additions in
/// Montgomery's coordinates (Z + Y : Z − Y).
#[inline(always)]
fn push_giant_steps<F: Field>(
    f: &F,
    plan: &CurvePlan,
    half_giant: &Point<F>,
    steps: &mut Steps<F>,
    all: &mut F::Factor,
    cancel: &Cancel,
) -> Result<(), Error> {
    let mut giant = *half_giant;
    double::<F, true>(f, &mut giant);
    let addend = Addend::new(f, &giant);
    let first = plan.first_giant.max(1);
    if plan.first_giant == 0 {
        steps.push(f, all, f.one(), f.one());
    }
    let mut at = giant;
    for bit in (0..first.ilog2()).rev() {
        double::<F, true>(f, &mut at);
        if first >> bit & 1 == 1 {
            add::<F, true>(f, &mut at, &addend, false);
        }
    }
    let mut next = at;
    if first == 1 {
        double::<F, true>(f, &mut next);
    } else {
        add::<F, true>(f, &mut next, &addend, false);
    }
    let count = plan
        .ends
        .len()
        .saturating_sub((first - plan.first_giant) as usize);
    let out_of_line = &OutOfLine(f);
    let (y, z) = (out_of_line.factor(&giant.y), out_of_line.factor(&giant.z));
    if count > 0 {
        steps.push(f, all, out_of_line.factor(&at.y), out_of_line.factor(&at.z));
    }
    let coordinates = |at: &Point<F>| {
        (
            out_of_line.product(&out_of_line.add(&at.z, &at.y)),
            out_of_line.product(&out_of_line.subtract(&at.z, &at.y)),
        )
    };
    let (mut before, mut at) = (coordinates(&at), coordinates(&next));
    for i in 1..count {
        if i.is_multiple_of(PRODUCTS_BETWEEN_LOOKS / 8) {
            cancel.check()?;
        }
        let (twice_y, twice_z) = (f.subtract(&at.0, &at.1), f.add(&at.0, &at.1));
        let u = f.multiply(&twice_y, &z);
        let v = f.multiply(&twice_z, &y);
        let s = f.factor(&f.square(&f.add(&u, &v)));
        let t = f.factor(&f.square(&f.subtract(&u, &v)));
        let next = (
            f.multiply(&s, &f.factor(&before.1)),
            f.multiply(&t, &f.factor(&before.0)),
        );
        (before, at) = (at, next);
        steps.push(f, all, twice_y, twice_z);
    }
    Ok(())
}

/// Computes the product of the differences of all pairs.
struct Differences<'a, F: Field> {
    plan: &'a CurvePlan,
    baby_steps: &'a [F::Product],
    giant_steps: &'a [F::Product],
    cancel: &'a Cancel,
}

impl<F: Field> Task<F> for Differences<'_, F> {
    type Output = Result<F::Product, Error>;

    /// Builds four products at a time, because each multiplication waits for the one before it in
    /// its product.
    #[inline(always)]
    fn run(self, f: &F) -> Self::Output {
        let plan = self.plan;
        let mut products = [f.one(); 4];
        let (mut start, mut since_look) = (0, 0);
        for (giant, &end) in self.giant_steps.iter().zip(&plan.ends) {
            let pairs = &plan.pairs[start..end as usize];
            start = end as usize;
            since_look += pairs.len();
            if since_look > PRODUCTS_BETWEEN_LOOKS {
                since_look = 0;
                self.cancel.check()?;
            }
            for pairs in pairs.chunks(4) {
                for (product, &baby) in products.iter_mut().zip(pairs) {
                    let difference = f.subtract(giant, &self.baby_steps[usize::from(baby)]);
                    *product = f.factor(&f.multiply(product, &difference));
                }
            }
        }
        let [a, b, c, d] = products;
        let (a, b) = (f.factor(&f.multiply(&a, &b)), f.factor(&f.multiply(&c, &d)));
        Ok(f.multiply(&a, &b))
    }
}

/// The results of p ± 1.
pub(crate) struct PlusMinus<F: Field> {
    /// V_E − 2: 0 modulo each prime factor p for which the order divides the exponent E.
    pub(crate) first: F::Product,
    /// `first` times the differences of the second stage.
    pub(crate) both: F::Product,
}

/// The terms V_k and V_(k + 1) of the Lucas sequence with parameters V_1 and 1.
#[inline(always)]
fn ladder<F: Field>(
    f: &F,
    v1: &F::Product,
    k: &Integer,
    cancel: &Cancel,
) -> Result<(F::Product, F::Product), Error> {
    f.call(Ladder::<F> { v1, k, cancel })
}

struct Ladder<'a, F: Field> {
    v1: &'a F::Product,
    k: &'a Integer,
    cancel: &'a Cancel,
}

impl<F: Field> Task<F> for Ladder<'_, F> {
    type Output = Result<(F::Product, F::Product), Error>;

    #[inline(always)]
    fn run(self, f: &F) -> Self::Output {
        let Self { v1, k, cancel } = self;
        let two = f.integer(2);
        let (mut a, mut b) = (f.factor(&two), f.factor(v1));
        for bit in (0..k.significant_bits()).rev() {
            if bit % 1024 == 0 {
                cancel.check()?;
            }
            let mixed = f.subtract(&f.multiply(&a, &b), v1);
            let is_set = k.get_bit(bit);
            let square = f.subtract(&f.square(if is_set { &b } else { &a }), &two);
            (a, b) = if is_set {
                (mixed, square)
            } else {
                (square, mixed)
            };
        }
        Ok((f.product(&a), f.product(&b)))
    }
}

/// Both stages of p ± 1 from V_1, by the Lucas sequence V_k = a^k + a^−k, where a is a root of x² −
/// V_1 x + 1. The order of a divides p − 1 if the root is a number modulo p, and p + 1 otherwise
/// (Williams, *A p + 1 method of factoring*, 1982). In the sequence of a^E, V_q = 2 if q is the
/// order of a^E, and V_(iD ± j) = 2 for one of the signs exactly if V_iD = V_j.
#[inline(always)]
pub(crate) fn plus_minus<F: Field>(
    f: &F,
    plan: &CurvePlan,
    v1: &F::Product,
    buffers: &mut StageBuffers<F>,
    cancel: &Cancel,
) -> Result<PlusMinus<F>, Error> {
    let CurveBounds { step, .. } = plan.bounds;
    let out_of_line = &OutOfLine(f);
    let two = out_of_line.integer(2);
    let (v, _) = ladder(f, v1, &plan.exponent, cancel)?;
    let values = &mut buffers.steps.values;
    values.clear();
    let square = out_of_line.square(&out_of_line.factor(&v));
    let v2 = out_of_line.factor(&out_of_line.product(&out_of_line.subtract(&square, &two)));
    let (mut before, mut at, mut place) = (v, v, 1);
    for &baby in &plan.baby_steps {
        while place < baby {
            // V_(k + 2) = V_k V_2 − V_(k − 2), from V_−1 = V_1 on.
            let product = f.multiply(&f.factor(&at), &v2);
            let next = f.product(&f.subtract(&product, &before));
            (before, at) = (at, next);
            place += 2;
        }
        values.push(at);
    }
    cancel.check()?;
    let (giant, _) = ladder(f, &v, &step.into(), cancel)?;
    let (mut at, mut next) = ladder(f, &giant, &plan.first_giant.into(), cancel)?;
    let giant = out_of_line.factor(&giant);
    for i in 0..plan.ends.len() {
        if i.is_multiple_of(PRODUCTS_BETWEEN_LOOKS / 2) {
            cancel.check()?;
        }
        values.push(at);
        let product = f.multiply(&f.factor(&next), &giant);
        let after = f.product(&f.subtract(&product, &at));
        (at, next) = (next, after);
    }
    let (baby_steps, giant_steps) = values.split_at(plan.baby_steps.len());
    let differences = f.call(Differences {
        plan,
        baby_steps,
        giant_steps,
        cancel,
    })?;
    let first = out_of_line.subtract(&v, &two);
    Ok(PlusMinus {
        first: out_of_line.product(&first),
        both: out_of_line.multiply(&first, &out_of_line.factor(&differences)),
    })
}
