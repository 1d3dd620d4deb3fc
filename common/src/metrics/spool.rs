//! Batches of lines on disk, for times when the server does not accept them.
//!
//! The folder that the caller names contains one folder per process, `p0`, `p1`, …; a process owns
//! its folder by a lock on the file `lock` in it. Batches ("segments") are files of line protocol,
//! named by a number that increases with time. A process that takes a folder continues with the
//! segments in it, and moves the segments of unlocked folders into its own.
//!
//! Files are not synced: a segment survives the end of the process, but perhaps not a crash of the
//! machine.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::server::line_count;

/// A segment of an earlier process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// The spool folder of this process.
#[derive(Debug)]
pub(super) struct Spool {
    root: PathBuf,
    dir: PathBuf,
    /// The lock of the folder; `None` without a folder.
    lock: Option<File>,
}

impl Spool {
    /// A spool without a folder: it keeps nothing on disk.
    pub(super) fn none() -> Self {
        Self {
            root: PathBuf::new(),
            dir: PathBuf::new(),
            lock: None,
        }
    }

    /// Whether this spool has a folder.
    pub(super) fn is_there(&self) -> bool {
        self.lock.is_some()
    }

    /// Takes a folder below `root`. Missing folders are created.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        for number in 0..1000 {
            let dir = root.join(format!("p{number}"));
            if let Some(lock) = take(&dir, true)? {
                return Ok(Self {
                    root: root.to_owned(),
                    dir,
                    lock: Some(lock),
                });
            }
        }
        Err(io::Error::other("a thousand processes use it"))
    }

    /// The segments left behind by this and other processes, oldest first.
    pub(super) fn find(&self) -> io::Result<Vec<Found>> {
        if !self.is_there() {
            return Ok(Vec::new());
        }
        self.adopt();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(id) = segment_id(&path) else {
                if path.extension().is_some_and(|extension| extension == "new") {
                    let _ = fs::remove_file(&path); // from an interrupted rewrite
                }
                continue;
            };
            let lines = self.read(id)?;
            found.push(Found {
                id,
                lines: line_count(&lines),
                bytes: lines.len() as u64,
            });
        }
        found.sort_by_key(|found| found.id);
        Ok(found)
    }

    /// Moves the segments of ended processes into this folder. Segments that cannot be moved stay
    /// for another process.
    fn adopt(&self) {
        let Ok(folders) = fs::read_dir(&self.root) else {
            return;
        };
        for folder in folders.flatten().map(|entry| entry.path()) {
            if folder == self.dir || !is_of_process(&folder) {
                continue;
            }
            let Ok(Some(lock)) = take(&folder, false) else {
                continue;
            };
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                let Some(mut id) = segment_id(&path) else {
                    continue;
                };
                while self.path(id).exists() {
                    id += 1;
                }
                let _ = fs::rename(&path, self.path(id));
            }
            remove_if_empty(&folder);
            drop(lock);
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:020}.lp"))
    }

    /// Appends whole lines to a segment, which is created if it does not exist.
    pub(super) fn append(&self, id: u64, lines: &[u8]) -> io::Result<()> {
        if !self.is_there() {
            return Err(io::Error::other("there is no spool"));
        }
        let path = self.path(id);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let before = file.metadata()?.len();
        file.write_all(lines).inspect_err(|_| {
            // The disk is full: remove the incomplete line, and release the space.
            let _ = file.set_len(before);
            if before == 0 {
                let _ = fs::remove_file(&path);
            }
        })
    }

    /// Replaces the lines of a segment.
    pub(super) fn rewrite(&self, id: u64, lines: &[u8]) -> io::Result<()> {
        let new = self.path(id).with_extension("new");
        fs::write(&new, lines)?;
        fs::rename(&new, self.path(id))
    }

    /// The complete lines of a segment. The last line may be incomplete if a process was killed.
    pub(super) fn read(&self, id: u64) -> io::Result<Vec<u8>> {
        let mut lines = fs::read(self.path(id))?;
        let end = lines.iter().rposition(|byte| *byte == b'\n');
        lines.truncate(end.map_or(0, |end| end + 1));
        Ok(lines)
    }

    pub(super) fn remove(&self, id: u64) -> io::Result<()> {
        fs::remove_file(self.path(id))
    }

    /// The folder with the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let Some(lock) = &self.lock else { return };
        remove_if_empty(&self.dir);
        let _ = fs::remove_dir(&self.root); // fails if it is not empty
        let _ = lock.unlock();
    }
}

/// Locks the folder of a process; `None` if another process holds the lock.
fn take(dir: &Path, make: bool) -> io::Result<Option<File>> {
    let path = dir.join("lock");
    for _ in 0..100 {
        if make {
            fs::create_dir_all(dir)?;
        }
        let file = match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => file,
            // The process that held the lock is removing the folder right now.
            Err(error) if make && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // A lock on a file that was removed after it was opened is worthless.
        let (ours, there) = (file.metadata()?, fs::metadata(&path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Removes a folder that contains nothing but the lock file, which the caller holds.
fn remove_if_empty(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    if entries.flatten().all(|entry| entry.file_name() == "lock") {
        let _ = fs::remove_file(dir.join("lock"));
        let _ = fs::remove_dir(dir);
    }
}

fn is_of_process(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix('p'));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn segment_id(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".lp")?.parse().ok()
}
