//! The library that all programs share.
//!
//! | module | contents |
//! |---|---|
//! | [`jobs`] | the kinds of jobs, one file each |
//! | [`message`] | work units, results and node samples, as they travel through the broker |
//! | [`topology`] | names of all exchanges and queues |
//! | [`broker`] | connections, declarations, publishing, errors and back-off |
//! | [`pool`] | announcements of the pool's members, and the view of an observer |
//! | [`run_folder`] | folders of runs as other programs see them: list, state, cancellation |
//! | [`metrics`] | points, the line protocol, the spool file, and the sender to InfluxDB |
//! | [`cli`] | groups of command-line options that several programs share |
//! | [`output`] | standard output and standard error |
//! | [`text`] | text from outside, made fit to be shown |
//! | [`clock`], [`logging`], [`shutdown`], [`stack`], [`exit`] | the frame of a program |

pub mod broker;
pub mod cli;
pub mod clock;
pub mod exit;
mod http;
pub mod jobs;
pub mod logging;
pub mod message;
pub mod metrics;
pub mod output;
pub mod pool;
pub mod run_folder;
pub mod shutdown;
pub mod stack;
pub mod text;
mod tls;
pub mod topology;
mod wire;
