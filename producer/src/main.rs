//! `producer`: see `producer --help`.

use std::process::ExitCode;

use primepool_common::{
    cli,
    exit::{self, Exit},
    logging, stack,
};
use primepool_producer::{cli::Cli, progress};

fn main() -> ExitCode {
    stack::make_room();
    let cli: Cli = cli::parse();
    let outcome = logging::init(&cli.log, progress::log_writer)
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
        .and_then(|()| primepool_producer::main(cli));
    exit::conclude("producer", outcome)
}
