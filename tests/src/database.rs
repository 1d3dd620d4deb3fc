use serde_json::Value;

use crate::Influx;

/// A database of a private InfluxDB.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    influx: &'a Influx,
    name: &'a str,
}

impl<'a> Database<'a> {
    /// Makes the database if it is not there.
    pub fn create(influx: &'a Influx, name: &'a str) -> Self {
        let this = Self { influx, name };
        this.query(&format!("CREATE DATABASE \"{name}\"")).unwrap();
        this
    }

    /// Runs a query; the series of its answer, or what the server says against it.
    pub fn query(&self, influxql: &str) -> Result<Vec<Value>, String> {
        self.influx.try_query(self.name, influxql)
    }

    /// Writes lines of line protocol with times in nanoseconds.
    pub fn import(&self, lines: &str) {
        self.influx.write(self.name, lines);
    }
}
