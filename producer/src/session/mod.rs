//! One session of a run: from its start, or from where an earlier session ended, to its end.

mod failure;
mod prepare;
mod report;
mod start;
mod watch;
mod wire;

pub(crate) use start::run;
