//! The producer's ways to the broker.

mod cancel;
mod collector;
mod lost_answers;
mod publisher;

pub(crate) use cancel::cancel;
pub(crate) use collector::{Collector, OpenError, connect, open};
pub(crate) use lost_answers::LostAnswers;
pub(crate) use publisher::{PublishError, PublishRequest, Publisher};
