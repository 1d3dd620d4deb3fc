use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties, ErrorKind, Event,
    uri::{AMQPScheme, AMQPUri},
};
use reqwest::Url;
use rustls::ClientConfig;
use tracing::{info, warn};

use super::{BrokerError, Management, error::is_limit, socket};
use crate::{
    text::has_at_after_host,
    tls::{self, TlsFiles},
};

/// Where the broker is.
#[derive(Clone, Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// URL of the broker: amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://…
    ///
    /// Other users of this machine can read a command line: give a URL with a password by the
    /// variable or by --amqp-url-file
    #[arg(
        long,
        env = "PRIMEPOOL_AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "amqp://127.0.0.1:5672/%2f"
    )]
    pub amqp_url: String,

    /// File that contains the URL; - is the first line of standard input
    ///
    /// It takes precedence over --amqp-url
    #[arg(long, env = "PRIMEPOOL_AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,

    /// Certificates (PEM) of further authorities for the broker's certificate, besides those of
    /// the system
    #[arg(
        long,
        env = "PRIMEPOOL_TLS_CA",
        value_name = "FILE",
        hide_short_help = true
    )]
    pub tls_ca: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(
        long,
        hide_short_help = true,
        env = "PRIMEPOOL_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM, PKCS#8) of --tls-cert
    #[arg(
        long,
        hide_short_help = true,
        env = "PRIMEPOOL_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// URL of the broker's management API, such as http://HOST:15672
    ///
    /// It adds unacknowledged messages and rates of the queues to metrics and status. User and
    /// password are those of the broker's URL
    #[arg(
        long,
        env = "PRIMEPOOL_MANAGEMENT_URL",
        value_name = "URL",
        hide_short_help = true
    )]
    pub management_url: Option<String>,
}

impl fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a password.
        f.debug_struct("BrokerArgs").finish_non_exhaustive()
    }
}

impl BrokerArgs {
    /// The option that the URL comes from, for messages.
    fn source(&self) -> String {
        match &self.amqp_url_file {
            Some(path) => format!("--amqp-url-file {}", path.display()),
            None => "--amqp-url (PRIMEPOOL_AMQP_URL)".to_owned(),
        }
    }

    /// The URL as given; it may contain a password.
    ///
    /// # Errors
    /// The file with the URL cannot be read.
    pub fn address(&self) -> Result<String, String> {
        match &self.amqp_url_file {
            Some(path) if path == Path::new("-") => {
                let mut line = String::new();
                io::stdin()
                    .read_line(&mut line)
                    .map_err(|error| format!("cannot read --amqp-url-file -: {error}"))?;
                Ok(line)
            }
            Some(path) => read_text("--amqp-url-file", path),
            None => Ok(self.amqp_url.clone()),
        }
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {flag} {}: {error}", path.display()))
}

fn read_text(flag: &str, path: &Path) -> Result<String, String> {
    String::from_utf8(read(flag, path)?)
        .map_err(|_| format!("{flag} {} is not a text", path.display()))
}

/// Reads a PEM file that must contain a block with `what` in its label. Otherwise a wrong file
/// would only be noticed when the peer's certificate is not trusted.
fn read_pem(flag: &str, path: &Path, what: &str) -> Result<String, String> {
    let text = read_text(flag, path)?;
    let found = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.contains(what));
    if found {
        return Ok(text);
    }
    Err(format!(
        "{flag} {} holds no {} (PEM: a block that begins with -----BEGIN … {what}-----)",
        path.display(),
        what.to_lowercase()
    ))
}

/// AMQP heartbeat timeout, in seconds. With RabbitMQ's default of 60, a vanished machine could hold
/// a unit for two minutes.
const HEARTBEAT_S: u16 = 20;

/// Largest frame, in bytes. lapin keeps buffers of 32 frames per direction: 16 MB per process with
/// RabbitMQ's default of 128 KiB, 2 MB with this value. Longer messages take several frames.
/// primepool.conf sets the same limit in the broker, so that it accepts no message whose headers do
/// not fit into one frame.
const FRAME_MAX: u32 = 16 << 10;

/// Longest time for a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker's URL, parsed and validated. Its `Display` form omits the password.
#[derive(Clone)]
pub struct Endpoint {
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
    management: Option<Management>,
}

