use lapin::Connection;

use crate::{
    broker::{BrokerError, StreamReader},
    message::Presence,
    topology::NODES_STREAM,
};

/// Age of the oldest announcement that is read at the start. Each subject announces itself again
/// within this time, unless the pool is very large.
const HISTORY: &str = "10s";

/// Reads announcements from their stream.
pub type PresenceReader = StreamReader<Presence>;

impl PresenceReader {
    /// Subscribes to the announcements of the last seconds and to all later ones.
    ///
    /// # Errors
    /// The stream does not exist, or this user may not read it.
    pub async fn open_presence(connection: &Connection) -> Result<Self, BrokerError> {
        Self::open_stream(connection, NODES_STREAM, HISTORY, Presence::decode).await
    }
}
