//! `primepool top`: the pool live in the terminal.

mod draw;
mod pace;
mod screen;
mod terminal;

pub(crate) use terminal::run;
