//! Queries in InfluxQL, which InfluxDB 1, 2 and 3 all support. InfluxDB 2 needs a DBRP mapping for
//! a bucket that was not created through its 1.x API.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::{InfluxTarget, MetricsError};
use crate::{
    http,
    text::{MAX_REASON_BYTES, reason},
};

/// Longest time for a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest response that is read, in bytes. A series with all points of a long sweep fits.
const LONGEST_ANSWER: usize = 64 << 20;

/// Runs queries on the database that an [`InfluxTarget`] names.
pub struct MetricsReader {
    target: InfluxTarget,
    http: Client,
}

/// One series of a response.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Name of the measurement.
    pub name: String,
    /// Tags that the query groups by.
    pub tags: BTreeMap<String, String>,
    /// Names of the columns; the first one is `time`, in nanoseconds since 1970.
    pub columns: Vec<String>,
    /// Rows, each with one value per column.
    pub values: Vec<Vec<Value>>,
}

impl Series {
    /// The number in the given column of the first row; `None` if there is none.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.values.first()?.get(place)?.as_f64()
    }
}

/// A failed query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} does not answer queries: {reason}")]
pub struct ReadError {
    target: String,
    reason: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Statement>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

impl MetricsReader {
    /// Creates a reader without sending a request.
    ///
    /// # Errors
    /// The HTTP client cannot be created.
    pub fn new(target: InfluxTarget) -> Result<Self, MetricsError> {
        let http = target.client(TIMEOUT)?;
        Ok(Self { target, http })
    }

    /// The series that a query of one statement returns; empty if there is no data.
    ///
    /// # Errors
    /// The server cannot be reached, refuses the request, or rejects the query.
    pub async fn query(&self, influxql: &str) -> Result<Vec<Series>, ReadError> {
        self.ask(influxql).await.map_err(|reason| ReadError {
            target: self.target.to_string(),
            reason,
        })
    }

    async fn ask(&self, influxql: &str) -> Result<Vec<Series>, String> {
        let url = self.target.address("/query");
        let (database, policy) = match self.target.bucket.split_once('/') {
            Some((database, policy)) => (database, Some(policy)),
            None => (self.target.bucket.as_str(), None),
        };
        let mut request = self.http.get(url).query(&[
            ("db", database),
            ("q", influxql),
            // Times as integers, in nanoseconds.
            ("epoch", "ns"),
        ]);
        if let Some(policy) = policy {
            request = request.query(&[("rp", policy)]);
        }
        // Only the credentials of InfluxDB 1.x contain a colon.
        request = match self.target.token.split_once(':') {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => self.target.with_token(request),
        };
        let response = request.send().await.map_err(http::describe)?;
        let status = response.status();
        let body = http::body(response, LONGEST_ANSWER)
            .await?
            .ok_or_else(|| format!("an answer of more than {LONGEST_ANSWER} bytes"))?;
        Series::read(&body).unwrap_or_else(|| {
            let start = String::from_utf8_lossy(&body[..body.len().min(MAX_REASON_BYTES)]);
            Err(format!(
                "{status} with no answer to a query: {}",
                reason(&start)
            ))
        })
    }
}

impl Series {
    /// Reads the response to a query of one statement; `None` if the body has another form.
    ///
    /// # Errors
    /// The server's error message about the query, in short.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Result<Vec<Self>, String>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        if let Some(error) = answer.error {
            return Some(Err(reason(&error)));
        }
        let mut series = Vec::new();
        for statement in answer.results {
            match statement.error {
                Some(error) => return Some(Err(reason(&error))),
                None => series.extend(statement.series),
            }
        }
        Some(Ok(series))
    }
}

/// Quotes a text as an InfluxQL string.
#[must_use]
pub fn influxql_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(influxql_string("a'b\\"), r"'a\'b\\'");
    }

    #[test]
    fn numbers_are_found_by_their_column() {
        let series = Series {
            columns: vec!["time".into(), "sum".into()],
            values: vec![vec![0.into(), 2.5.into()]],
            ..Series::default()
        };
        assert_eq!(series.number("sum"), Some(2.5));
        assert_eq!(series.number("mean"), None);
    }
}
