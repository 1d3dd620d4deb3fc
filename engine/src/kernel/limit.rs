//! Measures how many digit products the processor can compute.

use std::hint::black_box;
use std::time::Instant;

use super::arithmetic::{Arithmetic, DIGIT_MASK, Operation};

/// Products per round: as many pairs of sums as fit the registers along with their factors.
const PAIRS: usize = 6;

/// Computes at least `count` vector products that do not depend on each other, and returns their
/// number.
pub(super) fn products<A: Arithmetic>(arithmetic: A, count: u64) -> u64 {
    let rounds = count.div_ceil(PAIRS as u64);
    black_box(arithmetic.run(Products { rounds }));
    rounds * PAIRS as u64
}

struct Products {
    rounds: u64,
}

impl<A: Arithmetic> Operation<A> for Products {
    type Output = u64;

    #[inline(always)]
    fn run(self, s: A) -> u64 {
        let x = s.splat(A::factor_word(black_box(DIGIT_MASK / 3)));
        let y = s.splat(A::factor_word(black_box(DIGIT_MASK / 5)));
        let mut sums = [[s.splat(0); 2]; PAIRS];
        for _ in 0..self.rounds {
            for [low, high] in &mut sums {
                s.add_product(low, high, x, y);
            }
        }
        let mut words = [0; 8];
        for [low, high] in sums {
            s.store(s.add(low, high), &mut words);
            black_box(words);
        }
        words[0]
    }
}

/// Approximate number of low-half multiply-adds in progress at the same time: the time of dependent
/// ones divided by the time of independent ones. It is 4 if one begins in each cycle, and 8 if two
/// do.
pub(super) fn overlap<A: Arithmetic>(arithmetic: A) -> f64 {
    /// Some ten microseconds of dependent multiply-adds.
    const ROUNDS: u64 = 500;
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    // Take the least of many measurements, 3 ms in all: other work may use the processor meanwhile,
    // and Intel's processors are slower in the first moments of such work.
    let (mut chain, mut free) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..200 {
        chain = chain.min(time(&|| {
            black_box(arithmetic.run(Chains::<1> {
                rounds: CHAINS as u64 * ROUNDS,
            }));
        }));
        free = free.min(time(&|| {
            black_box(arithmetic.run(Chains::<CHAINS> { rounds: ROUNDS }));
        }));
    }
    chain / free
}

/// Number of sums that do not depend on each other.
const CHAINS: usize = 16;

/// Repeatedly adds low halves to N sums.
struct Chains<const N: usize> {
    rounds: u64,
}

impl<A: Arithmetic, const N: usize> Operation<A> for Chains<N> {
    type Output = [u64; 8];

    #[inline(always)]
    fn run(self, s: A) -> [u64; 8] {
        let x = s.splat(A::factor_word(black_box(DIGIT_MASK / 3)));
        let mut sums = [s.splat(0); N];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.add_low(*sum, x, x);
            }
        }
        let mut words = [0; 8];
        for sum in sums {
            s.store(sum, &mut words);
            black_box(words);
        }
        words
    }
}
