//! Publishing with publisher confirms. Many messages may be unconfirmed at the same time.

use std::{collections::BTreeMap, future::ready, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use tokio::time::{Interval, interval};
use tracing::warn;

use super::{BrokerError, refusal};

/// Interval at which the publisher checks that its channel is still open.
const PULSE: Duration = Duration::from_secs(1);

/// Number of pulses without a confirm after which a warning is logged.
const COMPLAIN_EVERY: u32 = 30;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    /// Name of the exchange.
    pub exchange: &'static str,
    /// Routing key for the exchange.
    pub routing_key: String,
    /// Publish options: [`MANDATORY`](super::MANDATORY) if a queue must take the message.
    pub options: BasicPublishOptions,
    /// AMQP properties of the message.
    pub properties: BasicProperties,
    /// Body of the message.
    pub body: Arc<Vec<u8>>,
}

/// A message on its way: resolves when the broker has confirmed it, or to an error if the channel
/// is closed or the broker did not take the message.
pub type Confirm = Pin<Box<dyn Future<Output = Result<(), BrokerError>> + Send>>;

/// The operations that a [`ConfirmedPublisher`] needs from a channel in confirm mode.
pub trait ConfirmChannel {
    /// Sends a message. The first poll of the returned future hands it to the connection, so
    /// messages arrive in the order in which their futures are first polled.
    fn send(&self, message: Message) -> Confirm;

    /// Whether the channel is open.
    fn is_open(&self) -> bool;
}

impl ConfirmChannel for Channel {
    fn send(&self, message: Message) -> Confirm {
        let Message {
            exchange,
            routing_key,
            options,
            properties,
            body,
        } = message;
        let channel = self.clone();
        Box::pin(async move {
            let confirm = channel
                .basic_publish(
                    exchange.into(),
                    routing_key.into(),
                    options,
                    &body,
                    properties,
                )
                .await?;
            match refusal(&confirm.await?) {
                None => Ok(()),
                Some(error) => Err(error),
            }
        })
    }

    fn is_open(&self) -> bool {
        self.status().connected()
    }
}

/// Publishes messages and waits for their confirms. `T` is a value that the caller attaches to a
/// message until it is confirmed. The publisher lives as long as its channel: after an error,
/// [`ConfirmedPublisher::into_unconfirmed`] returns the values of the messages to publish again on
/// the next channel.
pub struct ConfirmedPublisher<T, C = Channel> {
    channel: C,
    window: usize,
    last: u64,
    unconfirmed: BTreeMap<u64, T>,
    confirms: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    pulse: Interval,
    quiet: u32,
}

/// The number of a message, and its confirm.
type Outcome = (u64, Result<(), BrokerError>);

impl<T, C: ConfirmChannel> ConfirmedPublisher<T, C> {
    /// Creates a publisher on a channel in confirm mode. At most `window` messages may be
    /// unconfirmed.
    #[must_use]
    pub fn new(channel: C, window: usize) -> Self {
        Self {
            channel,
            window,
            last: 0,
            unconfirmed: BTreeMap::new(),
            confirms: FuturesUnordered::new(),
            pulse: interval(PULSE),
            quiet: 0,
        }
    }

