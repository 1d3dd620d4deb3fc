//! An InfluxDB server for tests, with configurable responses.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::metrics::InfluxTarget;

/// How the server responds to writes.
#[derive(Debug, Clone)]
pub(super) enum Mode {
    /// Accepts them.
    Well,
    /// Accepts them after a delay.
    Slow(Duration),
    /// Never responds.
    Silent,
    /// Closes every connection at once.
    Away,
    /// Responds with this status, text and `Retry-After`.
    Says(u16, &'static str, Option<String>),
    /// Responds to every request with an HTML page, like a proxy that requires a login.
    LoginPage,
    /// Refuses a write that contains a line with `bad`, and stores none of its lines.
    RefusesAll,
    /// Refuses lines with `bad` and stores the others, as InfluxDB 1.x does.
    RefusesLines,
    /// Refuses bodies of more than this many bytes.
    AtMost(usize),
}

/// The protocol that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    V1,
    V2,
    /// According to the documentation of InfluxDB 3 Core, which docs/METRICS.md links to.
    V3,
}

/// A token of InfluxDB 3.
const TOKEN_3: &str = "apiv3_s3cr3t";

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) at: Instant,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) gzip: bool,
    pub(super) body: String,
}

#[derive(Debug)]
struct State {
    speaks: Speaks,
    mode: Mutex<Mode>,
    lines: Mutex<Vec<String>>,
    requests: Mutex<Vec<Request>>,
    /// Names of the existing databases or buckets.
    buckets: Mutex<Vec<String>>,
    may_create: Mutex<bool>,
    ended: Mutex<bool>,
}

#[derive(Debug)]
pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

impl TestServer {
    /// Starts a server that has the bucket `b`.
    pub(super) fn start(speaks: Speaks, mode: Mode) -> Self {
        Self::start_with(speaks, mode, None)
    }

