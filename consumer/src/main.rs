//! `consumer`: see `consumer --help`.

use std::process::ExitCode;

use clap::Parser;
use primepool_common::{exit::Exit, logging, stack};
use primepool_consumer::cli::Cli;

fn main() -> ExitCode {
    stack::make_room();
    let cli = Cli::parse();
    let outcome = logging::init(&cli.log, std::io::stderr)
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))
        .and_then(|()| primepool_consumer::main(cli));
    match outcome {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            #[expect(clippy::print_stderr, reason = "the log may be off or not started")]
            {
                eprintln!("consumer: {error:#}");
            }
            exit.into()
        }
    }
}
