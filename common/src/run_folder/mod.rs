//! Folders of runs as seen by programs that do not work on them: which runs exist, and their
//! progress. The producer that works on a run has its own view of the folder.

mod cancelled;
mod find;
mod progress;

pub use cancelled::{MarkError, is_cancelled, mark_cancelled};
pub use find::{FoundRun, find_run};
pub use progress::{RunProgress, RunState, list_runs};
