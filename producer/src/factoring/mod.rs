//! Factoring of integers that are too hard for one worker: the pool works on them together.
//!
//! A unit of the run takes an integer apart as far as one worker does. A composite that it leaves
//! to the pool becomes a campaign here: batches of curves, then ranges of the quadratic sieve, as
//! many units at a time as the workers need. A batch is the units of one stage; it is cancelled as
//! a whole when the stage is over. No unit has to come back: one that is slow or lost is replaced.
//!
//! ```text
//!   answer ──▶ decide (pure) ──▶ entries ──▶ State::apply ──▶ checkpoint
//! ```
//!
//! [`State`](state::State) follows from the entries alone, so that `producer resume` is their
//! replay. This module knows neither the broker nor the results file: the caller carries out its
//! commands, and acknowledges an answer after [`Factoring::save`].

mod answer;
mod batches;
mod campaign;
mod checkpoint;
mod decide;
mod entry;
mod pool;
mod progress;
mod state;
#[cfg(test)]
mod tests;
mod workers;

pub(crate) use answer::{Answer, Verdict};
pub(crate) use pool::{Command, Concluded, Factoring, LinearAlgebra, Solved};
