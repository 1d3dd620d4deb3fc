//! Errors that end a session, and their exit status.

use primepool_common::{broker::BrokerError, exit::Exit};

use crate::run_dir::FolderError;

/// An error for the user, and the exit status that belongs to it.
pub(super) type Failure = (Exit, anyhow::Error);

pub(super) fn broker_failure(error: BrokerError) -> Failure {
    (Exit::Unreachable, error.into())
}

pub(super) fn folder_failure(error: FolderError) -> Failure {
    let exit = match error {
        FolderError::File { .. } | FolderError::Damaged { .. } => Exit::Incomplete,
        FolderError::Unknown { .. }
        | FolderError::Busy(_)
        | FolderError::Cancelled { .. }
        | FolderError::OutputExists(_) => Exit::Usage,
    };
    (exit, error.into())
}
