//! The node's points: its own state, and the length of the queues that it takes from.

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

/// Time between two looks at the queues. A producer looks more often at the queue of its run.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same for each consumer that there is: a thousand that look every five seconds cost the broker half a core.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// Longest time between two looks.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);

/// Longest time that the broker may take to tell the length of a queue: the intake waits meanwhile.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The folder for points that cannot be sent, unless --metrics-spool names one: below
/// XDG_STATE_HOME, or the user's home. Without both, a folder in the temporary one that belongs to
/// this user alone; nothing if another user has put something there.
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

/// A folder below `parent` that belongs to this user and that no other can enter.
fn own_dir(parent: &Path) -> Option<PathBuf> {
    // This process's own entry belongs to its user.
    let user = fs::metadata("/proc/self").ok()?.uid();
    let dir = parent.join(format!("primepool-{user}"));
    let _ = DirBuilder::new().mode(0o700).create(&dir);
    let found = fs::symlink_metadata(&dir).ok()?;
    let is_ours = found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0;
    is_ours.then(|| dir.join("metrics-spool"))
}

/// Writes a point of the node every so often; ends when it is aborted.
pub(crate) async fn report_node(node: Arc<Node>, writer: Arc<MetricsWriter>, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        write_node(&node, &writer);
    }
}

/// Writes a point of the node.
pub(crate) fn write_node(node: &Node, writer: &MetricsWriter) {
    writer.write(&points::node(&node.name, None, &node.sample()));
}

/// Looks at the queues that this consumer takes from.
#[derive(Debug)]
pub(crate) struct Queues {
    writer: Arc<MetricsWriter>,
    queues: Vec<(String, Option<watch::Receiver<Option<QueueFigures>>>)>,
    next: Instant,
}

impl Queues {
    /// The queues of these kinds; those of kinds for measuring only are left out.
    #[must_use]
    pub(crate) fn new(endpoint: &Endpoint, kinds: &[JobKind], writer: Arc<MetricsWriter>) -> Self {
        let kinds = kinds.iter().filter(|kind| **kind != JobKind::Noop);
        let follow = |queue: String| {
            // Nobody would read the figures.
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

    /// Waits until it is time for a look; for ever if nobody wants to know.
    pub(crate) async fn due(&mut self) {
        if !self.writer.is_enabled() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.next).await;
    }

    /// Writes a point of each queue, of those that the broker tells about in time. The more consumers look, the less often each does.
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
