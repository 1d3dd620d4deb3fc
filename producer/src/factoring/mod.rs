//! Factoring of integers that are too hard for one worker: the pool works on them together.
//!
//! In a unit of the run, one worker factors an integer as far as it can alone. A composite that it
//! leaves to the pool becomes a campaign here: batches of curves, then ranges of the quadratic
//! sieve, with as many units at a time as the workers need. A batch is the set of units of one
//! stage; it is cancelled as a whole when the stage is over. No single unit is essential: a slow or
//! lost unit is replaced.
//!
//! ```text
//!   answer ──▶ decide (pure) ──▶ entries ──▶ CampaignState::apply ──▶ checkpoint
//! ```
//!
//! The entries alone determine [`CampaignState`](state::CampaignState), so `producer resume`
//! replays them. This module knows neither the broker nor the results file: the caller executes
//! its commands, and acknowledges an answer after [`Factoring::save`].

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

pub(crate) use answer::{CampaignAnswer, Verdict};
pub(crate) use pool::{CampaignCommand, Concluded, Factoring, LinearAlgebra, Solved};
