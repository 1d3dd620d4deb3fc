use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::Influx;

/// A database of a private InfluxDB.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    influx: &'a Influx,
    name: &'a str,
}

impl<'a> Database<'a> {
    /// Creates a database if it does not exist.
    pub fn create(influx: &'a Influx, name: &'a str) -> Self {
        influx.create(name);
        Self { influx, name }
    }

    /// Runs a query; returns the series of its answer, or the server's error message.
    pub fn query(&self, influxql: &str) -> Result<Vec<Value>, String> {
        self.influx.try_query(self.name, influxql)
    }

    /// Writes lines of line protocol with times in nanoseconds.
    pub fn import(&self, lines: &str) {
        self.influx.write(self.name, lines);
    }

    /// All points, as lines of line protocol.
    pub fn export(&self) -> String {
        let mut types = HashMap::new();
        for measurement in self.query("SHOW FIELD KEYS").unwrap() {
            for row in measurement["values"].as_array().unwrap() {
                let key = (text(&measurement["name"]), text(&row[0]));
                types.insert(key, text(&row[1]));
            }
        }
        let mut lines = String::new();
        for series in self.query("SELECT * FROM /.*/ GROUP BY *").unwrap() {
            let name = text(&series["name"]);
            let mut head = escaped(&name);
            for (tag, value) in series["tags"].as_object().unwrap() {
                let value = text(value);
                if !value.is_empty() {
                    write!(head, ",{}={}", escaped(tag), escaped(&value)).unwrap();
                }
            }
            let columns = series["columns"].as_array().unwrap();
            for row in series["values"].as_array().unwrap() {
                let row = row.as_array().unwrap();
                let fields = columns.iter().zip(row).skip(1);
                let fields = fields.filter(|(_, value)| !value.is_null());
                let fields: Vec<String> = fields
                    .map(|(field, value)| {
                        let field = text(field);
                        let value = match types[&(name.clone(), field.clone())].as_str() {
                            "integer" => format!("{value}i"),
                            // Line protocol quotes a string as JSON does, with backslashes before
                            // quotes.
                            _ => value.to_string(),
                        };
                        format!("{}={value}", escaped(&field))
                    })
                    .collect();
                let time: SystemTime = humantime::parse_rfc3339(row[0].as_str().unwrap()).unwrap();
                let time = time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
                writeln!(lines, "{head} {} {time}", fields.join(",")).unwrap();
            }
        }
        lines
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Escapes the name of a measurement, tag or field, or the value of a tag.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for character in name.chars() {
        if matches!(character, ',' | '=' | ' ') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
