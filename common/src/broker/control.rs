//! The stream of control messages to all consumers and producers.

use std::sync::Arc;

use lapin::{Channel, Connection, options::BasicPublishOptions};
use tracing::warn;

use super::{BrokerError, ConfirmChannel, MANDATORY, Message, StreamReader, properties};
use crate::{
    clock::unix_time,
    message::Control,
    topology::{CONTROL_EXCHANGE, CONTROL_STREAM},
};

/// Reads the stream of control messages.
pub type ControlReader = StreamReader<Control>;

/// Builds a control message. With [`MANDATORY`] in `options`, a queue must take it.
#[must_use]
pub fn control_message(control: &Control, options: BasicPublishOptions) -> Message {
    let run = control.run();
    Message {
        exchange: CONTROL_EXCHANGE,
        routing_key: run.as_str().to_owned(),
        options,
        properties: properties("control", run, unix_time().as_secs()),
        // Serialising plain data cannot fail.
        body: Arc::new(serde_json::to_vec(control).unwrap_or_default()),
    }
}

/// Publishes a control message and waits for its confirm.
///
/// # Errors
/// The channel is closed, or the broker did not take the message.
pub async fn publish_control(channel: &Channel, control: &Control) -> Result<(), BrokerError> {
    let message = control_message(control, MANDATORY);
    channel.send(message).await
}

impl ControlReader {
    /// Subscribes from the oldest message that the broker still has; it keeps them for seven days.
    ///
    /// # Errors
    /// The stream does not exist, or this user may not read it.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        Self::open_stream(connection, CONTROL_STREAM, "first", Control::decode).await
    }

    /// Subscribes like [`open`](Self::open), but on failure only logs a warning and returns `None`.
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
}
