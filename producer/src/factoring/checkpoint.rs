//! The file that has the entries of a campaign, one on each line.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use primepool_common::text::json_error;

use super::entry::Entry;
use crate::run_dir::{FolderError, file_error, read_lines};

/// The checkpoint of one job.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: File,
    path: PathBuf,
    /// Lines that are not yet written.
    text: Vec<u8>,
}

impl Checkpoint {
    /// Path of a job's checkpoint in the folder of its run.
    fn path(folder: &Path, job: u64) -> PathBuf {
        folder.join(format!("factor-{job}.jsonl"))
    }

    /// Creates an empty checkpoint.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(folder: &Path, job: u64) -> Result<Self, FolderError> {
        let path = Self::path(folder, job);
        let file = File::create(&path).map_err(file_error("make", &path))?;
        Ok(Self {
            file,
            path,
            text: Vec::new(),
        })
    }

    /// The jobs that have a checkpoint in the folder of their run.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn jobs(folder: &Path) -> Result<Vec<u64>, FolderError> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(folder).map_err(file_error("read", folder))? {
            let name = entry.map_err(file_error("read", folder))?.file_name();
            let job = name
                .to_str()
                .and_then(|name| name.strip_prefix("factor-")?.strip_suffix(".jsonl"));
            jobs.extend(job.and_then(|job| job.parse::<u64>().ok()));
        }
        Ok(jobs)
    }

    /// Opens a job's checkpoint after passing its entries to `each`, oldest first. A last line
    /// without a line end, as a killed process may leave it, is cut off.
    ///
    /// # Errors
    /// The file cannot be opened or read, a line is not a valid entry, or `each` rejects one.
    pub(super) fn open(
        folder: &Path,
        job: u64,
        mut each: impl FnMut(Entry) -> Result<(), String>,
    ) -> Result<Self, FolderError> {
        let path = Self::path(folder, job);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let mut file = opened.map_err(file_error("open", &path))?;
        let (mut number, mut damage) = (0_u64, None);
        let read = read_lines(&mut file, |line| {
            number += 1;
            if damage.is_none() {
                let entry = serde_json::from_slice(line).map_err(|error| json_error(&error));
                damage = entry.and_then(&mut each).err();
                damage = damage
                    .take()
                    .map(|reason| format!("line {number}: {reason}"));
            }
        });
        read.map_err(file_error("read", &path))?;
        if let Some(reason) = damage {
            return Err(FolderError::Damaged { path, reason });
        }
        Ok(Self {
            file,
            path,
            text: Vec::new(),
        })
    }

    /// Adds an entry, which is on disk after the next [`Checkpoint::save`].
    pub(super) fn add(&mut self, entry: &Entry) {
        // Serialising plain data cannot fail.
        let _ = serde_json::to_writer(&mut self.text, entry);
        self.text.push(b'\n');
    }

    /// Writes and syncs all new lines.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&mut self) -> Result<(), FolderError> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(&self.text)
            .and_then(|()| self.file.sync_data())
            .map_err(file_error("write", &self.path))?;
        self.text.clear();
        Ok(())
    }

    /// Removes the file, once the job has its result.
    pub(super) fn remove(self) {
        // If this fails, later sessions ignore the file, since the job is done.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{HexInteger, Packet};

    use super::{super::entry::Stage, *};

    #[test]
    fn lines_of_earlier_versions_are_read() {
        for (line, entry) in [
            (
                r#"{"begun":{"group":3,"of":"5b","stage":{"curves":{"digits":20}}}}"#,
                Entry::Begun {
                    batch: 3,
                    of: HexInteger(91.into()),
                    stage: Stage::Curves { digits: 20 },
                    us: 0,
                },
            ),
            (
                r#"{"left":{"of":"5b","reason":"no memory"}}"#,
                Entry::Left {
                    of: HexInteger(91.into()),
                    reason: "no memory".to_owned(),
                    us: 0,
                },
            ),
            (
                r#"{"issued":{"units":2,"upto":7}}"#,
                Entry::Issued { units: 2, upto: 7 },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Entry>(line).unwrap(), entry);
            assert_eq!(serde_json::to_string(&entry).unwrap(), line);
        }
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            let mut entries = Vec::new();
            let opened = Checkpoint::open(folder.path(), 3, |entry| {
                entries.push(entry);
                Ok(())
            });
            opened.map(|_| entries)
        };
        assert!(read().is_err());
        assert_eq!(Checkpoint::jobs(folder.path()).unwrap(), [0; 0]);
        let mut checkpoint = Checkpoint::create(folder.path(), 3).unwrap();
        let entries = [
            Entry::Begun {
                batch: 2,
                of: HexInteger(91.into()),
                stage: Stage::Curves { digits: 20 },
                us: 0,
            },
            Entry::Relations {
                unit: 7,
                families: 3,
                us: 5,
                packet: Packet(vec![1, 2, 3]),
            },
        ];
        for entry in &entries {
            checkpoint.add(entry);
        }
        checkpoint.save().unwrap();
        assert_eq!(read().unwrap(), entries.to_vec());
        assert_eq!(Checkpoint::jobs(folder.path()).unwrap(), [3]);
        // After a kill in the middle of a line, later lines are readable.
        checkpoint.file.write_all(b"{\"curves\":").unwrap();
        let mut again = Checkpoint::open(folder.path(), 3, |_| Ok(())).unwrap();
        again.add(&entries[0]);
        again.save().unwrap();
        assert_eq!(read().unwrap().len(), 3);
        let refused = Checkpoint::open(folder.path(), 3, |_| Err("no".to_owned()));
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("factor-3.jsonl") && error.contains("line 1: no"),
            "{error}"
        );
        again.remove();
        assert!(read().is_err());
    }
}
