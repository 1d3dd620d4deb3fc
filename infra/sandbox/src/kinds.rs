//! The operations that differ by kind of server. Only the keeper imports this file. The kinds
//! import `settings.rs`, so these operations, which import the kinds, cannot be there.

use std::path::Path;

use crate::{
    docker,
    error::Result,
    influxdb, influxdb_2,
    launch::Launch,
    settings::{Kind, Settings},
    victoria_metrics,
};

/// Names of all ports that the servers need.
pub(crate) fn port_names(settings: &Settings) -> Vec<String> {
    match &settings.server {
        Kind::Broker(broker) => broker.port_names(),
        Kind::InfluxDb => influxdb::port_names(),
        Kind::InfluxDb2 => influxdb_2::port_names(),
        Kind::VictoriaMetrics => victoria_metrics::port_names(),
        Kind::DockerEngine => Vec::new(),
    }
}

/// Names of the ports that the server with this number (from 1 on) listens on.
pub(crate) fn port_names_of(settings: &Settings, number: usize) -> Vec<String> {
    match &settings.server {
        Kind::Broker(broker) => broker.port_names_of(number),
        _ => port_names(settings),
    }
}

/// Writes the configuration files, and the addresses for clients.
pub(crate) fn write_files(settings: &Settings, dir: &Path) -> Result<()> {
    match &settings.server {
        Kind::Broker(broker) => broker.write_files(dir, &settings.ports),
        Kind::InfluxDb => influxdb::write_files(dir, &settings.ports),
        Kind::InfluxDb2 => influxdb_2::write_files(dir, &settings.ports),
        Kind::VictoriaMetrics => victoria_metrics::write_files(dir, &settings.ports),
        Kind::DockerEngine => Ok(()),
    }
}

/// Processes that the keeper starts before the servers and ends after them.
pub(crate) fn helpers(settings: &Settings, dir: &Path) -> Vec<Launch> {
    match &settings.server {
        Kind::Broker(broker) => vec![broker.epmd(dir, &settings.ports)],
        _ => Vec::new(),
    }
}

/// The process of the server with this number (from 1 on); `None` if there is no such server.
pub(crate) fn launch(settings: &Settings, dir: &Path, number: usize) -> Result<Option<Launch>> {
    match &settings.server {
        Kind::Broker(broker) => broker.launch(dir, &settings.ports, number),
        _ if number != 1 => Ok(None),
        Kind::InfluxDb => influxdb::launch(dir).map(Some),
        Kind::InfluxDb2 => influxdb_2::launch(dir, &settings.ports).map(Some),
        Kind::VictoriaMetrics => Ok(Some(victoria_metrics::launch(dir, &settings.ports))),
        Kind::DockerEngine => docker::launch(dir).map(Some),
    }
}

/// Deletes the control groups and files that a killed Docker engine leaves behind.
pub(crate) fn clean_up(settings: &Settings, dir: &Path) {
    if matches!(settings.server, Kind::DockerEngine) {
        docker::clean_up(dir);
    }
}

/// Whether the running server with this number answers.
pub(crate) fn is_ready(settings: &Settings, dir: &Path, number: usize) -> bool {
    match &settings.server {
        Kind::Broker(broker) => broker.is_ready(&settings.ports, number),
        Kind::InfluxDb => influxdb::is_ready(&settings.ports),
        Kind::InfluxDb2 => influxdb_2::is_ready(&settings.ports),
        Kind::VictoriaMetrics => victoria_metrics::is_ready(&settings.ports),
        Kind::DockerEngine => docker::is_ready(dir),
    }
}
