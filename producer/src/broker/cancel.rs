//! `producer cancel`: tells everybody that a run is not wanted any more.

use std::path::Path;

use anyhow::anyhow;
use lapin::options::QueueDeleteOptions;
use primepool_common::{
    broker::{BrokerError, Endpoint, open_publisher, publish_control, queue_state},
    exit::Exit,
    message::{Control, RunId},
    output::print,
    topology,
};

use crate::run_dir::mark_cancelled;

/// Cancels a run: whoever works on it stops within about a second, units that wait are dropped as consumers come to them, a
/// producer that waits for it ends. It need not be a run of this machine.
///
/// # Errors
/// The broker cannot be reached, refuses, or does not confirm; or the run's folder cannot be written.
pub(crate) async fn cancel(
    endpoint: &Endpoint,
    run: &RunId,
    runs: &Path,
) -> Result<Exit, (Exit, anyhow::Error)> {
    let known = tell(endpoint, run)
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

/// Publishes the message and removes the queue of the answers, unless somebody reads it. Also says whether there was one.
async fn tell(endpoint: &Endpoint, run: &RunId) -> Result<bool, BrokerError> {
    let name = format!("primepool producer {run} (cancelling)");
    let (connection, channel) = open_publisher(endpoint, &name).await?;
    let queue = topology::results_queue(run);
    // Before anybody is told: a producer that hears it removes its queue at once.
    let known = queue_state(&connection, &queue).await.is_ok();
    let control = Control::cancel(run.clone());
    publish_control(&channel, &control).await?;
    if known {
        let unless_read = QueueDeleteOptions {
            if_unused: true,
            ..QueueDeleteOptions::default()
        };
        // A producer that reads it deletes it itself.
        let _ = channel.queue_delete(queue.into(), unless_read).await;
    }
    let _ = connection.close(200, "cancelled".into()).await;
    Ok(known)
}