impl Endpoint {
    /// Reads the options and the files that they name.
    ///
    /// # Errors
    /// A file cannot be read or used, or the URL is invalid. The error never contains the URL,
    /// which may contain a password.
    pub fn from_args(args: &BrokerArgs) -> Result<Self, String> {
        let url = args.address()?;
        let url = url.trim_start_matches('\u{feff}').trim();
        let source = args.source();
        if url.starts_with(['"', '\'']) {
            return Err(format!(
                "the broker's address in {source} is in quotes: remove them"
            ));
        }
        let mut uri = parse(url).ok_or_else(|| {
            format!("the broker's address in {source} is not one: write amqp://USER:PASSWORD@HOST:PORT/VHOST, with special characters of the \
             password and a / in the virtual host percent-encoded (the default virtual host is %2f), and an IPv6 address in \
             brackets, without a zone")
        })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let ca = args
            .tls_ca
            .as_ref()
            .map(|path| read_pem("--tls-ca", path, "CERTIFICATE"))
            .transpose()?;
        let identity = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => Some((
                read_pem("--tls-cert", cert, "CERTIFICATE")?.into_bytes(),
                read_pem("--tls-key", key, "PRIVATE KEY")?.into_bytes(),
            )),
            _ => None,
        };
        let tls = TlsFiles { ca, identity };
        let https = args
            .management_url
            .as_ref()
            .is_some_and(|url| url.trim().starts_with("https://"));
        if uri.scheme == AMQPScheme::AMQP && !https && !tls.is_empty() {
            return Err("--tls-… needs an address that starts with amqps://".to_owned());
        }
        let user = &uri.authority.userinfo;
        let management = args
            .management_url
            .as_ref()
            .map(|url| Management::new(url, &user.username, &user.password, &uri.vhost, &tls))
            .transpose()?;
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(tls.client_config(tls::system_authorities())?.into()),
        };
        Ok(Self {
            uri,
            tls,
            management,
        })
    }

    /// The broker's management API, if its URL was given.
    #[must_use]
    pub fn management(&self) -> Option<&Management> {
        self.management.as_ref()
    }

    /// Opens a connection, which the broker's management pages show under `name`.
    ///
    /// # Errors
    /// The connection failed; the variant of the error tells what to do about it.
    pub async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let attempt = socket::connect(self.uri.clone(), self.tls.clone(), properties);
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.classify(&error)),
            Err(_) => Err(BrokerError::Unreachable {
                broker: self.to_string(),
                reason: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            }),
        }
    }

    fn other_scheme(&self) -> &'static str {
        match self.uri.scheme {
            AMQPScheme::AMQP => "TLS: amqps://",
            AMQPScheme::AMQPS => "a client certificate (--tls-cert, --tls-key) or no TLS (amqp://)",
        }
    }

    fn classify(&self, error: &lapin::Error) -> BrokerError {
        let broker = self.to_string();
        match error.kind() {
            ErrorKind::ProtocolError(amqp) => match amqp.get_id() {
                _ if is_limit(amqp.get_message().as_str()) => BrokerError::Limit {
                    reason: amqp.get_message().to_string(),
                },
                403 => BrokerError::LoginRefused { broker },
                530 => BrokerError::Vhost {
                    broker,
                    vhost: self.uri.vhost.clone(),
                    reason: amqp.get_message().to_string(),
                },
                _ => BrokerError::from_session(error),
            },
            ErrorKind::IOError(io) if self.uri.scheme == AMQPScheme::AMQPS && is_tls(io) => {
                BrokerError::Tls {
                    broker,
                    reason: io.to_string(),
                }
            }
            ErrorKind::ParsingError(_) => BrokerError::NotAmqp { broker },
            ErrorKind::IOError(io) if is_reset(io) => BrokerError::Unreachable {
                broker,
                reason: format!("{io} (perhaps the port wants {})", self.other_scheme()),
            },
            _ => BrokerError::Unreachable {
                broker,
                reason: match error.kind() {
                    ErrorKind::IOError(io) => io.to_string(),
                    _ => error.to_string(),
                },
            },
        }
    }
}

/// Parses an AMQP URL. `AMQPUri` alone would read an IPv6 address, or a URL without an authority,
/// as `localhost`.
fn parse(url: &str) -> Option<AMQPUri> {
    let (_, rest) = url.split_once(':')?;
    if !rest.starts_with("//") || has_at_after_host(url) {
        return None;
    }
    let mut uri: AMQPUri = url.parse().ok()?;
    let bracketed = Url::parse(url).ok()?;
    if let Some(address) = bracketed.host_str().and_then(|host| host.strip_prefix('[')) {
        // Sockets and TLS expect the address without the brackets.
        uri.authority.host = address.trim_end_matches(']').to_owned();
    }
    Some(uri)
}

