//! What can go wrong with a run's folder.

use std::{io, path::PathBuf};

use primepool_common::message::RunId;

/// What went wrong with the folder; the text names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// A file could not be used.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no such run.
    #[error("there is no run {run} in {}: name one of its folders, or say with --runs-dir where it is", runs.display())]
    Unknown {
        /// The run.
        run: RunId,
        /// The folder that was looked in.
        runs: PathBuf,
    },
    /// A file does not hold what it should.
    #[error(
        "{} is damaged: {reason}. Put back a copy of it if there is one; without it the run cannot go on, but the results that \
         are there stay good: ask for the rest in a new run",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file for the results is there already.
    #[error("{} exists already: name another file with --output, or move that one away", .0.display())]
    OutputExists(PathBuf),
    /// The run was cancelled.
    #[error("run {run} was cancelled, and its jobs are no longer worked on. What it had found is in {}; start a new run for more", results.display())]
    Cancelled {
        /// The run.
        run: RunId,
        /// Its results.
        results: PathBuf,
    },
    /// Another producer is at work on this run.
    #[error("another producer is at work on run {0}: wait for it, or end it")]
    Busy(RunId),
}
