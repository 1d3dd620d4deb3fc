//! `experiment`: see `experiment --help`.

use std::process::ExitCode;

use primepool_common::{cli, exit, stack};
use primepool_experiment::cli::Cli;

fn main() -> ExitCode {
    stack::make_room();
    exit::conclude(
        "experiment",
        primepool_experiment::main(cli::parse::<Cli>()),
    )
}
