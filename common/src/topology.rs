//! Names of the exchanges and queues. [`crate::broker`] declares them.
//! `infra/rabbitmq/definitions.json` contains the same topology for a broker that is set up
//! beforehand; a test compares the two.
//!
//! Messages that must survive the loss of a broker node wait in quorum queues. The results of a run
//! wait in a durable classic queue. Such a queue is created and deleted with every run, which
//! quorum queues are not made for (RabbitMQ 3.10 loses a quorum queue when it is killed within a
//! second of the declaration). Losing the queue costs only work: the producer publishes units again
//! for jobs without a result.

use crate::message::{JobKind, RunId};

/// Direct exchange for work units; the routing key is the kind of job.
pub const JOBS_EXCHANGE: &str = "primepool.jobs";
/// Direct exchange for answers; the routing key is the run.
pub const RESULTS_EXCHANGE: &str = "primepool.results";
/// Alternate exchange of [`RESULTS_EXCHANGE`]: receives the answers of runs whose queue is gone.
pub const UNROUTED_EXCHANGE: &str = "primepool.results.unrouted";
/// Queue bound to [`UNROUTED_EXCHANGE`]; above [`UNROUTED_MAX_LENGTH`] the oldest messages are
/// dropped.
pub const UNROUTED_QUEUE: &str = "primepool.results.unrouted";
/// Exchange for messages that no consumer can process. Consumers publish to this exchange and not
/// directly to its queue: that would need the permission to write to the default exchange, through
/// which any queue can be reached.
pub const DEAD_EXCHANGE: &str = "primepool.dead";
/// Queue bound to [`DEAD_EXCHANGE`]; the header [`REASON_HEADER`] holds the reason.
pub const DEAD_QUEUE: &str = "primepool.dead";

/// Exchange for messages to all consumers and producers: that a run or a batch of its units is
/// cancelled.
pub const CONTROL_EXCHANGE: &str = "primepool.control";
/// Stream bound to [`CONTROL_EXCHANGE`]. Each consumer reads all of it, so that a consumer that
/// starts later also knows which waiting units are no longer wanted. Its name differs from that of
/// its exchange because permissions go by name: permission to write to the exchange would otherwise
/// also allow binding the stream to other exchanges.
pub const CONTROL_STREAM: &str = "primepool.control.log";
/// Exchange for the announcements of consumers and producers.
pub const NODES_EXCHANGE: &str = "primepool.nodes";
/// Stream bound to [`NODES_EXCHANGE`]; each observer reads all of it.
pub const NODES_STREAM: &str = "primepool.nodes.log";
/// Header of a message in [`DEAD_QUEUE`]: why it is there. Messages that the broker dead-lettered
/// itself carry its `x-death` header instead.
pub const REASON_HEADER: &str = "x-primepool-reason";
/// Header of a message in [`DEAD_QUEUE`]: the node that put it there.
pub const NODE_HEADER: &str = "x-primepool-node";

/// Number of deliveries after which the broker dead-letters a unit. Consumers refuse it long
/// before, with an answer to its run: see [`REFUSE_AFTER_DELIVERIES`].
pub const DELIVERY_LIMIT: i64 = 20;
/// Number of requeues after which a consumer answers `failed` instead of trying again.
pub const REFUSE_AFTER_DELIVERIES: i64 = 10;
/// Time after which an unused results queue is deleted: seven days, in milliseconds.
pub const RESULTS_EXPIRE_MS: i64 = 7 * 24 * 3600 * 1000;
/// Most messages that [`UNROUTED_QUEUE`] keeps.
pub const UNROUTED_MAX_LENGTH: i64 = 100_000;

/// Name of the queue for work units of a kind.
#[must_use]
pub fn jobs_queue(kind: JobKind) -> String {
    format!("{JOBS_EXCHANGE}.{kind}")
}

/// Name of the queue for the answers of a run.
#[must_use]
pub fn results_queue(run: &RunId) -> String {
    format!("{RESULTS_EXCHANGE}.{run}")
}

/// Number of messages that wait in a queue, and number of its consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that are ready; messages delivered to a consumer but not yet acknowledged do not
    /// count.
    pub ready: u32,
    /// Subscribed consumers.
    pub consumers: u32,
}
