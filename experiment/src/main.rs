//! `experiment`: writes the report of the folder that its argument names.

use std::{path::PathBuf, process::ExitCode};

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command's answer"
)]
fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: experiment DIR");
        return ExitCode::from(2);
    };
    match primepool_experiment::report::report(&dir) {
        Ok(report) => {
            for sentence in report.words {
                println!("{sentence}");
            }
            println!("{}", report.html.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("experiment: {error:#}");
            ExitCode::FAILURE
        }
    }
}
