//! The producer: publishes a run of jobs, collects its results, verifies them, reports.
//!
//! ```text
//!   request ─unit─▶ publish ──▶ broker ──▶ consumers ──▶ broker ──▶ collect ──▶ results: each job once, verified, on disk
//!                    │                                                │           │
//!             confirmations ▶ journal                    acknowledgement ◀────────┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`request`] | what the user asks for, and its packing into work units |
//! | [`run_dir`] | the folder of a run: with it `producer resume` goes on after whatever happened |
//! | `broker` | publishing, collecting, cancelling |
//! | `results` | receive, deduplicate, verify, write, settle |
//! | `factoring` | integers on which the whole pool works |
//! | `summary` | figures and their table |
//! | `session` | puts the parts together |

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
        Task::Run(order) => runtime.block_on(session::run(endpoint, *order)),
        Task::Cancel { run, runs_dir } => {
            runtime.block_on(broker::cancel(&endpoint, &run, &runs_dir))
        }
    };
    // Whatever still computes is not waited for.
    runtime.shutdown_background();
    done
}
