//! Starts a session.

use primepool_common::{broker::Endpoint, exit::Exit, shutdown::StopSignals};

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
        prepared = prepare(&endpoint, &order) => prepared?.go(endpoint, &order, signals).await,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}
