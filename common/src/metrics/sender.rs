//! The thread behind a [`super::MetricsWriter`]. It decides which lines go to the server, which go
//! to disk, and when.
//!
//! All waiting lines are in one queue of segments, oldest first; each segment is in memory or on
//! disk. Only the first segment is ever sent, so the order is kept. Normally, segments go from
//! memory to the server. After a failure they go to disk, and new lines are queued on disk behind
//! them until the queue is empty again.

use std::{
    collections::VecDeque,
    future::{Future, pending},
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, error, info, warn};

use super::{
    Point, WriterOptions,
    buffer::{BATCH_LINES, WriterState},
    encode,
    server::{Delivery, Failure, Server, line_count},
    spool::Spool,
};
use crate::{broker::Backoff, clock};

/// Size limit of a segment, in bytes.
const BATCH_BYTES: u64 = 1_000_000;

/// Time after which a request counts as slow: segments that wait behind it go to disk.
const SLOW: Duration = Duration::from_secs(3);
/// Most bytes that wait in memory in normal operation; more goes to disk.
const MEMORY_BYTES: u64 = 4 << 20;
/// Most bytes that wait in memory when the disk cannot be written; more is dropped.
const MEMORY_BYTES_WITHOUT_DISK: u64 = 16 << 20;

/// Number of attempts, when the writer closes, to reach a server that is away. If nothing answers,
/// they take about a second.
const LAST_TRIES: u32 = 3;

struct Segment {
    /// Increases from segment to segment: nanoseconds since 1970.
    id: u64,
    lines: u64,
    bytes: u64,
    /// The lines; `None` if they are on disk.
    memory: Option<Vec<u8>>,
    /// Whether the segment accepts no more lines.
    sealed: bool,
}

/// The kind of a [`Failure`], without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    Away,
    Busy,
    Refused,
}

type Sending = Pin<Box<dyn Future<Output = Delivery> + Send>>;

pub(super) struct Sender {
    /// Name of the server, for the log.
    name: String,
    server: Arc<Server>,
    spool: Spool,
    options: WriterOptions,
    shared: Arc<WriterState>,
    queue: VecDeque<Segment>,
    /// Buffer for the next lines to collect, kept for its capacity.
    lines: String,
    last_id: u64,
    /// When the request for the first segment was started; `None` if none is in flight.
    sent_at: Option<Instant>,
    /// Kind of the last failure, from the first one until the queue is empty again.
    failure_kind: Option<FailureKind>,
    backoff: Backoff,
    /// Earliest time of the next request.
    next_try: Instant,
    next_health: Instant,
    /// Whether the log has already reported this condition; one flag for each.
    warned_full: bool,
    warned_memory: bool,
    warned_unreadable: bool,
    warned_disk: bool,
    warned_refused: bool,
}

impl Sender {
    pub(super) fn new(
        name: String,
        server: Server,
        spool: Spool,
        options: WriterOptions,
        shared: Arc<WriterState>,
    ) -> Self {
        let has_spool = spool.is_there();
        Self {
            name,
            server: Arc::new(server),
            spool,
            next_health: Instant::now() + options.health_interval,
            options,
            shared,
            queue: VecDeque::new(),
            lines: String::new(),
            last_id: 0,
            sent_at: None,
            failure_kind: None,
            backoff: Backoff::new(),
            next_try: Instant::now(),
            warned_full: false,
            warned_memory: false,
            warned_unreadable: false,
            // Without a spool, the user was already warned at the start.
            warned_disk: !has_spool,
            warned_refused: false,
        }
    }

