//! The operator's program: what is in the pool, and what to do about it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | `observer` | the way to the broker: follows the announcements and looks at the queues |
//! | `report` | what an observer knows of the pool at one moment, bounded and in order |
//! | `alarms` | what in a report needs the operator |
//! | `status` | `primepool status`: a report as text or JSON |
//! | `pace` | jobs per second, from what consumers count |
//! | `top` | `primepool top`: the same live, with keys |
//! | `dashboard` | `primepool dashboard`: the same as a web page, with the last hour |
//! | `dead` | `primepool dead`: the letters of `primepool.dead` |
//! | `check` | `primepool check`: whether a file of results holds |
//! | `cancel` | `primepool cancel` |
//! | `runs` | `primepool runs`: folders of runs on this machine |

mod alarms;
mod cancel;
mod check;
pub mod cli;
mod columns;
mod dashboard;
mod dead;
mod observer;
mod pace;
mod report;
mod runs;
mod status;
mod top;

use primepool_common::{
    broker::{BrokerError, Endpoint},
    exit::Exit,
};

use cli::{Cli, Command};

/// How a command fails: the exit status, and the error.
type Failure = (Exit, anyhow::Error);

fn unreachable(error: BrokerError) -> Failure {
    (Exit::Unreachable, error.into())
}

/// Does what the command line asks for.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
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
    };
    // What still waits for the broker is not waited for.
    runtime.shutdown_background();
    done
}

fn endpoint(args: &primepool_common::broker::BrokerArgs) -> Result<Endpoint, Failure> {
    Endpoint::from_args(args).map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
}
