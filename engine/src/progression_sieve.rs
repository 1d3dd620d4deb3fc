//! The portable sieve: which numbers of an arithmetic progression have no small factor.

use rug::{Assign, Integer};

use crate::portable_plan::PortablePlan;
use crate::table::Table;
use crate::{Cancel, Error, Form, small};

/// The step of a search for safe primes: see `small::least_safe_prime` for why 11 mod 12.
const SAFE_PRIME_STEP: u32 = 12;

/// Sieves the progression `first`, `first + step`, ... interval by interval.
///
/// All of its numbers must be greater than twice the table's greatest prime, so that a multiple of
/// a prime is never the prime itself.
#[derive(Default)]
pub(crate) struct ProgressionSieve {
    table: Table,
    /// The first number of the progression.
    first: Integer,
    step: Integer,
    form: Form,
    /// The inverse of the step modulo each prime, unless the step is [`SAFE_PRIME_STEP`].
    inverses: Vec<u32>,
    /// For each prime, the next index that it strikes, counted from the start of the next interval.
    strikes: Vec<u32>,
    /// The same for (p − 1)/2; used for safe primes only.
    half_strikes: Vec<u32>,
    /// One bit per index of the current interval, set if struck.
    marks: Vec<u64>,
    /// Index in the progression of the current interval's first number.
    origin: u64,
    /// Index in the progression of the next interval's first number.
    end: u64,
    /// Index of the next word of `marks`; `open` has the indices of the previous word that were not
    /// yet returned.
    word: usize,
    open: u64,
}

impl ProgressionSieve {
    /// Begins at the least number from `start` (positive) on that can have the form.
    pub(crate) fn begin(
        &mut self,
        form: Form,
        start: &Integer,
        plan: PortablePlan,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.form = form;
        self.first.assign(start);
        self.inverses.clear();
        match form {
            Form::Prime => {
                self.step.assign(2);
                self.first.set_bit(0, true);
            }
            Form::SafePrime => {
                self.step.assign(SAFE_PRIME_STEP);
                self.first += (23 - start.mod_u(SAFE_PRIME_STEP)) % SAFE_PRIME_STEP;
            }
        }
        self.table.grow(plan.bound, cancel)?;
        self.begin_interval(plan, cancel)
    }

    /// Begins a search for safe primes p at `first`, `first + step`, ... The step has no odd prime
    /// factor below the plan's bound.
    pub(crate) fn begin_progression(
        &mut self,
        first: &Integer,
        step: &Integer,
        plan: PortablePlan,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.form = Form::SafePrime;
        self.first.assign(first);
        self.step.assign(step);
        self.table.grow(plan.bound, cancel)?;
        self.table
            .negative_residues(step, plan.bound, &mut self.inverses, cancel)?;
        for (residue, &p) in self.inverses.iter_mut().zip(self.table.primes()) {
            debug_assert!(*residue != 0, "{p} divides the step");
            *residue = p - small::inverse_modulo(*residue, p);
        }
        self.begin_interval(plan, cancel)
    }

    fn begin_interval(&mut self, plan: PortablePlan, cancel: &Cancel) -> Result<(), Error> {
        self.table
            .negative_residues(&self.first, plan.bound, &mut self.strikes, cancel)?;
        self.locate();
        self.marks.resize(plan.interval.div_ceil(64) as usize, 0);
        self.word = self.marks.len();
        self.open = 0;
        self.origin = 0;
        self.end = 0;
        Ok(())
    }

    /// Turns the residues r = −first mod p in `strikes` into indices: the least i with first + step
    /// · i ≡ 0 (mod p). Does the same for (first − 1)/2 in `half_strikes`.
    fn locate(&mut self) {
        let primes = self.table.primes();
        self.half_strikes.clear();
        match self.form {
            Form::Prime => {
                for (residue, &p) in self.strikes.iter_mut().zip(primes) {
                    // r/2 modulo p: half of r or of r + p, whichever is even.
                    *residue = (*residue + (p & (*residue & 1).wrapping_neg())) / 2;
                }
            }
            Form::SafePrime => {
                for (index, (residue, &p)) in self.strikes.iter_mut().zip(primes).enumerate() {
                    let inverse = match self.inverses.get(index) {
                        Some(&inverse) => inverse.into(),
                        // The progression has no multiple of 3, so `advance` skips this prime.
                        None if p == 3 => {
                            self.half_strikes.push(0);
                            continue;
                        }
                        // p² ≡ 1 (mod 12), so 12 divides 1 + p (12 − p mod 12), and the quotient is
                        // the inverse of 12 modulo p.
                        None => (1 + u64::from(p) * u64::from(12 - p % 12)) / 12,
                    };
                    // p divides (x − 1)/2 where x ≡ 1 (mod p).
                    let offset = u64::from(*residue) + 1;
                    self.half_strikes
                        .push(self.table.reduce(offset * inverse, index));
                    *residue = self.table.reduce(u64::from(*residue) * inverse, index);
                }
            }
        }
    }