    /// Whether another message fits into the window.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unconfirmed.len() < self.window
    }

    /// Whether every message is confirmed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Sends a message. It counts as unconfirmed even if sending fails. Does not wait until the
    /// message is written to the socket, so that messages are written many at a time.
    ///
    /// # Errors
    /// The channel is closed.
    pub fn publish(&mut self, message: Message, kept: T) -> Result<(), BrokerError> {
        self.last += 1;
        let number = self.last;
        self.unconfirmed.insert(number, kept);
        let mut confirm = self.channel.send(message);
        let confirm = match (&mut confirm).now_or_never() {
            Some(outcome) => ready(Ok(outcome?)).boxed(),
            None => confirm,
        };
        let confirm = confirm.map(move |outcome| (number, outcome));
        self.confirms.push(Box::pin(confirm));
        Ok(())
    }

    /// Waits for the next confirm and returns the value of its message. If no confirm is
    /// outstanding and the channel stays open, it waits for ever. Cancel safe.
    ///
    /// # Errors
    /// The broker did not take the message, which stays unconfirmed; or the channel is closed.
    pub async fn next(&mut self) -> Result<T, BrokerError> {
        loop {
            tokio::select! {
                Some(outcome) = self.confirms.next() => {
                    if let Some(kept) = self.settle(outcome)? {
                        return Ok(kept);
                    }
                }
                // This notices a closed channel even while nothing is sent.
                _ = self.pulse.tick() => self.on_pulse()?,
            }
        }
    }

    /// Waits for the next confirm like [`ConfirmedPublisher::next`], and returns the values of all
    /// messages whose confirms have arrived by then: confirms arrive in bursts. With them it returns
    /// the error that ended the burst, if any. Cancel safe.
    pub async fn next_burst(&mut self) -> (Vec<T>, Result<(), BrokerError>) {
        let mut burst = Vec::new();
        let mut next = self.next().await.map(Some);
        loop {
            match next {
                Ok(Some(kept)) => burst.push(kept),
                Ok(None) => return (burst, Ok(())),
                Err(error) => return (burst, Err(error)),
            }
            next = self.try_next();
        }
    }

    /// Returns the next confirm if it has already arrived.
    ///
    /// # Errors
    /// The same as for [`ConfirmedPublisher::next`].
    fn try_next(&mut self) -> Result<Option<T>, BrokerError> {
        while let Some(Some(outcome)) = self.confirms.next().now_or_never() {
            if let Some(kept) = self.settle(outcome)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// The values of the unconfirmed messages, oldest first. The broker may have taken some of
    /// them.
    pub fn into_unconfirmed(self) -> impl DoubleEndedIterator<Item = T> {
        self.unconfirmed.into_values()
    }

    fn settle(&mut self, (number, outcome): Outcome) -> Result<Option<T>, BrokerError> {
        outcome?;
        self.quiet = 0;
        Ok(self.unconfirmed.remove(&number))
    }

    fn on_pulse(&mut self) -> Result<(), BrokerError> {
        if !self.channel.is_open() {
            return Err(BrokerError::Lost {
                reason: "the channel is closed".to_owned(),
            });
        }
        self.quiet = if self.is_idle() { 0 } else { self.quiet + 1 };
        if self.quiet % COMPLAIN_EVERY == COMPLAIN_EVERY - 1 {
            let (quiet, waiting) = (self.quiet, self.unconfirmed.len());
            warn!(quiet_s = quiet, waiting, "no publisher confirm");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::VecDeque,
        future::pending,
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
    };

    use tokio::task::yield_now;

    use super::*;

    /// What the fake broker does with a message.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Acked,
        /// Acknowledged after some time.
        AckedAfter(Duration),
        /// Negatively acknowledged, or returned.
        Refused,
        /// Never acknowledged, as by a blocked broker.
        Blocked,
        /// The connection breaks while the message is sent.
        Lost,
    }

    #[derive(Default)]
    struct FakeChannel {
        fates: Mutex<VecDeque<Fate>>,
        is_closed: AtomicBool,
    }

    fn lost(reason: &str) -> BrokerError {
        BrokerError::Lost {
            reason: reason.to_owned(),
        }
    }

    impl ConfirmChannel for &FakeChannel {
        fn send(&self, _: Message) -> Confirm {
            let fate = self.fates.lock().unwrap().pop_front();
            Box::pin(async move {
                match fate.unwrap_or(Fate::Acked) {
                    Fate::Acked => Ok(()),
                    Fate::AckedAfter(time) => {
                        tokio::time::sleep(time).await;
                        Ok(())
                    }
                    Fate::Refused => {
                        yield_now().await;
                        Err(lost("refused"))
                    }
                    Fate::Blocked => pending().await,
                    Fate::Lost => Err(lost("broken")),
                }
            })
        }

        fn is_open(&self) -> bool {
            !self.is_closed.load(Relaxed)
        }
    }

    fn message() -> Message {
        Message {
            exchange: "e",
            routing_key: "k".to_owned(),
            options: BasicPublishOptions::default(),
            properties: BasicProperties::default(),
            body: Arc::default(),
        }
    }

    /// A publisher that has published one message for each fate, numbered from 0.
    async fn published<'c>(
        channel: &'c FakeChannel,
        window: usize,
        fates: &[Fate],
    ) -> ConfirmedPublisher<usize, &'c FakeChannel> {
        channel.fates.lock().unwrap().extend(fates);
        let mut publisher = ConfirmedPublisher::new(channel, window);
        for number in 0..fates.len() {
            let _ = publisher.publish(message(), number);
        }
        publisher
    }

    #[tokio::test]
    async fn confirms_come_in_the_order_of_the_broker() {
        let channel = FakeChannel::default();
        let late = Fate::AckedAfter(Duration::from_millis(20));
        let mut publisher = published(&channel, 3, &[late, Fate::Acked, Fate::Acked]).await;
        assert!(!publisher.has_room() && !publisher.is_idle());
        let mut order = vec![publisher.next().await.unwrap()];
        assert!(publisher.has_room());
        order.extend(publisher.try_next().unwrap());
        assert_eq!(
            publisher.try_next().unwrap(),
            None,
            "the late one is still to come"
        );
        order.push(publisher.next().await.unwrap());
        assert_eq!((order[2], publisher.is_idle()), (0, true));
    }

    #[tokio::test]
    async fn a_refused_message_is_to_be_published_again() {
        let channel = FakeChannel::default();
        let fates = [Fate::Blocked, Fate::Acked, Fate::Refused];
        let mut publisher = published(&channel, 10, &fates).await;
        assert_eq!(publisher.next().await.unwrap(), 1);
        let error = publisher.next().await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        assert_eq!(publisher.into_unconfirmed().collect::<Vec<_>>(), [0, 2]);
    }

    #[tokio::test]
    async fn a_message_that_was_not_sent_is_to_be_published_again() {
        let channel = FakeChannel::default();
        let publisher = published(&channel, 10, &[Fate::Acked, Fate::Lost]).await;
        assert_eq!(publisher.into_unconfirmed().collect::<Vec<_>>(), [0, 1]);
    }

    #[tokio::test]
    async fn a_closed_channel_is_noticed_while_nothing_is_sent_or_confirmed() {
        for fates in [&[][..], &[Fate::Blocked]] {
            let channel = FakeChannel::default();
            let mut publisher = published(&channel, 10, fates).await;
            let moment = Duration::from_millis(20);
            let waited = tokio::time::timeout(moment, publisher.next()).await;
            assert!(waited.is_err(), "a blocked broker is waited for");
            channel.is_closed.store(true, Relaxed);
            let error = publisher.next().await.unwrap_err();
            assert!(error.to_string().contains("closed"), "{error}");
        }
    }
}
