//! Readers of RabbitMQ streams. Each reader gets every message, including those published before it
//! subscribed.

use std::future::pending;

use futures_util::StreamExt;
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tracing::debug;

use super::BrokerError;
use crate::message::DecodeError;

/// Most unacknowledged messages per reader.
const PREFETCH: u16 = 100;

/// A reader of a stream of `T`s. It has its own channel, so that a user without read permission for
/// the stream can continue without it.
#[derive(Debug)]
pub struct StreamReader<T> {
    messages: Consumer,
    decode: fn(&[u8]) -> Result<T, DecodeError>,
    /// Kept because a channel closes when its handle is dropped.
    _channel: Channel,
}

impl<T> StreamReader<T> {
    /// Subscribes to `stream` from `offset` on: `first`, `next`, or the age of the oldest message,
    /// such as `10s`.
    ///
    /// # Errors
    /// The stream does not exist, or this user may not read it.
    pub(crate) async fn open_stream(
        connection: &Connection,
        stream: &str,
        offset: &str,
        decode: fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        // The broker requires acknowledgements and a prefetch limit for streams.
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let mut arguments = FieldTable::default();
        let offset = AMQPValue::LongString(offset.into());
        arguments.insert("x-stream-offset".into(), offset);
        let messages = channel
            .basic_consume(
                stream.into(),
                "stream".into(),
                BasicConsumeOptions::default(),
                arguments,
            )
            .await?;
        Ok(Self {
            messages,
            decode,
            _channel: channel,
        })
    }

    /// Waits for the next message. Without a reader, or after its subscription has ended, it waits
    /// for ever. Cancel safe.
    pub async fn next_of(reader: &mut Option<Self>) -> T {
        loop {
            match reader {
                Some(open) => match open.next().await {
                    Some(message) => return message,
                    // The loss of the connection is reported by the code that works with it.
                    None => *reader = None,
                },
                None => pending().await,
            }
        }
    }

    /// The next message; `None` when the subscription has ended. Cancel safe.
    async fn next(&mut self) -> Option<T> {
        while let Some(delivery) = self.messages.next().await {
            let delivery = delivery
                .inspect_err(|error| debug!(%error, "cannot read a stream"))
                .ok()?;
            let message = (self.decode)(&delivery.data);
            // The acknowledgement gives credit for more messages; the stream keeps this one. It is
            // not awaited here: if the caller dropped this future meanwhile, the message would be
            // lost.
            tokio::spawn(async move {
                let _ = delivery.acker.ack(BasicAckOptions::default()).await;
            });
            match message {
                Ok(message) => return Some(message),
                Err(error) => debug!(%error, "cannot read a message of a stream"),
            }
        }
        None
    }
}
