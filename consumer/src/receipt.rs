//! Acknowledgements: one `basic.ack` with the flag `multiple` covers many deliveries where that is
//! safe.
//!
//! Delivery tags count the deliveries of a channel from 1. A `multiple` acknowledgement covers all
//! lower tags, so it is safe only up to the first delivery that must not be acknowledged yet. Such
//! deliveries include those that the client library has received but this program has not read.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use lapin::{
    Acker,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};

/// The deliveries of one channel that are not settled. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct ChannelDeliveries(Arc<Mutex<Unsettled>>);

impl ChannelDeliveries {
    fn lock(&self) -> MutexGuard<'_, Unsettled> {
        // The state is consistent after every critical section.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a delivery of this channel. It must be settled with the returned receipt.
    #[must_use]
    pub fn receive(&self, delivery: &Delivery) -> Receipt {
        self.lock().receive(delivery.delivery_tag);
        Receipt {
            tag: delivery.delivery_tag,
            acker: delivery.acker.clone(),
            channel: self.clone(),
        }
    }

    /// Acknowledges deliveries of this channel.
    async fn acknowledge(&self, mut receipts: Vec<Receipt>) {
        let tags: BTreeSet<u64> = receipts.iter().map(|receipt| receipt.tag).collect();
        let covered = self.lock().covered(&tags);
        if let Some(highest) = covered {
            if let Some(last) = receipts.iter().find(|receipt| receipt.tag == highest) {
                let _ = last.acker.ack(BasicAckOptions { multiple: true }).await;
            }
            let mut unsettled = self.lock();
            tags.range(..=highest)
                .for_each(|tag| unsettled.settle(*tag));
            receipts.retain(|receipt| receipt.tag > highest);
        }
        join_all(receipts.iter().map(Receipt::acknowledge)).await;
    }
}

/// The right to settle a delivery.
#[derive(Debug, Clone)]
pub struct Receipt {
    tag: u64,
    acker: Acker,
    channel: ChannelDeliveries,
}

impl Receipt {
    /// Whether the channel is open and no message about this delivery alone was sent.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.acker.usable()
    }

    /// Acknowledges the delivery.
    pub(crate) async fn acknowledge(&self) {
        // An acknowledgement on a lost connection fails. The broker then redelivers the unit.
        let _ = self.acker.ack(BasicAckOptions::default()).await;
        self.channel.lock().settle(self.tag);
    }

    /// Requeues the delivery by `basic.nack`.
    pub(crate) async fn requeue(&self) {
        requeue(&self.acker).await;
        self.channel.lock().settle(self.tag);
    }

    /// Requeues the delivery by `basic.reject`, which the broker counts as a delivery attempt;
    /// RabbitMQ 4.3 does not count `basic.nack`.
    pub(crate) async fn requeue_counted(&self) {
        let options = BasicRejectOptions { requeue: true };
        let _ = self.acker.reject(options).await;
        self.channel.lock().settle(self.tag);
    }
}

/// Requeues a delivery for which there is no receipt.
pub(crate) async fn requeue(acker: &Acker) {
    let options = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    let _ = acker.nack(options).await;
}

/// Acknowledges deliveries, with as few messages to the broker as possible.
pub(crate) async fn acknowledge_all(mut receipts: Vec<Receipt>) {
    receipts.retain(Receipt::is_usable);
    // There is one open channel, except for a moment after a connection broke.
    while let Some(channel) = receipts.first().map(|receipt| receipt.channel.clone()) {
        let of_channel = |receipt: &mut Receipt| Arc::ptr_eq(&receipt.channel.0, &channel.0);
        channel
            .acknowledge(receipts.extract_if(.., of_channel).collect())
            .await;
    }
}

/// The state of [`ChannelDeliveries`]. A tag counts as settled only after the message that settles
/// it was sent.
#[derive(Debug)]
struct Unsettled {
    /// Tags of the deliveries that were read and are not settled.
    outstanding: BTreeSet<u64>,
    /// The lowest tag that was not read yet.
    next: u64,
    /// Tags above `next` that were read: the deliveries of several queues are read in any order.
    early: BTreeSet<u64>,
}

