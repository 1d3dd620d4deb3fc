//! The sizes of numbers that each kernel supports, and their blocks.
//!
//! If the processor begins one 512-bit multiply-add in each cycle (Zen 4), blocks of 3 to 7 digits
//! are best. With 10 digits, the most that fit, the chain of quotient digits in a block is longer
//! than the independent work that the processor finds meanwhile.
//!
//! If it begins two (Intel's server processors since Ice Lake), a column of a small block waits for
//! itself: it takes two products of each digit, one after the other, which is 8 cycles, in which a
//! block of 5 digits has only 10 multiply-adds. There, blocks of 8 to 10 digits are best. Blocks of
//! 4 and 5 digits with split sums are as good, and they are also best with 256 bits.
//!
//! Without IFMA a product takes five instructions or more, so no column waits; it only matters that
//! all sums stay in registers. Small numbers use two or four groups of lanes in turn, since one
//! group alone is a single dependent chain.

use std::sync::OnceLock;

use super::Kernel;
use super::arithmetic::Arithmetic;
use super::blocks::Blocks;
use super::fma::{Fma256, Fma512};
use super::ifma::{Ifma256, Ifma256Evex, Ifma512};
use super::limit::overlap;
use super::vectors::{Size, VectorKernel, Vectors};

/// A table of sizes: digits of a block x blocks x groups of lanes. `fixed` is for a field that is
/// compiled for that number of blocks, which saves up to a tenth of the time up to 20 digits.
/// `split` is for a field with split sums.
macro_rules! sizes {
    ($arithmetic:ty: $($k:literal x $blocks:literal x $groups:literal $($how:ident)*),* $(,)?) => {
        &[$(
            Size {
                limbs: $k * $blocks,
                steps: sizes!(@ $arithmetic, $k, $blocks, $groups, $($how)*),
            },
        )*]
    };
    (@ $a:ty, $k:literal, $blocks:literal, $groups:literal, fixed split) => {
        Blocks::<$a, $k, $blocks, $groups, true>::STEPS
    };
    (@ $a:ty, $k:literal, $blocks:literal, $groups:literal, fixed) => {
        Blocks::<$a, $k, $blocks, $groups, false>::STEPS
    };
    (@ $a:ty, $k:literal, $blocks:literal, $groups:literal, split) => {
        Blocks::<$a, $k, 0, $groups, true>::STEPS
    };
    (@ $a:ty, $k:literal, $blocks:literal, $groups:literal, ) => {
        Blocks::<$a, $k, 0, $groups, false>::STEPS
    };
}

/// The sizes for IFMA with 256 bits: the sums and factors of a block fit the 16 registers of the
/// VEX forms.
macro_rules! ifma_256 {
    ($arithmetic:ty) => {
        sizes![$arithmetic:
            3 x 1 x 2 fixed, 4 x 1 x 2 fixed, 5 x 1 x 2 fixed, 6 x 1 x 2 fixed,
            4 x 2 x 2 fixed split, 5 x 2 x 2 fixed split, 4 x 3 x 1 split, 5 x 3 x 1 split,
            4 x 4 x 1 split, 4 x 5 x 1 split, 4 x 6 x 1 split, 5 x 5 x 1 split, 4 x 7 x 1 split,
            5 x 6 x 1 split, 4 x 8 x 1 split, 5 x 7 x 1 split, 4 x 9 x 1 split, 4 x 10 x 1 split,
            4 x 11 x 1 split, 5 x 9 x 1 split, 4 x 12 x 1 split, 5 x 10 x 1 split,
            5 x 11 x 1 split, 4 x 15 x 1 split, 5 x 13 x 1 split, 5 x 14 x 1 split,
            5 x 15 x 1 split, 4 x 20 x 1 split, 5 x 18 x 1 split, 4 x 25 x 1 split,
            5 x 22 x 1 split, 4 x 30 x 1 split, 5 x 26 x 1 split, 4 x 35 x 1 split,
            5 x 30 x 1 split, 4 x 40 x 1 split,
        ]
    };
}

