//! How the units of a run were packed anew while it went on.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{FolderError, files::file_error};
use crate::request::Packing;

/// From one unit on, the jobs that were not in a unit before are packed otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repacking {
    /// The first unit of these sizes.
    pub from: u64,
    /// The sizes.
    #[serde(flatten)]
    pub packing: Packing,
}

/// The file of a run's repackings, a line each; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Repackings(Arc<Mutex<File>>, PathBuf);

impl Repackings {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(file)), path)
    }

    /// Adds one, on disk before any unit of these sizes is published: after a crash the numbers of
    /// units have to mean the same jobs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, repacking: &Repacking) -> Result<(), FolderError> {
        // Plain data: it always has a JSON form.
        let mut line = serde_json::to_vec(repacking).unwrap_or_default();
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(|error| file_error("write", &self.1)(error))
    }
}
