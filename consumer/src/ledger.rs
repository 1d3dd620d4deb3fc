//! What this process has received and not acknowledged.
//!
//! A broker that lost our connection hands our units out again, often to us. Such a redelivery is the same work: its
//! acknowledgement is added to the entry, and whoever finishes the unit settles all of them. So a broken connection costs
//! no work that this process still has.
//!
//! An answer settles what came before it was sent, no more. A unit that comes later may be one whose answer the broker has lost, and
//! that its producer has published anew: the answer that is under way may be the very one that was lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use primepool_common::message::RunId;
use tokio::sync::Notify;

/// A work unit's name: its run and its number there.
pub(crate) type UnitKey = (RunId, u64);

/// The ledger; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Shared>);

/// A moment between two deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    units: HashMap<UnitKey, Vec<Entry>>,
    /// Deliveries entered so far.
    entered: u64,
}

/// A delivery.
#[derive(Debug)]
struct Entry {
    acker: Acker,
    /// Just before it was entered.
    after: Moment,
}

impl Ledger {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Every critical section leaves the map whole, whatever thread panics elsewhere.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a delivery. `true` if the unit is new and has to be worked on; otherwise somebody already does.
    #[must_use]
    pub fn enter(&self, key: UnitKey, acker: Acker) -> bool {
        let mut held = self.held();
        let after = Moment(held.entered);
        held.entered += 1;
        let entries = held.units.entry(key).or_default();
        let is_new = entries.is_empty();
        entries.retain(|entry| entry.acker.usable());
        entries.push(Entry { acker, after });
        is_new
    }

    /// To be asked before the work on a unit starts: `false` if its connection is gone, so that the broker hands it to
    /// somebody anyway; it is forgotten then.
    #[must_use]
    pub fn claim(&self, key: &UnitKey) -> bool {
        let mut held = self.held();
        let wanted = held
            .units
            .get(key)
            .is_some_and(|entries| entries.iter().any(|entry| entry.acker.usable()));
        if !wanted {
            held.units.remove(key);
            self.0.settled.notify_waiters();
        }
        wanted
    }

    /// Whether units of this run are held.
    #[must_use]
    pub fn holds(&self, run: &RunId) -> bool {
        self.held().units.keys().any(|(held, _)| held == run)
    }

    /// Units that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().units.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().units.is_empty()
    }

    /// What was entered so far comes before this moment, everything else after it.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.held().entered)
    }

    /// The unit's answer, sent at that moment, is safe with the broker: acknowledges the deliveries that came before. `true` if
    /// there are others: the answer has to be sent again for them.
    pub async fn confirm(&self, key: &UnitKey, sent: Moment) -> bool {
        let (before, again) = self.take_before(key, sent);
        for entry in before {
            // A connection that is gone takes no acknowledgement; the broker hands the unit out again, and the producer drops
            // the second answer.
            let _ = entry.acker.ack(BasicAckOptions::default()).await;
        }
        self.0.settled.notify_waiters();
        again
    }

    /// Nobody wants the unit: acknowledges every delivery of it.
    pub async fn discard(&self, key: &UnitKey) {
        for entry in self.remove(key) {
            let _ = entry.acker.ack(BasicAckOptions::default()).await;
        }
        self.0.settled.notify_waiters();
    }

    /// Gives every delivery of the unit back to its queue.
    pub async fn hand_back(&self, key: &UnitKey) {
        for entry in self.remove(key) {
            hand_back(&entry.acker).await;
        }
        self.0.settled.notify_waiters();
    }

    fn remove(&self, key: &UnitKey) -> Vec<Entry> {
        self.held().units.remove(key).unwrap_or_default()
    }

    /// Takes out the deliveries that came before a moment; also says whether any are left that can be acknowledged.
    fn take_before(&self, key: &UnitKey, moment: Moment) -> (Vec<Entry>, bool) {
        let mut held = self.held();
        let Some(entries) = held.units.get_mut(key) else {
            return (Vec::new(), false);
        };
        let before = entries
            .extract_if(.., |entry| entry.after < moment)
            .collect();
        entries.retain(|entry| entry.acker.usable());
        let are_left = !entries.is_empty();
        if !are_left {
            held.units.remove(key);
        }
        (before, are_left)
    }

    /// Waits until nothing is held.
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

/// Gives one delivery back to its queue so that the broker counts it as a try, which a negative acknowledgement is not on
/// RabbitMQ 4.3.
pub(crate) async fn pass_on(acker: &Acker) {
    let _ = acker.reject(BasicRejectOptions { requeue: true }).await;
}

/// Gives one delivery back to its queue.
pub(crate) async fn hand_back(acker: &Acker) {
    let requeue = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    let _ = acker.nack(requeue).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lapin::message::Delivery;

    use super::*;

    fn key() -> UnitKey {
        ("r".parse().unwrap(), 7)
    }

    /// Enters a delivery; whether it is still to be acknowledged is told by what this gives.
    fn enter(ledger: &Ledger, is_new: bool) -> Acker {
        let acker = Delivery::mock(1, "".into(), "".into(), false, vec![]).acker;
        assert_eq!(ledger.enter(key(), acker.clone()), is_new);
        acker
    }

    #[tokio::test]
    async fn an_answer_settles_what_came_before_it_was_sent() {
        let ledger = Ledger::default();
        let first = enter(&ledger, true);
        let second = enter(&ledger, false);
        let sent = ledger.now();
        let third = enter(&ledger, false);
        assert!(ledger.confirm(&key(), sent).await, "to be sent again");
        assert!(!first.usable() && !second.usable());
        assert!(third.usable(), "its answer may have been lost");
        let fourth = enter(&ledger, false);
        let sent_again = ledger.now();
        assert!(!ledger.confirm(&key(), sent_again).await);
        assert!(!third.usable() && !fourth.usable());
        assert!(ledger.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_sent_again_for_a_connection_that_is_gone() {
        let ledger = Ledger::default();
        let _first = enter(&ledger, true);
        let sent = ledger.now();
        let later = enter(&ledger, false);
        // Used elsewhere, it is as useless here as one whose connection has ended.
        later.ack(BasicAckOptions::default()).await.unwrap();
        assert!(!ledger.confirm(&key(), sent).await);
        assert!(ledger.is_empty());
    }

    #[tokio::test]
    async fn what_nobody_wants_goes_whenever_it_came() {
        let ledger = Ledger::default();
        let first = enter(&ledger, true);
        let second = enter(&ledger, false);
        ledger.discard(&key()).await;
        assert!(!first.usable() && !second.usable() && ledger.is_empty());
    }
}
