//! Line-based files, and files that are replaced atomically.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use serde::Serialize;

use super::FolderError;

/// Converts an I/O error into an error that names the operation and the file.
pub(crate) fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |error| FolderError::File { what, path, error }
}

/// Opens a line-based file for appending, after passing each existing line to `each`. A last line
/// without a line end, as a killed process may leave it, is cut off.
pub(super) fn open_lines(path: &Path, each: impl FnMut(&[u8])) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    if !file.metadata()?.is_file() {
        // A device or a pipe: nothing to read back.
        return Ok(file);
    }
    read_lines(&mut file, each)?;
    Ok(file)
}

/// Passes each line of a file to `each`, with its line end, and leaves the file position at the
/// end. A last line without a line end is cut off.
pub(crate) fn read_lines(file: &mut File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut lines = BufReader::new(&mut *file);
    let (mut line, mut whole) = (Vec::new(), 0);
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        each(&line);
        whole += line.len() as u64;
    }
    if !line.is_empty() {
        file.set_len(whole)?;
    }
    file.seek(SeekFrom::End(0))?;
    Ok(())
}

/// Writes a JSON file atomically: after a crash or a power cut the file is either complete or
/// unchanged.
pub(crate) fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    replace(path, &text)
}

/// Replaces the content of a file atomically.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
