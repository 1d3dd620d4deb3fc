//! `experiment`: see `experiment --help`.

use std::process::ExitCode;

use primepool_common::{cli, stack, text::printable};
use primepool_experiment::cli::Cli;

fn main() -> ExitCode {
    stack::make_room();
    match primepool_experiment::main(cli::parse::<Cli>()) {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            primepool_experiment::run::complain(&printable(&format!("{error:#}")));
            exit.into()
        }
    }
}
