//! Sweeps of workers and nodes, the ceiling they are measured against, and the report of both.

pub mod record;
pub mod report;
