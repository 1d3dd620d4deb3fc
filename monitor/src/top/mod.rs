//! `primepool top`: the pool live in the terminal.

mod draw;
mod screen;
mod terminal;

pub(crate) use terminal::run;
