use std::{io, path::PathBuf};

/// Why metrics cannot be sent at all. Trouble with the server is none of these: it is logged, and the points wait.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The server's address cannot be used.
    #[error(
        "the address of InfluxDB is not one: {reason}. Write http://HOST:PORT or https://HOST:PORT in --influx-host (INFLUX_HOST)"
    )]
    Address {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No bucket.
    #[error("no bucket for metrics: name one with --influx-bucket (INFLUX_BUCKET)")]
    NoBucket,
    /// A token with characters that HTTP cannot carry.
    #[error(
        "InfluxDB's token holds a character that it cannot have: check INFLUX_TOKEN or the file of --influx-token-file, which \
         should hold the token and nothing else"
    )]
    TokenText,
    /// The token's file.
    #[error("cannot read --influx-token-file {}: {source}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The token's file holds no token.
    #[error("--influx-token-file {} is empty: write the token into it", path.display())]
    EmptyTokenFile {
        /// The file.
        path: PathBuf,
    },
    /// No HTTP client, for example for want of certificates.
    #[error(
        "cannot make a client for InfluxDB: {0}. For https://, are the system's certificates installed?"
    )]
    Client(String),
    /// No thread for it.
    #[error("cannot start the thread that sends metrics: {0}")]
    Thread(io::Error),
}
