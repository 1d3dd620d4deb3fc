//! Command lines of the consumer: a 0 ends an argument, and a 1 stands for a URL with a password.

use primepool_consumer::cli::Cli;
use primepool_fuzz::check_command_line;

pub(crate) fn run(data: &[u8]) {
    check_command_line("consumer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
}
