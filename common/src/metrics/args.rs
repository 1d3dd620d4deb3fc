use std::{env, fmt, path::PathBuf, time::Duration};

use clap::Args;
use reqwest::{
    Client, RequestBuilder, Url,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{MetricsError, MetricsWriter, Source, WriterOptions};
use crate::{cli::size, http, text::has_at_after_host, tls::TlsFiles};

/// Which InfluxDB metrics go to, and what is kept for it while it is away. Its token comes from the
/// environment or a file only.
#[derive(Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct InfluxArgs {
    /// URL of an InfluxDB (1.x, 2, 3) for metrics, such as http://HOST:8086
    ///
    /// Its token comes from the variable INFLUX_TOKEN or from --influx-token-file; for InfluxDB 1.x
    /// it is USER:PASSWORD. http://HOST/PREFIX works behind a proxy. Without a URL no metrics are
    /// sent
    #[arg(long, env = "INFLUX_HOST", hide_env_values = true, value_name = "URL")]
    pub influx_host: Option<String>,

    /// Organisation that owns the bucket, for InfluxDB 2
    #[arg(
        long,
        hide_short_help = true,
        env = "INFLUX_ORG",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub influx_org: String,

    /// Bucket; for InfluxDB 1.x DATABASE or DATABASE/RETENTION-POLICY
    ///
    /// It is created if it is missing and the token allows it
    #[arg(
        long,
        hide_short_help = true,
        env = "INFLUX_BUCKET",
        value_name = "NAME",
        default_value = "primepool"
    )]
    pub influx_bucket: String,

    /// File that contains the token; it takes precedence over INFLUX_TOKEN
    #[arg(
        long,
        env = "INFLUX_TOKEN_FILE",
        value_name = "FILE",
        hide_short_help = true
    )]
    pub influx_token_file: Option<PathBuf>,

    /// Folder for metrics while InfluxDB is away or refuses them
    ///
    /// They are sent when it is back, by this process or the next one that uses the folder
    #[arg(
        long,
        env = "PRIMEPOOL_METRICS_SPOOL",
        value_name = "FOLDER",
        hide_short_help = true
    )]
    pub metrics_spool: Option<PathBuf>,

    /// Size limit of that folder, such as 64MiB; beyond it the oldest metrics are dropped
    #[arg(
        long,
        hide_short_help = true,
        env = "PRIMEPOOL_METRICS_SPOOL_LIMIT",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = size
    )]
    pub metrics_spool_limit: u64,
}

impl fmt::Debug for InfluxArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The user may have put a password into the URL.
        f.debug_struct("InfluxArgs")
            .field("influx_org", &self.influx_org)
            .field("influx_bucket", &self.influx_bucket)
            .finish_non_exhaustive()
    }
}

impl InfluxArgs {
    /// Reads the options, the token file and the variable `INFLUX_TOKEN`. Returns `None` if no host
    /// is given or the host is empty.
    ///
    /// # Errors
    /// The URL is invalid, or the token file cannot be read. The error contains neither the URL nor
    /// the token.
    pub fn target(&self) -> Result<Option<InfluxTarget>, MetricsError> {
        self.target_with(env::var("INFLUX_TOKEN").ok())
    }

    fn target_with(&self, token: Option<String>) -> Result<Option<InfluxTarget>, MetricsError> {
        let host = self.influx_host.as_deref().unwrap_or_default().trim();
        if host.is_empty() {
            return Ok(None);
        }
        let token = match &self.influx_token_file {
            Some(path) => {
                let path = path.clone();
                match std::fs::read_to_string(&path) {
                    Ok(token) if token.trim().is_empty() => {
                        return Err(MetricsError::EmptyTokenFile { path });
                    }
                    Ok(token) => token.trim_start_matches('\u{feff}').to_owned(),
                    Err(source) => return Err(MetricsError::TokenFile { path, source }),
                }
            }
            None => token.unwrap_or_default(),
        };
        let target = InfluxTarget::new(host, &self.influx_org, &self.influx_bucket, &token)?;
        Ok(Some(target))
    }

    /// A writer to the server that the options name; a disabled writer if they name none. `spool`
    /// is the default of --metrics-spool, the folder for lines that cannot be sent.
    ///
    /// # Errors
    /// The errors of [`InfluxArgs::target`] and [`MetricsWriter::start`]. An unreachable server is
    /// not an error.
    pub fn writer(
        &self,
        source: Source,
        node: &str,
        spool: Option<PathBuf>,
    ) -> Result<MetricsWriter, MetricsError> {
        let Some(target) = self.target()? else {
            return Ok(MetricsWriter::disabled());
        };
        let spool = self.metrics_spool.clone().or(spool);
        let mut options = WriterOptions::new(source, node, spool);
        options.spool_limit = self.metrics_spool_limit;
        MetricsWriter::start(&target, options)
    }
}

/// A validated InfluxDB URL, with organisation, bucket and token. Neither `Display` nor `Debug`
/// shows the token.
#[derive(Clone)]
pub struct InfluxTarget {
    pub(super) url: Url,
    pub(super) org: String,
    pub(super) bucket: String,
    pub(super) token: String,
}

