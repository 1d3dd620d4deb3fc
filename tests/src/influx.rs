use std::{
    fs,
    path::{Path, PathBuf},
};

use primepool_sandbox::{InfluxDb, InfluxDb2, Lifetime, Reply, Role, VictoriaMetrics};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A private InfluxDB, stopped when this is dropped. With InfluxDB 2 the only bucket, and therefore
/// the only database, is `primepool`.
#[derive(Debug)]
pub struct Influx {
    server: Server,
    /// The folder with the server's addresses and data; deleted with the server, or when this
    /// process ends.
    pub dir: PathBuf,
    /// Base URL, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Credentials for a producer or consumer: `USER:PASSWORD` for InfluxDB 1.x, a token for 2.
    pub token: String,
}

#[derive(Debug)]
enum Server {
    One(InfluxDb),
    Two(InfluxDb2),
}

/// A new folder, which stays until its server is dropped.
fn folder() -> PathBuf {
    // Not a `TempDir`, because a static is never dropped.
    tempfile::tempdir().unwrap().keep()
}

impl Influx {
    /// Starts InfluxDB 1.x, which takes a quarter of a second.
    pub fn private() -> Self {
        Self::in_folder(folder())
    }

    /// Starts InfluxDB 1.x with its data in this folder.
    pub fn in_folder(dir: PathBuf) -> Self {
        let server = InfluxDb::start(&dir, &Lifetime::with_this_process(&dir)).unwrap();
        Self {
            url: server.url().unwrap(),
            token: server.token().unwrap(),
            server: Server::One(server),
            dir,
        }
    }

    /// Starts InfluxDB 2; prints a line and returns `None` where it was not built.
    pub fn private_2() -> Option<Self> {
        Self::is_2_made().then(|| Self::in_folder_2(folder()))
    }

    /// Whether InfluxDB 2 was built on this machine; prints a line if not.
    pub fn is_2_made() -> bool {
        let is_made = InfluxDb2::program().is_some();
        if !is_made {
            eprintln!("there is no InfluxDB 2 here: infra/local/setup.sh --influxdb2 makes it");
        }
        is_made
    }

    /// Starts InfluxDB 2 with its data in this folder.
    pub fn in_folder_2(dir: PathBuf) -> Self {
        let server = InfluxDb2::start(&dir, &Lifetime::with_this_process(&dir)).unwrap();
        Self {
            url: server.url().unwrap(),
            token: server.token(Role::Producer).unwrap(),
            server: Server::Two(server),
            dir,
        }
    }

    /// The server; panics if it is an InfluxDB 1.x.
    pub fn influxdb_2(&self) -> &InfluxDb2 {
        match &self.server {
            Server::Two(server) => server,
            Server::One(_) => panic!("this is InfluxDB 1.x"),
        }
    }

    /// Command-line options that make a consumer or a producer write to this server.
    pub fn flags(&self) -> [String; 6] {
        let token = match &self.server {
            Server::One(server) => server.token_file(),
            Server::Two(server) => server.token_file(Role::Producer),
        };
        [
            "--influx-host",
            &self.url,
            "--influx-org",
            "primepool",
            "--influx-token-file",
            token.to_str().unwrap(),
        ]
        .map(str::to_owned)
    }

