//! `primepool.dead`: the messages that no consumer can work on.

mod choice;
mod command;
mod letter;
mod look;
mod queue;
mod text;

pub(crate) use choice::{Choice, letter_id};
pub(crate) use command::run;
pub(crate) use look::{DeadLook, WORN_OUT};
pub(crate) use queue::look_at_letters;
