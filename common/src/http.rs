//! The HTTP client for InfluxDB and the management API: proxies, TLS, errors, and responses of
//! bounded length.

use std::{error::Error, net::IpAddr, time::Duration};

use reqwest::{Client, Response, Url, redirect::Policy};
use rustls::RootCertStore;

use crate::tls::{self, TlsFiles};

/// The error of a request that exceeded its time limit.
pub(crate) const NO_ANSWER: &str = "no answer in time";

/// The `User-Agent` header of each request.
pub(crate) const USER_AGENT: &str = concat!("primepool/", env!("CARGO_PKG_VERSION"));

/// A client for the server at `url`. `timeout` limits a whole request, including the connection.
///
/// # Errors
/// `url` is HTTPS, and one of the files cannot be used or there is no certificate authority to
/// trust.
pub(crate) fn client(url: &Url, timeout: Duration, files: &TlsFiles) -> Result<Client, String> {
    let (https, local) = (url.scheme() == "https", is_loopback(url));
    // For plain HTTP, only a proxy can need certificate authorities.
    let roots = match https || !local {
        true => tls::system_authorities(),
        false => RootCertStore::empty(),
    };
    if https && roots.is_empty() && files.ca.is_none() {
        return Err("the system has no certificates of authorities".to_owned());
    }
    let no_files = TlsFiles::default();
    let mut config = if https { files } else { &no_files }.client_config(roots)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = Client::builder()
        .timeout(timeout)
        // A redirected POST would become a GET, or send a password or token to another server.
        .redirect(Policy::none())
        .user_agent(USER_AGENT)
        .tls_backend_preconfigured(config);
    if local {
        client = client.no_proxy();
    }
    client.build().map_err(describe)
}

/// Whether the server is on this machine. No proxy is used in that case: it would only see the
/// password.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// An error and its causes, without the URL. For a refused certificate, reqwest's own text is only
/// "error sending request".
pub(crate) fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return NO_ANSWER.to_owned();
    }
    causes(&error.without_url())
}

/// The messages of an error and its causes, each once.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

/// The body of a response; `None` if it is longer than `most` bytes.
pub(crate) async fn body(mut answer: Response, most: usize) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let local = |url: &str| is_loopback(&Url::parse(url).unwrap());
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost"] {
            assert!(local(url), "{url}");
        }
        for url in ["http://db.example", "https://10.0.0.1:8086/"] {
            assert!(!local(url), "{url}");
        }
    }
}
