//! The producer: publishes a run of jobs, collects its results, verifies them, reports.
//!
//! ```text
//!   plan ──unit──▶ publish ──▶ broker ──▶ consumers ──▶ broker ──▶ collect ──▶ sink: each job once, verified, on disk
//!                    │                                                │           │
//!             confirmations ▶ journal                    acknowledgement ◀────────┘
//! ```
//!
//! [`run`] puts the parts together. [`folder`] is a run's folder: the manifest, from which every unit can be made again, and
//! the journal of the units that the broker has confirmed; with them `producer resume` goes on after whatever happened.

pub mod cancel;
pub mod cli;
pub mod collect;
pub mod doubt;
pub mod factoring;
pub mod folder;
pub mod metrics;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod row;
pub mod run;
pub mod semiprime;
pub mod sink;
pub mod state;
pub mod summary;
pub mod verify;

use primepool_common::{broker::Endpoint, exit::Exit};

use cli::{Cli, Task};

/// Runs what the command line asks for.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub fn main(cli: Cli) -> Result<Exit, (Exit, anyhow::Error)> {
    let usage = |error: String| (Exit::Usage, anyhow::Error::msg(error));
    let endpoint = Endpoint::from_args(cli.broker()).map_err(usage)?;
    let task = cli.task().map_err(usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Incomplete, error.into()))?;
    let done = match task {
        Task::Run(order) => runtime.block_on(run::run(endpoint, *order)),
        Task::Cancel { run, runs_dir } => {
            runtime.block_on(cancel::cancel(&endpoint, &run, &runs_dir))
        }
    };
    // Whatever still computes is not waited for.
    runtime.shutdown_background();
    done
}
