//! Which fields there are.

use primepool_engine::Kernel;
use primepool_engine::vectors::{Arithmetic, Visitor, visit};

use super::bundle::{Bundle, Curves};
use super::field::Moduli;
use super::primality::{ModuliTests, Tests};
use super::vectors::VectorModuli;
use super::words::Words;

/// What the least field for numbers of so many bits is made into, if there is one.
macro_rules! least {
    ($bits:expr, $made:ident, $($moduli:ty => $new:expr),* $(,)?) => {
        match $bits {
            $( bits if bits <= <$moduli>::BITS => Some($made::<$moduli>::boxed($new)), )*
            _ => None,
        }
    };
}

/// Curves modulo numbers of up to so many bits, at most [`MAX_BITS`](crate::MAX_BITS).
/// With `many`, different numbers are meant for the lanes, and there may be more of them.
pub(crate) fn curves(kernel: Kernel, bits: u32, many: bool) -> Option<Box<dyn Curves>> {
    let vectors = visit(kernel, Sizes { bits, many }).flatten();
    vectors.or_else(|| scalar(bits))
}

fn scalar(bits: u32) -> Option<Box<dyn Curves>> {
    least!(bits, Bundle,
        Words<1> => Words::new(), Words<2> => Words::new(), Words<4> => Words::new(),
        Words<6> => Words::new(), Words<9> => Words::new(), Words<17> => Words::new(),
        Words<33> => Words::new(),
    )
}

struct Sizes {
    bits: u32,
    many: bool,
}

impl Visitor for Sizes {
    type Output = Option<Box<dyn Curves>>;

    /// With eight lanes there are 32 registers, for the columns of ten digits; with four, 16.
    fn visit<A: Arithmetic>(self, s: A) -> Self::Output {
        macro_rules! sizes {
            ($($k:literal x $b:literal x $g:literal),* $(,)?) => {
                least!(self.bits, Bundle, $( VectorModuli<A, $k, $b, $g> => VectorModuli::new(s) ),*)
            };
        }
        if self.many && self.bits <= VectorModuli::<A, 2, 1, 2>::BITS {
            sizes!(1 x 1 x 2, 2 x 1 x 2)
        } else if A::COUNT == 8 {
            sizes!(
                2 x 1 x 1, 3 x 1 x 1, 4 x 1 x 1, 5 x 1 x 1, 6 x 1 x 1, 7 x 1 x 1, 10 x 1 x 1,
                8 x 2 x 1, 8 x 5 x 1,
            )
        } else {
            sizes!(
                2 x 1 x 1, 3 x 1 x 1, 4 x 1 x 1, 5 x 1 x 1, 4 x 2 x 1, 4 x 4 x 1,
            )
        }
    }
}

/// Tests of primality of numbers of up to so many bits, at most 64.
pub(crate) fn tests(kernel: Kernel, bits: u32) -> Option<Box<dyn Tests>> {
    let vectors = visit(kernel, WordSizes { bits }).flatten();
    vectors
        .or_else(|| least!(bits, ModuliTests, Words<1> => Words::new(), Words<2> => Words::new()))
}

struct WordSizes {
    bits: u32,
}

impl Visitor for WordSizes {
    type Output = Option<Box<dyn Tests>>;

    fn visit<A: Arithmetic>(self, s: A) -> Self::Output {
        least!(self.bits, ModuliTests,
            VectorModuli<A, 1, 1, 2> => VectorModuli::new(s),
            VectorModuli<A, 2, 1, 2> => VectorModuli::new(s),
        )
    }
}
