//! How the units of a run were repacked while it went on.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{FolderError, files::file_error};
use crate::request::Packing;

/// A change of the packing: from one unit on, jobs that were in no earlier unit are packed with
/// other sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repacking {
    /// First unit with the new sizes.
    pub from: u64,
    /// The new sizes.
    #[serde(flatten)]
    pub packing: Packing,
}

/// The file of a run's repackings, one on each line; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Repackings(Arc<Mutex<File>>, PathBuf);

impl Repackings {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(file)), path)
    }

    /// Appends a repacking and syncs it to disk. This must happen before a unit of these sizes is
    /// published: after a crash, the number of a unit must mean the same jobs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, repacking: &Repacking) -> Result<(), FolderError> {
        // Serialising plain data cannot fail.
        let mut line = serde_json::to_vec(repacking).unwrap_or_default();
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(|error| file_error("write", &self.1)(error))
    }
}
