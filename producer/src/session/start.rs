//! Starts a session.

use primepool_common::{broker::Endpoint, exit::Exit, shutdown::StopSignals};
use tracing::{Instrument, error_span};

use super::{failure::Failure, prepare::prepare};
use crate::cli::Order;

/// Executes an order: prepares the run and works on it until its end.
///
/// # Errors
/// Returns a message for the user, and the exit status that belongs to it.
pub(crate) async fn run(endpoint: Endpoint, order: Order) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, error.into()))?;
    // During the preparation there is nothing to report, so a signal just ends the process.
    tokio::select! {
        prepared = prepare(&endpoint, &order) => {
            let ready = prepared?;
            let span = error_span!("run", run = %ready.folder.manifest.run);
            ready.go(endpoint, &order, signals).instrument(span).await
        }
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}