    /// The same settings as environment variables.
    pub fn variables(&self) -> [(&'static str, &str); 3] {
        [
            ("INFLUX_HOST", &self.url),
            ("INFLUX_ORG", "primepool"),
            ("INFLUX_TOKEN", &self.token),
        ]
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        match &self.server {
            Server::One(server) => server.kill().unwrap(),
            Server::Two(server) => server.kill().unwrap(),
        }
    }

    /// Restarts the server after [`Influx::kill`], with its data.
    pub fn start_again(&self) {
        match &self.server {
            Server::One(server) => server.restart().unwrap(),
            Server::Two(server) => server.restart().unwrap(),
        }
    }

    /// Creates a database if it does not exist; with InfluxDB 2 it always exists.
    pub fn create(&self, database: &str) {
        match self.server {
            Server::One(_) => {
                self.query("", &format!("CREATE DATABASE \"{database}\""));
            }
            Server::Two(_) => assert_eq!(database, "primepool"),
        }
    }

    /// Sets the retention of `primepool` to one hour, so that the server refuses older points.
    pub fn keep_an_hour(&self) {
        self.create("primepool");
        match &self.server {
            Server::One(_) => {
                let policy =
                    "ALTER RETENTION POLICY autogen ON primepool DURATION 1h SHARD DURATION 1h";
                self.query("", policy);
            }
            Server::Two(server) => {
                let ask = |method, path: &str, body: &str| {
                    let Reply { status, body } =
                        server.ask(Role::Operator, method, path, body).unwrap();
                    assert_eq!(status, 200, "{body}");
                    serde_json::from_str::<Value>(&body).unwrap()
                };
                let found = ask("GET", "/api/v2/buckets?name=primepool", "");
                let bucket = found["buckets"][0]["id"].as_str().unwrap();
                let rules = json!({
                    "retentionRules": [{
                        "type": "expire", "everySeconds": 3600, "shardGroupDurationSeconds": 3600
                    }]
                });
                let path = format!("/api/v2/buckets/{bucket}");
                ask("PATCH", &path, &rules.to_string());
            }
        }
    }

    /// Runs a query that must succeed; returns the series of its answer.
    pub fn query(&self, database: &str, influxql: &str) -> Vec<Value> {
        let series = self.try_query(database, influxql);
        series.unwrap_or_else(|error| panic!("{influxql}: {error}"))
    }

    /// Runs a query; returns the series of its answer, or the server's error message.
    pub fn try_query(&self, database: &str, influxql: &str) -> Result<Vec<Value>, String> {
        let reply = match &self.server {
            Server::One(server) => server.query(database, influxql),
            Server::Two(server) => {
                assert_eq!(database, "primepool");
                server.query(influxql)
            }
        };
        series(&reply.unwrap().body)
    }

    /// Writes line protocol with timestamps in nanoseconds.
    pub fn write(&self, database: &str, lines: &str) {
        match &self.server {
            Server::One(server) => server.write(database, lines).unwrap(),
            Server::Two(server) => {
                assert_eq!(database, "primepool");
                server.write(lines).unwrap();
            }
        }
    }

    /// Writes a file of line protocol.
    pub fn import(&self, database: &str, file: &Path) {
        self.write(database, &fs::read_to_string(file).unwrap());
    }

    /// The rows of the first series that a query returns.
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

    /// Number of values of a field in a measurement.
    pub fn count(&self, database: &str, measurement: &str, field: &str) -> u64 {
        let query = format!("SELECT count({field}) FROM {measurement}");
        let rows = self.rows(database, &query);
        rows.first().map_or(0, |row| row[1].as_u64().unwrap())
    }
}

/// The series in a query response, or the server's error message.
fn series(answer: &str) -> Result<Vec<Value>, String> {
    let answer: Value = serde_json::from_str(answer).map_err(|_| answer.to_owned())?;
    let result = &answer["results"][0];
    match answer["error"].as_str().or(result["error"].as_str()) {
        Some(error) => Err(error.to_owned()),
        None => Ok(result["series"].as_array().cloned().unwrap_or_default()),
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        let _ = match &self.server {
            Server::One(server) => server.stop(),
            Server::Two(server) => server.stop(),
        };
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A private VictoriaMetrics, which speaks InfluxDB 2's protocol. It is stopped when this is
/// dropped.
#[derive(Debug)]
pub struct Victoria {
    server: VictoriaMetrics,
    _own: TempDir,
    /// Base URL, `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Victoria {
    /// Starts a server.
    pub fn private() -> Self {
        let own = tempfile::tempdir().unwrap();
        let lifetime = Lifetime::with_this_process(own.path());
        let server = VictoriaMetrics::start(&own.path().join("victoria"), &lifetime).unwrap();
        Self {
            url: server.url().unwrap(),
            server,
            _own: own,
        }
    }

    /// All data of the series whose names begin with `prefix`, one JSON object for each series.
    pub fn export(&self, prefix: &str) -> Vec<Value> {
        let text = self.server.export(prefix).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        let _ = self.server.stop();
    }
}
