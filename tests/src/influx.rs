use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{script, wait_for};

/// A private InfluxDB 1.x, stopped when this is dropped.
#[derive(Debug)]
pub struct Influx {
    /// The folder that `influx.sh` was given; it goes with the server, or with this process.
    pub dir: PathBuf,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// `USER:PASSWORD` of its administrator.
    pub token: String,
}

impl Influx {
    /// Starts one, which takes a quarter of a second.
    pub fn private() -> Self {
        // Not a `TempDir`: one in a static is never dropped.
        let dir = tempfile::tempdir().unwrap().keep();
        let pid = id().to_string();
        influx_sh(&["start", path(&dir), "--watch-pid", &pid, "--remove"]);
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        Self {
            url: read("influx-url").trim().to_owned(),
            token: read("influx-token").trim().to_owned(),
            dir,
        }
    }

    /// What tells a consumer or a producer to write to it.
    pub fn flags(&self) -> [String; 4] {
        let token = self.dir.join("influx-token");
        [
            "--influx-host",
            &self.url,
            "--influx-token-file",
            path(&token),
        ]
        .map(str::to_owned)
    }

    /// kill -9.
    pub fn kill(&self) {
        influx_sh(&["kill", path(&self.dir)]);
    }

    /// Starts it again after [`Influx::kill`], with its data.
    pub fn start_again(&self) {
        influx_sh(&["start", path(&self.dir)]);
    }

    /// Runs a query; the series of its answer.
    pub fn query(&self, database: &str, influxql: &str) -> Vec<Value> {
        let text = influx_sh(&["query", path(&self.dir), database, influxql]);
        let answer: Value = serde_json::from_str(&text).unwrap();
        let result = &answer["results"][0];
        assert!(result["error"].is_null(), "{influxql}: {answer}");
        result["series"].as_array().cloned().unwrap_or_default()
    }

    /// Writes a file of line protocol.
    pub fn import(&self, database: &str, file: &Path) {
        influx_sh(&["import", path(&self.dir), database, path(file)]);
    }

    /// The values of a query's first series, row by row.
    pub fn rows(&self, database: &str, influxql: &str) -> Vec<Vec<Value>> {
        let series = self.query(database, influxql);
        let Some(first) = series.first() else {
            return Vec::new();
        };
        let rows = first["values"].as_array().unwrap();
        rows.iter()
            .map(|row| row.as_array().unwrap().clone())
            .collect()
    }

    /// Values of a field that a measurement has.
    pub fn count(&self, database: &str, measurement: &str, field: &str) -> u64 {
        let query = format!("SELECT count({field}) FROM {measurement}");
        let rows = self.rows(database, &query);
        rows.first().map_or(0, |row| row[1].as_u64().unwrap())
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        influx_sh(&["stop", path(&self.dir)]);
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Runs `infra/local/influx.sh`; what it prints.
pub fn influx_sh(args: &[&str]) -> String {
    script("influx.sh", args)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A private VictoriaMetrics, which speaks InfluxDB 2's protocol. It is killed when this is dropped.
#[derive(Debug)]
pub struct Victoria {
    _own: TempDir,
    server: Child,
    address: String,
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Victoria {
    /// Starts one on a port that is free.
    pub fn private() -> Self {
        let own = tempfile::tempdir().unwrap();
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = port.local_addr().unwrap().to_string();
            drop(port);
            let log = fs::File::create(own.path().join("log")).unwrap();
            // setpriv: it ends with this process, however that ends.
            let mut server = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "victoria-metrics"])
                .arg(format!("-httpListenAddr={address}"))
                .arg(format!("-storageDataPath={}", path(own.path())))
                .args(["-retentionPeriod=100y", "-search.latencyOffset=0s"])
                .args(["-memory.allowedBytes=67108864", "-loggerLevel=WARN"])
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let ended = wait_for("VictoriaMetrics", || {
                if let Some(status) = server.try_wait().unwrap() {
                    return Some(Some(status));
                }
                (get(&address, "/health")? == "OK").then_some(None)
            });
            if let Some(status) = ended {
                let log = fs::read_to_string(own.path().join("log")).unwrap();
                assert!(log.contains("address already in use"), "{status}: {log}");
                continue;
            }
            return Self {
                _own: own,
                server,
                url: format!("http://{address}"),
                address,
            };
        }
        panic!("no port for VictoriaMetrics");
    }

    /// Everything it has of the series whose names begin so, a line of JSON each.
    pub fn export(&self, prefix: &str) -> Vec<Value> {
        get(&self.address, "/internal/force_flush").unwrap();
        let query = format!("/api/v1/export?match[]={{__name__=~%22{prefix}.*%22}}");
        let text = get(&self.address, &query).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The body that a GET gives; nothing if nobody answers.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // HTTP 1.0: the body ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(!head.contains("chunked"), "{head}");
    Some(body.to_owned())
}