    /// Runs until the writer is closed.
    pub(super) async fn run(mut self) {
        self.find_leftovers();
        let mut tick = interval(self.options.interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sending: Option<Sending> = None;
        let (mut close_by, mut last_tries): (Option<Instant>, _) = (None, None);
        loop {
            if close_by.is_none()
                && let Some(by) = self.shared.close_by()
            {
                close_by = Some(by.into());
                self.shared.shut();
                self.collect(true);
                if self.failure_kind != Some(FailureKind::Busy) {
                    self.next_try = Instant::now();
                    self.backoff = Backoff::new();
                }
                last_tries = Some(LAST_TRIES);
            }
            if sending.is_none() && Instant::now() >= self.next_try {
                sending = self.send();
            }
            let waits = sending.is_none() && !self.queue.is_empty();
            if let Some(by) = close_by {
                let paused = waits && self.next_try > Instant::now();
                // The program waits for this thread to end: only a few more attempts, and only if
                // they may help.
                let hopeless =
                    self.failure_kind != Some(FailureKind::Away) || last_tries == Some(0);
                let done = sending.is_none() && !waits;
                if Instant::now() >= by || (paused && hopeless) || done {
                    break;
                }
            }
            tokio::select! {
                delivery = finished(&mut sending) => {
                    sending = None;
                    if delivery.failure.is_some() {
                        last_tries = last_tries.map(|tries| tries.saturating_sub(1));
                    }
                    self.delivered(delivery);
                }
                () = sleep_until(self.next_try), if waits => {}
                () = sleep_until(close_by.unwrap_or(self.next_try)), if close_by.is_some() => {}
                _ = tick.tick(), if close_by.is_none() => self.collect(false),
                () = self.shared.wake.notified() => self.collect(false),
            }
        }
        drop(sending);
        self.finish();
    }

    fn find_leftovers(&mut self) {
        match self.spool.find() {
            Ok(found) => {
                for each in found {
                    self.last_id = each.id;
                    self.queue.push_back(Segment {
                        id: each.id,
                        lines: each.lines,
                        bytes: each.bytes,
                        memory: None,
                        sealed: true, // its last line may be incomplete
                    });
                }
            }
            Err(error) => {
                let spool = self.spool.dir().display();
                warn!(%spool, %error, "cannot read the metrics spool");
            }
        }
        self.enforce_limits();
        let lines: u64 = self.queue.iter().map(|segment| segment.lines).sum();
        if lines > 0 {
            let spool = self.spool.dir().display();
            info!(points = lines, %spool, influxdb = %self.name, "sending spooled metrics");
        }
    }

    // --- queue ---

    /// Queues the lines that were written since the last call.
    fn collect(&mut self, closing: bool) {
        let mut lines = std::mem::take(&mut self.lines);
        self.shared.take(&mut lines);
        if closing || Instant::now() >= self.next_health {
            self.next_health = Instant::now() + self.options.health_interval;
            self.add_health(&mut lines);
        }
        let most = self.batch_bytes();
        let (mut start, mut end, mut count) = (0, 0, 0);
        for line in lines.split_inclusive('\n') {
            if count == BATCH_LINES || (count > 0 && (end - start + line.len()) as u64 > most) {
                self.enqueue(&lines.as_bytes()[start..end], count);
                (start, count) = (end, 0);
            }
            end += line.len();
            count += 1;
        }
        if count > 0 {
            self.enqueue(&lines.as_bytes()[start..end], count);
        }
        lines.clear();
        lines.shrink_to(BATCH_BYTES as usize); // release the memory after a burst
        self.lines = lines;
        self.enforce_limits();
    }

    /// Appends a point with the writer's own metrics.
    fn add_health(&self, lines: &mut String) {
        let stats = self.shared.counts.stats();
        let point = Point::new("metrics", clock::unix_ns())
            .tag("source", self.options.source.as_str())
            .tag("node", self.options.node.as_str())
            .field("points_written", stats.written)
            .field("points_spooled", stats.spooled)
            .field("points_dropped", stats.dropped)
            .field("points_refused", stats.refused)
            .field("write_errors", stats.write_errors);
        encode(&point, lines);
    }

    /// Size limit of a segment. It is much smaller than the spool, because the spool drops whole
    /// segments.
    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES.min(self.options.spool_limit / 8)
    }

