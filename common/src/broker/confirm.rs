use lapin::{Confirmation, options::BasicPublishOptions};

use super::BrokerError;

/// Publish options with `mandatory` set: the broker returns an unroutable message instead of
/// dropping it.
pub const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

/// The reason why the broker did not take the message; `None` if it took it.
#[must_use]
pub fn refusal(confirmation: &Confirmation) -> Option<BrokerError> {
    let reason = match confirmation {
        // An unroutable message is returned and then acknowledged.
        Confirmation::Ack(None) => return None,
        Confirmation::Ack(Some(returned)) => {
            let (exchange, key) = (&returned.delivery.exchange, &returned.delivery.routing_key);
            return Some(BrokerError::Lost {
                reason: format!(
                    "the broker has no queue for a message to {exchange:?} with routing key {key:?}"
                ),
            });
        }
        Confirmation::Nack(_) => {
            "the broker did not take a message (its queue is full or not available)"
        }
        Confirmation::NotRequested => "the channel does not confirm",
    };
    Some(BrokerError::Lost {
        reason: reason.to_owned(),
    })
}