    /// Strikes out the next interval.
    fn advance(&mut self) {
        self.marks.fill(0);
        match self.form {
            Form::Prime => strike(&mut self.marks, self.table.primes(), &mut self.strikes),
            Form::SafePrime => {
                let from = usize::from(self.inverses.is_empty());
                let primes = &self.table.primes()[from..];
                strike(&mut self.marks, primes, &mut self.strikes[from..]);
                strike(&mut self.marks, primes, &mut self.half_strikes[from..]);
            }
        }
        self.origin = self.end;
        self.end += 64 * self.marks.len() as u64;
        self.word = 0;
        self.open = 0;
    }

    /// Sets `candidate` to the next number of the progression that was not struck.
    pub(crate) fn next(&mut self, candidate: &mut Integer) {
        while self.open == 0 {
            if self.word == self.marks.len() {
                self.advance();
            }
            self.open = !self.marks[self.word];
            self.word += 1;
        }
        let bit = u64::from(self.open.trailing_zeros());
        self.open &= self.open - 1;
        let index = self.origin + 64 * (self.word as u64 - 1) + bit;
        candidate.assign(&self.step * index);
        *candidate += &self.first;
    }
}

/// Strikes the multiples of each prime from its index on, and moves the indices to the next
/// interval.
fn strike(marks: &mut [u64], primes: &[u32], strikes: &mut [u32]) {
    // Intervals are short (see `portable_plan`), so this fits.
    let length = 64 * marks.len() as u32;
    for (&p, strike) in primes.iter().zip(strikes) {
        let mut index = *strike;
        while index < length {
            marks[(index / 64) as usize] |= 1 << (index % 64);
            index += p;
        }
        *strike = index - length;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::Stream;

    /// Whether a prime below the bound divides n.
    fn has_factor(n: &Integer, bound: u32) -> bool {
        (2..bound).any(|p| crate::small::is_prime(u64::from(p)) && n.is_divisible_u(p))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_progression_is_sieved_by_both_numbers(
            seed: u64,
            bits in 70_u32..400,
            bound in 5_u32..2000,
            interval in 1_u32..400,
        ) {
            let (mut first, mut step) = (Integer::new(), Integer::new());
            let mut stream = Stream::seeded(seed, 0);
            stream.draw_start(&mut first, bits).unwrap();
            first.set_bit(0, true);
            first.set_bit(1, true);
            stream.draw_start(&mut step, 40).unwrap();
            step = step.next_prime() * 4_u32;
            let mut sieve = ProgressionSieve::default();
            let plan = PortablePlan { bound, interval };
            sieve.begin_progression(&first, &step, plan, &Cancel::new()).unwrap();
            let used = sieve.table.primes()[sieve.strikes.len() - 1] + 1;
            let (mut candidate, mut p) = (Integer::new(), first);
            for _ in 0..20 {
                sieve.next(&mut candidate);
                while has_factor(&p, used) || has_factor(&Integer::from(&p >> 1_u32), used) {
                    p += &step;
                }
                prop_assert_eq!(&candidate, &p);
                p += &step;
            }
        }

        #[test]
        fn leaves_exactly_the_numbers_without_small_factors(
            seed: u64,
            bits in 64_u32..400,
            bound in 5_u32..2000,
            interval in 1_u32..400,
            safe: bool,
        ) {
            let form = if safe { Form::SafePrime } else { Form::Prime };
            let mut start = Integer::new();
            Stream::seeded(seed, 0).draw_start(&mut start, bits).unwrap();
            let mut sieve = ProgressionSieve::default();
            let plan = PortablePlan { bound, interval };
            sieve.begin(form, &start, plan, &Cancel::new()).unwrap();
            // The sieve may also use primes above the bound: all those that have an index.
            let used = sieve.table.primes()[sieve.strikes.len() - 1] + 1;
            let mut candidate = Integer::new();
            let mut n = start;
            for _ in 0..60 {
                sieve.next(&mut candidate);
                while has_factor(&n, used) || safe && has_factor(&((&n - Integer::from(1)) / 2_u32), used) {
                    n += 1;
                }
                prop_assert_eq!(&candidate, &n);
                n += 1;
            }
        }
    }
}
