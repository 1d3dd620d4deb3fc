//! Starts a session.

use primepool_common::{broker::Endpoint, exit::Exit, shutdown::StopSignals};
use tracing::{Instrument, error_span};

use super::{failure::Failure, prepare::prepare};
use crate::cli::Order;

/// Does what was ordered.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub(crate) async fn run(endpoint: Endpoint, order: Order) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, error.into()))?;
    // Until there is something to report, a signal just ends it.
    tokio::select! {
        prepared = prepare(&endpoint, &order) => {
            let ready = prepared?;
            let span = error_span!("run", run = %ready.folder.manifest.run);
            ready.go(endpoint, &order, signals).instrument(span).await
        }
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}
