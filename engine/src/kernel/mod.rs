//! The arithmetic that searches and tests are done with, chosen at run time.

#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
