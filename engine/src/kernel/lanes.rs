//! The operations of [`Lanes`](super::arithmetic::Lanes) on 512-bit and 256-bit registers.
//!
//! Each macro implements them for a type whose values prove that the processor has the features.
//! The operations of an arithmetic that needs more features are in its own module.

/// Implements `Lanes` with AVX-512 F, BW, DQ and VL.
macro_rules! lanes_512 {
    ($type:ty, $features:literal) => {
        // SAFETY (all blocks below): a value of the type proves that the processor has AVX-512 F,
        // BW, DQ and VL. Where memory is read or written, the slice is first cut to the number of
        // words accessed, or is an array of that length.
        impl crate::kernel::arithmetic::Lanes for $type {
            type Vector = __m512i;
            type Mask = __mmask8;
            type Words = __m256i;

            const COUNT: usize = 8;

            crate::kernel::lanes::run_with!($features);

            crate::kernel::lanes::operations! {
                splat(word: u64) -> __m512i { _mm512_set1_epi64(word as i64) }
                load(words: &[u64]) -> __m512i { _mm512_loadu_si512(words[..8].as_ptr().cast()) }
                store(vector: __m512i, words: &mut [u64]) -> () {
                    _mm512_storeu_si512(words[..8].as_mut_ptr().cast(), vector)
                }
                add(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi64(a, b) }
                subtract(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi64(a, b) }
                and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
                or(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
                xor(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
                shift_right(a: __m512i, bits: u32) -> __m512i {
                    _mm512_srl_epi64(a, _mm_cvtsi32_si128(bits as i32))
                }
                shift_right_signed(a: __m512i) -> __m512i { _mm512_srai_epi64::<52>(a) }
                subtract_once(a: __m512i, b: __m512i) -> __m512i {
                    let difference = _mm512_sub_epi64(a, b);
                    _mm512_mask_blend_epi64(_mm512_movepi64_mask(difference), difference, a)
                }
                shift_left_each(a: __m512i, bits: __m512i) -> __m512i { _mm512_sllv_epi64(a, bits) }
                equal(a: __m512i, b: __m512i) -> __mmask8 { _mm512_cmpeq_epi64_mask(a, b) }
                blend(mask: __mmask8, a: __m512i, b: __m512i) -> __m512i {
                    _mm512_mask_blend_epi64(mask, a, b)
                }
                mask_bits(mask: __mmask8) -> u32 { u32::from(mask) }
                double_add(a: __m512i, b: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_add_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b)))
                }
                double_subtract(a: __m512i, b: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_sub_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b)))
                }
                double_multiply(a: __m512i, b: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_mul_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b)))
                }
                double_divide(a: __m512i, b: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_div_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b)))
                }
                double_max(a: __m512i, b: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_max_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b)))
                }
                double_multiply_add(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_fmadd_pd(
                        _mm512_castsi512_pd(a), _mm512_castsi512_pd(b), _mm512_castsi512_pd(c),
                    ))
                }
                double_multiply_subtract(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
                    _mm512_castpd_si512(_mm512_fmsub_pd(
                        _mm512_castsi512_pd(a), _mm512_castsi512_pd(b), _mm512_castsi512_pd(c),
                    ))
                }
                double_less(a: __m512i, b: __m512i) -> __mmask8 {
                    _mm512_cmp_pd_mask::<_CMP_LT_OQ>(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b))
                }
                widen(words: &[u32]) -> __m512i {
                    _mm512_cvtepu32_epi64(_mm256_loadu_si256(words[..8].as_ptr().cast()))
                }
                double_widen(words: &[u32]) -> __m512i {
                    _mm512_castpd_si512(_mm512_cvtepi32_pd(_mm256_loadu_si256(words[..8].as_ptr().cast())))
                }
                narrow(vector: __m512i) -> __m256i { _mm512_cvtepi64_epi32(vector) }
                double_narrow(vector: __m512i) -> __m256i { _mm512_cvtpd_epi32(_mm512_castsi512_pd(vector)) }
                store_words(words: __m256i, to: &mut [u32]) -> () {
                    _mm256_storeu_si256(to[..8].as_mut_ptr().cast(), words)
                }
                append_below(words: __m256i, bound: u32, to: &mut [u32]) -> usize {
                    let below = _mm256_cmplt_epu32_mask(words, _mm256_set1_epi32(bound as i32));
                    let words = _mm256_maskz_compress_epi32(below, words);
                    _mm256_storeu_si256(to[..8].as_mut_ptr().cast(), words);
                    below.count_ones() as usize
                }
                nonzero_bytes(bytes: &[u8; 64]) -> u64 {
                    let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
                    _mm512_test_epi8_mask(bytes, bytes)
                }
            }
        }
    };
}

