//! Access to the arithmetic of a kernel, for computations in other crates.

use super::Kernel;
use super::arithmetic::Arithmetic;
#[cfg(target_arch = "x86_64")]
use super::{
    fma::{Fma256, Fma512},
    ifma::{Ifma256, Ifma512},
};

/// A computation that is generic over the arithmetic of a kernel.
pub trait Visitor {
    /// Result of the computation.
    type Output;

    /// Runs the computation with the given arithmetic.
    fn visit<A: Arithmetic>(self, arithmetic: A) -> Self::Output;
}

/// Runs a computation with the arithmetic of a vector kernel. `None` if the kernel is
/// [`Kernel::Gmp`], or if this processor does not have it.
///
/// For [`Kernel::Ifma256`] without AVX-IFMA, AVX2 replaces the EVEX forms of the instructions,
/// which saves compiling each computation once more. [`Kernel::fastest`] never chooses that kernel
/// there.
#[cfg(target_arch = "x86_64")]
pub fn visit<V: Visitor>(kernel: Kernel, visitor: V) -> Option<V::Output> {
    Some(match kernel {
        Kernel::Ifma512 => visitor.visit(Ifma512::detect()?),
        Kernel::Ifma256 => match Ifma256::detect() {
            Some(arithmetic) => visitor.visit(arithmetic),
            None => visitor.visit(Fma256::detect()?),
        },
        Kernel::Fma512 => visitor.visit(Fma512::detect()?),
        Kernel::Fma256 => visitor.visit(Fma256::detect()?),
        Kernel::Gmp => return None,
    })
}

/// `None`: there are no vector kernels for this target.
#[cfg(not(target_arch = "x86_64"))]
pub fn visit<V: Visitor>(_: Kernel, _: V) -> Option<V::Output> {
    None
}
