//! The figures of a run, and how they are shown.

mod figures;
mod quantiles;
mod table;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use figures::{NodeSummary, Period, ReadBack, Summary};
pub(crate) use quantiles::{Distribution, Quantiles};
pub(crate) use tally::Tally;