/// Implements `Lanes` with AVX2 and FMA.
macro_rules! lanes_256 {
    ($type:ty, $features:literal) => {
        // SAFETY (all blocks below): a value of the type proves that the processor has AVX2 and
        // FMA. Where memory is read or written, the slice is first cut to the number of words
        // accessed, or is an array of that length.
        impl crate::kernel::arithmetic::Lanes for $type {
            type Vector = __m256i;
            /// Per lane, all bits are set or none.
            type Mask = __m256i;
            type Words = __m128i;

            const COUNT: usize = 4;

            crate::kernel::lanes::run_with!($features);

            crate::kernel::lanes::operations! {
                splat(word: u64) -> __m256i { _mm256_set1_epi64x(word as i64) }
                load(words: &[u64]) -> __m256i { _mm256_loadu_si256(words[..4].as_ptr().cast()) }
                store(vector: __m256i, words: &mut [u64]) -> () {
                    _mm256_storeu_si256(words[..4].as_mut_ptr().cast(), vector)
                }
                add(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi64(a, b) }
                subtract(a: __m256i, b: __m256i) -> __m256i { _mm256_sub_epi64(a, b) }
                and(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
                or(a: __m256i, b: __m256i) -> __m256i { _mm256_or_si256(a, b) }
                xor(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
                shift_right(a: __m256i, bits: u32) -> __m256i {
                    _mm256_srl_epi64(a, _mm_cvtsi32_si128(bits as i32))
                }
                shift_left_each(a: __m256i, bits: __m256i) -> __m256i { _mm256_sllv_epi64(a, bits) }
                equal(a: __m256i, b: __m256i) -> __m256i { _mm256_cmpeq_epi64(a, b) }
                blend(mask: __m256i, a: __m256i, b: __m256i) -> __m256i { _mm256_blendv_epi8(a, b, mask) }
                mask_bits(mask: __m256i) -> u32 { _mm256_movemask_pd(_mm256_castsi256_pd(mask)) as u32 }
                double_add(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_add_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b)))
                }
                double_subtract(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_sub_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b)))
                }
                double_multiply(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_mul_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b)))
                }
                double_divide(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_div_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b)))
                }
                double_max(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_max_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b)))
                }
                double_multiply_add(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_fmadd_pd(
                        _mm256_castsi256_pd(a), _mm256_castsi256_pd(b), _mm256_castsi256_pd(c),
                    ))
                }
                double_multiply_subtract(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
                    _mm256_castpd_si256(_mm256_fmsub_pd(
                        _mm256_castsi256_pd(a), _mm256_castsi256_pd(b), _mm256_castsi256_pd(c),
                    ))
                }
                double_less(a: __m256i, b: __m256i) -> __m256i {
                    let less = _mm256_cmp_pd::<_CMP_LT_OQ>(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b));
                    _mm256_castpd_si256(less)
                }
                widen(words: &[u32]) -> __m256i {
                    _mm256_cvtepu32_epi64(_mm_loadu_si128(words[..4].as_ptr().cast()))
                }
                double_widen(words: &[u32]) -> __m256i {
                    _mm256_castpd_si256(_mm256_cvtepi32_pd(_mm_loadu_si128(words[..4].as_ptr().cast())))
                }
                narrow(vector: __m256i) -> __m128i {
                    let even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
                    _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(vector, even))
                }
                double_narrow(vector: __m256i) -> __m128i { _mm256_cvtpd_epi32(_mm256_castsi256_pd(vector)) }
                store_words(words: __m128i, to: &mut [u32]) -> () {
                    _mm_storeu_si128(to[..4].as_mut_ptr().cast(), words)
                }
                append_below(words: __m128i, bound: u32, to: &mut [u32]) -> usize {
                    let below = _mm_cmplt_epi32(words, _mm_set1_epi32(bound as i32));
                    let mut below = _mm_movemask_ps(_mm_castsi128_ps(below)) as u32;
                    // Few words are below the bound: most primes are much greater.
                    let mut count = 0;
                    if below != 0 {
                        let mut all = [0; 4];
                        _mm_storeu_si128(all.as_mut_ptr().cast(), words);
                        while below != 0 {
                            to[count] = all[below.trailing_zeros() as usize];
                            count += 1;
                            below &= below - 1;
                        }
                    }
                    count
                }
                nonzero_bytes(bytes: &[u8; 64]) -> u64 {
                    let zero = _mm256_setzero_si256();
                    let low = _mm256_cmpeq_epi8(_mm256_loadu_si256(bytes[..32].as_ptr().cast()), zero);
                    let high = _mm256_cmpeq_epi8(_mm256_loadu_si256(bytes[32..].as_ptr().cast()), zero);
                    let low = u64::from(_mm256_movemask_epi8(low).cast_unsigned());
                    let high = u64::from(_mm256_movemask_epi8(high).cast_unsigned());
                    !(high << 32 | low)
                }
            }
        }
    };
}

/// Defines `Lanes::run` for the features of a type.
macro_rules! run_with {
    ($features:literal) => {
        fn run<O: crate::kernel::arithmetic::Operation<Self>>(self, operation: O) -> O::Output {
            #[target_feature(enable = $features)]
            fn compiled<A, O: crate::kernel::arithmetic::Operation<A>>(
                arithmetic: A,
                operation: O,
            ) -> O::Output {
                operation.run(arithmetic)
            }
            // SAFETY: see above.
            unsafe { compiled(self, operation) }
        }
    };
}

/// Defines methods that are always inlined, so that they are compiled with the features of
/// [`Lanes::run`].
///
/// [`Lanes::run`]: super::arithmetic::Lanes::run
macro_rules! operations {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty $body:block)*) => {
        $(
            #[inline(always)]
            #[allow(unused_unsafe)]
            fn $name(self, $($arg: $type),*) -> $out {
                // SAFETY: see above.
                unsafe { $body }
            }
        )*
    };
}

pub(super) use {lanes_256, lanes_512, operations, run_with};
