//! How many 52-bit multiply-adds the processor can do, to compare the kernel with.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_set1_epi64, _mm512_setzero_si512,
};
use std::hint::black_box;

use super::Ifma;
use super::row::Row;

/// Vector multiply-adds in a round of [`multiply_adds`].
const CHAINS: usize = 16;

/// Does at least `count` vector multiply-adds that wait for nothing, and returns how many.
pub(super) fn multiply_adds(_proof: Ifma, count: u64) -> u64 {
    let rounds = count.div_ceil(CHAINS as u64);
    // SAFETY: `_proof` shows that the processor has the instructions.
    black_box(unsafe { multiply_adds_lanes(rounds) });
    rounds * CHAINS as u64
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_adds_lanes(rounds: u64) -> [Row; CHAINS] {
    let a = _mm512_set1_epi64(black_box(0x000a_bcde_f012_3457));
    let b = _mm512_set1_epi64(black_box(0x000f_0123_4567_89ab));
    let mut sums = [_mm512_setzero_si512(); CHAINS];
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
