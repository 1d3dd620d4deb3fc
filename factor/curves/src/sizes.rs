//! The sizes of fields, and the choice of the smallest one for a number.

use primepool_engine::Kernel;
use primepool_engine::vectors::{Arithmetic, Visitor, visit};

use super::bundle::{Bundle, ManyNumbers, OneNumber};
use super::field::Moduli;
use super::primality::{LaneTester, PrimalityTester};
use super::vectors::VectorModuli;
use super::words::Words;

/// The field of numbers of 64 bits, for kernels without signed digits.
type FoldedModuli<A> = VectorModuli<A, 2, 1, 2, true>;

/// Builds a value with the smallest field for numbers of this many bits, if there is one.
macro_rules! least {
    ($bits:expr, $made:ident::$new:ident, $($moduli:ty => $value:expr),* $(,)?) => {
        match $bits {
            $( bits if bits <= <$moduli>::BITS => Some($made::<$moduli>::$new($value)), )*
            _ => None,
        }
    };
}

/// Curves modulo many numbers of up to this many bits, at most 128.
pub(crate) fn of_many(kernel: Kernel, bits: u32) -> Option<Box<dyn ManyNumbers>> {
    let vectors = visit(kernel, SizesOfMany { bits }).flatten();
    vectors.or_else(|| {
        least!(bits, Bundle::of_many,
            Words<1> => Words::new(), Words<2> => Words::new(), Words<4> => Words::new(),
        )
    })
}

struct SizesOfMany {
    bits: u32,
}

impl Visitor for SizesOfMany {
    type Output = Option<Box<dyn ManyNumbers>>;

    fn visit<A: Arithmetic>(self, s: A) -> Self::Output {
        let one_digit = VectorModuli::<A, 1, 1, 2, false>::BITS;
        // A match on the constant: the arms of the other kernels are not compiled.
        match A::SIGNED {
            false => least!(self.bits, Bundle::of_many,
                VectorModuli<A, 1, 1, 2, false> => VectorModuli::new(s),
                FoldedModuli<A> => VectorModuli::new(s),
                VectorModuli<A, 2, 1, 2, false> => VectorModuli::new(s),
                VectorModuli<A, 3, 1, 1, false> => VectorModuli::new(s),
            ),
            // Machine words are faster.
            true if A::COUNT == 4 && (one_digit + 1..=u64::BITS).contains(&self.bits) => None,
            true => least!(self.bits, Bundle::of_many,
                VectorModuli<A, 1, 1, 2, false> => VectorModuli::new(s),
                VectorModuli<A, 2, 1, 2, false> => VectorModuli::new(s),
                VectorModuli<A, 3, 1, 1, false> => VectorModuli::new(s),
            ),
        }
    }
}

/// Curves and p ± 1 modulo one number of this many bits, at most [`MAX_BITS`](crate::MAX_BITS).
pub(crate) fn of_one(kernel: Kernel, bits: u32) -> Option<Box<dyn OneNumber>> {
    let vectors = visit(kernel, SizesOfOne { bits }).flatten();
    vectors.or_else(|| {
        least!(bits, Bundle::of_one,
            Words<1> => Words::new(), Words<2> => Words::new(), Words<4> => Words::new(),
            Words<6> => Words::new(), Words<9> => Words::new(), Words<17> => Words::new(),
            Words<33> => Words::new(),
        )
    })
}

struct SizesOfOne {
    bits: u32,
}

impl Visitor for SizesOfOne {
    type Output = Option<Box<dyn OneNumber>>;

    /// Kernels with eight lanes have 32 registers, enough for the columns of ten digits; those with
    /// four lanes have 16.
    fn visit<A: Arithmetic>(self, s: A) -> Self::Output {
        macro_rules! sizes {
            ($($k:literal x $b:literal),* $(,)?) => {
                least!(self.bits, Bundle::of_one,
                    $( VectorModuli<A, $k, $b, 1, false> => VectorModuli::new(s) ),*
                )
            };
        }
        match A::COUNT {
            8 => sizes!(2 x 1, 3 x 1, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 10 x 1, 8 x 2, 8 x 5),
            _ => sizes!(2 x 1, 3 x 1, 4 x 1, 5 x 1, 4 x 2, 4 x 4),
        }
    }
}

/// A tester for numbers of up to this many bits, at most 64.
pub(crate) fn primality_tester(kernel: Kernel, bits: u32) -> Option<Box<dyn PrimalityTester>> {
    let vectors = visit(kernel, WordSizes { bits }).flatten();
    vectors.or_else(
        || least!(bits, LaneTester::boxed, Words<1> => Words::new(), Words<2> => Words::new()),
    )
}

struct WordSizes {
    bits: u32,
}

impl Visitor for WordSizes {
    type Output = Option<Box<dyn PrimalityTester>>;

    fn visit<A: Arithmetic>(self, s: A) -> Self::Output {
        // As above.
        match A::SIGNED {
            false => least!(self.bits, LaneTester::boxed,
                VectorModuli<A, 1, 1, 2, false> => VectorModuli::new(s),
                FoldedModuli<A> => VectorModuli::new(s),
            ),
            true => least!(self.bits, LaneTester::boxed,
                VectorModuli<A, 1, 1, 2, false> => VectorModuli::new(s),
                VectorModuli<A, 2, 1, 2, false> => VectorModuli::new(s),
            ),
        }
    }
}
