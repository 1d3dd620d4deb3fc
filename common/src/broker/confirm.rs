use lapin::{Confirmation, PublisherConfirm, options::BasicPublishOptions};

use super::BrokerError;

/// A message that no queue takes comes back, in place of being dropped.
pub const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

/// Waits for the broker's word on message `number`, for a set of many that are outstanding.
pub async fn confirmed(
    number: u64,
    confirm: PublisherConfirm,
) -> (u64, Result<Confirmation, lapin::Error>) {
    (number, confirm.await)
}

/// Why the broker does not have the message; nothing if it has.
#[must_use]
pub fn refusal(confirmation: &Confirmation) -> Option<BrokerError> {
    let reason = match confirmation {
        // An unroutable message is returned and then acknowledged.
        Confirmation::Ack(None) => return None,
        Confirmation::Ack(Some(_)) => "the broker has no queue for a message",
        Confirmation::Nack(_) => {
            "the broker did not take a message (its queue is full or not available)"
        }
        Confirmation::NotRequested => "the channel does not confirm",
    };
    Some(BrokerError::Lost {
        reason: reason.to_owned(),
    })
}
