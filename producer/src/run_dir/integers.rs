//! The integers of a run, in the file `integers` of its folder: one line for each job, in
//! hexadecimal after `0x`. Integers are read only where they are needed, so memory does not limit
//! their number.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use primepool_common::message::HexInteger;

use super::{FolderError, files::file_error};
use crate::request::{BLOCK, Weights, work_us};

/// File name in the folder of the run.
const INTEGERS: &str = "integers";

/// Size of the read buffer, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Byte offsets of the lines of a file, and the work of the integers in them.
#[derive(Debug, Clone, PartialEq, Default)]
struct Index {
    count: u64,
    /// Bits of the largest integer.
    bits: u32,
    /// Byte offset of each block of [`BLOCK`] lines.
    starts: Vec<u64>,
    /// Microseconds of work in each block.
    work_us: Vec<f64>,
    length: u64,
}

impl Index {
    /// Adds a line of `bytes` bytes with an integer of `bits` bits.
    fn add(&mut self, bytes: usize, bits: u32) {
        if self.count.is_multiple_of(BLOCK) {
            self.starts.push(self.length);
            self.work_us.push(0.0);
        }
        if let Some(block) = self.work_us.last_mut() {
            *block += work_us(bits);
        }
        self.count += 1;
        self.bits = self.bits.max(bits);
        self.length += bytes as u64;
    }
}

/// A file of integers that is not yet in the folder of its run. It is removed on drop unless it was
/// moved there.
#[derive(Debug)]
pub(crate) struct NewIntegers(PathBuf);

impl NewIntegers {
    /// A file beside the folder of the run.
    #[must_use]
    pub(crate) fn beside(folder: &Path) -> Self {
        Self(folder.with_extension(INTEGERS))
    }

    /// Path at which the file is to be written.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for NewIntegers {
    fn drop(&mut self) {
        // After the move into the folder there is no such file.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a file of integers.
#[derive(Debug)]
pub(crate) struct IntegersWriter {
    file: BufWriter<File>,
    path: PathBuf,
    line: Vec<u8>,
    index: Index,
}

impl IntegersWriter {
    /// Creates the file and its parent folders.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self, FolderError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file_error("make", parent))?;
        }
        let file = File::create(path).map_err(file_error("write", path))?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            line: Vec::new(),
            index: Index::default(),
        })
    }

    /// Adds an integer; returns how many the file has now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&mut self, integer: &HexInteger) -> Result<u64, FolderError> {
        self.line.clear();
        integer.push_human(&mut self.line);
        self.line.push(b'\n');
        let written = self.file.write_all(&self.line);
        written.map_err(file_error("write", &self.path))?;
        self.index
            .add(self.line.len(), integer.0.significant_bits());
        Ok(self.index.count)
    }

    /// Flushes the file to disk; returns the number of integers and the bits of the largest.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn finish(self) -> Result<(u64, u32), FolderError> {
        let Self {
            file, path, index, ..
        } = self;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_data())
            .map_err(file_error("write", &path))?;
        Ok((index.count, index.bits))
    }
}

/// The integers of a run; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct IntegersFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    index: Index,
}

impl IntegersFile {
    /// Moves a new file into the folder of its run.
    ///
    /// # Errors
    /// The file cannot be moved or read.
    pub(super) fn move_into(folder: &Path, new: &NewIntegers) -> Result<Self, FolderError> {
        let path = folder.join(INTEGERS);
        fs::rename(&new.0, &path).map_err(file_error("make", &path))?;
        Self::open(folder)
    }

    /// Writes the file from integers that a manifest lists.
    ///
    /// # Errors
    /// The file cannot be written or read.
    pub(super) fn write(folder: &Path, integers: &[HexInteger]) -> Result<Self, FolderError> {
        let mut writer = IntegersWriter::create(&folder.join(INTEGERS))?;
        for integer in integers {
            writer.add(integer)?;
        }
        writer.finish()?;
        Self::open(folder)
    }

