//! Command lines of the producer: arguments between zeros, a 1 for an address with a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use primepool_fuzz::check_command_line;
use primepool_producer::cli::Cli;

fuzz_target!(|data: &[u8]| {
    check_command_line("producer", data, |cli: &Cli| {
        [cli.check(), cli.log.filter().map(drop)]
    });
});
