//! The choice of the results to verify.

use clap::ValueEnum;

/// Which results are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Every one
    All,
    /// Every one, so that no composite passes, even if somebody chose it in order to deceive: 32 times the work
    Strict,
    /// One in sixteen, chosen at random
    Sample,
    /// None: only their size is checked
    None,
}
