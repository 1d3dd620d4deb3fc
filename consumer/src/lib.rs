//! The consumer: pulls work units from the broker, computes, answers, acknowledges.
//!
//! ```text
//!   broker ──delivery──▶ intake ──task──▶ workers (one OS thread each) ──finished──▶ answers ──result──▶ broker
//!     ▲                    │                                                           │
//!     └────────────────────┴────────── acknowledgement, once the result is confirmed ──┘
//! ```
//!
//! `service` puts the parts together and drains them; `intake` and `answers` own a connection each, because lapin stops
//! every write, acknowledgements too, on a connection that the broker blocks; `ledger` knows what this process has received
//! and not yet acknowledged, `running` what its threads work on and how to stop them.

pub mod answers;
mod cgroup;
pub mod cli;
mod compute;
mod factor;
pub mod health;
mod intake;
pub mod ledger;
mod machine;
mod metrics;
pub mod node;
mod prefetch;
mod running;
mod service;
mod tasks;
mod workers;

use primepool_common::{broker::Endpoint, exit::Exit, metrics::Source};
use tracing::error_span;

use cli::{Cli, Command};

/// Runs what the command line asks for.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub fn main(cli: Cli) -> Result<Exit, (Exit, anyhow::Error)> {
    if let Some(Command::Health(args)) = &cli.command {
        return health::check(args)
            .map_err(|reason| (Exit::Incomplete, anyhow::Error::msg(reason)));
    }
    let usage = |error: String| (Exit::Usage, anyhow::Error::msg(error));
    let endpoint = Endpoint::from_args(&cli.broker).map_err(usage)?;
    let settings = cli.settings().map_err(usage)?;
    // The tasks of the runtime are polled on this thread, inside of the span.
    let _on_node = error_span!("consumer", node = %settings.node).entered();
    let writer = cli
        .influx
        .writer(Source::Consumer, &settings.node, metrics::default_spool())
        .map_err(|error| usage(error.to_string()))?;
    // The runtime has this thread to itself, so that heartbeats are answered whatever the compute threads do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Incomplete, error.into()))?;
    runtime.block_on(service::run(endpoint, settings, writer))
}
