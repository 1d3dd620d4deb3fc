//! The sink of the answers: it verifies and deduplicates them, writes the results to disk and
//! counts them.
//!
//! It runs on a separate thread, since both the checks and the disk take time, and processes up to
//! 256 answers at once.
//!
//! | step | file |
//! |---|---|
//! | receive, deduplicate | `receive.rs` |
//! | verify; wrong results are done again elsewhere | `check.rs`, `verify.rs` |
//! | campaigns for what workers left to the pool | `campaigns.rs` |
//! | write rows and points | `write.rs` |
//! | settle: the answers are acknowledged | `sink.rs` |

mod campaigns;
mod check;
mod hand_back;
mod printer;
mod receive;
mod sink;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub(crate) use campaigns::WHOLE_POOL;
pub(crate) use printer::Printer;
pub(crate) use sink::{Arrival, Files, FinishedSink, Sink, SinkInput};
pub(crate) use verify::Verifier;
