//! The consumer: receives work units from the broker, processes, answers and acknowledges them.
//!
//! ```text
//! broker ─delivery─▶ intake ─task─▶ workers (OS threads) ─finished─▶ answers ─answer─▶ broker
//!   ▲                  │                                                │
//!   └──────────────────┴──── acknowledgement, once the answer ──────────┘
//!                            is confirmed
//! ```
//!
//! `service` connects the parts and drains them at the end. `intake` and `answers` each own a
//! connection, because lapin stops all writes, including acknowledgements, on a connection that the
//! broker blocks. `ledger` holds the deliveries that are not yet acknowledged; `running` holds the
//! units that the threads process, and stops them.

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
pub mod receipt;
mod running;
mod service;
mod tasks;
mod workers;

use primepool_common::{broker::Endpoint, exit::Exit, metrics::Source};
use tracing::error_span;

use cli::{Cli, Command};

/// Runs the command of the command line.
///
/// # Errors
/// The error, for people, and the matching exit status.
pub fn main(cli: Cli) -> Result<Exit, (Exit, anyhow::Error)> {
    match &cli.command {
        Some(Command::Health(args)) => {
            return health::check(args)
                .map_err(|reason| (Exit::Incomplete, anyhow::Error::msg(reason)));
        }
        Some(Command::Completions(args)) => return args.print::<Cli, _>(),
        None => {}
    }
    let usage = |error: String| (Exit::Usage, anyhow::Error::msg(error));
    let endpoint = Endpoint::from_args(&cli.broker).map_err(usage)?;
    let settings = cli.settings().map_err(usage)?;
    // The runtime polls its tasks on this thread, inside this span.
    let _on_node = error_span!("consumer", node = %settings.node).entered();
    let writer = cli
        .influx
        .writer(Source::Consumer, &settings.node, metrics::default_spool())
        .map_err(|error| usage(error.to_string()))?;
    // The runtime has its own thread, so that heartbeats are answered however busy the worker
    // threads are.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Incomplete, error.into()))?;
    runtime.block_on(service::run(endpoint, settings, writer))
}
