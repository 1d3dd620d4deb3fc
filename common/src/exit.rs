//! Exit statuses of the programs.

use std::{fmt::Display, process::ExitCode};

use crate::{output::notice, text::printable};

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

/// The end of a program: its exit status, after its error on standard error, where the log may be off or not started.
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
