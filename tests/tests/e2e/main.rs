//! The end-to-end tests: real processes on real servers. They are one binary, because linking would
//! be most of the cost of separate ones.
//!
//! The modules are groups. `long::` runs only in `make test-all`; `alone::` needs the machine to
//! itself, and runs after the others with one thread. All other tests run in parallel.
//! `.config/nextest.toml` defines the same groups.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test ends with the first thing that goes wrong"
)]

mod alone;
mod long;

mod bad_input;
mod chaos;
mod cluster;
mod compare;
mod compose;
mod dashboard;
mod dashboards;
mod deploy;
mod docs;
mod experiment;
mod experiment_influx;
mod factor;
mod faults;
mod help;
mod hostile;
mod hosts;
mod ledger;
mod limits;
mod make_run;
mod metrics;
mod metrics_faults;
mod monitor;
mod output;
mod permissions;
mod proofs;
mod protocol;
mod run;
mod secrets;
mod shares;
mod spread;
mod stopping;
mod tls;
