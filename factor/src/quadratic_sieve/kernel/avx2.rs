//! A line in two registers of AVX2.

use std::arch::x86_64::*;

use super::vectors::{Shorts, Vectors, WORDS, Words, operations, run_with};

/// Proves that this processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Detects whether this processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        let is_there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        is_there.then_some(Self(()))
    }
}

/// Both halves of a line.
type Pair = [__m256i; 2];

/// Permutations that compress: for each mask of 8 words, the indices of the words in it.
static WORDS_OF: [[u32; 8]; 256] = {
    let mut all = [[0; 8]; 256];
    let mut set = 0;
    while set < 256 {
        let (mut word, mut count) = (0, 0);
        while word < 8 {
            if set >> word & 1 == 1 {
                all[set][count] = word;
                count += 1;
            }
            word += 1;
        }
        set += 1;
    }
    all
};

/// The same for masks of 8 words of 16 bits: the indices of their bytes.
static BYTES_OF: [[u8; 16]; 256] = {
    let mut all = [[0; 16]; 256];
    let mut set = 0;
    while set < 256 {
        let (mut word, mut count) = (0, 0);
        while word < 8 {
            if set >> word & 1 == 1 {
                all[set][count] = 2 * word;
                all[set][count + 1] = 2 * word + 1;
                count += 2;
            }
            word += 1;
        }
        set += 1;
    }
    all
};

/// [`Vectors::montgomery`] in one register: even and odd words are processed separately.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn montgomery_half(a: __m256i, b: __m256i, modulus: __m256i, inverse: __m256i) -> __m256i {
    // SAFETY: the processor has AVX2.
    unsafe {
        let even_product = _mm256_mul_epu32(a, b);
        let odd_product = _mm256_mul_epu32(_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
        let even_quotient = _mm256_mul_epu32(even_product, inverse);
        let odd_quotient = _mm256_mul_epu32(odd_product, _mm256_srli_epi64::<32>(inverse));
        let even_multiple = _mm256_mul_epu32(even_quotient, modulus);
        let odd_multiple = _mm256_mul_epu32(odd_quotient, _mm256_srli_epi64::<32>(modulus));
        let product = _mm256_blend_epi32::<ODD>(_mm256_srli_epi64::<32>(even_product), odd_product);
        let multiple =
            _mm256_blend_epi32::<ODD>(_mm256_srli_epi64::<32>(even_multiple), odd_multiple);
        let difference = _mm256_sub_epi32(product, multiple);
        _mm256_min_epu32(difference, _mm256_add_epi32(difference, modulus))
    }
}

/// Mask of the odd words of 32 bits.
const ODD: i32 = 0xaa;

/// The high bit of each of 32 words of 16 bits.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn high_bits(a: Pair) -> u32 {
    // SAFETY: the processor has AVX2.
    unsafe {
        // Saturation keeps the sign. The instruction packs each half of a register by itself.
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(a[0], a[1]));
        _mm256_movemask_epi8(bytes).cast_unsigned()
    }
}

// SAFETY: for every block without an argument of its own: a value of the type proves that the
// processor has the instructions. Memory is read and written through references to lines of 64
// bytes, which are aligned to 64 bytes, or to arrays of the size that is read or written.
impl Vectors for Avx2 {
    type W = Pair;
    type S = Pair;
    /// All bits of a word, or none.
    type M = Pair;

    run_with!("avx2,popcnt,bmi1,bmi2");

