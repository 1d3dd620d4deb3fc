//! The folder itself, and who holds it.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use primepool_common::{message::RunId, text::json_error};
use serde::Serialize;

use super::{
    FolderError, Journal, Manifest, Repacking, Repackings,
    files::{file_error, open_lines, write_whole},
    journal::confirmed,
    manifest::VERSION,
};
use crate::request::{Packing, Request};

/// The folder of one run, held by this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What was asked for.
    pub manifest: Manifest,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a new run. `output`: where the results go in place of `results.jsonl`; it must not exist.
    ///
    /// # Errors
    /// A file cannot be made.
    pub(crate) fn create(
        runs: &Path,
        run: RunId,
        request: Request,
        packing: Packing,
        priority: u8,
        output: Option<&Path>,
    ) -> Result<Self, FolderError> {
        let path = runs.join(run.as_str());
        let output = output.map_or_else(|| path.join("results.jsonl"), Path::to_owned);
        let output = std::path::absolute(&output).map_err(file_error("find", &output))?;
        // Refused before anything is made: results are never added to another run's.
        if fs::metadata(&output).is_ok_and(|file| file.is_file()) {
            return Err(FolderError::OutputExists(output));
        }
        if !output.starts_with(std::path::absolute(&path).map_err(file_error("find", &path))?) {
            open_lines(&output).map_err(file_error("write to", &output))?;
        }
        fs::create_dir_all(&path).map_err(file_error("make", &path))?;
        let lock = lock(&path, &run)?;
        let manifest = Manifest {
            version: VERSION,
            run,
            request,
            packing,
            priority,
            output,
        };
        let file = path.join("manifest.json");
        write_whole(&file, &manifest).map_err(file_error("write", &file))?;
        Ok(Self {
            path,
            manifest,
            _lock: lock,
        })
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// There is none, it is damaged, or another process holds it.
    pub(crate) fn open(runs: &Path, run: &RunId) -> Result<Self, FolderError> {
        let path = runs.join(run.as_str());
        let file = path.join("manifest.json");
        let text = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Unknown {
                    run: run.clone(),
                    runs: runs.to_owned(),
                });
            }
            read => read.map_err(file_error("read", &file))?,
        };
        let manifest = Manifest::read(&text, run).map_err(|reason| FolderError::Damaged {
            path: file.clone(),
            reason,
        })?;
        if path.join(CANCELLED).exists() {
            return Err(FolderError::Cancelled {
                run: run.clone(),
                results: manifest.output,
            });
        }
        let lock = lock(&path, run)?;
        Ok(Self {
            path,
            manifest,
            _lock: lock,
        })
    }

    /// A file of the folder.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the journal of confirmed units; also gives those that are in it. To be opened once: clones share it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn journal(&self) -> Result<(Journal, HashSet<u64>), FolderError> {
        let path = self.file("published");
        let (file, text) = open_lines(&path).map_err(file_error("open", &path))?;
        Ok((Journal::new(file, path), confirmed(&text)))
    }

    /// Opens the file of repackings; also gives those that are in it.
    ///
    /// # Errors
    /// The file cannot be used, or is damaged.
    pub(crate) fn repackings(&self) -> Result<(Repackings, Vec<Repacking>), FolderError> {
        let path = self.file("packing");
        let (file, text) = open_lines(&path).map_err(file_error("open", &path))?;
        let mut all = Vec::new();
        for line in text.lines() {
            let read: Result<Repacking, _> = serde_json::from_str(line);
            let repacking = read
                .map_err(|error| json_error(&error))
                .and_then(|read| read.packing.validate().map(|()| read));
            all.push(repacking.map_err(|reason| FolderError::Damaged {
                path: path.clone(),
                reason,
            })?);
        }
        Ok((Repackings::new(file, path), all))
    }

    /// Opens the results; also gives what is in them, as text.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn results(&self) -> Result<(File, String), FolderError> {
        let path = &self.manifest.output;
        open_lines(path).map_err(file_error("open", path))
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_summary(&self, summary: &impl Serialize) -> Result<(), FolderError> {
        let path = self.file("summary.json");
        write_whole(&path, summary).map_err(file_error("write", &path))
    }
}

/// Name of the file that says that a run was cancelled.
const CANCELLED: &str = "cancelled";

/// Notes that a run was cancelled, if its folder is here; whether it is.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn mark_cancelled(runs: &Path, run: &RunId) -> Result<bool, FolderError> {
    let folder = runs.join(run.as_str());
    if !folder.join("manifest.json").exists() {
        return Ok(false);
    }
    let file = folder.join(CANCELLED);
    File::create(&file).map_err(file_error("write", &file))?;
    Ok(true)
}

fn lock(folder: &Path, run: &RunId) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(file_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::Busy(run.clone())),
        Err(TryLockError::Error(error)) => Err(file_error("lock", &path)(error)),
    }
}
