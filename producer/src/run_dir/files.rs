//! Files of lines, and files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use serde::Serialize;

use super::FolderError;

/// Turns the system's error with a file into one that names it.
pub(crate) fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |error| FolderError::File { what, path, error }
}

/// Opens a file of lines for appending and hands out the lines that are in it. A last line without its
/// end, which a killed process left, is cut off.
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

/// Hands out the lines of a file, each with its end, and leaves it ready for more of them: a last line without its end is cut off.
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

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(crate) fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    replace(path, &text)
}

/// The same with this text.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
