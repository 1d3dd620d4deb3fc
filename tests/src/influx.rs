use std::{
    fs,
    path::{Path, PathBuf},
};

use primepool_sandbox::{InfluxDb, InfluxDb2, Lifetime, Reply, Role, VictoriaMetrics};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A private InfluxDB, stopped when this is dropped. The bucket of InfluxDB 2, and with it its only
/// database here, is `primepool`.
#[derive(Debug)]
pub struct Influx {
    server: Server,
    /// The folder with its addresses and data; it goes with the server, or with this process.
    pub dir: PathBuf,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// What a producer needs: `USER:PASSWORD` of 1.x, a token of 2.
    pub token: String,
}

#[derive(Debug)]
enum Server {
    One(InfluxDb),
    Two(InfluxDb2),
}

/// A folder that stays until its server is dropped.
fn folder() -> PathBuf {
    // Not a `TempDir`: one in a static is never dropped.
    tempfile::tempdir().unwrap().keep()
}

impl Influx {
    /// Starts InfluxDB 1.x, which takes a quarter of a second.
    pub fn private() -> Self {
        Self::in_folder(folder())
    }

    /// The same with its data in this folder.
    pub fn in_folder(dir: PathBuf) -> Self {
        let server = InfluxDb::start(&dir, &Lifetime::with_this_process(&dir)).unwrap();
        Self {
            url: server.url().unwrap(),
            token: server.token().unwrap(),
            server: Server::One(server),
            dir,
        }
    }

    /// Starts InfluxDB 2; nothing, and a line that says so, where it was not made.
    pub fn private_2() -> Option<Self> {
        Self::is_2_made().then(|| Self::in_folder_2(folder()))
    }

    /// Whether there is an InfluxDB 2; a line says so if not.
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

    /// The server, which is an InfluxDB 2.
    pub fn influxdb_2(&self) -> &InfluxDb2 {
        match &self.server {
            Server::Two(server) => server,
            Server::One(_) => panic!("this is InfluxDB 1.x"),
        }
    }

    /// What tells a consumer or a producer to write to it.
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

    /// The same as variables of the environment.
    pub fn variables(&self) -> [(&'static str, &str); 3] {
        [
            ("INFLUX_HOST", &self.url),
            ("INFLUX_ORG", "primepool"),
            ("INFLUX_TOKEN", &self.token),
        ]
    }

    /// kill -9.
    pub fn kill(&self) {
        match &self.server {
            Server::One(server) => server.kill().unwrap(),
            Server::Two(server) => server.kill().unwrap(),
        }
    }

    /// Starts it again after [`Influx::kill`], with its data.
    pub fn start_again(&self) {
        match &self.server {
            Server::One(server) => server.restart().unwrap(),
            Server::Two(server) => server.restart().unwrap(),
        }
    }

    /// Makes a database if it is not there. That of InfluxDB 2 is.
    pub fn create(&self, database: &str) {
        match self.server {
            Server::One(_) => {
                self.query("", &format!("CREATE DATABASE \"{database}\""));
            }
            Server::Two(_) => assert_eq!(database, "primepool"),
        }
    }

    /// Makes `primepool` refuse what is older than an hour.
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

    /// Runs a query; the series of its answer.
    pub fn query(&self, database: &str, influxql: &str) -> Vec<Value> {
        let series = self.try_query(database, influxql);
        series.unwrap_or_else(|error| panic!("{influxql}: {error}"))
    }

    /// Runs a query; the series of its answer, or what the server says against it.
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

    /// Writes line protocol, with times in nanoseconds.
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

/// The series of an answer, or what the server says against the query.
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
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Victoria {
    /// Starts one.
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

    /// Everything it has of the series whose names begin so, a line of JSON each.
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
