//! Exit statuses of the binaries.

use std::process::ExitCode;

/// What a program's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every job ended well (0).
    Ok,
    /// Some jobs did not end well, or the work could not be finished (1).
    Incomplete,
    /// The command line or a file that it names is wrong (2).
    Usage,
    /// The broker or the database cannot be reached or does not let us work (3).
    Unreachable,
    /// Stopped by a signal (130).
    Interrupted,
}

impl Exit {
    /// The number that the operating system sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Incomplete => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
