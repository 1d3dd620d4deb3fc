//! Private servers for runs, tests and benchmarks: RabbitMQ, alone or as a cluster, InfluxDB 1.x
//! and 2, VictoriaMetrics and a Docker engine. Each has its own ports, credentials and data, on
//! 127.0.0.1 and in one folder. A server that the system runs already is never touched.
//!
//! `make run`, `make test` and the program `sandbox` use this crate.
//!
//! # The keeper
//!
//! A keeper process starts and ends the servers of a folder. Clients reach it through a socket in
//! the folder. It watches the owner of the servers by a pidfd: when the owner ends, however it
//! ends, the servers end and the folder is deleted ([`Lifetime`]). Each server asks the kernel for
//! a SIGKILL at the death of the keeper, and the keeper adopts the orphans of its servers. So a
//! `kill -9` of any of these processes leaves nothing behind.
//!
//! # Ports
//!
//! Ports come from the system. The keeper holds each by a socket that is bound but does not
//! listen: the server may listen on it any number of times, and the system gives the port to no
//! program that asks for any port. A port that another program took by its number is replaced at
//! the next start.
//!
//! # RabbitMQ
//!
//! - A broker loads `infra/rabbitmq`. Consumers and producer log in as the users defined there.
//! - A broker has its own epmd; the nodes of a cluster share one. Node name, cookie and passwords
//!   are made for each broker. No `RABBITMQ_…` variable of the caller reaches it.
//! - Idle schedulers do not spin and are not bound to cores. Units may take a day.
//!
//! # InfluxDB, Docker
//!
//! - InfluxDB requires a login. Its administrator is created at the first start, with the password
//!   in the file `influx-token`. It reports nothing to its maker.
//! - The Docker engine runs in namespaces of its own for network, mounts and processes.
//!
//! Files are readable by their owner only. Programs get addresses by the environment, never on a
//! command line.

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
