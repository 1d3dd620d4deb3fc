//! Exit statuses of the programs.

use std::{fmt::Display, process::ExitCode};

use crate::{output::notice, text::printable};

/// The exit status of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every job ended successfully (0).
    Ok,
    /// Some jobs failed, or the work could not be finished (1).
    Incomplete,
    /// The command line, or a file that it names, is wrong (2).
    Usage,
    /// The broker or the database cannot be reached, or it refuses access (3).
    Unreachable,
    /// Stopped by a signal (130).
    Interrupted,
}

impl Exit {
    /// The exit code that the operating system receives.
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

/// Ends a program: prints its error to standard error, because the log may be off or not yet
/// started, and returns its exit status.
#[must_use]
pub fn conclude<E: Display>(program: &str, outcome: Result<Exit, (Exit, E)>) -> ExitCode {
    outcome
        .unwrap_or_else(|(exit, error)| {
            notice(&format!("{program}: {}", printable(&format!("{error:#}"))));
            exit
        })
        .into()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
