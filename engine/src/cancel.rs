//! The cancellation flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// A flag with which the caller cancels a computation on another thread.
///
/// All clones share one flag. Once set, it stays set.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag. Computations that were given it return [`Error::Cancelled`] within about 100
    /// ms.
    pub fn cancel(&self) {
        // The flag carries no data with it, so no ordering is needed.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag as an [`AtomicBool`], for a library that polls it.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Polls the flag.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if it is set.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_flag() {
        let flag = Cancel::new();
        let clone = flag.clone();
        assert_eq!(clone.check(), Ok(()));
        flag.cancel();
        assert!(clone.is_cancelled());
        assert_eq!(clone.check(), Err(Error::Cancelled));
        assert!(!Cancel::default().is_cancelled());
    }
}
