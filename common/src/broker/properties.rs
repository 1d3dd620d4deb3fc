use lapin::BasicProperties;

use crate::message::{CONTENT_TYPE, RunId};

/// Who has made a message: AMQP's `app_id`.
pub const APP_ID: &str = concat!("primepool/", env!("CARGO_PKG_VERSION"));

/// What every message of ours says of itself: JSON, to be kept on disk, by whom, of what kind, of which run, and when it was made,
/// in seconds since 1970.
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
