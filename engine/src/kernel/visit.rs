//! The arithmetic of a kernel, for computations of other crates.

use super::Kernel;
use super::arithmetic::Arithmetic;
#[cfg(target_arch = "x86_64")]
use super::{
    fma::{Fma256, Fma512},
    ifma::{Ifma256, Ifma512},
};

/// What is done with the arithmetic of a kernel.
pub trait Visitor {
    /// What it gives.
    type Output;

    /// Does it.
    fn visit<A: Arithmetic>(self, arithmetic: A) -> Self::Output;
}

/// Visits the arithmetic of a kernel, if it is one of vectors and this processor has it.
///
/// AVX2 stands in for the EVEX forms of [`Kernel::Ifma256`], which is never chosen where it would
/// need them: what visitors do is compiled once less.
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

/// Visits the arithmetic of a kernel: there is none for this processor.
#[cfg(not(target_arch = "x86_64"))]
pub fn visit<V: Visitor>(_: Kernel, _: V) -> Option<V::Output> {
    None
}
