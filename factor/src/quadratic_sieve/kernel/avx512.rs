//! A line in a register of AVX-512.

use std::arch::x86_64::*;

use super::vectors::{Shorts, Vectors, WORDS, Words, operations, run_with};

/// Proves that this processor has AVX-512 F, BW, DQ, VL and VBMI2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Detects whether this processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        let is_there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        is_there.then_some(Self(()))
    }
}

/// Writes a whole line.
///
/// # Safety
///
/// The processor has AVX-512 F; 64 bytes may be written.
#[cold]
#[target_feature(enable = "avx512f")]
unsafe fn store_all(words: __m512i, to: *mut u32) {
    // SAFETY: 64 bytes may be written.
    unsafe { _mm512_storeu_si512(to.cast(), words) }
}

/// Mask of the odd words of 32 bits.
const ODD: __mmask16 = 0xaaaa;

// SAFETY: for every block without an argument of its own: a value of the type proves that the
// processor has the instructions. Memory is read and written through references to lines of 64
// bytes, which are aligned to 64 bytes, or to arrays of the size that is read or written.
impl Vectors for Avx512 {
    type W = __m512i;
    type S = __m512i;
    type M = __mmask32;

    run_with!("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt,bmi1,bmi2");

    operations! {
        splat(word: u32) -> __m512i { _mm512_set1_epi32(word.cast_signed()) }
        load(line: &Words) -> __m512i { _mm512_load_si512(line.0.as_ptr().cast()) }
        load_unaligned(words: &[u32; WORDS]) -> __m512i {
            _mm512_loadu_si512(words.as_ptr().cast())
        }
        store(vector: __m512i, line: &mut Words) -> () {
            _mm512_store_si512(line.0.as_mut_ptr().cast(), vector)
        }
        add(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        sub(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi32(a, b) }
        and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        or(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
        xor(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
        min(a: __m512i, b: __m512i) -> __m512i { _mm512_min_epu32(a, b) }
        shift_right(a: __m512i, bits: u32) -> __m512i {
            _mm512_srl_epi32(a, _mm_cvtsi32_si128(bits.cast_signed()))
        }
        montgomery(a: __m512i, b: __m512i, modulus: __m512i, inverse: __m512i) -> __m512i {
            // Even and odd words are processed separately.
            let even_product = _mm512_mul_epu32(a, b);
            let odd_product = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
            let even_quotient = _mm512_mul_epu32(even_product, inverse);
            let odd_quotient = _mm512_mul_epu32(odd_product, _mm512_srli_epi64::<32>(inverse));
            let even_multiple = _mm512_mul_epu32(even_quotient, modulus);
            let odd_multiple = _mm512_mul_epu32(odd_quotient, _mm512_srli_epi64::<32>(modulus));
            let product = _mm512_mask_mov_epi32(_mm512_srli_epi64::<32>(even_product), ODD, odd_product);
            let multiple = _mm512_mask_mov_epi32(_mm512_srli_epi64::<32>(even_multiple), ODD, odd_multiple);
            let difference = _mm512_sub_epi32(product, multiple);
            _mm512_min_epu32(difference, _mm512_add_epi32(difference, modulus))
        }
        equal(a: __m512i, b: __m512i) -> u32 { _mm512_cmpeq_epi32_mask(a, b).into() }
        store_low_halves(vector: __m512i, to: &mut [u16; WORDS]) -> () {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(vector))
        }

        splat_short(word: u16) -> __m512i { _mm512_set1_epi16(word.cast_signed()) }
        load_shorts(line: &Shorts) -> __m512i { _mm512_load_si512(line.0.as_ptr().cast()) }
        store_shorts(vector: __m512i, line: &mut Shorts) -> () {
            _mm512_store_si512(line.0.as_mut_ptr().cast(), vector)
        }
        add_shorts(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi16(a, b) }
        sub_shorts(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi16(a, b) }
        min_shorts(a: __m512i, b: __m512i) -> __m512i { _mm512_min_epu16(a, b) }
        mul_shorts(a: __m512i, b: __m512i) -> __m512i { _mm512_mullo_epi16(a, b) }
        mul_high_shorts(a: __m512i, b: __m512i) -> __m512i { _mm512_mulhi_epu16(a, b) }
        equal_either(x: __m512i, a: __m512i, b: __m512i) -> __mmask32 {
            _mm512_cmpeq_epi16_mask(x, a) | _mm512_cmpeq_epi16_mask(x, b)
        }
        bits(mask: __mmask32) -> u32 { mask }
        add_masked(a: __m512i, mask: __mmask32, b: __m512i) -> __m512i {
            _mm512_mask_add_epi16(a, mask, a, b)
        }
        sum_shorts(a: __m512i) -> u32 {
            _mm512_reduce_add_epi32(_mm512_madd_epi16(a, _mm512_set1_epi16(1))).cast_unsigned()
        }

        has_high_bit(bytes: &[u8; 128]) -> bool {
            let low = _mm512_loadu_si512(bytes[..64].as_ptr().cast());
            let high = _mm512_loadu_si512(bytes[64..].as_ptr().cast());
            _mm512_movepi8_mask(_mm512_or_si512(low, high)) != 0
        }
    }

    // Words are compressed in a register and stored as a whole line: compressing to memory is slow.

    #[inline(always)]
    unsafe fn append_below(
        self,
        vector: __m512i,
        bound: __m512i,
        tagged: __m512i,
        to: *mut u32,
    ) -> usize {
        // SAFETY: 64 bytes may be written.
        unsafe {
            let below = _mm512_cmplt_epu32_mask(vector, bound);
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(below, tagged));
            u32::from(below).count_ones() as usize
        }
    }

    #[inline(always)]
    unsafe fn append_few_below(
        self,
        vector: __m512i,
        bound: __m512i,
        tagged: __m512i,
        to: *mut u32,
    ) -> usize {
        // SAFETY: 64 bytes may be written.
        unsafe {
            let below = _mm512_cmplt_epu32_mask(vector, bound);
            let first = _mm512_maskz_compress_epi32(below, tagged);
            let count = u32::from(below).count_ones() as usize;
            _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(first));
            if count > 8 {
                store_all(first, to);
            }
            count
        }
    }

    #[inline(always)]
    unsafe fn append_all(self, a: __m512i, to: *mut u16) {
        // SAFETY: 64 bytes may be written.
        unsafe { _mm512_storeu_si512(to.cast(), a) }
    }

    #[inline(always)]
    unsafe fn append_in_block(self, a: __m512i, to: *mut u16) -> usize {
        // SAFETY: 64 bytes may be written.
        unsafe {
            let inside = !_mm512_movepi16_mask(a);
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi16(inside, a));
            inside.count_ones() as usize
        }
    }
}