impl Default for Unsettled {
    fn default() -> Self {
        Self {
            outstanding: BTreeSet::new(),
            next: 1,
            early: BTreeSet::new(),
        }
    }
}

/// More tags above a gap than any prefetch allows: the delivery of the gap will never be read.
const MOST_EARLY: usize = 1_000_000;

impl Unsettled {
    fn receive(&mut self, tag: u64) {
        self.outstanding.insert(tag);
        self.early.insert(tag);
        while self.early.remove(&self.next) {
            self.next += 1;
        }
        if self.early.len() > MOST_EARLY {
            // Nothing above the gap is ever covered, so it need not be remembered.
            self.early.clear();
        }
    }

    fn settle(&mut self, tag: u64) {
        self.outstanding.remove(&tag);
    }

    /// The highest of these unsettled tags such that every unsettled tag up to it is one of them.
    fn covered(&self, tags: &BTreeSet<u64>) -> Option<u64> {
        let others = self.outstanding.iter().find(|tag| !tags.contains(tag));
        let bound = others.map_or(self.next, |other| self.next.min(*other));
        tags.range(..bound).next_back().copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn covered(unsettled: &Unsettled, tags: &[u64]) -> Option<u64> {
        unsettled.covered(&tags.iter().copied().collect())
    }

    fn received(tags: impl IntoIterator<Item = u64>) -> Unsettled {
        let mut unsettled = Unsettled::default();
        tags.into_iter().for_each(|tag| unsettled.receive(tag));
        unsettled
    }

    #[test]
    fn the_first_delivery_that_others_hold_is_the_bound() {
        let mut unsettled = received(1..=6);
        assert_eq!(covered(&unsettled, &[1, 2, 3, 5]), Some(3));
        assert_eq!(covered(&unsettled, &[2, 3]), None, "1 is outstanding");
        assert_eq!(covered(&unsettled, &[1, 2, 3, 4, 5, 6]), Some(6));
        unsettled.settle(1);
        assert_eq!(covered(&unsettled, &[2, 3]), Some(3));
        unsettled.settle(3);
        assert_eq!(covered(&unsettled, &[2, 4]), Some(4), "3 is settled");
    }

    #[test]
    fn deliveries_that_were_not_read_are_not_covered() {
        let mut unsettled = received([1, 2, 5, 4]);
        assert_eq!(covered(&unsettled, &[1, 2, 4, 5]), Some(2));
        unsettled.receive(3);
        assert_eq!(covered(&unsettled, &[1, 2, 4, 5]), Some(2));
        assert_eq!(covered(&unsettled, &[1, 2, 3, 4, 5]), Some(5));
        assert!(unsettled.early.is_empty());
    }

    proptest! {
        /// Deliveries are read, settled alone and settled together in any order.
        #[test]
        fn only_chosen_deliveries_are_covered(
            order in Just((1..=30).collect::<Vec<u64>>()).prop_shuffle(),
            read in 0..30_usize,
            alone in prop::collection::btree_set(1..=30_u64, 0..20),
            chosen in prop::collection::btree_set(1..=30_u64, 0..30),
        ) {
            let read = &order[..read];
            let mut unsettled = received(read.iter().copied());
            let alone: BTreeSet<u64> = alone.into_iter().filter(|tag| read.contains(tag)).collect();
            alone.iter().for_each(|tag| unsettled.settle(*tag));
            let is_held = |tag: &u64| read.contains(tag) && !alone.contains(tag);
            let chosen: BTreeSet<u64> = chosen.into_iter().filter(is_held).collect();
            let highest = unsettled.covered(&chosen);
            for tag in 1..=highest.unwrap_or(0) {
                prop_assert!(chosen.contains(&tag) || alone.contains(&tag), "{tag}");
            }
            // The next chosen one could not be covered as well.
            if let Some(next) = chosen.range(highest.unwrap_or(0) + 1..).next() {
                let covers = |tag| chosen.contains(&tag) || alone.contains(&tag);
                prop_assert!(!(1..=*next).all(covers));
            }
        }
    }
}
