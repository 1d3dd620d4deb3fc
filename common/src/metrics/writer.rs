use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    InfluxTarget, MetricsError, Point, Stats, WriterOptions,
    buffer::{BATCH_LINES, WriterState, lock},
    encode,
    sender::Sender,
    server::Server,
    spool::Spool,
};

/// Capacity in bytes of the buffer in front of the sender thread, which empties it every second and
/// as soon as it holds a batch. It only fills up if the disk of the spool hangs.
const BUFFER_BYTES: usize = 8 << 20;

/// Extra time for the sender thread, beyond the limit of [`MetricsWriter::close`], to write the
/// rest to disk.
const GRACE: Duration = Duration::from_secs(1);

/// Sends points to a server from a separate thread.
///
/// Points are sent in batches of up to 5,000 lines or 1 MB, at least one batch per second. While
/// the server is unreachable, slow, refuses the points (401, 403, 404) or asks for a pause (429 and
/// 503, with `Retry-After`), they wait on disk. They are sent in order when the server is back, by
/// this process or the next one that uses the folder. A point that the server cannot parse is
/// dropped and counted. The log reports the beginning and the end of each of these conditions, not
/// every occurrence.
///
/// Points are lost in two cases: the spool has no room for them (counted, the oldest first), or the
/// process is killed (those of the last seconds).
#[derive(Debug)]
pub struct MetricsWriter {
    /// `None` without a server.
    shared: Option<Arc<WriterState>>,
}

impl MetricsWriter {
    /// A writer that discards all points, because no server is configured.
    #[must_use]
    pub fn disabled() -> Self {
        Self { shared: None }
    }

    /// Starts the thread and opens the spool. It does not contact the server yet. An unusable spool
    /// only causes a warning, because metrics must not prevent the work.
    ///
    /// # Errors
    /// The HTTP client or the thread cannot be created.
    pub fn start(target: &InfluxTarget, options: WriterOptions) -> Result<Self, MetricsError> {
        if options.spool.is_none() {
            warn!("no folder for a metrics spool: points wait in memory (see --metrics-spool)");
        }
        let opened = options.spool.as_ref().map(|path| {
            Spool::open(path).inspect_err(|error| {
                warn!(
                    spool = %path.display(), %error,
                    "cannot use the metrics spool: points wait in memory (see --metrics-spool)"
                );
            })
        });
        let spool = opened.and_then(Result::ok).unwrap_or_else(Spool::none);
        let server = Server::new(target.clone(), options.timeout)?;
        let shared = Arc::new(WriterState::default());
        let name = target.to_string();
        let of_thread = Arc::clone(&shared);
        // A thread-local log subscriber also receives the events of the new thread.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let span = tracing::Span::current();
        // The new thread creates and owns the runtime, but a failure is returned from here.
        let (started, start) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                let _log = tracing::dispatcher::set_default(&log);
                let _span = span.enter();
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        let shared = Arc::clone(&of_thread);
                        runtime.block_on(Sender::new(name, server, spool, options, shared).run());
                        // A DNS lookup may hang; it is not waited for.
                        runtime.shutdown_background();
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
                of_thread.end();
            })
            .map_err(MetricsError::Thread)?;
        match start.recv() {
            Ok(Ok(())) => Ok(Self {
                shared: Some(shared),
            }),
            Ok(Err(error)) => Err(MetricsError::Thread(error)),
            Err(error) => Err(MetricsError::Thread(std::io::Error::other(error))),
        }
    }

    /// Whether a server is configured.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// Queues a point. Takes about a microsecond and never blocks; a point that finds the buffer
    /// full is dropped and counted.
    pub fn write(&self, point: &Point<'_>) {
        let Some(shared) = &self.shared else {
            return;
        };
        let mut line = String::with_capacity(256);
        encode(point, &mut line);
        if line.is_empty() {
            return;
        }
        let mut buffer = lock(&shared.buffer);
        if buffer.closed || buffer.lines.len() + line.len() > BUFFER_BYTES {
            drop(buffer);
            shared.counts.dropped.fetch_add(1, Relaxed);
            return;
        }
        buffer.lines.push_str(&line);
        buffer.count += 1;
        let batch = buffer.count == BATCH_LINES || buffer.lines.len() > BUFFER_BYTES / 16;
        drop(buffer);
        if batch {
            shared.wake.notify_one();
        }
    }

    /// The counts of points so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared.as_ref();
        shared.map_or_else(Stats::default, |shared| shared.counts.stats())
    }

    /// Sends the remaining points for up to `limit`, writes the rest to disk, and ends the thread.
    /// Returns at most a second after the limit. Points written later are dropped. This blocks:
    /// async code must call it from `spawn_blocking`.
    pub fn close(&self, limit: Duration) -> Stats {
        let Some(shared) = &self.shared else {
            return Stats::default();
        };
        let by = Instant::now() + limit;
        lock(&shared.close_by).get_or_insert(by);
        shared.wake.notify_one();
        let ended = lock(&shared.ended);
        let waited = shared
            .has_ended
            .wait_timeout_while(ended, limit + GRACE, |ended| !*ended);
        drop(waited);
        shared.counts.stats()
    }
}

impl Drop for MetricsWriter {
    /// Like [`MetricsWriter::close`] without time to send anything.
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}