/// Whether the peer reset the connection. Servers do so when they do not understand the protocol or
/// reject the client certificate.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// Whether the error comes from rustls, which reports errors about the peer or about the system's
/// certificates as I/O errors of these kinds.
fn is_tls(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other
    )
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        // Only an IPv6 address contains a colon; a host name does not.
        let host = match authority.host.contains(':') {
            true => format!("[{}]", authority.host),
            false => authority.host.clone(),
        };
        write!(
            f,
            "{}://{}@{}:{}/{}",
            self.uri.scheme,
            authority.userinfo.username,
            host,
            authority.port,
            self.uri.vhost.replace('/', "%2f")
        )
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Logs when the broker blocks this connection (because it is short of memory or disk space) and
/// when it unblocks it. While it is blocked, published messages wait. Ends with the connection.
pub fn warn_when_blocked(connection: &Connection) {
    let mut events = connection.events_listener();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    warn!(%reason, "the broker blocks this connection: waiting until it unblocks it");
                }
                Event::ConnectionUnblocked => info!("the broker unblocked this connection"),
                Event::Error(_) => break,
                _ => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, String> {
        Endpoint::from_args(&BrokerArgs {
            amqp_url: url.to_owned(),
            amqp_url_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            management_url: None,
        })
    }

    #[test]
    fn never_shows_the_password() {
        let endpoint = endpoint("amqp://alice:s3cr3t@broker.example:5673/%2f").unwrap();
        assert_eq!(endpoint.to_string(), "amqp://alice@broker.example:5673/%2f");
        assert!(!format!("{endpoint:?}").contains("s3cr3t"));
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        for url in [
            "http://alice:s3cr3t@broker",
            // Passwords that look like a port and a virtual host.
            "amqp://alice:12/s3cr3t@broker",
            "amqp://alice:12?s3cr3t@broker",
            "amqp://alice:12#s3cr3t@broker",
        ] {
            let error = endpoint(url).unwrap_err();
            assert!(
                !error.contains("s3cr3t") && error.contains("amqp://"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_form_of_a_host_is_the_one_that_is_connected_to() {
        for (host, connects_to, shown) in [
            ("broker.example", "broker.example", "broker.example"),
            ("Broker.Example.", "Broker.Example.", "Broker.Example."),
            ("brok%65r_1", "broker_1", "broker_1"),
            ("br%C3%BCcke", "brücke", "brücke"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("127.1", "127.1", "127.1"),
            ("[::1]", "::1", "[::1]"),
            ("[2001:DB8:0::5]", "2001:db8::5", "[2001:db8::5]"),
            ("[::ffff:10.0.0.1]", "::ffff:a00:1", "[::ffff:a00:1]"),
            ("[::]", "::", "[::]"),
        ] {
            for (scheme, port) in [("amqp", 5672), ("amqps", 5671)] {
                for (given, port) in [(String::new(), port), (":7000".to_owned(), 7000)] {
                    let url = format!("{scheme}://u:p@{host}{given}/v");
                    let endpoint = endpoint(&url).unwrap();
                    assert_eq!(endpoint.uri.authority.host, connects_to, "{url}");
                    assert_eq!(endpoint.uri.authority.port, port, "{url}");
                    assert_eq!(
                        endpoint.to_string(),
                        format!("{scheme}://u@{shown}:{port}/v")
                    );
                }
            }
        }
        // The AMQP URI specification leaves the default of an omitted host to the client.
        let nowhere = endpoint("amqp:///v").unwrap();
        assert_eq!(nowhere.to_string(), "amqp://guest@localhost:5672/v");
    }

    #[test]
    fn hosts_that_are_none_are_refused() {
        for url in [
            "amqp:u:p@[::1]/v",
            "amqp:[::1]",
            "amqp:/v",
            "amqp://u:p@/v",
            "amqp://u:p@::1/v",
            "amqp://u:p@[::1/v",
            "amqp://u:p@::1]/v",
            "amqp://u:p@[]/v",
            "amqp://u:p@[fe80::1%25eth0]/v",
            "amqp://u:p@[fe80::1%eth0]/v",
            "amqp://u:p@[v1.fe:1]/v",
            "amqp://u:p@[127.0.0.1]/v",
            "amqp://u:p@[broker.example]/v",
        ] {
            let error = endpoint(url).map(|endpoint| endpoint.to_string());
            assert!(error.unwrap_err().contains("brackets"), "{url}");
        }
    }

    #[test]
    fn the_heartbeat_of_the_address_wins() {
        let endpoint = endpoint("amqp://127.0.0.1/%2f?heartbeat=3").unwrap();
        assert_eq!(endpoint.uri.query.heartbeat, Some(3));
    }
}
