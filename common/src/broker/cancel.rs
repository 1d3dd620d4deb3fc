//! Cancelling a run.

use lapin::options::QueueDeleteOptions;

use super::{BrokerError, Endpoint, open_publisher, publish_control, queue_state};
use crate::{
    message::{Control, RunId},
    topology,
};

/// Tells all consumers and producers that a run is cancelled, and removes the queue of its answers
/// unless a producer reads it. Also says whether there was such a queue. `name` is what the broker's
/// management pages show for the connection.
///
/// # Errors
/// The broker cannot be reached, refuses, or does not confirm.
pub async fn cancel_run(endpoint: &Endpoint, run: &RunId, name: &str) -> Result<bool, BrokerError> {
    let (connection, channel) = open_publisher(endpoint, name).await?;
    let queue = topology::results_queue(run);
    // Before anything is published: a producer that hears of it removes its queue at once.
    let is_known = queue_state(&connection, &queue).await.is_ok();
    publish_control(&channel, &Control::cancel(run.clone())).await?;
    if is_known {
        let unless_read = QueueDeleteOptions {
            if_unused: true,
            ..QueueDeleteOptions::default()
        };
        // Best effort: a producer that reads the queue deletes it itself, and the queue of a run
        // without a producer expires where this user may not delete it.
        let _ = channel.queue_delete(queue.into(), unless_read).await;
    }
    let _ = connection.close(200, "cancelled".into()).await;
    Ok(is_known)
}
