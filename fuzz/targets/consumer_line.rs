//! Command lines of the consumer: arguments between zeros, a 1 for an address with a password.

use primepool_consumer::cli::Cli;
use primepool_fuzz::check_command_line;

pub(crate) fn run(data: &[u8]) {
    check_command_line("consumer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
}