/// For processors that begin one multiply-add in each cycle.
#[rustfmt::skip]
const IFMA_512_ONE: &[Size<Ifma512>] = sizes![Ifma512:
    3 x 1 x 2 fixed, 4 x 1 x 2 fixed, 5 x 1 x 2 fixed, 6 x 1 x 2 fixed, 7 x 1 x 1 fixed,
    4 x 2 x 2 fixed, 3 x 3 x 1 fixed, 5 x 2 x 2 fixed, 4 x 3 x 1 fixed, 7 x 2 x 1 fixed,
    5 x 3 x 1 fixed, 4 x 4 x 1 fixed, 6 x 3 x 1 fixed, 5 x 4 x 1 fixed, 6 x 4 x 1, 5 x 5 x 1,
    7 x 4 x 1, 6 x 5 x 1, 5 x 7 x 1, 6 x 6 x 1, 5 x 8 x 1, 6 x 7 x 1, 5 x 9 x 1, 6 x 8 x 1,
    5 x 10 x 1, 7 x 8 x 1, 6 x 10 x 1, 5 x 13 x 1, 7 x 10 x 1, 5 x 15 x 1, 5 x 16 x 1, 6 x 15 x 1,
    5 x 20 x 1, 5 x 22 x 1, 6 x 20 x 1, 5 x 26 x 1, 5 x 28 x 1, 5 x 30 x 1, 5 x 32 x 1,
];

/// For processors that begin two multiply-adds in each cycle.
#[rustfmt::skip]
const IFMA_512_TWO: &[Size<Ifma512>] = sizes![Ifma512:
    3 x 1 x 2 fixed, 4 x 1 x 2 fixed, 5 x 1 x 2 fixed, 6 x 1 x 2 fixed, 7 x 1 x 2 fixed,
    8 x 1 x 2 fixed, 9 x 1 x 2 fixed, 10 x 1 x 2 fixed, 4 x 3 x 1 fixed, 7 x 2 x 1 fixed,
    5 x 3 x 1 split, 8 x 2 x 1 fixed, 6 x 3 x 1 fixed, 10 x 2 x 1 fixed, 8 x 3 x 1,
    5 x 5 x 1 split, 4 x 7 x 1 split, 10 x 3 x 1, 8 x 4 x 1, 5 x 7 x 1 split, 4 x 9 x 1 split,
    8 x 5 x 1, 4 x 11 x 1 split, 8 x 6 x 1, 10 x 5 x 1, 8 x 7 x 1, 10 x 6 x 1, 8 x 8 x 1,
    10 x 7 x 1, 8 x 9 x 1, 8 x 10 x 1, 10 x 9 x 1, 10 x 10 x 1, 10 x 11 x 1, 8 x 15 x 1,
    10 x 13 x 1, 10 x 14 x 1, 10 x 15 x 1, 10 x 16 x 1,
];

#[rustfmt::skip]
const IFMA_256_SIZES: &[Size<Ifma256>] = ifma_256!(Ifma256);

#[rustfmt::skip]
const IFMA_256_EVEX_SIZES: &[Size<Ifma256Evex>] = ifma_256!(Ifma256Evex);

#[rustfmt::skip]
const FMA_512_SIZES: &[Size<Fma512>] = sizes![Fma512:
    3 x 1 x 2 fixed, 4 x 1 x 2 fixed, 5 x 1 x 2 fixed, 6 x 1 x 2 fixed, 4 x 2 x 2 fixed,
    5 x 2 x 2 fixed, 4 x 3 x 1, 5 x 3 x 1, 4 x 4 x 1, 4 x 5 x 1, 4 x 6 x 1, 5 x 5 x 1, 4 x 7 x 1,
    10 x 3 x 1, 4 x 8 x 1, 5 x 7 x 1, 4 x 9 x 1, 10 x 4 x 1, 4 x 11 x 1, 5 x 9 x 1, 4 x 12 x 1,
    10 x 5 x 1, 5 x 11 x 1, 10 x 6 x 1, 5 x 13 x 1, 10 x 7 x 1, 5 x 15 x 1, 10 x 8 x 1, 10 x 9 x 1,
    10 x 10 x 1, 10 x 11 x 1, 10 x 12 x 1, 10 x 13 x 1, 10 x 14 x 1, 10 x 15 x 1, 10 x 16 x 1,
];

#[rustfmt::skip]
const FMA_256_SIZES: &[Size<Fma256>] = sizes![Fma256:
    3 x 1 x 4 fixed, 4 x 1 x 4 fixed, 5 x 1 x 4 fixed, 6 x 1 x 2 fixed, 4 x 2 x 2 fixed,
    5 x 2 x 2 fixed, 4 x 3 x 1, 5 x 3 x 1, 4 x 4 x 1, 4 x 5 x 1, 4 x 6 x 1, 5 x 5 x 1, 4 x 7 x 1,
    5 x 6 x 1, 4 x 8 x 1, 5 x 7 x 1, 4 x 9 x 1, 4 x 10 x 1, 4 x 11 x 1, 5 x 9 x 1, 4 x 12 x 1,
    5 x 10 x 1, 5 x 11 x 1, 4 x 15 x 1, 5 x 13 x 1, 5 x 14 x 1, 5 x 15 x 1, 4 x 20 x 1, 5 x 18 x 1,
    4 x 25 x 1, 5 x 22 x 1, 4 x 30 x 1, 5 x 26 x 1, 4 x 35 x 1, 5 x 30 x 1, 4 x 40 x 1,
];

