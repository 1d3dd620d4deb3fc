//! The units of a run: which units to publish next, and the state of each unit until it is
//! answered. The publisher takes units from here; the results side requests here that units are
//! published again.

mod queue;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use queue::{PublisherAction, Units};
pub(crate) use shared::SharedUnits;
