//! `primepool.dead`: the messages that no consumer can work on.

mod command;
mod letter;
mod poll;
mod queue;
mod selection;
mod text;

pub(crate) use command::run;
pub(crate) use poll::{DeadLetterPoll, MAX_READS};
pub(crate) use queue::look_at_letters;
pub(crate) use selection::{LetterSelection, letter_id};