    /// Opens the file in a run's folder.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not an integer in the expected format.
    pub(super) fn open(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(INTEGERS);
        let file = File::open(&path).map_err(file_error("open", &path))?;
        let mut lines = BufReader::with_capacity(READ_BYTES, &file);
        let (mut index, mut line) = (Index::default(), Vec::new());
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            if read.map_err(file_error("read", &path))? == 0 {
                break;
            }
            let Some(bits) = bits_of(&line) else {
                return Err(FolderError::Damaged {
                    reason: format!("line {} is not an integer", index.count + 1),
                    path,
                });
            };
            index.add(line.len(), bits);
        }
        Ok(Self(Arc::new(Inner { file, path, index })))
    }

    /// Number of integers.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.index.count
    }

    /// Bits of the largest integer.
    #[must_use]
    pub(crate) fn bits(&self) -> u32 {
        self.0.index.bits
    }

    /// The work of factoring each integer.
    #[must_use]
    pub(crate) fn weights(&self) -> Weights {
        let index = &self.0.index;
        Weights::of_blocks(index.count, &index.work_us, work_us(index.bits))
    }

    /// Reads the integers of a range of jobs.
    ///
    /// # Errors
    /// The file cannot be read, or has changed since it was opened.
    pub(crate) fn read(&self, jobs: Range<u64>) -> Result<Vec<HexInteger>, FolderError> {
        let Inner { file, path, index } = &*self.0;
        let damaged = |reason| FolderError::Damaged {
            path: path.clone(),
            reason,
        };
        let block = jobs.start / BLOCK;
        let Some(&at) = index.starts.get(block as usize) else {
            return Err(damaged(format!("it has no line {}", jobs.start + 1)));
        };
        let mut lines = BufReader::with_capacity(READ_BYTES, FileReaderAt { file, at });
        let (mut all, mut line) = (Vec::new(), Vec::new());
        for job in block * BLOCK..jobs.end {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            read.map_err(file_error("read", path))?;
            if job >= jobs.start {
                let text = str::from_utf8(&line).map_err(|error| error.to_string());
                let integer = text.and_then(HexInteger::parse_human);
                let line = job + 1;
                all.push(integer.map_err(|why| damaged(format!("line {line}: {why}")))?);
            }
        }
        Ok(all)
    }
}

/// Bits of the integer in a line; `None` if the line has another format.
fn bits_of(line: &[u8]) -> Option<u32> {
    let line = line.strip_suffix(b"\n")?;
    let digits = line
        .strip_prefix(b"-")
        .unwrap_or(line)
        .strip_prefix(b"0x")?;
    let (first, rest) = digits.split_first()?;
    let top = char::from(*first).to_digit(16)?;
    Some(u32::BITS - top.leading_zeros() + 4 * u32::try_from(rest.len()).ok()?)
}

/// Reader of a file from byte `at` on; other readers may use the file at the same time.
struct FileReaderAt<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FileReaderAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn integers_are_read_from_any_place() {
        let folder = tempfile::tempdir().unwrap();
        let integers: Vec<HexInteger> = (0..1000_i64)
            .map(|i| HexInteger((i * i * i - 500).into()))
            .collect();
        let file = IntegersFile::write(folder.path(), &integers).unwrap();
        assert_eq!((file.count(), file.bits()), (1000, 30));
        for range in [0..0, 0..1, 5..70, 63..65, 64..128, 900..1000, 0..1000] {
            let part = &integers[range.start as usize..range.end as usize];
            assert_eq!(file.read(range).unwrap(), part);
        }
        assert!(file.read(999..1001).is_err());
        assert!(file.read(5000..5001).is_err());
        let again = IntegersFile::open(folder.path()).unwrap();
        assert_eq!(again.0.index, file.0.index);
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["0x5\n7\n", "0x5", "0x\n", "0xg\n", "\n"] {
            fs::write(folder.path().join(INTEGERS), text).unwrap();
            let error = IntegersFile::open(folder.path()).unwrap_err();
            assert!(matches!(error, FolderError::Damaged { .. }), "{text:?}");
        }
    }

    #[test]
    fn a_new_file_is_moved_or_removed() {
        let runs = tempfile::tempdir().unwrap();
        let folder = runs.path().join("r1");
        let files = || fs::read_dir(runs.path()).unwrap().count();
        let new = NewIntegers::beside(&folder);
        IntegersWriter::create(new.path())
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(files(), 1);
        drop(new);
        assert_eq!(files(), 0);
        let new = NewIntegers::beside(&folder);
        let mut writer = IntegersWriter::create(new.path()).unwrap();
        assert_eq!(writer.add(&HexInteger(91.into())).unwrap(), 1);
        assert_eq!(writer.finish().unwrap(), (1, 7));
        fs::create_dir(&folder).unwrap();
        let file = IntegersFile::move_into(&folder, &new).unwrap();
        drop(new);
        assert_eq!(file.read(0..1).unwrap(), [HexInteger(91.into())]);
    }
}
