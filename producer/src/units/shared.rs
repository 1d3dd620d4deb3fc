use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Units;

/// [`Units`] for several threads; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct SharedUnits(Arc<(Mutex<Units>, Notify)>);

impl SharedUnits {
    #[must_use]
    pub(crate) fn new(units: Units) -> Self {
        Self(Arc::new((Mutex::new(units), Notify::new())))
    }

    /// Locks the units. None of their methods blocks.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Units> {
        // Each method leaves the units consistent, even if another thread panics.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the units and wakes the publisher.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Units)) {
        change(&mut self.lock());
        self.0.1.notify_one();
    }

    /// Waits for the next [`SharedUnits::update`]; returns at once if there was one since the last
    /// call.
    pub(crate) async fn updated(&self) {
        self.0.1.notified().await;
    }
}
