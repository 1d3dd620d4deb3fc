//! The units of a run: which ones are to be published next, and what is known of each until it is
//! answered. The publisher pulls from here; the results say here what is to be published again.

mod queue;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use queue::{Next, Units};
pub(crate) use shared::SharedUnits;
