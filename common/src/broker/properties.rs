use lapin::BasicProperties;

use crate::message::{CONTENT_TYPE, RunId};

/// AMQP `app_id` of the messages: the program and its version.
pub const APP_ID: &str = concat!("primepool/", env!("CARGO_PKG_VERSION"));

/// Properties of every message: content type JSON, persistent, `app_id`, the kind as `type`, the
/// run as `correlation_id`, and the time of creation in seconds since 1970.
#[must_use]
pub fn properties(kind: &str, run: &RunId, at_s: u64) -> BasicProperties {
    BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(2)
        .with_app_id(APP_ID.into())
        .with_type(kind.into())
        .with_correlation_id(run.as_str().into())
        .with_timestamp(at_s)
}

/// The descriptive properties of a message, for a copy of it. The others are left out: with the
/// `user_id` of another user the broker refuses the copy, and with an expiration the copy would
/// disappear from its queue.
#[must_use]
pub fn describing_properties(old: &BasicProperties) -> BasicProperties {
    let mut new = BasicProperties::default();
    if let Some(content_type) = old.content_type() {
        new = new.with_content_type(content_type.clone());
    }
    if let Some(encoding) = old.content_encoding() {
        new = new.with_content_encoding(encoding.clone());
    }
    if let Some(kind) = old.kind() {
        new = new.with_type(kind.clone());
    }
    if let Some(id) = old.message_id() {
        new = new.with_message_id(id.clone());
    }
    if let Some(id) = old.correlation_id() {
        new = new.with_correlation_id(id.clone());
    }
    if let Some(reply_to) = old.reply_to() {
        new = new.with_reply_to(reply_to.clone());
    }
    if let Some(time) = old.timestamp() {
        new = new.with_timestamp(*time);
    }
    new
}
