//! The deliveries that this process has received and not yet acknowledged.
//!
//! When a connection is lost, the broker redelivers its units, often to this process. A redelivery
//! does not repeat the work: it is added to the entry of the unit, and the answer to the unit
//! settles all of its deliveries. A broken connection therefore costs no work that this process
//! still holds.
//!
//! An answer settles only the deliveries that arrived before it was sent. A unit that arrives later
//! may have been published again because the broker lost its answer, and that answer may be the one
//! that is still in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use primepool_common::message::RunId;
use tokio::sync::Notify;

use crate::receipt::{Receipt, acknowledge_all};

/// Identifies a work unit: its run and its number in the run.
pub(crate) type UnitKey = (RunId, u64);

/// The ledger. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<LedgerState>);

/// A point in the order of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[derive(Debug, Default)]
struct LedgerState {
    held: Mutex<HeldUnits>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct HeldUnits {
    units: HashMap<UnitKey, Vec<Entry>>,
    /// Number of deliveries entered so far.
    entered: u64,
}

/// A delivery of a unit.
#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    /// The moment just before the delivery was entered.
    after: Moment,
}

impl Ledger {
    fn held(&self) -> MutexGuard<'_, HeldUnits> {
        // The map is consistent after every critical section, so a panic in another thread does no
        // harm.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a delivery. Returns `true` if the unit is new and must be processed, `false` if it is
    /// already being processed.
    #[must_use]
    pub fn enter(&self, key: UnitKey, receipt: Receipt) -> bool {
        let mut held = self.held();
        let after = Moment(held.entered);
        held.entered += 1;
        let entries = held.units.entry(key).or_default();
        let is_new = entries.is_empty();
        entries.retain(|entry| entry.receipt.is_usable());
        entries.push(Entry { receipt, after });
        is_new
    }

    /// Call this before processing a unit. Returns `false` and forgets the unit if the connections
    /// of all its deliveries are gone: the broker redelivers it anyway.
    #[must_use]
    pub fn claim(&self, key: &UnitKey) -> bool {
        let mut held = self.held();
        let wanted = held
            .units
            .get(key)
            .is_some_and(|entries| entries.iter().any(|entry| entry.receipt.is_usable()));
        if !wanted {
            held.units.remove(key);
            self.0.settled.notify_waiters();
        }
        wanted
    }

    /// Whether the ledger holds units of this run.
    #[must_use]
    pub fn holds(&self, run: &RunId) -> bool {
        self.held().units.keys().any(|(held, _)| held == run)
    }

    /// Number of units held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().units.len()
    }

    /// Whether no unit is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().units.is_empty()
    }

    /// The moment after all deliveries entered so far.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.held().entered)
    }

    /// Call this when the broker has confirmed the unit's answer, which was sent at `sent`. Returns
    /// the deliveries that arrived before, for [`Ledger::acknowledge`], and `true` if there are
    /// later ones, for which the answer must be sent again.
    pub fn confirm(&self, key: &UnitKey, sent: Moment) -> (Vec<Receipt>, bool) {
        let (before, again) = self.take_before(key, sent);
        let before = before.into_iter().map(|entry| entry.receipt);
        (before.collect(), again)
    }

    /// Acknowledges deliveries that were taken out of the ledger.
    pub async fn acknowledge(&self, deliveries: Vec<Receipt>) {
        // After a failure the broker redelivers the unit, and the producer drops the second answer.
        acknowledge_all(deliveries).await;
        self.0.settled.notify_waiters();
    }

    /// Acknowledges every delivery of a unit that is no longer wanted.
    pub async fn discard(&self, key: &UnitKey) {
        let entries = self.remove(key).into_iter();
        self.acknowledge(entries.map(|entry| entry.receipt).collect())
            .await;
    }

    /// Requeues every delivery of the unit.
    pub async fn requeue(&self, key: &UnitKey) {
        let entries = self.remove(key);
        join_all(entries.iter().map(|entry| entry.receipt.requeue())).await;
        self.0.settled.notify_waiters();
    }

    fn remove(&self, key: &UnitKey) -> Vec<Entry> {
        self.held().units.remove(key).unwrap_or_default()
    }

    /// Removes the deliveries before a moment. Also returns whether any remain that can be
    /// acknowledged.
    fn take_before(&self, key: &UnitKey, moment: Moment) -> (Vec<Entry>, bool) {
        let mut held = self.held();
        let Some(entries) = held.units.get_mut(key) else {
            return (Vec::new(), false);
        };
        let before = entries
            .extract_if(.., |entry| entry.after < moment)
            .collect();
        entries.retain(|entry| entry.receipt.is_usable());
        let are_left = !entries.is_empty();
        if !are_left {
            held.units.remove(key);
        }
        (before, are_left)
    }

    /// Waits until no unit is held.
    pub async fn settled(&self) {
        loop {
            let settled = self.0.settled.notified();
            if self.is_empty() {
                return;
            }
            settled.await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lapin::message::Delivery;

    use super::*;
    use crate::receipt::ChannelDeliveries;

    fn key() -> UnitKey {
        ("r".parse().unwrap(), 7)
    }

    /// Enters a delivery of a channel of its own. The returned receipt tells whether it still has
    /// to be acknowledged.
    fn enter(ledger: &Ledger, is_new: bool) -> Receipt {
        let delivery = Delivery::mock(1, "".into(), "".into(), false, vec![]);
        let receipt = ChannelDeliveries::default().receive(&delivery);
        assert_eq!(ledger.enter(key(), receipt.clone()), is_new);
        receipt
    }

    /// Confirms the answer that was sent at `sent`; returns whether it must be sent again.
    async fn confirm(ledger: &Ledger, sent: Moment) -> bool {
        let (deliveries, again) = ledger.confirm(&key(), sent);
        ledger.acknowledge(deliveries).await;
        again
    }

    #[tokio::test]
    async fn an_answer_settles_what_came_before_it_was_sent() {
        let ledger = Ledger::default();
        let first = enter(&ledger, true);
        let second = enter(&ledger, false);
        let sent = ledger.now();
        let third = enter(&ledger, false);
        assert!(confirm(&ledger, sent).await, "to be sent again");
        assert!(!first.is_usable() && !second.is_usable());
        assert!(third.is_usable(), "its answer may have been lost");
        let fourth = enter(&ledger, false);
        let sent_again = ledger.now();
        assert!(!confirm(&ledger, sent_again).await);
        assert!(!third.is_usable() && !fourth.is_usable());
        assert!(ledger.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_sent_again_for_a_connection_that_is_gone() {
        let ledger = Ledger::default();
        let _first = enter(&ledger, true);
        let sent = ledger.now();
        let later = enter(&ledger, false);
        // A receipt that was already used behaves like one whose connection has ended.
        later.acknowledge().await;
        assert!(!confirm(&ledger, sent).await);
        assert!(ledger.is_empty());
    }

    #[tokio::test]
    async fn what_nobody_wants_goes_whenever_it_came() {
        let ledger = Ledger::default();
        let first = enter(&ledger, true);
        let second = enter(&ledger, false);
        ledger.discard(&key()).await;
        assert!(!first.is_usable() && !second.is_usable() && ledger.is_empty());
    }
}