    /// Appends lines to the last segment if it is in memory and has room; otherwise starts a new
    /// segment.
    fn enqueue(&mut self, lines: &[u8], count: u64) {
        let (bytes, most) = (lines.len() as u64, self.batch_bytes());
        let last_is_sent = self.sent_at.is_some() && self.queue.len() == 1;
        if let Some(last) = self.queue.back_mut()
            && !last.sealed
            && !last_is_sent
            && last.lines + count <= BATCH_LINES
            && last.bytes + bytes <= most
            && let Some(memory) = &mut last.memory
        {
            memory.extend_from_slice(lines);
            last.lines += count;
            last.bytes += bytes;
            return;
        }
        self.last_id = clock::unix_ns().max(self.last_id + 1);
        self.queue.push_back(Segment {
            id: self.last_id,
            lines: count,
            bytes,
            memory: Some(lines.to_vec()),
            sealed: false,
        });
    }

    /// Moves to disk what should not wait in memory, and drops what exceeds the limits.
    fn enforce_limits(&mut self) {
        let slow = self.sent_at.is_some_and(|at| at.elapsed() > SLOW);
        if self.failure_kind.is_some() || slow || self.waiting_in_memory() > MEMORY_BYTES {
            self.spill();
        }
        self.drop_oldest(false); // leftovers may exceed the limit
        self.drop_oldest(true);
        let spooled = self.queue.iter().filter(|segment| segment.memory.is_none());
        let spooled = spooled.map(|segment| segment.lines).sum();
        self.shared.counts.spooled.store(spooled, Relaxed);
    }

    /// Number of segments at the front that must not change: 1 while the first one is being sent.
    fn on_the_way(&self) -> usize {
        usize::from(self.sent_at.is_some()).min(self.queue.len())
    }

    fn waiting_in_memory(&self) -> u64 {
        let waiting = self.queue.iter().skip(self.on_the_way());
        waiting
            .filter(|segment| segment.memory.is_some())
            .map(|segment| segment.bytes)
            .sum()
    }

    /// Writes segments to disk and joins small ones. Segments that cannot be written stay in
    /// memory.
    fn spill(&mut self) {
        let from = self.on_the_way();
        while let Some(index) =
            (from..self.queue.len()).find(|index| self.queue[*index].memory.is_some())
        {
            if let Err(error) = self.spill_one(index, index > from) {
                self.warn_of_disk(&error);
                return;
            }
            self.drop_oldest(false);
        }
    }

    /// Writes one segment to disk. It is appended to the previous segment if `may_join` is set and
    /// that one has room.
    fn spill_one(&mut self, index: usize, may_join: bool) -> io::Result<()> {
        let most = self.batch_bytes();
        let segment = &self.queue[index];
        let Some(memory) = &segment.memory else {
            return Ok(());
        };
        let before = index.checked_sub(1).map(|index| &self.queue[index]);
        let joined = before.filter(|before| {
            may_join
                && before.memory.is_none()
                && !before.sealed
                && before.lines + segment.lines <= BATCH_LINES
                && before.bytes + segment.bytes <= most
        });
        self.spool
            .append(joined.map_or(segment.id, |before| before.id), memory)?;
        if joined.is_some() {
            let (lines, bytes) = (segment.lines, segment.bytes);
            self.queue.remove(index);
            let before = &mut self.queue[index - 1];
            before.lines += lines;
            before.bytes += bytes;
        } else {
            self.queue[index].memory = None;
        }
        Ok(())
    }

    fn warn_of_disk(&mut self, error: &io::Error) {
        if !self.warned_disk {
            self.warned_disk = true;
            let spool = self.spool.dir().display();
            let limit_mib = MEMORY_BYTES_WITHOUT_DISK >> 20;
            warn!(
                %spool, %error, limit_mib,
                "cannot write the metrics spool: points wait in memory, \
                 beyond the limit the oldest are dropped"
            );
        }
    }

