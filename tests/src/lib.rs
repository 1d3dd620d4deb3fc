//! Shared parts of the end-to-end tests: private servers, the real binaries as processes, and
//! readers of the files that they write.
//!
//! `make test` builds the binaries first and starts one broker for all tests; each test has a
//! virtual host of its own there. A test that kills its broker starts a private one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends with the first thing that goes wrong"
)]

mod authority;
mod broker;
mod browser;
pub mod chaos;
mod database;
mod docker;
mod grafana;
mod images;
mod influx;
mod influxql;
mod process;
mod results;
mod sample_data;
mod ssh;
mod usage;

pub use authority::Authority;
pub use broker::{Broker, Cluster, with_channel};
pub use browser::Browser;
pub use database::Database;
pub use docker::DockerEngine;
pub use grafana::{
    AlertRule, Dashboard, GrafanaQuery, Variable, alert_rules, dashboards, grafana_dir,
};
pub use influx::{Influx, Victoria};
pub use influxql::{Choice, Context, expand};
pub use process::{Binary, Consumer, Finished, Process};
pub use results::{Results, assert_factored, integer, primes};
pub use sample_data::{Recording, Span, fill_rarities, fill_trouble, measure_prime_rate};
pub use ssh::SshServer;
pub use usage::{cpu_seconds, loopback_bytes, median_and_range, setting, thread_cpu_seconds};

use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Polls until `look` returns a value; panics after a minute with `what` in the message.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The Python interpreter with the packages pinned in `FOLDER/requirements.txt`, as installed by
/// `setup.sh --test`.
pub fn python_of(folder: &str) -> PathBuf {
    let script = ". infra/local/lib.sh && python_of \"$1\" && printf %s \"$REPLY\"";
    let said = Command::new("bash")
        .args(["-c", script, "bash", folder])
        .current_dir(workspace())
        .output()
        .unwrap();
    let python = PathBuf::from(String::from_utf8(said.stdout).unwrap());
    assert!(
        python.exists(),
        "{} is missing: run the tests with `make test`, or infra/local/setup.sh --test before",
        python.display()
    );
    python
}

/// The Python program that makes reports and figures, with these first arguments.
pub fn report(args: &[&str]) -> Command {
    let mut command = Command::new(python_of("experiment/report"));
    let program = workspace().join("experiment/report");
    command.arg("-B").arg(program).args(args);
    command
}

/// The root folder of the workspace.
pub fn workspace() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the crate is in the workspace")
        .to_owned()
}
