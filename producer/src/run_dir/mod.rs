//! A run's folder: what was asked for, what the broker has confirmed, what has come back.
//!
//! | file | what it holds |
//! |---|---|
//! | `manifest.json` | what was asked for and how it is packed: every unit can be made again from it |
//! | `integers` | the integers of its jobs, where they have any; see [`integers`] |
//! | `published` | the numbers of the units that the broker has confirmed, a line each, or ranges such as `0..12`; with a `-` when one is to be done again. The last word counts |
//! | `packing` | how units were packed anew while the run went on, a line each; the sizes at its start are in the manifest |
//! | `results.jsonl` | a line for each job that has ended (`--output` puts it elsewhere) |
//! | `metrics.lp` | the run's metrics, in InfluxDB's line protocol |
//! | `summary.json` | the figures of the last session |
//! | `factor-<job>.jsonl` | what is known of an integer that the whole pool is at work on, see [`crate::factoring`]; gone when it has its result |
//! | `groups` | how many groups of units were made for such integers |
//! | `cancelled` | there once the run was cancelled; empty |
//! | `lock` | held by the producer that works on the run |

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
