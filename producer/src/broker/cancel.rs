//! `producer cancel`: cancels a run in the whole pool.

use std::path::Path;

use anyhow::anyhow;
use primepool_common::{
    broker::{Endpoint, cancel_run},
    exit::Exit,
    message::RunId,
    output::print,
    run_folder::mark_cancelled,
};

/// Cancels a run: workers stop within about a second, consumers drop its queued units as they
/// receive them, and a producer that waits for the run ends. The run may belong to another machine.
///
/// # Errors
/// The broker cannot be reached, refuses, or does not confirm; or the run's folder cannot be
/// written.
pub(crate) async fn cancel(
    endpoint: &Endpoint,
    run: &RunId,
    runs: &Path,
) -> Result<Exit, (Exit, anyhow::Error)> {
    let name = format!("primepool producer {run} (cancelling)");
    let known = cancel_run(endpoint, run, &name)
        .await
        .map_err(|error| (Exit::Unreachable, anyhow!(error)))?;
    let is_here = mark_cancelled(runs, run).map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    let news = if known || is_here {
        format!("run {run} is cancelled: consumers drop its units")
    } else {
        format!(
            "run {run} is neither on this broker nor in {}: it was over, or never there. Units of it that turn up are dropped",
            runs.display()
        )
    };
    print(&news).map_err(|error| (Exit::Incomplete, anyhow!(error).context(news)))?;
    Ok(Exit::Ok)
}
