//! Private servers for runs, tests and benchmarks: RabbitMQ, alone or as a cluster, InfluxDB 1.x,
//! VictoriaMetrics and a Docker engine. Each has ports, credentials and data of its own, all on
//! 127.0.0.1 and in one folder; none of a server of the system is touched.
//!
//! A keeper process holds the ports of a folder's servers, starts and ends them, and ends them when
//! their owner dies ([`Lifetime`]). Should the keeper be killed, the kernel ends its children.

mod broker;
mod broker_node;
mod cli;
mod cluster;
mod docker;
mod error;
mod http;
mod influxdb;
mod keeper;
mod ports;
mod process;
mod run;
mod run_request;
mod server;
mod settings;
mod victoria_metrics;

pub use broker::{Broker, BrokerOptions, Permissions};
pub use cli::main;
pub use cluster::BrokerCluster;
pub use docker::DockerEngine;
pub use error::{Error, Result};
pub use http::{Reply, http};
pub use influxdb::InfluxDb;
pub use process::{ProcessId, this_program, tied};
pub use rustix::process::Signal;
pub use server::Lifetime;
pub use victoria_metrics::VictoriaMetrics;

use std::path::{Path, PathBuf};

/// The folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).unwrap_or(this).to_owned()
}

/// Random text of so many bytes, in hexadecimal.
fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random)
        .map_err(|error| error::failed(format!("no random numbers: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
