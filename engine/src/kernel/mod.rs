//! The arithmetic of searches and tests, chosen at run time.
//!
//! Every kernel finds the same primes.

pub(crate) mod arithmetic;
mod blocks;
mod field;
#[cfg(target_arch = "x86_64")]
mod fma;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod limit;
pub(crate) mod montgomery;
mod numbers;
mod operations;
mod residues;
mod scale;
#[cfg(target_arch = "x86_64")]
mod sizes;
mod vectors;
mod visit;

use std::fmt;
use std::str::FromStr;

pub(crate) use arithmetic::{DIGIT_BITS, DIGIT_MASK};
pub(crate) use field::{Field, Layout, Register, WINDOW};
pub(crate) use montgomery::bits_of;
pub(crate) use residues::{MAX_PRIME, Residues, SIDE_BY_SIDE};
pub(crate) use vectors::VectorKernel;
pub use visit::{Visitor, visit};

use crate::Error;

/// The greatest number of bits of a modulus that every vector kernel supports: 160 digits.
pub(crate) const MAX_BITS: u32 = bits_of(160);

/// An implementation of the arithmetic for one set of processor features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Eight numbers in a register of 512 bits, with AVX-512 IFMA.
    Ifma512,
    /// Four numbers in a register of 256 bits, with AVX-IFMA, or AVX-512 IFMA and VL.
    Ifma256,
    /// Eight numbers in a register of 512 bits, with the fused multiply-adds of AVX-512 F, BW, DQ
    /// and VL.
    Fma512,
    /// Four numbers in a register of 256 bits, with AVX2 and FMA.
    Fma256,
    /// One number at a time, with GMP or in machine words.
    Gmp,
}

impl Kernel {
    /// All kernels, the fastest first.
    pub const ALL: [Self; 5] = [
        Self::Ifma512,
        Self::Ifma256,
        Self::Fma512,
        Self::Fma256,
        Self::Gmp,
    ];

    /// The fastest kernel that this processor has. It prefers IFMA with 512 bits to IFMA with 256
    /// bits, so it returns [`Kernel::Ifma256`] only on processors with AVX-IFMA and without AVX-512
    /// IFMA.
    #[must_use]
    pub fn fastest() -> Self {
        let mut available = Self::ALL.into_iter().filter(|kernel| kernel.is_available());
        available.next().unwrap_or(Self::Gmp)
    }

    /// Whether this processor has the features of the kernel.
    #[must_use]
    pub fn is_available(self) -> bool {
        self == Self::Gmp || self.vectors().is_some()
    }

    /// The kernel's name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifma512 => "ifma512",
            Self::Ifma256 => "ifma256",
            Self::Fma512 => "fma512",
            Self::Fma256 => "fma256",
            Self::Gmp => "gmp",
        }
    }

    /// The processor features that the kernel needs.
    fn features(self) -> &'static str {
        match self {
            Self::Ifma512 => "AVX-512 F, BW, DQ, VL and IFMA",
            Self::Ifma256 => "AVX-IFMA, AVX2 and FMA, or AVX-512 IFMA and VL",
            Self::Fma512 => "AVX-512 F, BW, DQ and VL",
            Self::Fma256 => "AVX2 and FMA",
            Self::Gmp => "nothing",
        }
    }

    /// Checks that this processor has the kernel.
    ///
    /// # Errors
    /// [`Error::Kernel`] if it does not.
    pub fn require(self) -> Result<(), Error> {
        if self.is_available() {
            return Ok(());
        }
        let available = Self::ALL.into_iter().filter(|kernel| kernel.is_available());
        Err(Error::kernel(format!(
            "this processor does not have `{self}`, which needs {}; it has {}",
            self.features(),
            names(available),
        )))
    }

    /// The vector kernel; `None` for [`Kernel::Gmp`] and if this processor does not have the
    /// kernel.
    pub(crate) fn vectors(self) -> Option<&'static dyn VectorKernel> {
        #[cfg(target_arch = "x86_64")]
        return sizes::vectors(self);
        #[cfg(not(target_arch = "x86_64"))]
        return None;
    }
}

/// For tests: all vector kernels that this processor can run, with their names.
#[cfg(test)]
pub(crate) fn all_vectors() -> Vec<(&'static str, &'static dyn VectorKernel)> {
    #[cfg(target_arch = "x86_64")]
    return sizes::all_vectors();
    #[cfg(not(target_arch = "x86_64"))]
    return Vec::new();
}

/// The names of kernels, for an error message.
fn names(kernels: impl Iterator<Item = Kernel>) -> String {
    let names: Vec<String> = kernels.map(|kernel| format!("`{kernel}`")).collect();
    names.join(", ")
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    /// Reads a name. `ifma`, the name of the only vector kernel of early releases, is `ifma512`.
    fn from_str(name: &str) -> Result<Self, Error> {
        let full = if name == "ifma" { "ifma512" } else { name };
        let mut all = Self::ALL.into_iter();
        all.find(|kernel| kernel.name() == full).ok_or_else(|| {
            let all = names(Self::ALL.into_iter());
            Error::kernel(format!("no such kernel: `{name}`; there are {all}"))
        })
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod name_tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_are_parsed() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        assert_eq!("ifma".parse(), Ok(Kernel::Ifma512));
        for name in ["avx2", "IFMA", ""] {
            let error = name.parse::<Kernel>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("no such kernel: `{name}`")),
                "{error}"
            );
            assert!(error.contains("`fma256`, `gmp`"), "{error}");
        }
    }

    #[test]
    fn gmp_is_always_there() {
        assert!(Kernel::Gmp.is_available());
        assert!(Kernel::fastest().require().is_ok());
    }

    #[test]
    fn a_kernel_that_is_not_there_says_what_it_needs_and_what_there_is() {
        for kernel in Kernel::ALL {
            if let Err(error) = kernel.require() {
                let error = error.to_string();
                assert!(
                    error.contains(kernel.features()) && error.contains("`gmp`"),
                    "{error}"
                );
            }
        }
    }
}
