//! How a writer works.

use std::{path::PathBuf, time::Duration};

/// Which program writes the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `producer`
    Producer,
    /// `consumer`
    Consumer,
    /// `experiment`
    Experiment,
}

impl Source {
    /// As the tag `source` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Experiment => "experiment",
        }
    }
}

/// How a [`MetricsWriter`](super::MetricsWriter) works; [`WriterOptions::new`] has the usual values.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Tag `source` of the writer's own metrics.
    pub source: Source,
    /// Tag `node` of the writer's own metrics.
    pub node: String,
    /// Folder for lines that cannot be sent, made if it is missing; several processes may share it.
    /// Without one, or if it cannot be used, they wait in memory.
    pub spool: Option<PathBuf>,
    /// Most bytes of such lines; then the oldest are dropped. 256 MiB.
    pub spool_limit: u64,
    /// Longest time that a line waits for others. 1 s.
    pub interval: Duration,
    /// Time between two points of the writer's own metrics. 10 s.
    pub health_interval: Duration,
    /// Longest time that the server may take to answer. 15 s, so that one that needs 10 s is served nevertheless.
    pub timeout: Duration,
}

impl WriterOptions {
    /// The usual values.
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