    /// Drops the oldest segments, on disk or in memory, until there is room for one more.
    fn drop_oldest(&mut self, in_memory: bool) {
        let limit = if in_memory {
            MEMORY_BYTES_WITHOUT_DISK
        } else {
            self.options.spool_limit - self.batch_bytes()
        };
        let is_of_these = |segment: &Segment| segment.memory.is_some() == in_memory;
        let these = self.queue.iter().filter(|segment| is_of_these(segment));
        let mut bytes: u64 = these.map(|segment| segment.bytes).sum();
        while bytes > limit {
            let oldest = (self.on_the_way()..self.queue.len())
                .find(|index| is_of_these(&self.queue[*index]));
            let Some(segment) = oldest.and_then(|index| self.queue.remove(index)) else {
                return;
            };
            bytes -= segment.bytes;
            if segment.memory.is_none() {
                self.remove_file(segment.id);
            }
            self.count_dropped(segment.lines);
            if in_memory {
                self.warn_of_full_memory();
            } else {
                self.warn_of_full_spool();
            }
        }
    }

    fn count_dropped(&self, lines: u64) {
        self.shared.counts.dropped.fetch_add(lines, Relaxed);
    }

    fn warn_of_full_spool(&mut self) {
        if !self.warned_full {
            self.warned_full = true;
            let spool = self.spool.dir().display();
            let limit_bytes = self.options.spool_limit;
            warn!(
                %spool, limit_bytes,
                "the metrics spool is full: the oldest points are dropped \
                 (see --metrics-spool-limit)"
            );
        }
    }

    /// Segments wait in memory beyond the limit only if they cannot be written to disk.
    fn warn_of_full_memory(&mut self) {
        if !self.warned_memory {
            self.warned_memory = true;
            let spool = self.spool.dir().display();
            let limit_mib = MEMORY_BYTES_WITHOUT_DISK >> 20;
            warn!(
                %spool, limit_mib,
                "no metrics spool can be written and the memory limit is reached: \
                 the oldest points are dropped"
            );
        }
    }

    fn warn_of_unreadable_segment(&mut self, points: u64, error: &io::Error) {
        if self.warned_unreadable {
            debug!(points, %error, "cannot read a segment of the metrics spool");
        } else {
            self.warned_unreadable = true;
            let spool = self.spool.dir().display();
            warn!(
                %spool, points, %error,
                "cannot read a segment of the metrics spool: its points are dropped"
            );
        }
    }

    fn remove_file(&mut self, id: u64) {
        if let Err(error) = self.spool.remove(id) {
            debug!(%error, "cannot remove a segment of the metrics spool");
        }
    }

    // --- server ---

