//! Command lines of the producer: arguments between zeros, a 1 for an address with a password.

use primepool_fuzz::check_command_line;
use primepool_producer::cli::Cli;

pub(crate) fn run(data: &[u8]) {
    check_command_line("producer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
}
