//! The producer's connections to the broker: publishing, collecting, cancelling.

mod cancel;
mod collector;
mod lost_answers;
mod membership;
mod publisher;
mod results_queue;

pub(crate) use cancel::cancel;
pub(crate) use collector::Collector;
pub(crate) use lost_answers::LossDetector;
pub(crate) use membership::{Membership, look_around, workers};
pub(crate) use publisher::{PublishError, Publisher};
pub(crate) use results_queue::{OpenError, connect, open};
