use std::{io, path::PathBuf};

/// An error that prevents sending metrics at all. Failures of the server are not among them: they
/// are logged, and the points wait.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The URL of the server is invalid.
    #[error(
        "the address of InfluxDB is not one: {reason}. Write http://HOST:PORT or https://HOST:PORT in --influx-host (INFLUX_HOST)"
    )]
    Address {
        /// The reason why it is invalid.
        reason: &'static str,
    },
    /// The name of the bucket is empty.
    #[error("no bucket for metrics: name one with --influx-bucket (INFLUX_BUCKET)")]
    NoBucket,
    /// The token contains characters that are not allowed in an HTTP header.
    #[error(
        "InfluxDB's token holds a character that it cannot have: check INFLUX_TOKEN or the file of --influx-token-file, which \
         should hold the token and nothing else"
    )]
    TokenText,
    /// The token file cannot be read.
    #[error("cannot read --influx-token-file {}: {source}", path.display())]
    TokenFile {
        /// Path of the token file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The token file is empty.
    #[error("--influx-token-file {} is empty: write the token into it", path.display())]
    EmptyTokenFile {
        /// Path of the token file.
        path: PathBuf,
    },
    /// The HTTP client cannot be created, for example because certificates are missing.
    #[error(
        "cannot make a client for InfluxDB: {0}. For https://, are the system's certificates installed?"
    )]
    Client(String),
    /// The sender thread cannot be started.
    #[error("cannot start the thread that sends metrics: {0}")]
    Thread(io::Error),
}