/// The given vector kernel, if this processor has it. It is created once.
pub(super) fn vectors(kernel: Kernel) -> Option<&'static dyn VectorKernel> {
    static IFMA_512: OnceLock<Option<Vectors<Ifma512>>> = OnceLock::new();
    static IFMA_256: OnceLock<Option<Vectors<Ifma256>>> = OnceLock::new();
    static IFMA_256_EVEX: OnceLock<Option<Vectors<Ifma256Evex>>> = OnceLock::new();
    static FMA_512: OnceLock<Option<Vectors<Fma512>>> = OnceLock::new();
    static FMA_256: OnceLock<Option<Vectors<Fma256>>> = OnceLock::new();
    match kernel {
        Kernel::Ifma512 => made(&IFMA_512, Ifma512::detect(), |arithmetic| {
            match ports(arithmetic) {
                Ports::One => IFMA_512_ONE,
                Ports::Two => IFMA_512_TWO,
            }
        }),
        Kernel::Ifma256 => made(&IFMA_256, Ifma256::detect(), |_| IFMA_256_SIZES).or_else(|| {
            made(&IFMA_256_EVEX, Ifma256Evex::detect(), |_| {
                IFMA_256_EVEX_SIZES
            })
        }),
        Kernel::Fma512 => made(&FMA_512, Fma512::detect(), |_| FMA_512_SIZES),
        Kernel::Fma256 => made(&FMA_256, Fma256::detect(), |_| FMA_256_SIZES),
        Kernel::Gmp => None,
    }
}

/// The kernel with the detected arithmetic, created on the first call.
fn made<A: Arithmetic>(
    once: &'static OnceLock<Option<Vectors<A>>>,
    detected: Option<A>,
    sizes: impl FnOnce(A) -> &'static [Size<A>],
) -> Option<&'static dyn VectorKernel> {
    let made = once.get_or_init(|| {
        detected.map(|arithmetic| Vectors {
            arithmetic,
            sizes: sizes(arithmetic),
        })
    });
    made.as_ref().map(|vectors| vectors as &dyn VectorKernel)
}

/// Number of vector multiply-adds that the processor begins in each cycle. Each takes four cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// AMD, and Intel's processors for laptops and desktops.
    One,
    /// Intel's processors for servers.
    Two,
}

/// Measures this processor. A wrong result only costs time: both tables give the same numbers.
fn ports(arithmetic: Ifma512) -> Ports {
    if overlap(arithmetic) > 5.0 {
        Ports::Two
    } else {
        Ports::One
    }
}

/// For tests: all vector kernels that this processor can run, with their names; [`Ifma512`] with
/// the sizes for both kinds of processor.
#[cfg(test)]
#[allow(clippy::print_stderr)]
pub(crate) fn all_vectors() -> Vec<(&'static str, &'static dyn VectorKernel)> {
    type Named = (&'static str, &'static dyn VectorKernel);
    fn kernel<A: Arithmetic>(
        name: &'static str,
        detected: Option<A>,
        sizes: &'static [Size<A>],
    ) -> Option<Named> {
        let vectors: &'static Vectors<A> = Box::leak(Box::new(Vectors {
            arithmetic: detected?,
            sizes,
        }));
        Some((name, vectors))
    }
    static ALL: OnceLock<Vec<Named>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let kernels = [
            kernel("ifma512, one multiplier", Ifma512::detect(), IFMA_512_ONE),
            kernel("ifma512, two multipliers", Ifma512::detect(), IFMA_512_TWO),
            kernel("ifma256", Ifma256::detect(), IFMA_256_SIZES),
            kernel("ifma256, EVEX", Ifma256Evex::detect(), IFMA_256_EVEX_SIZES),
            kernel("fma512", Fma512::detect(), FMA_512_SIZES),
            kernel("fma256", Fma256::detect(), FMA_256_SIZES),
        ];
        let all: Vec<Named> = kernels.into_iter().flatten().collect();
        let names: Vec<&str> = all.iter().map(|&(name, _)| name).collect();
        eprintln!("vector kernels that are tested: {}", names.join("; "));
        if Ifma256::detect().is_none() && Ifma256Evex::detect().is_some() {
            eprintln!("no AVX-IFMA here: the EVEX forms of its instructions stand in for it");
        }
        all
    });
    all.clone()
}
