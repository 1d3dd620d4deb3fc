//! The folder of a run, and the lock that one producer holds on it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use primepool_common::{
    message::{Integers, RunId},
    run_folder::is_cancelled,
    text::json_error,
};
use rangemap::RangeSet;
use serde::Serialize;

use super::{
    FolderError, Journal, Manifest, Repacking, Repackings,
    files::{file_error, open_lines, write_whole},
    integers::{IntegersFile, NewIntegers},
    journal,
    manifest::{WITH_CERTIFICATES, WITH_INTEGERS, WITH_REPACKINGS},
};
use crate::request::{Packing, Request, Weights};

/// The folder of one run, locked by this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The request and its packing.
    pub manifest: Manifest,
    /// The integers of the jobs, if they have any.
    pub integers: Option<IntegersFile>,
    _lock: File,
}

impl Folder {
    /// Creates the folder of a new run. `integers` are those of its jobs, unless the request lists
    /// them. `output` replaces the path `results.jsonl`; that file must not exist.
    ///
    /// # Errors
    /// A file cannot be created, the output file exists, or another process holds the folder.
    pub(crate) fn create(
        runs: &Path,
        run: RunId,
        mut request: Request,
        integers: Option<&NewIntegers>,
        packing: Packing,
        priority: u8,
        output: Option<&Path>,
    ) -> Result<Self, FolderError> {
        let path = runs.join(run.as_str());
        let output = output.map_or_else(|| path.join("results.jsonl"), Path::to_owned);
        let output = std::path::absolute(&output).map_err(file_error("find", &output))?;
        // Checked before anything is created: results are never added to those of another run.
        if fs::metadata(&output).is_ok_and(|file| file.is_file()) {
            return Err(FolderError::OutputExists(output));
        }
        if !output.starts_with(std::path::absolute(&path).map_err(file_error("find", &path))?) {
            open_lines(&output, |_| {}).map_err(file_error("write to", &output))?;
        }
        fs::create_dir_all(&path).map_err(file_error("make", &path))?;
        let lock = lock(&path, &run)?;
        let integers = match integers {
            Some(new) => Some(IntegersFile::move_into(&path, new)?),
            None => integers_of(&path, &mut request)?,
        };
        let manifest = Manifest {
            version: if request.work.jobs().proves() {
                WITH_CERTIFICATES
            } else if integers.is_some() {
                WITH_INTEGERS
            } else {
                WITH_REPACKINGS
            },
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
            integers,
            _lock: lock,
        })
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// There is no such folder, it is damaged, the run was cancelled, or another process holds the
    /// folder.
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
        let mut manifest = Manifest::read(&text, run).map_err(|reason| FolderError::Damaged {
            path: file.clone(),
            reason,
        })?;
        if is_cancelled(&path) {
            return Err(FolderError::Cancelled {
                run: run.clone(),
                results: manifest.output,
            });
        }
        let lock = lock(&path, run)?;
        let integers = integers_of(&path, &mut manifest.request)?;
        Ok(Self {
            path,
            manifest,
            integers,
            _lock: lock,
        })
    }

    /// The work of each job.
    #[must_use]
    pub(crate) fn weights(&self) -> Weights {
        match &self.integers {
            Some(integers) if self.manifest.packing.is_by_work() => integers.weights(),
            _ => Weights::equal(self.manifest.request.count()),
        }
    }

    /// Path of a file in the folder.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the folder.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the journal of confirmed units; also returns those units. Call it once: clones share
    /// the journal.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub(crate) fn journal(&self) -> Result<(Journal, RangeSet<u64>), FolderError> {
        let path = self.file("published");
        let (file, confirmed) = journal::read(&path)?;
        Ok((Journal::new(file, path), confirmed))
    }

    /// Opens the file of repackings; also returns the repackings in it.
    ///
    /// # Errors
    /// The file cannot be opened or read, or is damaged.
    pub(crate) fn repackings(&self) -> Result<(Repackings, Vec<Repacking>), FolderError> {
        let (file, path, text) = self.open_text("packing")?;
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

    /// Opens the results for appending, after passing each existing line, with its line end, to
    /// `each`.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub(crate) fn results(&self, each: impl FnMut(&[u8])) -> Result<File, FolderError> {
        let path = &self.manifest.output;
        open_lines(path, each).map_err(file_error("open", path))
    }

    /// Opens a file of the folder for appending; also returns its content as text.
    fn open_text(&self, name: &str) -> Result<(File, PathBuf, String), FolderError> {
        let path = self.file(name);
        let mut bytes = Vec::new();
        let each = |line: &[u8]| bytes.extend_from_slice(line);
        let file = open_lines(&path, each).map_err(file_error("open", &path))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok((file, path, text)),
            Err(error) => Err(FolderError::Damaged {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_summary(&self, summary: &impl Serialize) -> Result<(), FolderError> {
        let path = self.file("summary.json");
        write_whole(&path, summary).map_err(file_error("write", &path))
    }
}

/// The integers of a run's jobs, if the kind has any. Manifests of earlier versions list the
/// integers; these are moved into their own file.
fn integers_of(path: &Path, request: &mut Request) -> Result<Option<IntegersFile>, FolderError> {
    if !request.work.jobs().has_integers() {
        return Ok(None);
    }
    let (count, bits) = (request.count(), request.work.bits());
    let file = match request.integers() {
        Integers::Listed(listed) => IntegersFile::write(path, listed)?,
        Integers::InFile { .. } => IntegersFile::open(path)?,
    };
    if (file.count(), file.bits()) != (count, bits) {
        return Err(FolderError::Damaged {
            path: path.join("integers"),
            reason: format!(
                "it has {} integers of up to {} bits, the run {count} of up to {bits} bits",
                file.count(),
                file.bits()
            ),
        });
    }
    request.set_integers(Integers::InFile { count, bits });
    Ok(Some(file))
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
