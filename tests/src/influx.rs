use std::{
    fs,
    path::{Path, PathBuf},
};

use primepool_sandbox::{InfluxDb, Lifetime, VictoriaMetrics};
use serde_json::Value;
use tempfile::TempDir;

/// A private InfluxDB 1.x, stopped when this is dropped.
#[derive(Debug)]
pub struct Influx {
    server: InfluxDb,
    /// The folder with its addresses and data; it goes with the server, or with this process.
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
        let server = InfluxDb::start(&dir, &Lifetime::with_this_process(&dir)).unwrap();
        Self {
            url: server.url().unwrap(),
            token: server.token().unwrap(),
            server,
            dir,
        }
    }

    /// What tells a consumer or a producer to write to it.
    pub fn flags(&self) -> [String; 4] {
        let token = self.server.token_file();
        [
            "--influx-host",
            &self.url,
            "--influx-token-file",
            token.to_str().unwrap(),
        ]
        .map(str::to_owned)
    }

    /// kill -9.
    pub fn kill(&self) {
        self.server.kill().unwrap();
    }

    /// Starts it again after [`Influx::kill`], with its data.
    pub fn start_again(&self) {
        self.server.restart().unwrap();
    }

    /// Runs a query; the series of its answer.
    pub fn query(&self, database: &str, influxql: &str) -> Vec<Value> {
        let series = self.try_query(database, influxql);
        series.unwrap_or_else(|error| panic!("{influxql}: {error}"))
    }

    /// Runs a query; the series of its answer, or what the server says against it.
    pub fn try_query(&self, database: &str, influxql: &str) -> Result<Vec<Value>, String> {
        series(&self.server.query(database, influxql).unwrap().body)
    }

    /// Writes line protocol, with times in nanoseconds.
    pub fn write(&self, database: &str, lines: &str) {
        self.server.write(database, lines).unwrap();
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
pub(crate) fn series(answer: &str) -> Result<Vec<Value>, String> {
    let answer: Value = serde_json::from_str(answer).map_err(|_| answer.to_owned())?;
    let result = &answer["results"][0];
    match answer["error"].as_str().or(result["error"].as_str()) {
        Some(error) => Err(error.to_owned()),
        None => Ok(result["series"].as_array().cloned().unwrap_or_default()),
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        let _ = self.server.stop();
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
