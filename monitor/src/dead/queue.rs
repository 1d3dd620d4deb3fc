//! The way to `primepool.dead`. A letter that is taken out is put back unless it is acknowledged: by
//! [`DeadQueue::put_back`], or by the end of the channel.

use lapin::{
    Channel, Connection,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicNackOptions},
};
use primepool_common::{broker::BrokerError, topology::DEAD_QUEUE};

use super::letter::DeadLetter;

/// The queue, on a channel of its own.
#[derive(Debug)]
pub(crate) struct DeadQueue {
    channel: Channel,
}

impl DeadQueue {
    /// Opens it.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: connection.create_channel().await?,
        })
    }

    /// Takes the next letter out.
    ///
    /// # Errors
    /// There is no such queue, or this user may not read it.
    pub(crate) async fn take(&self) -> Result<Option<BasicGetMessage>, BrokerError> {
        let keep = BasicGetOptions { no_ack: false };
        Ok(self.channel.basic_get(DEAD_QUEUE.into(), keep).await?)
    }

    /// Puts all letters back that were taken out and not acknowledged.
    ///
    /// # Errors
    /// The connection is lost; the broker puts them back then.
    pub(crate) async fn put_back(self) -> Result<(), BrokerError> {
        let all = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        // Tag 0 stands for all that were delivered, also if there are none.
        self.channel.basic_nack(0, all).await?;
        // The broker answers after it has put them back.
        self.channel.close(200, "done".into()).await?;
        Ok(())
    }
}

/// Looks at the first `most` letters and leaves them where they are.
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
