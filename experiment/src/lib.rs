//! Experiments: how the pool scales with workers and with nodes, and why.
//!
//! ```text
//! run ─┬─▶ baseline: the same jobs in a bare loop, which is the ceiling
//!      ├─▶ sweep ──▶ cluster: consumers (launcher, share) ──▶ broker ◀── process: a producer
//!      └─▶ record, archive: the figures in files of a folder, and as points for InfluxDB
//! ```
//!
//! The programs in `experiment/report` make reports and pictures from these files.

mod archive;
mod baseline;
pub mod cli;
mod cluster;
mod compare;
mod launcher;
mod machine;
mod number_list;
mod process;
mod queue;
mod record;
mod run;
pub mod share;
mod sweep;
mod system;
mod terminal;

use std::{sync::Arc, thread};

use anyhow::{Context, Error};
use primepool_common::{exit::Exit, output::print, shutdown::StopSignals};

use cli::{Cli, Command};
use process::Stop;

/// Runs what the command line asks for.
///
/// # Errors
/// The error, and the exit status for it.
pub fn main(cli: Cli) -> Result<Exit, (Exit, Error)> {
    let failed = |error| (Exit::Incomplete, error);
    match cli.command {
        Command::Run(args) => {
            let stop = stop_on_signals().map_err(failed)?;
            run::run(&args, &stop)
        }
        Command::Compare(args) => {
            let stop = stop_on_signals().map_err(failed)?;
            compare::compare(&args, &stop)
        }
        Command::BareLoop(args) => {
            let threads = args.threads.unwrap_or_else(machine::cores);
            let jobs_per_s =
                baseline::bare_loop(args.what, threads, args.min_time).map_err(failed)?;
            let measured = baseline::Measured {
                jobs_per_s,
                threads,
            };
            let text = serde_json::to_string(&measured).map_err(|error| failed(error.into()))?;
            print(&text).map_err(|error| failed(error.into()))?;
            Ok(Exit::Ok)
        }
    }
}

/// A [`Stop`] that SIGINT or SIGTERM sets; a second signal ends this process at once.
fn stop_on_signals() -> anyhow::Result<Arc<Stop>> {
    let stop = Arc::new(Stop::default());
    let asked = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let mut signals = {
        let _inside = runtime.enter();
        StopSignals::listen().context("cannot listen to signals")?
    };
    thread::spawn(move || {
        runtime.block_on(signals.next());
        asked.ask();
        runtime.block_on(signals.next());
        std::process::exit(Exit::Interrupted.code().into());
    });
    Ok(stop)
}
