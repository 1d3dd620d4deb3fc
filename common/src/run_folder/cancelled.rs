//! The mark in the folder of a cancelled run.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::message::RunId;

/// Name of the file that marks a run as cancelled.
const CANCELLED: &str = "cancelled";

/// The mark of a cancelled run cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write {}: {error}. Make the folder writable and cancel the run again, or it can be resumed",
    path.display()
)]
pub struct MarkError {
    path: PathBuf,
    error: io::Error,
}

/// Whether the run of this folder is marked as cancelled.
#[must_use]
pub fn is_cancelled(folder: &Path) -> bool {
    folder.join(CANCELLED).exists()
}

/// Marks a run as cancelled. Returns `false` if its folder is not in `runs`.
///
/// # Errors
/// The file cannot be written.
pub fn mark_cancelled(runs: &Path, run: &RunId) -> Result<bool, MarkError> {
    let folder = runs.join(run.as_str());
    if !folder.join("manifest.json").exists() {
        return Ok(false);
    }
    let path = folder.join(CANCELLED);
    match File::create(&path) {
        Ok(_) => Ok(true),
        Err(error) => Err(MarkError { path, error }),
    }
}
