//! Errors in reading and writing a run's folder.

use std::{io, path::PathBuf};

use primepool_common::message::RunId;

/// Error in reading or writing the folder; the text names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// A file could not be used.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// Verb for the operation that failed, such as `open`.
        what: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// The folder of runs has no such run.
    #[error("there is no run {run} in {}: name one of its folders, or say with --runs-dir where it is", runs.display())]
    Unknown {
        run: RunId,
        /// The folder of runs that was searched.
        runs: PathBuf,
    },
    /// The content of a file is invalid.
    #[error(
        "{} is damaged: {reason}. Put back a copy of it if there is one; without it the run cannot go on, but the results that \
         are there stay good: ask for the rest in a new run",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        /// What is wrong with its content.
        reason: String,
    },
    /// The file for the results exists already.
    #[error("{} exists already: name another file with --output, or move that one away", .0.display())]
    OutputExists(PathBuf),
    /// The run was cancelled.
    #[error("run {run} was cancelled, and its jobs are no longer worked on. What it had found is in {}; start a new run for more", results.display())]
    Cancelled {
        run: RunId,
        /// Path of its results.
        results: PathBuf,
    },
    /// Another producer is at work on this run.
    #[error("another producer is at work on run {0}: wait for it, or end it")]
    Busy(RunId),
}
