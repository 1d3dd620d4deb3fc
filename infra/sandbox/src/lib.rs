//! Private servers for runs, tests and benchmarks: RabbitMQ, alone or as a cluster, InfluxDB 1.x
//! and 2, VictoriaMetrics and a Docker engine. Each has ports, credentials and data of its own, all
//! on 127.0.0.1 and in one folder; none of a server of the system is touched.
//!
//! A keeper process holds the ports of a folder's servers, starts and ends them, and ends them when
//! their owner dies ([`Lifetime`]). Should the keeper be killed, the kernel ends its children.

mod broker;
mod broker_node;
mod cli;
mod cluster;
mod control;
mod docker;
mod error;
mod files;
mod http;
mod influxdb;
mod influxdb_2;
mod influxdb_program;
mod keeper;
mod kinds;
mod launch;
mod ports;
mod process;
mod random;
mod run;
mod run_request;
mod server;
mod settings;
mod tools;
mod victoria_metrics;

pub use broker::{Broker, Permissions};
pub use broker_node::BrokerOptions;
pub use cli::main;
pub use cluster::BrokerCluster;
pub use docker::DockerEngine;
pub use error::{Error, Result};
pub use files::repository;
pub use http::{Reply, http};
pub use influxdb::InfluxDb;
pub use influxdb_2::{InfluxDb2, Role};
pub use process::{ProcessId, this_program, tied};
pub use rustix::process::Signal;
pub use server::Lifetime;
pub use victoria_metrics::VictoriaMetrics;
