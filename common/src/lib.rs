//! What the producer and the consumer share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`jobs`] | the kinds of jobs, a file each |
//! | [`message`] | work units, results and node samples, as they travel through the broker |
//! | [`topology`] | names and arguments of every exchange and queue, and their declaration |
//! | [`broker`] | how a connection is made, what its errors mean, and how long to wait before the next try |
//! | [`pool`] | who is in the pool: announcements, and what an observer knows from them |
//! | [`run_folder`] | folders of runs as others see them: which ones there are, their state, cancelling |
//! | [`metrics`] | points, the line protocol, the file that they go to, and the way to InfluxDB |
//! | [`cli`] | groups of command-line options that both binaries have |
//! | [`output`] | standard output and standard error |
//! | [`text`] | texts of others, made fit to be shown |
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
