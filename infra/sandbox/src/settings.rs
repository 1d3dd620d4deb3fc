//! What a server's folder says about it. The folder holds `settings.json` (mode 600), and for the
//! server's clients the addresses that its kind writes, `pid` while it runs, and logs in `log/`.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    broker_node, docker,
    error::{Result, failed, file_error, usage},
    influxdb,
    ports::Ports,
    victoria_metrics,
};

const FILE: &str = "settings.json";

/// A server of one kind, and the ports that it had last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) server: Kind,
    #[serde(default)]
    pub(crate) ports: Ports,
}

/// The kinds of servers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Broker(broker_node::Settings),
    InfluxDb,
    VictoriaMetrics,
    DockerEngine,
}

/// A process to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// All that it finds in its environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) log: PathBuf,
}

impl Launch {
    pub(crate) fn new(program: impl Into<OsString>, log: PathBuf) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
                ("LANG".into(), "C.UTF-8".into()),
            ],
            log,
        }
    }

    pub(crate) fn arguments<T: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn environment<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(k, v)| (k.into(), v.into()));
        self.environment.extend(variables);
        self
    }
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

    /// The folder for a new server: it is made, or is empty.
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

    /// Names of the ports that it needs.
    pub(crate) fn port_names(&self) -> Vec<String> {
        match &self.server {
            Kind::Broker(settings) => settings.port_names(),
            Kind::InfluxDb => influxdb::port_names(),
            Kind::VictoriaMetrics => victoria_metrics::port_names(),
            Kind::DockerEngine => Vec::new(),
        }
    }

    /// Those of the ports that one of the servers listens on, from 1 on.
    pub(crate) fn port_names_of(&self, number: usize) -> Vec<String> {
        match &self.server {
            Kind::Broker(settings) => settings.port_names_of(number),
            _ => self.port_names(),
        }
    }

    /// Writes configurations, and addresses for clients.
    pub(crate) fn write_files(&self, dir: &Path) -> Result<()> {
        match &self.server {
            Kind::Broker(settings) => settings.write_files(dir, &self.ports),
            Kind::InfluxDb => influxdb::write_files(dir, &self.ports),
            Kind::VictoriaMetrics => victoria_metrics::write_files(dir, &self.ports),
            Kind::DockerEngine => Ok(()),
        }
    }

    /// What runs beside the servers as long as the keeper does, and is started before them.
    pub(crate) fn helpers(&self, dir: &Path) -> Vec<Launch> {
        match &self.server {
            Kind::Broker(settings) => vec![settings.epmd(dir, &self.ports)],
            _ => Vec::new(),
        }
    }

    /// The server with this number, from 1 on; nothing if there are not so many.
    pub(crate) fn launch(&self, dir: &Path, number: usize) -> Result<Option<Launch>> {
        match &self.server {
            Kind::Broker(settings) => settings.launch(dir, &self.ports, number),
            _ if number != 1 => Ok(None),
            Kind::InfluxDb => influxdb::launch(dir).map(Some),
            Kind::VictoriaMetrics => Ok(Some(victoria_metrics::launch(dir, &self.ports))),
            Kind::DockerEngine => docker::launch(dir).map(Some),
        }
    }

    /// The folder with pid and logs of a server.
    pub(crate) fn folder(&self, dir: &Path, number: usize) -> PathBuf {
        match &self.server {
            Kind::Broker(settings) => settings.folder(dir, number),
            _ => dir.to_owned(),
        }
    }

    /// Deletes what killed servers leave outside of their folder.
    pub(crate) fn clean_up(&self, dir: &Path) {
        if matches!(self.server, Kind::DockerEngine) {
            docker::clean_up(dir);
        }
    }

    /// Whether a server that runs answers.
    pub(crate) fn is_ready(&self, dir: &Path, number: usize) -> bool {
        match &self.server {
            Kind::Broker(settings) => settings.is_ready(&self.ports, number),
            Kind::InfluxDb => influxdb::is_ready(&self.ports),
            Kind::VictoriaMetrics => victoria_metrics::is_ready(&self.ports),
            Kind::DockerEngine => docker::is_ready(dir),
        }
    }
}

/// Makes a folder that only its user may enter.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(file_error("make", dir))
}

/// Writes a file that only its user may read. It is there as a whole or not at all.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<()> {
    let new = path.with_added_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&new)
        .and_then(|mut file| file.write_all(text))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(file_error("write", path))
}
