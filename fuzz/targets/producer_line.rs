//! Command lines of the producer: a 0 ends an argument, and a 1 stands for a URL with a password.

use primepool_fuzz::check_command_line;
use primepool_producer::cli::Cli;

pub(crate) fn run(data: &[u8]) {
    check_command_line("producer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
}
