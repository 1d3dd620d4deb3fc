//! The operator's program `primepool`: shows the state of the pool, and handles what needs an
//! operator.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | `observer` | the connection to the broker: follows the announcements and polls the queues |
//! | `report` | the state of the pool at one moment: bounded, sorted |
//! | `alarms` | the conditions in a report that need the operator |
//! | `status` | `primepool status`: a report as text or JSON |
//! | `throughput` | the throughput in jobs per second, from the counters of the consumers |
//! | `top` | `primepool top`: a live view in the terminal, with keys |
//! | `dashboard` | `primepool dashboard`: a live web page, with the last hour |
//! | `dead` | `primepool dead`: the dead letters in `primepool.dead` |
//! | `check` | `primepool check`: verifies a file of results |
//! | `cancel` | `primepool cancel`: stops a run for good |
//! | `runs` | `primepool runs`: lists the run folders on this machine |

mod alarms;
mod cancel;
mod check;
pub mod cli;
mod columns;
mod dashboard;
mod dead;
mod observer;
mod report;
mod runs;
mod status;
mod throughput;
mod top;

use primepool_common::{
    broker::{BrokerError, Endpoint},
    exit::Exit,
};

use cli::{Cli, Command};

/// The exit status of a failed command, and its error.
type Failure = (Exit, anyhow::Error);

fn unreachable(error: BrokerError) -> Failure {
    (Exit::Unreachable, error.into())
}

/// Runs the command of the command line.
///
/// # Errors
/// The error of the command, with the exit status for it.
pub fn main(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Exit::Incomplete, error.into()))?;
    let done = match cli.command {
        Command::Status(args) => {
            let endpoint = endpoint(&args.broker)?;
            runtime.block_on(status::run(endpoint, &args))
        }
        Command::Top(args) => {
            let endpoint = endpoint(&args.broker)?;
            runtime.block_on(top::run(endpoint, args.interval))
        }
        Command::Dashboard(args) => {
            let endpoint = endpoint(&args.broker)?;
            runtime.block_on(dashboard::run(endpoint, &args))
        }
        Command::Dead(command) => {
            let endpoint = endpoint(command.broker())?;
            runtime.block_on(dead::run(endpoint, &command))
        }
        Command::Cancel(args) => {
            let endpoint = endpoint(&args.broker)?;
            runtime.block_on(cancel::run(endpoint, &args.run, &args.runs.runs_dir))
        }
        Command::Check(args) => check::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Completions(args) => args.print::<Cli, _>(),
    };
    // Do not wait for requests to the broker that are still pending.
    runtime.shutdown_background();
    done
}

fn endpoint(args: &primepool_common::broker::BrokerArgs) -> Result<Endpoint, Failure> {
    Endpoint::from_args(args).map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
}
