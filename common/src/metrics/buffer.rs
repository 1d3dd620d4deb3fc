//! The lines that wait for the sending thread, and what the writer and that thread tell each other.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;

/// Most lines of a segment, which is what is sent in one go.
pub(super) const BATCH_LINES: u64 = 5000;

/// What became of the points, counted since the start; also a metric: measurement `metrics`, tags `source` and `node`, the same
/// names for the fields with `points_` before the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Points that the server has, also from a spool that was left behind.
    pub written: u64,
    /// Points that are on disk now, for want of a server that takes them.
    pub spooled: u64,
    /// Points that were lost: the spool was full, or could not be written to.
    pub dropped: u64,
    /// Points that the server cannot take, now or ever (answer 400).
    pub refused: u64,
    /// Deliveries that failed, however many points each had.
    pub write_errors: u64,
}

/// What the writer and its thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) buffer: Mutex<Buffer>,
    /// There is a batch, or the end is near.
    pub(super) wake: Notify,
    pub(super) counts: Counts,
    pub(super) close_by: Mutex<Option<Instant>>,
    pub(super) ended: Mutex<bool>,
    pub(super) has_ended: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) lines: String,
    /// Lines among them.
    pub(super) count: u64,
    /// Takes no more.
    pub(super) closed: bool,
}

/// See [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) spooled: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) write_errors: AtomicU64,
}

impl Counts {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            written: self.written.load(Relaxed),
            spooled: self.spooled.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
            write_errors: self.write_errors.load(Relaxed),
        }
    }
}

/// A panic elsewhere leaves what these locks protect as it should be.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Puts the lines that came since the last time in the place of `lines`, whose room the next ones get: nothing is
    /// allocated while the lock is held.
    pub(super) fn take(&self, lines: &mut String) {
        lines.clear();
        let mut buffer = lock(&self.buffer);
        std::mem::swap(&mut buffer.lines, lines);
        buffer.count = 0;
    }

    /// Takes no more lines.
    pub(super) fn shut(&self) {
        lock(&self.buffer).closed = true;
    }

    /// When everything has to be over, once that is known.
    pub(super) fn close_by(&self) -> Option<Instant> {
        *lock(&self.close_by)
    }

    pub(super) fn end(&self) {
        *lock(&self.ended) = true;
        self.has_ended.notify_all();
    }
}