    /// Starts a server with TLS and a certificate for `name`. Also returns the certificate (PEM).
    pub(super) fn start_tls(speaks: Speaks, name: &str) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let server = Self::start_with(speaks, Mode::Well, Some(Arc::new(config)));
        (server, made.cert.pem())
    }

    fn start_with(speaks: Speaks, mode: Mode, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            speaks,
            mode: Mutex::new(mode),
            lines: Mutex::default(),
            requests: Mutex::default(),
            buckets: Mutex::new(vec!["b".to_owned()]),
            may_create: Mutex::new(true),
            ended: Mutex::new(false),
        });
        let of_thread = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *of_thread.ended.lock().unwrap() {
                    return;
                }
                let (state, tls) = (Arc::clone(&of_thread), tls.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    match tls {
                        None => state.serve(stream),
                        Some(tls) => {
                            let session = ServerConnection::new(tls).unwrap();
                            state.serve(StreamOwned::new(session, stream));
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(super) fn target(&self, bucket: &str) -> InfluxTarget {
        let host = format!("http://{}", self.address);
        let token = match self.state.speaks {
            Speaks::V3 => TOKEN_3,
            Speaks::V1 | Speaks::V2 => "user:s3cr3t",
        };
        InfluxTarget::new(&host, "o", bucket, token).unwrap()
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    pub(super) fn forbid_creation(&self) {
        *self.state.may_create.lock().unwrap() = false;
    }

    /// The lines that the server stored, without the writer's own metrics.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.state.lines.lock().unwrap();
        let own = |line: &&String| !line.starts_with("metrics,");
        lines.iter().filter(own).cloned().collect()
    }

    /// The writer's own metrics.
    pub(super) fn health(&self) -> Vec<String> {
        let lines = self.state.lines.lock().unwrap();
        let own = |line: &&String| line.starts_with("metrics,");
        lines.iter().filter(own).cloned().collect()
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The requests that contained lines.
    pub(super) fn writes(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path.contains("/write?") && !request.body.is_empty());
        requests
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        *self.state.ended.lock().unwrap() = true;
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let mode = self.mode.lock().unwrap().clone();
            match mode {
                Mode::Away => return,
                Mode::Silent => {
                    self.requests.lock().unwrap().push(request);
                    while !*self.ended.lock().unwrap() {
                        thread::sleep(Duration::from_millis(10));
                    }
                    return;
                }
                Mode::Slow(time) => thread::sleep(time),
                _ => {}
            }
            let (status, headers, text) = self.answer(&mode, &request);
            self.requests.lock().unwrap().push(request);
            let length = text.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{text}");
            let stream = reader.get_mut();
            if stream.write_all(answer.as_bytes()).is_err() || stream.flush().is_err() {
                return;
            }
        }
    }

    fn answer(&self, mode: &Mode, request: &Request) -> (u16, String, String) {
        let none = String::new;
        let text_of = |status, text: &str| (status, none(), text.to_owned());
        let path = request.path.split('?').next().unwrap();
        // A proxy would remove this path prefix.
        let path = path.strip_prefix("/influx").unwrap_or(path);
        if matches!(mode, Mode::LoginPage) {
            let page = "<html><title>Please log in</title></html>";
            return (200, "Content-Type: text/html\r\n".into(), page.into());
        }
        if self.speaks == Speaks::V3 && request.authorization != format!("Token {TOKEN_3}") {
            return text_of(401, r#"{"error":"the request was not authenticated"}"#);
        }
        match (self.speaks, path) {
            (Speaks::V3, "/ping") => {
                let version = "X-Influxdb-Version: 3.4.0\r\n".to_owned();
                return (200, version, r#"{"version":"3.4.0"}"#.to_owned());
            }
            (Speaks::V3, "/query") => {
                let answer = r#"{"results":[{"statement_id":0,"series":[
                    {"name":"job","columns":["time","sum"],"values":[[0,300]]}]}]}"#;
                return text_of(200, answer);
            }
            (Speaks::V3, "/api/v2/write") if request.body.is_empty() => {
                return text_of(400, r#"{"error":"incoming write was empty"}"#);
            }
            (Speaks::V1, "/ping") => {
                return (204, "X-Influxdb-Version: 1.6.7~rc0\r\n".into(), none());
            }
            (Speaks::V2, "/ping") => return (204, none(), none()),
            (Speaks::V1, "/query") => {
                if !*self.may_create.lock().unwrap() {
                    return text_of(200, r#"{"results":[{"error":"not an admin"}]}"#);
                }
                let name = request.body.split("%22").nth(1).unwrap();
                self.buckets.lock().unwrap().push(name.to_owned());
                return text_of(200, r#"{"results":[{"statement_id":0}]}"#);
            }
            (Speaks::V2, "/api/v2/orgs") => {
                return text_of(200, r#"{"orgs":[{"id":"0a","name":"o"}]}"#);
            }
            (Speaks::V2, "/api/v2/buckets") => {
                if !*self.may_create.lock().unwrap() {
                    return text_of(403, r#"{"code":"forbidden","message":"no"}"#);
                }
                let name = request.body.split("\"name\":\"").nth(1).unwrap();
                let name = name.split('"').next().unwrap().to_owned();
                self.buckets.lock().unwrap().push(name);
                return text_of(201, "{}");
            }
            (Speaks::V1, "/write") | (Speaks::V2 | Speaks::V3, "/api/v2/write") => {}
            _ => return (404, none(), "404 page not found\n".into()),
        }
        if let Mode::Says(status, text, retry_after) = mode {
            let header = retry_after
                .as_ref()
                .map(|wait| format!("Retry-After: {wait}\r\n"));
            return (*status, header.unwrap_or_default(), (*text).to_owned());
        }
        let name = if self.speaks == Speaks::V1 {
            "db="
        } else {
            "bucket="
        };
        let bucket = request.path.split(name).nth(1).unwrap();
        let bucket = bucket.split('&').next().unwrap().to_owned();
        // InfluxDB 3 creates a missing database.
        if self.speaks != Speaks::V3 && !self.buckets.lock().unwrap().contains(&bucket) {
            return match self.speaks {
                Speaks::V1 => text_of(404, r#"{"error":"database not found: \"x\""}"#),
                Speaks::V2 | Speaks::V3 => text_of(
                    404,
                    r#"{"code":"not found","message":"bucket \"x\" not found"}"#,
                ),
            };
        }
        let mut lines: Vec<String> = request.body.lines().map(str::to_owned).collect();
        let all = lines.clone();
        match mode {
            Mode::AtMost(bytes) if request.body.len() > *bytes => return text_of(413, ""),
            Mode::RefusesAll if lines.iter().any(|line| line.contains("bad")) => {
                return text_of(
                    400,
                    r#"{"code":"invalid","message":"unable to parse 'x': bad"}"#,
                );
            }
            Mode::RefusesLines => lines.retain(|line| !line.contains("bad")),
            _ => {}
        }
        let dropped = all.len() - lines.len();
        self.lines.lock().unwrap().extend(lines);
        if dropped > 0 && self.speaks == Speaks::V3 {
            let bad = all.iter().zip(1..).filter(|(line, _)| line.contains("bad"));
            let data: Vec<Value> = bad
                .map(|(line, number)| {
                    json!({"original_line": line, "line_number": number, "error_message": "bad"})
                })
                .collect();
            let error = "partial write of line protocol occurred";
            let text = json!({"error": error, "data": data}).to_string();
            return (400, none(), text);
        }
        if dropped > 0 {
            let text =
                format!("{{\"error\":\"partial write: field type conflict dropped={dropped}\"}}");
            return text_of(400, &text);
        }
        (204, none(), none())
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let at = Instant::now();
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut gzip, mut authorization) = (0, false, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-encoding" => gzip = value == "gzip",
            "authorization" => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let mut body = String::new();
    if gzip {
        GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut body)
            .unwrap();
    } else {
        body = String::from_utf8(bytes).unwrap();
    }
    Some(Request {
        at,
        method,
        path,
        authorization,
        gzip,
        body,
    })
}
