//! The way to the broker: where it is, how a connection is made, what its errors mean.
//!
//! Connections are not repaired in place: whoever owns one ends its session on the first error and makes a new one after
//! [`Backoff`]'s next delay.

mod backoff;
mod cancel;
mod confirm;
mod control;
mod declare;
mod endpoint;
mod error;
mod management;
mod properties;
mod publisher;
mod socket;
mod stream;

pub use crate::tls::TlsFiles;
pub use backoff::Backoff;
pub use cancel::cancel_run;
pub use confirm::{MANDATORY, refusal};
pub use control::{ControlReader, control_message, publish_control};
pub use declare::{
    declare, declare_results, delete_results, find_results, in_time, open_publisher, queue_state,
};
pub use endpoint::{BrokerArgs, Endpoint, warn_when_blocked};
pub use error::BrokerError;
pub use management::{BrokerNode, Management, ManagementError, QueueFigures};
pub use properties::{APP_ID, describing_properties, properties};
pub use publisher::{Confirm, ConfirmChannel, ConfirmedPublisher, Message};
pub use stream::StreamReader;
