//! Starts a session, and says what its failures mean.

use primepool_common::{
    broker::{BrokerError, Endpoint},
    exit::Exit,
    shutdown::StopSignals,
};

use super::prepare::prepare;
use crate::{cli::Order, run_dir::FolderError};

/// What went wrong, and the exit status that says so.
pub(super) type Failure = (Exit, anyhow::Error);

/// Does what was ordered.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub(crate) async fn run(endpoint: Endpoint, order: Order) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, error.into()))?;
    // Until there is something to report, a signal just ends it.
    tokio::select! {
        prepared = prepare(&endpoint, &order) => prepared?.go(endpoint, &order, signals).await,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}

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
