use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
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
    /// Makes the database if it is not there.
    pub fn create(influx: &'a Influx, name: &'a str) -> Self {
        let this = Self { influx, name };
        this.query(&format!("CREATE DATABASE \"{name}\"")).unwrap();
        this
    }

    /// Runs a query; the series of its answer, or what the server says against it.
    pub fn query(&self, influxql: &str) -> Result<Vec<Value>, String> {
        let (_, body) = self.post("query", &format!("q={}", encode(influxql)), "");
        let answer: Value = serde_json::from_str(&body).map_err(|_| body)?;
        let result = &answer["results"][0];
        match answer["error"].as_str().or(result["error"].as_str()) {
            Some(error) => Err(error.to_owned()),
            None => Ok(result["series"].as_array().cloned().unwrap_or_default()),
        }
    }

    /// Writes lines of line protocol with times in nanoseconds.
    pub fn import(&self, lines: &str) {
        let (head, body) = self.post("write", "precision=ns", lines);
        assert!(head.starts_with("HTTP/1.0 204"), "{head}\n{body}");
    }

    fn post(&self, path: &str, parameters: &str, body: &str) -> (String, String) {
        let address = self.influx.url.strip_prefix("http://").unwrap();
        let (user, password) = self.influx.token.split_once(':').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        // HTTP 1.0: the body ends with the connection.
        write!(
            stream,
            "POST /{path}?db={}&u={user}&p={password}&{parameters} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            encode(self.name),
            body.len(),
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
