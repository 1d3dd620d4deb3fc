//! Assigns numbers to batches of units.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::run_dir::{FolderError, file_error, write_whole};

/// Assigns the numbers of batches; the file `groups` of the run keeps the last one. A run never
/// uses a number twice; otherwise, units of a cancelled stage could be mistaken for those of a
/// later one.
#[derive(Debug)]
pub(super) struct Batches {
    path: PathBuf,
    last: u32,
    saved: u32,
}

impl Batches {
    pub(super) fn open(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join("groups");
        let last = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            text => {
                let text = text.map_err(file_error("read", &path))?;
                text.trim().parse().map_err(|_| FolderError::Damaged {
                    path: path.clone(),
                    reason: "not a number".to_owned(),
                })?
            }
        };
        Ok(Self {
            path,
            last,
            saved: last,
        })
    }

    pub(super) fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    pub(super) fn save(&mut self) -> Result<(), FolderError> {
        if self.last != self.saved {
            write_whole(&self.path, &self.last).map_err(file_error("write", &self.path))?;
            self.saved = self.last;
        }
        Ok(())
    }
}
