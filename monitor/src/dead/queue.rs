//! Access to `primepool.dead`. A letter that is taken out and not acknowledged returns to the queue
//! with [`DeadQueue::put_back`], or when the channel ends.

use lapin::{
    Channel, Connection,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicNackOptions},
};
use primepool_common::{broker::BrokerError, topology::DEAD_QUEUE};

use super::letter::DeadLetter;

/// The queue `primepool.dead`, on a channel of its own.
#[derive(Debug)]
pub(crate) struct DeadQueue {
    channel: Channel,
}

impl DeadQueue {
    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: connection.create_channel().await?,
        })
    }

    /// Takes the next letter out; `None` if the queue is empty.
    ///
    /// # Errors
    /// There is no such queue, or this user may not read it.
    pub(crate) async fn take(&self) -> Result<Option<BasicGetMessage>, BrokerError> {
        let keep = BasicGetOptions { no_ack: false };
        Ok(self.channel.basic_get(DEAD_QUEUE.into(), keep).await?)
    }

    /// Requeues all letters that were taken out and not acknowledged.
    ///
    /// # Errors
    /// The connection is lost; the broker then requeues the letters itself.
    pub(crate) async fn put_back(self) -> Result<(), BrokerError> {
        let all = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        // Delivery tag 0 means all unacknowledged deliveries, and is valid even if there are none.
        self.channel.basic_nack(0, all).await?;
        // The broker confirms the close after it has requeued them.
        self.channel.close(200, "done".into()).await?;
        Ok(())
    }
}

/// Reads the first `most` letters and requeues them.
///
/// # Errors
/// There is no such queue, this user may not read it, or the connection is lost.
pub(crate) async fn look_at_letters(
    connection: &Connection,
    most: usize,
) -> Result<Vec<DeadLetter>, BrokerError> {
    let queue = DeadQueue::open(connection).await?;
    let mut letters = Vec::new();
    while letters.len() < most {
        let Some(message) = queue.take().await? else {
            break;
        };
        let delivery = &message.delivery;
        letters.push(DeadLetter::of(&delivery.properties, &delivery.data));
    }
    queue.put_back().await?;
    Ok(letters)
}
