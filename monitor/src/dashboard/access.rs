//! Access control of the dashboard.
//!
//! The dashboard shows names of users and machines, so a listener that other machines can reach
//! needs a token. A page of another site must not read the dashboard through the browser of an
//! authorised user (DNS rebinding): requests with an unknown `Host` name are refused, and so are
//! all methods but GET and HEAD.

use std::{fmt, fs, net::SocketAddr, path::Path};

use hyper::{
    Method,
    header::{AUTHORIZATION, COOKIE, HOST, HeaderMap},
};

/// Name of the cookie that holds the token.
const COOKIE_NAME: &str = "primepool";

/// Fewest characters of a token.
const SHORTEST: usize = 16;

/// The secret that a browser must present to see the dashboard.
#[derive(Clone)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token from `file`, or without a file from the value of the environment variable.
    /// `None` if there is no file and the variable is unset or empty.
    ///
    /// # Errors
    /// The file cannot be read, or the text is not a valid token. The message never contains the
    /// text.
    pub(super) fn read(
        file: Option<&Path>,
        variable: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let text = match file {
            Some(file) => fs::read_to_string(file)
                .map_err(|error| format!("cannot read --token-file {}: {error}", file.display()))?,
            None => variable.unwrap_or_default().to_owned(),
        };
        let text = text.trim();
        if text.is_empty() && file.is_none() {
            return Ok(None);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        if text.len() < SHORTEST || !text.chars().all(fits) {
            return Err(format!(
                "the dashboard's token is not one: give at least {SHORTEST} letters, digits, '.', '_', '~' and '-', such as \
                 `openssl rand -hex 16` prints"
            ));
        }
        Ok(Some(Self(text.to_owned())))
    }

    /// Takes the same time for all wrong tokens of the same length.
    fn is(&self, other: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), other.as_bytes());
        let differs = own.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b));
        own.len() == other.len() && differs == 0
    }
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Serve,
    /// The token was in the query, where it would stay visible: set this cookie and redirect to
    /// `/`.
    SetCookie(String),
    /// The method is neither GET nor HEAD.
    WrongMethod,
    /// The `Host` header is not a known name of the dashboard.
    WrongHost,
    /// The request carries no valid token.
    NoToken,
}

/// The rules for access.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Names accepted in `Host` besides addresses and `localhost`, in lower case.
    hosts: Vec<String>,
    token: Option<Token>,
}

impl Access {
    /// Rules for a dashboard that listens on `listen`.
    ///
    /// # Errors
    /// Other machines could see the dashboard without a token.
    pub(super) fn new(
        listen: SocketAddr,
        hosts: &[String],
        token: Option<Token>,
    ) -> Result<Self, String> {
        if token.is_none() && !listen.ip().is_loopback() {
            return Err(format!(
                "other machines can reach --listen {listen}: give a token in PRIMEPOOL_DASHBOARD_TOKEN or by --token-file (`openssl \
                 rand -hex 16` makes one), or listen on 127.0.0.1"
            ));
        }
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { hosts, token })
    }

    /// Decides on a request by its method, headers and query.
    pub(super) fn decide(&self, method: &Method, headers: &HeaderMap, query: &str) -> Decision {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Decision::WrongMethod;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(HOST).is_some_and(|host| self.is_ours(host)) {
            return Decision::WrongHost;
        }
        let Some(token) = &self.token else {
            return Decision::Serve;
        };
        let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = text(COOKIE).unwrap_or_default().split("; ");
        let mut cookies = cookies.filter_map(|cookie| cookie.split_once('='));
        let cookie = cookies.find(|(name, _)| *name == COOKIE_NAME);
        let known = bearer.into_iter().chain(cookie.map(|(_, value)| value));
        if known.into_iter().any(|value| token.is(value)) {
            return Decision::Serve;
        }
        match parameter(query, "token") {
            Some(value) if token.is(value) => Decision::SetCookie(format!(
                "{COOKIE_NAME}={value}; HttpOnly; SameSite=Strict; Path=/"
            )),
            _ => Decision::NoToken,
        }
    }

    /// Whether `host` is a name of the dashboard. Any address is: unlike a name, it cannot be
    /// rebound to another machine.
    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let is_address = address.map_or_else(
            || name.parse::<std::net::Ipv4Addr>().is_ok(),
            |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
        );
        is_address || name == "localhost" || self.hosts.iter().any(|host| host == name)
    }
}