    /// Starts a request for the first segment.
    fn send(&mut self) -> Option<Sending> {
        loop {
            let segment = self.queue.front()?;
            let lines = match &segment.memory {
                Some(memory) => Ok(memory.clone()),
                None => self.spool.read(segment.id),
            };
            match lines {
                Ok(lines) => {
                    self.sent_at = Some(Instant::now());
                    let server = Arc::clone(&self.server);
                    return Some(Box::pin(async move { server.deliver(lines).await }));
                }
                Err(error) => {
                    let lost = segment.lines;
                    self.queue.pop_front();
                    self.count_dropped(lost);
                    self.warn_of_unreadable_segment(lost, &error);
                }
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        self.sent_at = None;
        let counts = &self.shared.counts;
        counts.written.fetch_add(delivery.written, Relaxed);
        counts.refused.fetch_add(delivery.refused, Relaxed);
        for refusal in &delivery.refusals {
            if self.warned_refused {
                debug!(%refusal, "InfluxDB rejects a point");
            } else {
                self.warned_refused = true;
                warn!(
                    influxdb = %self.name, %refusal,
                    "InfluxDB rejects a point, which is dropped; further ones are only counted"
                );
            }
        }
        let Some(failure) = delivery.failure else {
            if let Some(segment) = self.queue.pop_front()
                && segment.memory.is_none()
            {
                self.remove_file(segment.id);
            }
            self.backoff.reset();
            if self.queue.is_empty() {
                self.recovered();
            }
            self.enforce_limits();
            return;
        };
        counts.write_errors.fetch_add(1, Relaxed);
        self.keep_rest(delivery.rest);
        let pause = self.backoff.next_delay();
        self.next_try = Instant::now()
            + match &failure {
                Failure::Busy { wait, .. } => wait.unwrap_or(pause),
                _ => pause,
            };
        self.note_failure(&failure);
        self.enforce_limits();
    }

    /// Keeps the rest of the first segment after a part of it was delivered.
    fn keep_rest(&mut self, rest: Vec<u8>) {
        let Some(segment) = self.queue.front_mut() else {
            return;
        };
        if rest.len() as u64 == segment.bytes {
            return;
        }
        segment.lines = line_count(&rest);
        segment.bytes = rest.len() as u64;
        // If this fails, lines are sent twice, which is harmless.
        if segment.memory.is_some() {
            segment.memory = Some(rest);
        } else if let Err(error) = self.spool.rewrite(segment.id, &rest) {
            debug!(%error, "cannot shorten a segment of the metrics spool");
        }
    }

    fn note_failure(&mut self, failure: &Failure) {
        let spool = self.spool.dir().display();
        let (failure_kind, influxdb) = (self.failure_kind, &self.name);
        let now = match failure {
            Failure::Away(reason) => {
                if failure_kind != Some(FailureKind::Away) {
                    warn!(
                        %influxdb, error = %reason, %spool,
                        "cannot reach InfluxDB: metrics wait in the spool"
                    );
                }
                FailureKind::Away
            }
            Failure::Busy { reason, .. } => {
                if failure_kind != Some(FailureKind::Busy) {
                    warn!(
                        %influxdb, error = %reason, %spool,
                        "InfluxDB asks for a pause: metrics wait in the spool"
                    );
                }
                FailureKind::Busy
            }
            Failure::Refused(reason) => {
                if failure_kind != Some(FailureKind::Refused) {
                    error!(
                        %influxdb, error = %reason, %spool,
                        "InfluxDB refuses metrics, which wait in the spool"
                    );
                }
                FailureKind::Refused
            }
        };
        self.failure_kind = Some(now);
    }

    /// Called when all waiting lines have been sent.
    fn recovered(&mut self) {
        if self.failure_kind.take().is_some() {
            let stats = self.shared.counts.stats();
            info!(
                influxdb = %self.name,
                points_written = stats.written,
                points_dropped = stats.dropped,
                "InfluxDB takes metrics again; the spool is empty"
            );
        }
        self.warned_full = false;
        self.warned_memory = false;
        self.warned_unreadable = false;
        self.warned_disk = !self.spool.is_there();
    }

    /// Writes the remaining lines to disk.
    fn finish(&mut self) {
        self.sent_at = None;
        self.spill();
        self.enforce_limits();
        // Lines that could not be written to disk.
        let lost = self.queue.iter().filter(|segment| segment.memory.is_some());
        let lost: u64 = lost.map(|segment| segment.lines).sum();
        let counts = &self.shared.counts;
        counts.dropped.fetch_add(lost, Relaxed);
        let stats = counts.stats();
        if stats.spooled > 0 {
            let spool = self.spool.dir().display();
            warn!(
                points = stats.spooled, influxdb = %self.name, %spool,
                "metrics wait in the spool until a process with this spool runs again"
            );
        }
        if stats.dropped + stats.refused > 0 {
            let (dropped, refused) = (stats.dropped, stats.refused);
            warn!(dropped, refused, "InfluxDB lacks points of this process");
        }
    }
}

/// Waits for the end of the request in flight; for ever, if there is none. Cancel safe.
async fn finished(sending: &mut Option<Sending>) -> Delivery {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}
