//! A private VictoriaMetrics, which accepts the write protocol of InfluxDB 2.

use std::{ffi::OsString, path::Path};

use crate::{
    error::{Result, failed},
    files::write_private,
    http::http,
    launch::Launch,
    ports::Ports,
    server::{Lifetime, Servers, life_of_one},
    settings::Kind,
};

/// A private VictoriaMetrics.
#[derive(Debug)]
pub struct VictoriaMetrics {
    servers: Servers,
}

life_of_one!(VictoriaMetrics);

impl VictoriaMetrics {
    /// Starts a server with its data in `dir`, or starts the server in `dir` again on its data.
    ///
    /// # Errors
    /// VictoriaMetrics is not installed or does not start, or the folder holds something else.
    pub fn start(dir: &Path, lifetime: &Lifetime) -> Result<Self> {
        let servers = Servers::keep(dir, || Ok(Kind::VictoriaMetrics), lifetime)?;
        servers.start(1)?;
        Ok(Self { servers })
    }

    /// `http://127.0.0.1:PORT`
    ///
    /// # Errors
    /// The folder is gone.
    pub fn url(&self) -> Result<String> {
        self.servers.read("url")
    }

    /// Exports all series whose names begin with `prefix`: one line of JSON for each.
    ///
    /// # Errors
    /// The server does not answer, or reports an error.
    pub fn export(&self, prefix: &str) -> Result<String> {
        let url = self.url()?;
        let matching = format!("match[]={{__name__=~%22{prefix}.*%22}}");
        let matching = matching.replace('{', "%7B").replace('}', "%7D");
        let mut body = String::new();
        for path in [
            "internal/force_flush".to_owned(),
            format!("api/v1/export?{matching}"),
        ] {
            let reply = http("GET", &format!("{url}/{path}"), None, "")?;
            if reply.status != 200 {
                return Err(failed(format!("VictoriaMetrics: {}", reply.body)));
            }
            body = reply.body;
        }
        Ok(body)
    }
}

pub(crate) fn port_names() -> Vec<String> {
    vec!["http".to_owned()]
}

pub(crate) fn write_files(dir: &Path, ports: &Ports) -> Result<()> {
    let url = format!("http://127.0.0.1:{}\n", ports["http"]);
    write_private(&dir.join("url"), url.as_bytes())
}

pub(crate) fn launch(dir: &Path, ports: &Ports) -> Launch {
    let mut data = OsString::from("-storageDataPath=");
    data.push(dir.join("data"));
    let address = format!("-httpListenAddr=127.0.0.1:{}", ports["http"]);
    let fixed = [
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
        "-memory.allowedBytes=67108864",
        "-loggerLevel=WARN",
    ];
    Launch::new("victoria-metrics", dir.join("log/victoria-metrics.log"))
        .arguments([address])
        .arguments(fixed)
        .arguments([data])
}

pub(crate) fn is_ready(ports: &Ports) -> bool {
    let url = format!("http://127.0.0.1:{}/health", ports["http"]);
    http("GET", &url, None, "").is_ok_and(|reply| reply.status == 200)
}
