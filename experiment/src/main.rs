//! `experiment`: see `experiment --help`.

use std::process::ExitCode;

use clap::Parser;
use primepool_experiment::cli::Cli;

fn main() -> ExitCode {
    primepool_common::stack::make_room();
    match primepool_experiment::main(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            primepool_experiment::run::complain(&format!("{error:#}"));
            exit.into()
        }
    }
}
