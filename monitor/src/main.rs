//! `primepool`: see `primepool --help`.

use std::{io, process::ExitCode};

use primepool_common::{
    cli,
    exit::{self, Exit},
    logging, stack,
};
use primepool_monitor::cli::Cli;

fn main() -> ExitCode {
    stack::make_room();
    let cli: Cli = cli::parse();
    let outcome = logging::init(&cli.log, io::stderr)
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
        .and_then(|()| primepool_monitor::main(cli));
    exit::conclude("primepool", outcome)
}
