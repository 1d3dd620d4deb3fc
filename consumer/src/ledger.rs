//! What this process has received and not acknowledged.
//!
//! A broker that lost our connection hands our units out again, often to us. Such a redelivery is the same work: its
//! acknowledgement is added to the entry, and whoever finishes the unit settles all of them. So a broken connection costs
//! no work that this process still has.

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
pub type UnitKey = (RunId, u64);

/// The ledger; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<HashMap<UnitKey, Vec<Acker>>>,
    settled: Notify,
}

impl Ledger {
    fn held(&self) -> MutexGuard<'_, HashMap<UnitKey, Vec<Acker>>> {
        // Every critical section leaves the map whole, whatever thread panics elsewhere.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a delivery. `true` if the unit is new and has to be worked on; otherwise somebody already does.
    #[must_use]
    pub fn enter(&self, key: UnitKey, acker: Acker) -> bool {
        let mut held = self.held();
        let ackers = held.entry(key).or_default();
        let is_new = ackers.is_empty();
        ackers.retain(Acker::usable);
        ackers.push(acker);
        is_new
    }

    /// To be asked before the work on a unit starts: `false` if its connection is gone, so that the broker hands it to
    /// somebody anyway; it is forgotten then.
    #[must_use]
    pub fn claim(&self, key: &UnitKey) -> bool {
        let mut held = self.held();
        let wanted = held
            .get(key)
            .is_some_and(|ackers| ackers.iter().any(Acker::usable));
        if !wanted {
            held.remove(key);
            self.0.settled.notify_waiters();
        }
        wanted
    }

    /// Whether units of this run are held.
    #[must_use]
    pub fn holds(&self, run: &RunId) -> bool {
        self.held().keys().any(|(held, _)| held == run)
    }

    /// Units that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// The unit's answer is safe with the broker: acknowledges every delivery of it.
    pub async fn acknowledge(&self, key: &UnitKey) {
        for acker in self.remove(key) {
            // A connection that is gone takes no acknowledgement; the broker hands the unit out again, and the producer drops
            // the second answer.
            let _ = acker.ack(BasicAckOptions::default()).await;
        }
        self.0.settled.notify_waiters();
    }

    /// Gives every delivery of the unit back to its queue.
    pub async fn hand_back(&self, key: &UnitKey) {
        for acker in self.remove(key) {
            hand_back(&acker).await;
        }
        self.0.settled.notify_waiters();
    }

    fn remove(&self, key: &UnitKey) -> Vec<Acker> {
        self.held().remove(key).unwrap_or_default()
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
pub async fn pass_on(acker: &Acker) {
    let _ = acker.reject(BasicRejectOptions { requeue: true }).await;
}

/// Gives one delivery back to its queue.
pub async fn hand_back(acker: &Acker) {
    let requeue = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    let _ = acker.nack(requeue).await;
}
