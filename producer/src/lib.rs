//! The producer: publishes the jobs of a run, collects the results, verifies and reports them.
//!
//! ```text
//!   request ─unit─▶ publish ──▶ broker ──▶ consumers ──▶ broker ──▶ collect ──▶ results on disk
//!                    │                                                │           │
//!             confirmations ▶ journal                    acknowledgement ◀────────┘
//! ```
//!
//! The results file has each job once, verified.
//!
//! | module | content |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`request`] | the jobs that the user requests, and their packing into work units |
//! | [`run_dir`] | the folder of a run; `producer resume` continues from it |
//! | `units` | the units of a run and their state: waiting, published, confirmed |
//! | `broker` | publishing, collecting, cancelling |
//! | `results` | receives, deduplicates, verifies and writes results |
//! | `factoring` | integers that the whole pool factors together |
//! | `summary` | the figures of a run, and their table |
//! | `session` | connects the parts |

mod broker;
pub mod cli;
mod factoring;
mod metrics;
pub mod progress;
pub mod request;
mod results;
pub mod run_dir;
mod session;
mod status;
mod summary;
mod units;
mod window;

use primepool_common::{broker::Endpoint, exit::Exit};

use cli::{Cli, Task};

/// Executes the task of the command line; returns the exit status.
///
/// # Errors
/// Returns a message for the user, and the exit status that belongs to it.
pub fn main(cli: Cli) -> Result<Exit, (Exit, anyhow::Error)> {
    if let Some(completions) = cli.completions() {
        return completions.print::<Cli, _>();
    }
    let usage = |error: String| (Exit::Usage, anyhow::Error::msg(error));
    let endpoint = Endpoint::from_args(cli.broker()).map_err(usage)?;
    let task = cli.task().map_err(usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Incomplete, error.into()))?;
    let done = match task {
        Task::Run(options) => runtime.block_on(session::run(endpoint, *options)),
        Task::Cancel { run, runs_dir } => {
            runtime.block_on(broker::cancel(&endpoint, &run, &runs_dir))
        }
    };
    // Do not wait for blocking computations that are still running.
    runtime.shutdown_background();
    done
}
