//! The buffer of lines and the state that the writer and the sender thread share.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;

/// Most lines of a segment; one request sends one segment.
pub(super) const BATCH_LINES: u64 = 5000;

/// Counts of points since the start. They are also written as metrics: measurement `metrics`, tags
/// `source` and `node`. The fields have the same names, with `points_` before the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Points that the server stored, including those of a spool left by another process.
    pub written: u64,
    /// Points that are on disk now and wait for the server.
    pub spooled: u64,
    /// Points that were lost because the spool was full or could not be written or read.
    pub dropped: u64,
    /// Points that the server will never accept (status 400).
    pub refused: u64,
    /// Number of failed deliveries, whatever the number of their points.
    pub write_errors: u64,
}

/// State that the writer and its thread share.
#[derive(Debug, Default)]
pub(super) struct WriterState {
    pub(super) buffer: Mutex<Buffer>,
    /// Notified when there is a batch, or when the writer closes.
    pub(super) wake: Notify,
    pub(super) counts: Counts,
    pub(super) close_by: Mutex<Option<Instant>>,
    pub(super) ended: Mutex<bool>,
    pub(super) has_ended: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) lines: String,
    /// Number of lines in `lines`.
    pub(super) count: u64,
    /// Whether the buffer accepts no more lines.
    pub(super) closed: bool,
}

/// The counters behind [`Stats`].
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

/// Locks a mutex, even if a thread has panicked while holding it: the protected values are always
/// consistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WriterState {
    /// Swaps the buffered lines into `lines`, whose capacity the buffer uses next. Nothing is
    /// allocated while the lock is held.
    pub(super) fn take(&self, lines: &mut String) {
        lines.clear();
        let mut buffer = lock(&self.buffer);
        std::mem::swap(&mut buffer.lines, lines);
        buffer.count = 0;
    }

    /// Stops accepting lines.
    pub(super) fn shut(&self) {
        lock(&self.buffer).closed = true;
    }

    /// The time by which the thread must end, once the writer is closing.
    pub(super) fn close_by(&self) -> Option<Instant> {
        *lock(&self.close_by)
    }

    pub(super) fn end(&self) {
        *lock(&self.ended) = true;
        self.has_ended.notify_all();
    }
}
