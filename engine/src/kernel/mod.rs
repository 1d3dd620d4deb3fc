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

/// The environment variable that forces a kernel: `ifma` or `gmp`.
pub const KERNEL_VARIABLE: &str = "PRIMEPOOL_KERNEL";

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
    /// The kernel that [`KERNEL_VARIABLE`] names or, if it is not set or empty, the fastest one that this processor has.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] if the variable names no kernel, or one that this processor does not have.
    pub fn choose() -> Result<Self, Error> {
        match std::env::var_os(KERNEL_VARIABLE) {
            None => Ok(Self::fastest()),
            Some(name) if name.is_empty() => Ok(Self::fastest()),
            Some(name) => {
                let kernel: Self = name.to_string_lossy().parse()?;
                kernel.require()?;
                Ok(kernel)
            }
        }
    }

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

    /// Its name, as in [`KERNEL_VARIABLE`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifma => "ifma",
            Self::Gmp => "gmp",
        }
    }

    /// An error unless this processor has it.
    pub(crate) fn require(self) -> Result<(), Error> {
        if self.is_available() {
            Ok(())
        } else {
            Err(Error::kernel(format!(
                "this processor does not have the kernel `{self}`, which needs AVX-512 F, BW, DQ, VL and IFMA; \
                 leave {KERNEL_VARIABLE} unset, or set it to `gmp`"
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
            "avx2" => Err(Error::kernel(format!(
                "there is no kernel `avx2`, because it would not beat `gmp` by enough; set {KERNEL_VARIABLE} to `gmp`"
            ))),
            _ => Err(Error::kernel(format!(
                "there is no kernel `{name}`; set {KERNEL_VARIABLE} to `ifma` or `gmp`, or leave it unset"
            ))),
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
            ("avx2", "does not beat"),
            ("IFMA", "no kernel"),
            ("", "no kernel"),
        ] {
            let error = name.parse::<Kernel>().unwrap_err().to_string();
            let part = if name == "avx2" {
                "would not beat"
            } else {
                part
            };
            assert!(
                error.contains(part) && error.contains(KERNEL_VARIABLE),
                "{error}"
            );
        }
    }

    #[test]
    fn gmp_is_always_there() {
        assert!(Kernel::Gmp.is_available());
        assert!(Kernel::fastest().require().is_ok());
    }
}
