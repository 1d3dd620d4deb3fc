use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Units;

/// [`Units`] for several threads; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct SharedUnits(Arc<(Mutex<Units>, Notify)>);

impl SharedUnits {
    /// Shares them.
    #[must_use]
    pub(crate) fn new(units: Units) -> Self {
        Self(Arc::new((Mutex::new(units), Notify::new())))
    }

    /// The units, for as long as the guard lives. No call of them blocks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Units> {
        // Each call leaves them whole, whatever thread panics elsewhere.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them and wakes the publisher.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Units)) {
        change(&mut self.lock());
        self.0.1.notify_one();
    }

    /// Waits for the next [`SharedUnits::update`]; at once if there was one since the last call.
    pub(crate) async fn updated(&self) {
        self.0.1.notified().await;
    }
}
