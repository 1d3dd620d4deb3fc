//! The choice of the results to verify.

use clap::ValueEnum;

/// Which results are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Every one
    All,
    /// Every one, with 32 bases: finds even a composite chosen by an attacker
    Strict,
    /// One in sixteen, chosen at random
    Sample,
    /// None: only their size is checked
    None,
}
