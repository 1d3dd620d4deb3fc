//! The program `sandbox`.

use std::process::ExitCode;

fn main() -> ExitCode {
    primepool_sandbox::main()
}
