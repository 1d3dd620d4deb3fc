//! The arithmetic that searches and tests are done with, chosen at run time.
//!
//! Every kernel finds the same primes. An AVX2 kernel is missing on purpose: with 32-bit products it would be a twentieth
//! to a seventh faster than GMP built for the processor, which is not worth its code.

// With `--cfg primepool_portable` what other processors get is compiled here too, for a check.
#[cfg(any(not(target_arch = "x86_64"), primepool_portable))]
#[path = "absent.rs"]
mod ifma;
#[cfg(all(target_arch = "x86_64", not(primepool_portable)))]
mod ifma;

use std::fmt;
use std::str::FromStr;

pub(crate) use ifma::{Ifma, Search, Work, multiply_adds};

use crate::Error;

/// A way to do the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Eight or sixteen numbers at a time with AVX-512 IFMA, up to 8316 bits; beyond, and below 2^64, what [`Kernel::Gmp`]
    /// does.
    Ifma,
    /// One number at a time, with GMP or in machine words.
    Gmp,
}

impl Kernel {
    /// The fastest kernel that this processor has.
    #[must_use]
    pub fn fastest() -> Self {
        if Self::Ifma.is_available() {
            Self::Ifma
        } else {
            Self::Gmp
        }
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Ifma => Ifma::detect().is_some(),
            Self::Gmp => true,
        }
    }

    /// Its name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifma => "ifma",
            Self::Gmp => "gmp",
        }
    }

    /// Checks that this processor has the kernel.
    ///
    /// # Errors
    /// [`Error::Kernel`] if it does not.
    pub fn require(self) -> Result<(), Error> {
        if self.is_available() {
            Ok(())
        } else {
            Err(Error::kernel(format!(
                "this processor does not have `{self}`, which needs AVX-512 F, BW, DQ, VL and IFMA; \
                 take `gmp`, or leave the choice to the program"
            )))
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "ifma" => Ok(Self::Ifma),
            "gmp" => Ok(Self::Gmp),
            "avx2" => Err(Error::kernel(
                "`avx2` would not beat `gmp` by enough; take `gmp`".to_owned(),
            )),
            _ => Err(Error::kernel(format!("`{name}`; take `ifma` or `gmp`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_are_parsed() {
        for kernel in [Kernel::Ifma, Kernel::Gmp] {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        for (name, part) in [
            ("avx2", "would not beat"),
            ("IFMA", "no such kernel: `IFMA`"),
            ("", "no such kernel: ``"),
        ] {
            let error = name.parse::<Kernel>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("`gmp`"), "{error}");
        }
    }

    #[test]
    fn gmp_is_always_there() {
        assert!(Kernel::Gmp.is_available());
        assert!(Kernel::fastest().require().is_ok());
    }
}
