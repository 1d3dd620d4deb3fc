//! The figures, tables and words that an experiment's records give.

use std::path::{Path, PathBuf};

/// What was written.
#[derive(Debug)]
pub struct Report {
    /// The page.
    pub html: PathBuf,
    /// The summary.
    pub words: Vec<String>,
}

/// Writes it.
///
/// # Errors
/// None yet.
pub fn report(dir: &Path) -> anyhow::Result<Report> {
    Ok(Report {
        html: dir.join("report/report.html"),
        words: vec![],
    })
}
