//! The stream of messages to everybody: each reader gets all of them, those from before it came too.

use std::{future::pending, sync::Arc};

use futures_util::StreamExt;
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tracing::{debug, warn};

use super::{BrokerError, ConfirmChannel, MANDATORY, Message, properties};
use crate::{
    clock::unix_time,
    message::Control,
    topology::{CONTROL_EXCHANGE, CONTROL_STREAM},
};

/// Messages on their way at once.
const PREFETCH: u16 = 100;

/// A reader of the stream, on a channel of its own, so that whoever may not read it can go on without.
#[derive(Debug)]
pub struct ControlReader {
    messages: Consumer,
    /// A channel ends when its handle is dropped.
    _channel: Channel,
}

/// A message to everybody. `options` say whether a queue has to take it.
#[must_use]
pub fn control_message(control: &Control, options: BasicPublishOptions) -> Message {
    let run = control.run();
    Message {
        exchange: CONTROL_EXCHANGE,
        routing_key: run.as_str().to_owned(),
        options,
        properties: properties("control", run, unix_time().as_secs()),
        // Plain data: it always has a JSON form.
        body: Arc::new(serde_json::to_vec(control).unwrap_or_default()),
    }
}

/// Tells everybody, and waits until the broker has it.
///
/// # Errors
/// The channel is closed, or no queue takes the message.
pub async fn publish_control(channel: &Channel, control: &Control) -> Result<(), BrokerError> {
    let message = control_message(control, MANDATORY);
    channel.send(message).await?.await
}

impl ControlReader {
    /// Reads from the oldest message on that the broker has kept: seven days.
    ///
    /// # Errors
    /// There is no such stream, or this user may not read it.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        // Streams are read with acknowledgements only, and within a limit.
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let mut arguments = FieldTable::default();
        let first = AMQPValue::LongString("first".into());
        arguments.insert("x-stream-offset".into(), first);
        let messages = channel
            .basic_consume(
                CONTROL_STREAM.into(),
                "control".into(),
                BasicConsumeOptions::default(),
                arguments,
            )
            .await?;
        Ok(Self {
            messages,
            _channel: channel,
        })
    }

    /// The same for those who can do without: says so, and gives nothing.
    pub async fn open_or_warn(connection: &Connection) -> Option<Self> {
        Self::open(connection)
            .await
            .inspect_err(|error| {
                warn!(
                    %error,
                    "`producer cancel` will have no effect here: set the broker up with \
                     infra/rabbitmq of this version"
                );
            })
            .ok()
    }

    /// The next message, where there is a reader; never where there is none, or none any more. Cancel safe.
    pub async fn next_of(reader: &mut Option<Self>) -> Control {
        loop {
            match reader {
                Some(open) => match open.next().await {
                    Some(control) => return control,
                    // The end of the connection is told by those who work with it.
                    None => *reader = None,
                },
                None => pending().await,
            }
        }
    }

    /// The next message; nothing any more when the subscription has ended. Cancel safe.
    async fn next(&mut self) -> Option<Control> {
        while let Some(delivery) = self.messages.next().await {
            let delivery = delivery
                .inspect_err(|error| debug!(%error, "cannot read a control message"))
                .ok()?;
            let control = Control::decode(&delivery.data);
            // Credit for the next ones: a stream keeps its messages. Not waited for, or a message could be lost with a
            // caller who has something better to do.
            tokio::spawn(async move {
                let _ = delivery.acker.ack(BasicAckOptions::default()).await;
            });
            match control {
                Ok(control) => return Some(control),
                Err(error) => debug!(%error, "cannot read a control message"),
            }
        }
        None
    }
}
