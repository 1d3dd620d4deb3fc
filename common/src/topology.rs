//! Names of the exchanges and queues. [`crate::broker`] declares them, and `infra/rabbitmq/definitions.json` has the same for a
//! broker that is set up beforehand; a test compares the two.
//!
//! What must outlive a node of the broker waits in quorum queues. The results of a run wait in a durable classic queue: it
//! comes and goes with every run, which quorum queues are not made for (RabbitMQ 3.10 loses one that is killed within a second
//! of its making), and losing it costs only work: the producer asks again for what has no result.

use crate::message::{JobKind, RunId};

/// Direct exchange of the work units; the routing key is the kind of job.
pub const JOBS_EXCHANGE: &str = "primepool.jobs";
/// Direct exchange of the answers; the routing key is the run.
pub const RESULTS_EXCHANGE: &str = "primepool.results";
/// Takes the answers of runs whose queue is gone: an alternate exchange of [`RESULTS_EXCHANGE`].
pub const UNROUTED_EXCHANGE: &str = "primepool.results.unrouted";
/// Queue behind [`UNROUTED_EXCHANGE`]; the oldest are dropped above [`UNROUTED_MAX_LENGTH`].
pub const UNROUTED_QUEUE: &str = "primepool.results.unrouted";
/// Takes the messages that nobody can work on. Consumers publish them here and not to their queue directly: that would need the
/// right to write to the default exchange, through which any queue can be reached.
pub const DEAD_EXCHANGE: &str = "primepool.dead";
/// Queue behind [`DEAD_EXCHANGE`], with the reason in header [`REASON_HEADER`].
pub const DEAD_QUEUE: &str = "primepool.dead";

/// Takes what everybody who works on a run has to know: that it was cancelled.
pub const CONTROL_EXCHANGE: &str = "primepool.control";
/// Stream behind [`CONTROL_EXCHANGE`]: each consumer reads all of it, so that one that comes later knows which of the units that
/// still wait are not wanted. Its name is not that of its exchange: who may write to the exchange could bind it to others.
pub const CONTROL_STREAM: &str = "primepool.control.log";
/// Takes what consumers and producers announce of themselves.
pub const NODES_EXCHANGE: &str = "primepool.nodes";
/// Stream behind [`NODES_EXCHANGE`]: each observer reads all of it.
pub const NODES_STREAM: &str = "primepool.nodes.log";
/// Header of a message in [`DEAD_QUEUE`]: why it is there. Messages that the broker put there itself carry its `x-death`.
pub const REASON_HEADER: &str = "x-primepool-reason";
/// Header of a message in [`DEAD_QUEUE`]: the node that put it there.
pub const NODE_HEADER: &str = "x-primepool-node";

/// Deliveries after which the broker itself gives a unit up. Consumers refuse it long before, with an answer to its run:
/// [`REFUSE_AFTER_DELIVERIES`].
pub const DELIVERY_LIMIT: i64 = 20;
/// Returns to the queue after which a consumer answers `failed` in place of trying once more.
pub const REFUSE_AFTER_DELIVERIES: i64 = 10;
/// A results queue that nobody has read for this long is dropped: seven days, in milliseconds.
pub const RESULTS_EXPIRE_MS: i64 = 7 * 24 * 3600 * 1000;
/// Messages that [`UNROUTED_QUEUE`] keeps.
pub const UNROUTED_MAX_LENGTH: i64 = 100_000;

/// Queue of the work units of a kind.
#[must_use]
pub fn jobs_queue(kind: JobKind) -> String {
    format!("{JOBS_EXCHANGE}.{kind}")
}

/// Queue of the answers of a run.
#[must_use]
pub fn results_queue(run: &RunId) -> String {
    format!("{RESULTS_EXCHANGE}.{run}")
}

/// How many messages wait in a queue and how many consumers it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait; those that a consumer holds do not count.
    pub ready: u32,
    /// Consumers that are subscribed.
    pub consumers: u32,
}
