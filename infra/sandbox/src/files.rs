//! Files and folders: the root of the repository, private files and folders, and the text of a
//! file.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::error::{Result, file_error};

/// The root folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).unwrap_or(this).to_owned()
}

/// Creates a folder that only its owner can enter (mode 700).
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(file_error("make", dir))
}

/// Writes a file that only its owner can read (mode 600). The write is atomic: a reader finds the
/// old text or the new one, never a part.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<()> {
    let new = path.with_added_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&new)
        .and_then(|mut file| file.write_all(text))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(file_error("write", path))
}

/// The text of a file, trimmed.
pub(crate) fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    Ok(text.trim().to_owned())
}
