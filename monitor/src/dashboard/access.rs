//! Who may see the dashboard.
//!
//! It shows names of users and machines, so beyond this machine it wants a token. A page of another
//! site must not read it through the browser of somebody who may (DNS rebinding): requests by a name
//! that is not known to be ours are refused, and so are all that do not only read.

use std::{fmt, fs, net::SocketAddr, path::Path};

use hyper::{
    Method,
    header::{AUTHORIZATION, COOKIE, HOST, HeaderMap},
};

/// Name of the cookie that holds the token.
const COOKIE_NAME: &str = "primepool";

/// Fewest characters of a token.
const SHORTEST: usize = 16;

/// A secret that whoever wants to see the dashboard has to know.
#[derive(Clone)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads one: from the file, or else from what the environment gives. An empty one is none.
    ///
    /// # Errors
    /// The file cannot be read, or it is no token. The text never holds it.
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

    /// Takes the same time for each wrong one of the same length.
    fn is(&self, other: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), other.as_bytes());
        let differs = own.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b));
        own.len() == other.len() && differs == 0
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Serve,
    /// The token was in the address, where it would be seen: it goes into this cookie, and the browser to the page.
    SetCookie(String),
    /// It does more than read.
    WrongMethod,
    /// It was sent to a name that is not known to be ours.
    WrongHost,
    /// It lacks the token.
    NoToken,
}

/// Who may see it.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Names by which it may be asked, besides addresses and `localhost`.
    hosts: Vec<String>,
    token: Option<Token>,
}

impl Access {
    /// Who may see a dashboard that listens there.
    ///
    /// # Errors
    /// Other machines could see it without a token.
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

    /// What becomes of a request with this method, these headers and this query.
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

    /// An address cannot be made to mean another machine, as a name can.
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

/// A parameter of a query, as it is written there.
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