impl InfluxTarget {
    /// A server at `http://HOST:PORT` or `https://…`, with a path prefix if a proxy needs one, and
    /// one of its buckets. For InfluxDB 1.x, the bucket is a database and the token has the form
    /// `USER:PASSWORD`. An empty token means no token.
    ///
    /// # Errors
    /// The URL, the bucket or the token is invalid; the error repeats neither the URL nor the
    /// token.
    pub fn new(host: &str, org: &str, bucket: &str, token: &str) -> Result<Self, MetricsError> {
        let wrong = |reason| Err(MetricsError::Address { reason });
        let Ok(url) = Url::parse(host.trim()) else {
            return wrong("it cannot be read");
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return wrong("it does not start with http:// or https://");
        }
        // If a password contains a `/` that is not percent-encoded, the text after it is not a
        // path.
        if has_at_after_host(host) || !url.username().is_empty() || url.password().is_some() {
            return wrong("it holds a user or a password, which belong into INFLUX_TOKEN");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("it holds a query (?) or a fragment (#)");
        }
        let bucket = bucket.trim();
        if bucket.is_empty() {
            return Err(MetricsError::NoBucket);
        }
        let token = token.trim();
        if !token.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(MetricsError::TokenText);
        }
        Ok(Self {
            url,
            org: org.trim().to_owned(),
            bucket: bucket.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Adds the token to a request, in the form of InfluxDB 2 and 3.
    pub(super) fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        if self.token.is_empty() {
            return request;
        }
        match HeaderValue::try_from(format!("Token {}", self.token)) {
            Ok(mut token) => {
                token.set_sensitive(true);
                request.header(AUTHORIZATION, token)
            }
            Err(_) => request, // unreachable: `new` refuses such a token
        }
    }

    /// The URL of a path on the server.
    pub(super) fn address(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// A client for the server, which trusts the system's certificate authorities.
    pub(super) fn client(&self, timeout: Duration) -> Result<Client, MetricsError> {
        http::client(&self.url, timeout, &TlsFiles::default()).map_err(MetricsError::Client)
    }
}

impl fmt::Display for InfluxTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_str().trim_end_matches('/');
        write!(f, "{url}, bucket {}", self.bucket)
    }
}

impl fmt::Debug for InfluxTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfluxTarget({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        influx: InfluxArgs,
    }

    fn args(more: &[&str]) -> InfluxArgs {
        let all = ["x"].iter().chain(more);
        Cli::try_parse_from(all).unwrap().influx
    }

    #[test]
    fn without_a_host_there_is_no_server() {
        for none in [&[][..], &["--influx-host="]] {
            assert!(args(none).target_with(None).unwrap().is_none());
        }
        let writer = args(&[]).writer(Source::Producer, "n", Some("/nonexistent/x".into()));
        assert!(!writer.unwrap().is_enabled());
    }

    #[test]
    fn no_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from:f1le\n").unwrap();
        let host = ["--influx-host", "http://db.example:8086"];
        let target = args(&host).target_with(Some("s3cr3t".into()));
        let target = target.unwrap().unwrap();
        assert_eq!(target.token, "s3cr3t");
        assert_eq!(
            format!("{target} {target:?}"),
            "http://db.example:8086, bucket primepool InfluxTarget(http://db.example:8086, bucket primepool)"
        );
        let flag = format!("--influx-token-file={}", file.display());
        let args = args(&[host[0], host[1], &flag]);
        let target = args.target_with(Some("s3cr3t".into())).unwrap().unwrap();
        assert_eq!(target.token, "from:f1le", "the file goes first");
        assert!(!format!("{target:?}{args:?}").contains("f1le"));
    }

    #[test]
    fn an_empty_token_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let flag = format!("--influx-token-file={}", file.display());
        let args = args(&["--influx-host", "http://db.example", &flag]);
        std::fs::write(&file, " \n").unwrap();
        let error = args.target_with(None).unwrap_err().to_string();
        assert!(error.contains("token is empty"), "{error}");
        std::fs::write(&file, "\u{feff}abc\r\n").unwrap();
        assert_eq!(args.target_with(None).unwrap().unwrap().token, "abc");
    }

    #[test]
    fn a_prefix_of_a_proxy_stays_in_front() {
        let address = |host: &str| {
            let target = InfluxTarget::new(host, "", "b", "").unwrap();
            target.address("/api/v2/write").to_string()
        };
        assert_eq!(address("http://db:1"), "http://db:1/api/v2/write");
        assert_eq!(address("http://db/influx"), "http://db/influx/api/v2/write");
        assert_eq!(address("http://db/a/b/"), "http://db/a/b/api/v2/write");
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_and_not_repeated() {
        for host in [
            "localhost:8086",
            "db.example",
            "http://user:s3cr3t@db:8086",
            "http://db:8086?p=s3cr3t",
            "http://user:12/s3cr3t@db:8086",
            "http://user:12\\s3cr3t@db:8086",
            "http://db:8086#s3cr3t@x",
        ] {
            let args = args(&["--influx-host", host]);
            let error = args.target_with(None).unwrap_err().to_string();
            assert!(!error.contains("s3cr3t"), "{error}");
            assert!(error.contains("INFLUX_HOST"), "{error}");
            assert!(!format!("{args:?}").contains("s3cr3t"));
        }
        let error = InfluxTarget::new("http://db:8086", "", "b", "s3cr3t\nx").unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"));
    }
}
