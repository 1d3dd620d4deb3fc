//! The node's points: its own state, and the length of the queues that it consumes from.

use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lapin::Connection;
use primepool_common::{
    broker::{Endpoint, QueueFigures, queue_state},
    message::JobKind,
    metrics::{MetricsWriter, points},
    topology,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::node::Node;

/// Interval between two inspections of the queues. A producer inspects the queue of its run more
/// often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Interval per consumer, in a large pool: a thousand consumers that inspect the queues every five
/// seconds would cost the broker half a core.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// Longest interval between two inspections.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);

/// Longest time for the broker's reply about a queue; the intake waits meanwhile.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The default folder for points that cannot be sent: below XDG_STATE_HOME, or else below the
/// user's home. Without both, a folder in the temporary directory that belongs to this user alone;
/// `None` if another user has created something there.
pub(crate) fn default_spool() -> Option<PathBuf> {
    let home = |variable, below: &str| {
        let path = PathBuf::from(env::var_os(variable)?);
        path.is_absolute().then(|| path.join(below))
    };
    home("XDG_STATE_HOME", "")
        .or_else(|| home("HOME", ".local/state"))
        .map(|state| state.join("primepool/metrics-spool"))
        .or_else(|| own_dir(&env::temp_dir()))
}

/// A folder below `parent` that belongs to this user and that no other user can enter.
fn own_dir(parent: &Path) -> Option<PathBuf> {
    // The `/proc` entry of this process belongs to its user.
    let user = fs::metadata("/proc/self").ok()?.uid();
    let dir = parent.join(format!("primepool-{user}"));
    let _ = DirBuilder::new().mode(0o700).create(&dir);
    let found = fs::symlink_metadata(&dir).ok()?;
    let is_ours = found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0;
    is_ours.then(|| dir.join("metrics-spool"))
}

/// Writes a point of the node in each interval, until the task is aborted.
pub(crate) async fn report_node(node: Arc<Node>, writer: Arc<MetricsWriter>, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        write_node(&node, &writer);
    }
}

/// Writes a point with the current state of the node.
pub(crate) fn write_node(node: &Node, writer: &MetricsWriter) {
    writer.write(&points::node(&node.name, None, &node.sample()));
}

/// Inspects the queues that this consumer consumes from.
#[derive(Debug)]
pub(crate) struct Queues {
    writer: Arc<MetricsWriter>,
    queues: Vec<(String, Option<watch::Receiver<Option<QueueFigures>>>)>,
    next: Instant,
}

impl Queues {
    /// The queues of these kinds, except those that only serve measurements.
    #[must_use]
    pub(crate) fn new(endpoint: &Endpoint, kinds: &[JobKind], writer: Arc<MetricsWriter>) -> Self {
        let kinds = kinds.iter().filter(|kind| **kind != JobKind::Noop);
        let follow = |queue: String| {
            // Without a writer, the figures would not be used.
            let management = endpoint.management().filter(|_| writer.is_enabled());
            let figures = management.map(|api| api.follow(queue.clone()));
            (queue, figures)
        };
        Self {
            queues: kinds
                .map(|kind| follow(topology::jobs_queue(*kind)))
                .collect(),
            writer,
            next: Instant::now(),
        }
    }

    /// Waits until the next inspection; for ever if metrics are disabled.
    pub(crate) async fn due(&mut self) {
        if !self.writer.is_enabled() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.next).await;
    }

    /// Writes a point for each queue, until a reply of the broker fails or is late. The more
    /// consumers inspect the queues, the less often each one does.
    pub(crate) async fn look(&mut self, connection: &Connection) {
        let began = Instant::now();
        self.next = began + LOOK_EVERY;
        let mut consumers = 0;
        for (queue, figures) in &self.queues {
            let asked = queue_state(connection, queue);
            let Ok(Ok(state)) = timeout(LOOK_TIMEOUT, asked).await else {
                return;
            };
            consumers = state.consumers.max(consumers);
            let figures = figures.as_ref().and_then(|latest| *latest.borrow());
            self.writer
                .write(&points::queue(queue, None, &state, figures.as_ref()));
        }
        self.next = began + (LOOK_EACH * consumers).clamp(LOOK_EVERY, LOOK_AT_LEAST);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_in_a_shared_place_belongs_to_this_user_alone() {
        let shared = tempfile::tempdir().unwrap();
        let spool = own_dir(shared.path()).unwrap();
        assert_eq!(own_dir(shared.path()).as_ref(), Some(&spool), "again");
        let dir = spool.parent().unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(own_dir(shared.path()), None, "others could write into it");
        fs::remove_dir(dir).unwrap();
        symlink("/tmp", dir).unwrap();
        assert_eq!(own_dir(shared.path()), None, "it leads elsewhere");
        assert_eq!(own_dir(Path::new("/nonexistent")), None);
    }
}
