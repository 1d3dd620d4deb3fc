//! Options of a metrics writer.

use std::{path::PathBuf, time::Duration};

/// The program that writes the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The producer.
    Producer,
    /// The consumer.
    Consumer,
    /// The experiment program.
    Experiment,
}

impl Source {
    /// The value of the tag `source`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Experiment => "experiment",
        }
    }
}

/// Options of a [`MetricsWriter`](super::MetricsWriter); [`WriterOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Tag `source` of the writer's own metrics.
    pub source: Source,
    /// Tag `node` of the writer's own metrics.
    pub node: String,
    /// Folder for lines that cannot be sent; created if missing, and may be shared by several
    /// processes. If it is `None` or unusable, the lines wait in memory.
    pub spool: Option<PathBuf>,
    /// Size limit of the spool in bytes; above it, the oldest lines are dropped. Default: 256 MiB.
    pub spool_limit: u64,
    /// Longest time that a line waits to be batched with others. Default: 1 s.
    pub interval: Duration,
    /// Interval between two points of the writer's own metrics. Default: 10 s.
    pub health_interval: Duration,
    /// Longest time for a response. Default: 15 s, so that a server that needs 10 s still works.
    pub timeout: Duration,
}

impl WriterOptions {
    /// Creates options with the default values.
    #[must_use]
    pub fn new(source: Source, node: &str, spool: impl Into<Option<PathBuf>>) -> Self {
        Self {
            source,
            node: node.to_owned(),
            spool: spool.into(),
            spool_limit: 256 << 20,
            interval: Duration::from_secs(1),
            health_interval: Duration::from_secs(10),
            timeout: Duration::from_secs(15),
        }
    }
}
