//! A run's folder: the request, the confirmed units and the results.
//!
//! | file | content |
//! |---|---|
//! | `manifest.json` | the request and its packing: every unit can be rebuilt from it |
//! | `integers` | the integers of the jobs, if they need any; see `integers.rs` |
//! | `published` | journal of confirmed units, see below |
//! | `packing` | one line for each repacking of units during the run |
//! | `results.jsonl` | one line for each job that has ended (`--output` changes the path) |
//! | `metrics.lp` | the run's metrics, in InfluxDB's line protocol |
//! | `summary.json` | the figures of the last session |
//! | `factor-<job>.jsonl` | checkpoint of a job that the pool factors, see `factoring` |
//! | `groups` | number of the last batch of units for such jobs |
//! | `cancelled` | empty; exists once the run was cancelled |
//! | `lock` | locked by the producer that works on the run |
//!
//! Each line of `published` is the number of a confirmed unit or a range such as `0..12`; after a
//! `-`, these units must be done again. The last line about a unit counts.

mod error;
mod files;
mod folder;
mod integers;
mod job_set;
mod journal;
mod manifest;
mod repacking;
mod row;
#[cfg(test)]
mod tests;

pub(crate) use error::FolderError;
pub(crate) use files::{file_error, read_lines, write_whole};
pub(crate) use folder::Folder;
pub(crate) use integers::{IntegersFile, IntegersWriter, NewIntegers};
pub use job_set::JobSet;
pub use journal::note_line;
pub(crate) use journal::{Journal, Publication};
pub use manifest::Manifest;
pub(crate) use repacking::{Repacking, Repackings};
pub use row::{EndedJobs, Factored, Origin, Proof, Row, RowOutcome, factorization, write_lines};
pub(crate) use row::{LineWriter, job_of};
