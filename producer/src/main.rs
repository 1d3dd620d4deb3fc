//! `producer`: see `producer --help`.

use std::process::ExitCode;

use primepool_common::{cli, exit::Exit, logging, stack, text::printable};
use primepool_producer::{cli::Cli, progress};

fn main() -> ExitCode {
    stack::make_room();
    let cli: Cli = cli::parse();
    let outcome = logging::init(&cli.log, progress::log_writer)
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
        .and_then(|()| primepool_producer::main(cli));
    match outcome {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            #[expect(clippy::print_stderr, reason = "the log may be off or not started")]
            {
                eprintln!("producer: {}", printable(&format!("{error:#}")));
            }
            exit.into()
        }
    }
}
