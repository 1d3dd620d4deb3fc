//! Starts a session.

use primepool_common::{broker::Endpoint, exit::Exit, shutdown::StopSignals};
use tracing::{Instrument, error_span};

use super::{failure::Failure, prepare::prepare};
use crate::cli::RunOptions;

/// Prepares a run and works on it until its end.
///
/// # Errors
/// Returns a message for the user, and the exit status that belongs to it.
pub(crate) async fn run(endpoint: Endpoint, options: RunOptions) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, error.into()))?;
    // During the preparation there is nothing to report, so a signal just ends the process.
    tokio::select! {
        result = prepare(&endpoint, &options) => {
            let prepared = result?;
            let span = error_span!("run", run = %prepared.folder.manifest.run);
            prepared.run(endpoint, &options, signals).instrument(span).await
        }
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}