    operations! {
        splat(word: u32) -> Pair { [_mm256_set1_epi32(word.cast_signed()); 2] }
        load(line: &Words) -> Pair {
            [
                _mm256_load_si256(line.0[..8].as_ptr().cast()),
                _mm256_load_si256(line.0[8..].as_ptr().cast()),
            ]
        }
        load_unaligned(words: &[u32; WORDS]) -> Pair {
            [
                _mm256_loadu_si256(words[..8].as_ptr().cast()),
                _mm256_loadu_si256(words[8..].as_ptr().cast()),
            ]
        }
        store(vector: Pair, line: &mut Words) -> () {
            _mm256_store_si256(line.0[..8].as_mut_ptr().cast(), vector[0]);
            _mm256_store_si256(line.0[8..].as_mut_ptr().cast(), vector[1]);
        }
        add(a: Pair, b: Pair) -> Pair { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
        sub(a: Pair, b: Pair) -> Pair { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
        and(a: Pair, b: Pair) -> Pair { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
        or(a: Pair, b: Pair) -> Pair { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
        xor(a: Pair, b: Pair) -> Pair { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
        min(a: Pair, b: Pair) -> Pair { [_mm256_min_epu32(a[0], b[0]), _mm256_min_epu32(a[1], b[1])] }
        shift_right(a: Pair, bits: u32) -> Pair {
            let bits = _mm_cvtsi32_si128(bits.cast_signed());
            [_mm256_srl_epi32(a[0], bits), _mm256_srl_epi32(a[1], bits)]
        }
        montgomery(a: Pair, b: Pair, modulus: Pair, inverse: Pair) -> Pair {
            [
                montgomery_half(a[0], b[0], modulus[0], inverse[0]),
                montgomery_half(a[1], b[1], modulus[1], inverse[1]),
            ]
        }
        equal(a: Pair, b: Pair) -> u32 {
            let low = _mm256_castsi256_ps(_mm256_cmpeq_epi32(a[0], b[0]));
            let high = _mm256_castsi256_ps(_mm256_cmpeq_epi32(a[1], b[1]));
            (_mm256_movemask_ps(high) << 8 | _mm256_movemask_ps(low)).cast_unsigned()
        }
        store_low_halves(vector: Pair, to: &mut [u16; WORDS]) -> () {
            let low = _mm256_set1_epi32(0xffff);
            let packed = _mm256_packus_epi32(
                _mm256_and_si256(vector[0], low),
                _mm256_and_si256(vector[1], low),
            );
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), packed)
        }

        splat_short(word: u16) -> Pair { [_mm256_set1_epi16(word.cast_signed()); 2] }
        load_shorts(line: &Shorts) -> Pair {
            [
                _mm256_load_si256(line.0[..16].as_ptr().cast()),
                _mm256_load_si256(line.0[16..].as_ptr().cast()),
            ]
        }
        store_shorts(vector: Pair, line: &mut Shorts) -> () {
            _mm256_store_si256(line.0[..16].as_mut_ptr().cast(), vector[0]);
            _mm256_store_si256(line.0[16..].as_mut_ptr().cast(), vector[1]);
        }
        add_shorts(a: Pair, b: Pair) -> Pair { [_mm256_add_epi16(a[0], b[0]), _mm256_add_epi16(a[1], b[1])] }
        sub_shorts(a: Pair, b: Pair) -> Pair { [_mm256_sub_epi16(a[0], b[0]), _mm256_sub_epi16(a[1], b[1])] }
        min_shorts(a: Pair, b: Pair) -> Pair { [_mm256_min_epu16(a[0], b[0]), _mm256_min_epu16(a[1], b[1])] }
        mul_shorts(a: Pair, b: Pair) -> Pair { [_mm256_mullo_epi16(a[0], b[0]), _mm256_mullo_epi16(a[1], b[1])] }
        mul_high_shorts(a: Pair, b: Pair) -> Pair {
            [_mm256_mulhi_epu16(a[0], b[0]), _mm256_mulhi_epu16(a[1], b[1])]
        }
        equal_either(x: Pair, a: Pair, b: Pair) -> Pair {
            [
                _mm256_or_si256(_mm256_cmpeq_epi16(x[0], a[0]), _mm256_cmpeq_epi16(x[0], b[0])),
                _mm256_or_si256(_mm256_cmpeq_epi16(x[1], a[1]), _mm256_cmpeq_epi16(x[1], b[1])),
            ]
        }
        bits(mask: Pair) -> u32 { high_bits(mask) }
        add_masked(a: Pair, mask: Pair, b: Pair) -> Pair {
            [
                _mm256_add_epi16(a[0], _mm256_and_si256(mask[0], b[0])),
                _mm256_add_epi16(a[1], _mm256_and_si256(mask[1], b[1])),
            ]
        }
        sum_shorts(a: Pair) -> u32 {
            let one = _mm256_set1_epi16(1);
            let sums = _mm256_add_epi32(_mm256_madd_epi16(a[0], one), _mm256_madd_epi16(a[1], one));
            let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
            let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b10_11_00_01>(sums));
            _mm_cvtsi128_si32(sums).cast_unsigned()
        }

        has_high_bit(bytes: &[u8; 128]) -> bool {
            let mut all = _mm256_loadu_si256(bytes[..32].as_ptr().cast());
            all = _mm256_or_si256(all, _mm256_loadu_si256(bytes[32..64].as_ptr().cast()));
            all = _mm256_or_si256(all, _mm256_loadu_si256(bytes[64..96].as_ptr().cast()));
            all = _mm256_or_si256(all, _mm256_loadu_si256(bytes[96..].as_ptr().cast()));
            _mm256_movemask_epi8(all) != 0
        }
    }

    #[inline(always)]
    unsafe fn append_below(self, vector: Pair, bound: Pair, tagged: Pair, to: *mut u32) -> usize {
        let mut count = 0;
        for i in 0..2 {
            // SAFETY: 32 bytes may be written after at most 8 words. A mask of 8 bits is an index
            // of the table.
            unsafe {
                let below = _mm256_castsi256_ps(_mm256_cmpgt_epi32(bound[i], vector[i]));
                let below = _mm256_movemask_ps(below) as usize;
                let order = _mm256_loadu_si256(WORDS_OF.get_unchecked(below).as_ptr().cast());
                let first = _mm256_permutevar8x32_epi32(tagged[i], order);
                _mm256_storeu_si256(to.add(count).cast(), first);
                count += below.count_ones() as usize;
            }
        }
        count
    }

    #[inline(always)]
    unsafe fn append_all(self, a: Pair, to: *mut u16) {
        // SAFETY: 64 bytes may be written.
        unsafe {
            _mm256_storeu_si256(to.cast(), a[0]);
            _mm256_storeu_si256(to.add(16).cast(), a[1]);
        }
    }

    #[inline(always)]
    unsafe fn append_in_block(self, a: Pair, to: *mut u16) -> usize {
        // SAFETY: the processor has AVX2.
        let (inside, quarters) = unsafe {
            let quarters = [
                _mm256_castsi256_si128(a[0]),
                _mm256_extracti128_si256::<1>(a[0]),
                _mm256_castsi256_si128(a[1]),
                _mm256_extracti128_si256::<1>(a[1]),
            ];
            (!high_bits(a), quarters)
        };
        let mut count = 0;
        for (i, quarter) in quarters.into_iter().enumerate() {
            let inside = inside.to_le_bytes()[i];
            // SAFETY: 16 bytes may be written after at most 8 i words.
            unsafe {
                let order = _mm_loadu_si128(BYTES_OF[usize::from(inside)].as_ptr().cast());
                _mm_storeu_si128(to.add(count).cast(), _mm_shuffle_epi8(quarter, order));
            }
            count += inside.count_ones() as usize;
        }
        count
    }
}
