//! The `consumer` program; see `consumer --help`.

use std::process::ExitCode;

use primepool_common::{
    cli,
    exit::{self, Exit},
    logging, stack,
};
use primepool_consumer::cli::Cli;

fn main() -> ExitCode {
    stack::make_room();
    let cli: Cli = cli::parse();
    let outcome = logging::init(&cli.log, std::io::stderr)
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
        .and_then(|()| primepool_consumer::main(cli));
    exit::conclude("consumer", outcome)
}
