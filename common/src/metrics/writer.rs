use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    InfluxTarget, MetricsError, Point, Stats, WriterOptions,
    buffer::{BATCH_LINES, Shared, lock},
    encode,
    sender::Sender,
    server::Server,
    spool::Spool,
};

/// Bytes of lines that may wait for the sending thread, which takes them every second and as soon as there is a batch. More
/// than this waits only when the disk under the spool hangs.
const BUFFER_BYTES: usize = 8 << 20;

/// Time that the sending thread gets, beyond what [`MetricsWriter::close`] allows, to put the rest on disk.
const GRACE: Duration = Duration::from_secs(1);

/// Sends points to a server, from a thread of its own.
///
/// Points go in batches of up to 5,000 lines or 1 MB, at least one a second. While the server is away, refuses (401, 403, 404),
/// is slow or asks for a pause (429 and 503, with `Retry-After`), they wait on disk, and are sent in order when it is back, by
/// this process or the next one that uses the folder. A point that the server cannot read is dropped and counted. The log says
/// when any of this begins and ends, not each time that it happens.
///
/// What is lost: points that the spool had no room for (counted, the oldest first); and those of the last seconds, if the
/// process is killed.
#[derive(Debug)]
pub struct MetricsWriter {
    /// Nothing without a server.
    shared: Option<Arc<Shared>>,
}

impl MetricsWriter {
    /// A writer that forgets what it is given: no server was named.
    #[must_use]
    pub fn disabled() -> Self {
        Self { shared: None }
    }

    /// Starts the thread and takes the spool. Whether the server answers is not asked yet. A spool
    /// that cannot be used is warned of: metrics keep no work from starting.
    ///
    /// # Errors
    /// There is no HTTP client or thread for it.
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
        let shared = Arc::new(Shared::default());
        let name = target.to_string();
        let of_thread = Arc::clone(&shared);
        // Whoever has a log of its own in this thread has it in the new one.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let span = tracing::Span::current();
        // The runtime is made by the thread that owns it, but whether there is one is known here.
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
                        // A look-up of a name may hang; it is not waited for.
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

    /// Whether there is a server.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// Hands over a point. Takes about a microsecond and never waits for anything: what finds no room is dropped and counted.
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

    /// What became of the points so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared.as_ref();
        shared.map_or_else(Stats::default, |shared| shared.counts.stats())
    }

    /// Sends what is left, for as long as `limit`, puts the rest on disk, and ends the thread. Returns when that is done, a
    /// second after the limit at the latest. Points that are written after it are dropped. Blocks: in async code, call it from
    /// `spawn_blocking`.
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
