use lapin::Connection;

use crate::{
    broker::{BrokerError, StreamReader},
    message::Presence,
    topology::NODES_STREAM,
};

/// Age of the oldest announcement that is read at the start: each subject has repeated its own by
/// then, unless the pool is very large.
const HISTORY: &str = "10s";

/// Reads the announcements.
pub type PresenceReader = StreamReader<Presence>;

impl PresenceReader {
    /// Reads the announcements of the last seconds, and those that follow.
    ///
    /// # Errors
    /// There is no such stream, or this user may not read it.
    pub async fn open_presence(connection: &Connection) -> Result<Self, BrokerError> {
        Self::open_stream(connection, NODES_STREAM, HISTORY, Presence::decode).await
    }
}
