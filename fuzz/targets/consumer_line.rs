//! Command lines of the consumer: arguments between zeros, a 1 for an address with a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use primepool_consumer::cli::Cli;
use primepool_fuzz::check_command_line;

fuzz_target!(|data: &[u8]| {
    check_command_line("consumer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
});
