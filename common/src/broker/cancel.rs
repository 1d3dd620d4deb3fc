//! Cancellation of a run.

use lapin::options::QueueDeleteOptions;

use super::{BrokerError, Endpoint, open_publisher, publish_control, queue_state};
use crate::{
    message::{Control, RunId},
    topology,
};

/// Tells all consumers and producers that a run is cancelled, and deletes the queue of its answers
/// unless a producer reads it. Returns whether that queue existed. `name` is the connection name
/// that the broker's management pages show.
///
/// # Errors
/// The broker cannot be reached, refuses the message, or does not confirm it.
pub async fn cancel_run(endpoint: &Endpoint, run: &RunId, name: &str) -> Result<bool, BrokerError> {
    let (connection, channel) = open_publisher(endpoint, name).await?;
    let queue = topology::results_queue(run);
    // Checked before anything is published: a producer that receives the message deletes its queue
    // at once.
    let is_known = queue_state(&connection, &queue).await.is_ok();
    publish_control(&channel, &Control::cancel(run.clone())).await?;
    if is_known {
        let unless_read = QueueDeleteOptions {
            if_unused: true,
            ..QueueDeleteOptions::default()
        };
        // Best effort: a producer that reads the queue deletes it itself. If this user lacks the
        // permission, the queue of a run without a producer expires.
        let _ = channel.queue_delete(queue.into(), unless_read).await;
    }
    let _ = connection.close(200, "cancelled".into()).await;
    Ok(is_known)
}
