//! How many 52-bit multiply-adds the processor can do, and how many a test takes: for benchmarks.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_set1_epi64, _mm512_setzero_si512,
};
use std::hint::black_box;
use std::time::Instant;

use super::Ifma;
use super::batch::Batch;
use super::row::{LANES, Row};
use crate::primality::Assurance;
use crate::{Cancel, Error, Stream};

/// Vector multiply-adds in a round of [`multiply_adds`].
const CHAINS: usize = 16;

/// Does at least `count` vector multiply-adds that wait for nothing, and returns how many.
pub(crate) fn multiply_adds(_proof: Ifma, count: u64) -> u64 {
    let rounds = count.div_ceil(CHAINS as u64);
    // SAFETY: `_proof` shows that the processor has the instructions.
    black_box(unsafe { multiply_adds_lanes::<CHAINS>(rounds) });
    rounds * CHAINS as u64
}

/// How many vector multiply-adds the processor works on at the same time, nearly: how much longer those take that wait for each
/// other. 4 where one begins in each cycle, 8 where two do.
pub(super) fn overlap(_proof: Ifma) -> f64 {
    /// Some ten microseconds of those that wait.
    const ROUNDS: u64 = 500;
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    // The least of many, which take 3 ms: something else may take the processor meanwhile, and Intel's processors are slower in
    // the first moments of such work.
    let (mut chain, mut free) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..200 {
        // SAFETY: `_proof` shows that the processor has the instructions.
        chain = chain.min(time(&|| {
            black_box(unsafe { multiply_adds_lanes::<1>(CHAINS as u64 * ROUNDS) });
        }));
        // SAFETY: the same.
        free = free.min(time(&|| {
            black_box(unsafe { multiply_adds_lanes::<CHAINS>(ROUNDS) });
        }));
    }
    chain / free
}

/// Numbers to test again and again.
pub(crate) struct Work {
    batch: Batch,
    bits: u32,
}

impl Work {
    /// Odd numbers of so many bits, if there is arithmetic for them.
    pub(crate) fn new(proof: Ifma, bits: u32) -> Option<Self> {
        let mut batch = Batch::new(proof, bits)?;
        let (mut stream, mut n) = (Stream::seeded(1, 0), rug::Integer::new());
        let mut digits = vec![0; batch.limbs()];
        for lane in 0..batch.lanes() {
            stream.draw_start(&mut n, bits).ok()?;
            n.set_bit(0, true);
            super::write_digits(&n, &mut digits);
            batch.load(lane, &digits);
        }
        Some(Self { batch, bits })
    }

    /// Tests all numbers to base 2. Returns how many there are, and the vector multiply-adds of as many Montgomery
    /// squarings as the numbers have bits: L (L + 1) for the square of L digits and 2L² + L for its reduction.
    pub(crate) fn run(&mut self) -> Result<(u64, u64), Error> {
        black_box(self.batch.strong_2(&Cancel::new())?);
        let (lanes, limbs) = (self.batch.lanes() as u64, self.batch.limbs() as u64);
        let groups = lanes / LANES as u64;
        let squaring = groups * limbs * (3 * limbs + 2);
        Ok((lanes, u64::from(self.bits) * squaring))
    }

    /// Does with all numbers what confirms a find of a random search, and returns how many there are.
    pub(crate) fn confirm(&mut self) -> Result<u64, Error> {
        let Assurance { lucas, rounds } = Assurance::at_random(self.bits);
        let cancel = Cancel::new();
        if lucas {
            black_box(self.batch.strong_lucas(&cancel)?);
        }
        let mut bases = Stream::from_os_key()?;
        for _ in 0..rounds {
            black_box(self.batch.strong_random(&mut bases, &cancel)?);
        }
        Ok(self.batch.lanes() as u64)
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_adds_lanes<const N: usize>(rounds: u64) -> [Row; N] {
    let a = _mm512_set1_epi64(black_box(0x000a_bcde_f012_3457));
    let b = _mm512_set1_epi64(black_box(0x000f_0123_4567_89ab));
    let mut sums = [_mm512_setzero_si512(); N];
    for _ in 0..rounds {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = if i % 2 == 0 {
                _mm512_madd52lo_epu64(*sum, a, b)
            } else {
                _mm512_madd52hi_epu64(*sum, a, b)
            };
        }
    }
    sums.map(Row::from_vector)
}
