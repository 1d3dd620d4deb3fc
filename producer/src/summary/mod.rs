//! The summary of a run: its figures and their table.

mod figures;
mod quantiles;
mod table;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use figures::{NodeSummary, Period, ReadBack, Summary};
pub(crate) use quantiles::{Distribution, Quantiles};
pub(crate) use tally::Tally;
