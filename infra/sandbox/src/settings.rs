//! Settings of the servers in a folder, in `settings.json` (mode 600). The folder also holds the
//! addresses for clients, `pid` while a server runs, and logs in `log/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    broker_node,
    error::{Result, failed, usage},
    files::{make_private_dir, write_private},
    ports::Ports,
};

const FILE: &str = "settings.json";

/// The kind of the servers in a folder, and their last ports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) server: Kind,
    #[serde(default)]
    pub(crate) ports: Ports,
}

/// The kinds of servers. `kinds.rs` has the operations that differ between them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Broker(broker_node::Settings),
    InfluxDb,
    #[serde(rename = "influxdb-2")]
    InfluxDb2,
    VictoriaMetrics,
    DockerEngine,
}

impl Settings {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read(&path)
            .map_err(|_| usage(format!("there is no private server in {}", dir.display())))?;
        serde_json::from_slice(&text)
            .map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(failed)?;
        write_private(&dir.join(FILE), &text)
    }

    /// Creates the folder for a new server; an existing folder must be empty.
    pub(crate) fn make_dir(dir: &Path) -> Result<()> {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(usage(format!(
                "{} is not empty and holds no private server: name another folder",
                dir.display()
            )));
        }
        make_private_dir(dir)?;
        make_private_dir(&dir.join("log"))
    }

    pub(crate) fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// The folder with the pid file and logs of a server.
    pub(crate) fn folder(&self, dir: &Path, number: usize) -> PathBuf {
        match &self.server {
            Kind::Broker(settings) => settings.folder(dir, number),
            _ => dir.to_owned(),
        }
    }
}
