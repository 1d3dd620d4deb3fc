//! Streams: each reader gets every message, also those from before it came.

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

/// Messages on their way at once.
const PREFETCH: u16 = 100;

/// A reader of a stream of `T`s, on a channel of its own, so that a user who may not read the stream
/// can go on without it.
#[derive(Debug)]
pub struct StreamReader<T> {
    messages: Consumer,
    decode: fn(&[u8]) -> Result<T, DecodeError>,
    /// A channel ends when its handle is dropped.
    _channel: Channel,
}

impl<T> StreamReader<T> {
    /// Reads `stream` from `offset` on: `first`, `next`, or the age of the oldest message, such as
    /// `10s`.
    ///
    /// # Errors
    /// There is no such stream, or this user may not read it.
    pub(crate) async fn open_stream(
        connection: &Connection,
        stream: &str,
        offset: &str,
        decode: fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        // Streams are read with acknowledgements only, and within a limit.
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

    /// The next message, where there is a reader; never where there is none, or none any more. Cancel
    /// safe.
    pub async fn next_of(reader: &mut Option<Self>) -> T {
        loop {
            match reader {
                Some(open) => match open.next().await {
                    Some(message) => return message,
                    // The end of the connection is told by those who work with it.
                    None => *reader = None,
                },
                None => pending().await,
            }
        }
    }

    /// The next message; nothing any more when the subscription has ended. Cancel safe.
    async fn next(&mut self) -> Option<T> {
        while let Some(delivery) = self.messages.next().await {
            let delivery = delivery
                .inspect_err(|error| debug!(%error, "cannot read a stream"))
                .ok()?;
            let message = (self.decode)(&delivery.data);
            // Credit for the next ones: a stream keeps its messages. Not waited for, or a message
            // could be lost when the caller drops this future.
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
