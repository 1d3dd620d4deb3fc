//! Command lines of the consumer: arguments between zeros, a 1 for an address with a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use primepool_common::{cli::parse_from, text::printable};
use primepool_consumer::cli::Cli;
use primepool_fuzz::{assert_printable, command_line};

fuzz_target!(|data: &[u8]| {
    match parse_from::<Cli>(command_line("consumer", data)) {
        Ok(Some(cli)) => {
            for checked in [cli.check(), cli.log.filter().map(drop)] {
                if let Err(error) = checked {
                    assert_printable(&printable(&error));
                }
            }
        }
        Ok(None) => {}
        Err(error) => {
            assert!(error.starts_with("error: "), "{error}");
            assert_printable(&error);
        }
    }
});