/// The value of a query parameter, not percent-decoded.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn access(listen: &str, hosts: &[&str], token: Option<&str>) -> Access {
        let token = Token::read(None, token).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Access::new(listen.parse().unwrap(), &hosts, token).unwrap()
    }

    fn decide(access: &Access, headers: &[(&str, &str)], query: &str) -> Decision {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        access.decide(&Method::GET, &map, query)
    }

    #[test]
    fn only_known_names_are_answered() {
        let access = access("127.0.0.1:8265", &["Pool.Example"], None);
        for host in [
            "127.0.0.1:8265",
            "localhost:8265",
            "LOCALHOST",
            "[::1]:8265",
            "10.0.0.7",
            "pool.example:80",
        ] {
            let decision = decide(&access, &[("host", host)], "");
            assert_eq!(decision, Decision::Serve, "{host}");
        }
        for host in [
            "evil.example:8265",
            "pool.example.evil",
            "localhost.evil",
            "1.2.3.4.evil:80",
            "[::1",
            "",
        ] {
            let decision = decide(&access, &[("host", host)], "");
            assert_eq!(decision, Decision::WrongHost, "{host}");
        }
        assert_eq!(decide(&access, &[], ""), Decision::WrongHost);
        let decision = access.decide(&Method::POST, &HeaderMap::new(), "");
        assert_eq!(decision, Decision::WrongMethod);
    }

    #[test]
    fn beyond_this_machine_a_token_is_wanted() {
        let listen = "0.0.0.0:8265".parse().unwrap();
        let refused = Access::new(listen, &[], None).unwrap_err();
        assert!(refused.contains("PRIMEPOOL_DASHBOARD_TOKEN"), "{refused}");
        let access = access("0.0.0.0:8265", &[], Some(SECRET));
        let host = ("host", "10.0.0.7:8265");
        assert_eq!(decide(&access, &[host], ""), Decision::NoToken);
        for wrong in ["Bearer 0123456789abcdeF", "Bearer 0", "Bearer ", SECRET] {
            let headers = [host, ("authorization", wrong)];
            assert_eq!(decide(&access, &headers, ""), Decision::NoToken, "{wrong}");
        }
        let bearer = format!("Bearer {SECRET}");
        let decision = decide(&access, &[host, ("authorization", &bearer)], "");
        assert_eq!(decision, Decision::Serve);
        let Decision::SetCookie(cookie) = decide(&access, &[host], "a=1&token=0123456789abcdef")
        else {
            panic!("no cookie");
        };
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let sent = format!("other=1; {}", cookie.split(';').next().unwrap());
        let decision = decide(&access, &[host, ("cookie", &sent)], "");
        assert_eq!(decision, Decision::Serve);
        let decision = decide(&access, &[host, ("cookie", "primepool=x")], "token=x");
        assert_eq!(decision, Decision::NoToken);
    }

    #[test]
    fn a_token_is_read_and_never_shown() {
        let dir = std::env::temp_dir();
        assert!(Token::read(None, None).unwrap().is_none());
        assert!(Token::read(None, Some("")).unwrap().is_none());
        for wrong in ["short", "0123456789abcde;", "0123456789 abcdef"] {
            let error = Token::read(None, Some(wrong)).unwrap_err();
            assert!(
                !error.contains(wrong) && error.contains("openssl"),
                "{error}"
            );
        }
        let token = Token::read(None, Some(" 0123456789abcdef\n")).unwrap();
        assert_eq!(format!("{token:?}"), "Some(Token)");
        let missing = Token::read(Some(&dir.join("primepool-none")), Some(SECRET));
        assert!(missing.unwrap_err().contains("--token-file"));
    }
}
