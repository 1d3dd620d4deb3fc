//! HTTP requests to servers on this machine.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use ureq::http::Request;

use crate::error::{Result, failed};

/// The answer of a server.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Credentials of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Credentials<'a> {
    /// `USER:PASSWORD`
    Login(&'a str),
    /// A token of InfluxDB 2.
    Token(&'a str),
}

/// Sends a request, with basic authentication if `login` (`USER:PASSWORD`) is given. Times out
/// after one minute.
///
/// # Errors
/// The server does not answer, or not in HTTP. An HTTP error status is not an error here.
pub fn http(method: &str, url: &str, login: Option<&str>, body: &str) -> Result<Reply> {
    http_with(method, url, login.map(Credentials::Login), body)
}

/// Like [`http`], with credentials of any kind.
pub(crate) fn http_with(
    method: &str,
    url: &str,
    credentials: Option<Credentials<'_>>,
    body: &str,
) -> Result<Reply> {
    let trouble = |error: &dyn std::fmt::Display| failed(format!("no answer from {url}: {error}"));
    let mut request = Request::builder().method(method).uri(url);
    if let Some(credentials) = credentials {
        let value = match credentials {
            Credentials::Login(login) => format!("Basic {}", STANDARD.encode(login)),
            Credentials::Token(token) => format!("Token {token}"),
        };
        request = request.header("authorization", value);
    }
    if body.starts_with(['{', '[']) {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(body).map_err(|error| trouble(&error))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .proxy(None)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut response = agent.run(request).map_err(|error| trouble(&error))?;
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string()
        .map_err(|error| trouble(&error))?;
    Ok(Reply {
        status: response.status().as_u16(),
        body,
    })
}

/// Percent-encodes text for a query.
pub(crate) fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
