use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    options::{BasicPublishOptions, ExchangeDeclareOptions},
    types::FieldTable,
};
use tracing::warn;

use crate::{
    message::{CONTENT_TYPE, Presence},
    topology::NODES_EXCHANGE,
};

/// Interval between two announcements of a member of a small pool.
const EVERY: Duration = Duration::from_secs(2);

/// Interval per consumer in a large pool, which bounds the total rate of announcements.
const EVERY_EACH: Duration = Duration::from_millis(10);

/// Longest interval between two announcements.
const EVERY_AT_MOST: Duration = Duration::from_secs(30);

/// Publishes announcements, on its own channel and without publisher confirms. A missing exchange
/// or a missing permission costs one warning and nothing else.
#[derive(Debug, Default)]
pub struct Announcer {
    channel: Option<Channel>,
    is_warned: bool,
}

impl Announcer {
    /// Opens a channel on this connection and publishes on it from now on.
    pub async fn attach(&mut self, connection: &Connection) {
        let opened = async {
            let channel = connection.create_channel().await?;
            let passive = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            let name = NODES_EXCHANGE.into();
            channel
                .exchange_declare(name, ExchangeKind::Fanout, passive, FieldTable::default())
                .await?;
            Ok::<_, lapin::Error>(channel)
        };
        match opened.await {
            Ok(channel) => self.channel = Some(channel),
            Err(error) => self.give_up(&error),
        }
    }

    /// Publishes an announcement; does nothing without a channel.
    pub async fn announce(&mut self, presence: &Presence) {
        let Some(channel) = &self.channel else { return };
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_type("presence".into());
        let published = channel
            .basic_publish(
                NODES_EXCHANGE.into(),
                "".into(),
                BasicPublishOptions::default(),
                &presence.encode(),
                properties,
            )
            .await;
        // Without confirms, an error here belongs to an earlier announcement.
        if let Err(error) = published {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &lapin::Error) {
        self.channel = None;
        if !self.is_warned {
            self.is_warned = true;
            warn!(
                %error,
                "other members of the pool do not see this one: set the broker up with \
                 infra/rabbitmq of this version"
            );
        }
    }

    /// Interval between two announcements in a pool of this many consumers.
    #[must_use]
    pub fn every(consumers: u32) -> Duration {
        EVERY
            .max(EVERY_EACH.saturating_mul(consumers))
            .min(EVERY_AT_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_pool_announces_less_often() {
        let every = Announcer::every;
        assert_eq!(every(0), Duration::from_secs(2));
        assert_eq!(every(200), Duration::from_secs(2));
        assert_eq!(every(1000), Duration::from_secs(10));
        assert_eq!(every(u32::MAX), Duration::from_secs(30));
    }
}
