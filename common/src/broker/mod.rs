//! Access to the broker: addresses, connections, publishing, errors.
//!
//! Connections are not repaired in place: the owner of a connection ends its session on the first
//! error, and opens a new connection after the next delay of [`Backoff`].

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
