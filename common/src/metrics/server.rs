//! One server: the protocol that it speaks, and the meaning of its responses.
//!
//! Over plain HTTP, the client of `influxdb2` writes to servers with the endpoint `/api/v2/write`
//! (InfluxDB 2 and 3, VictoriaMetrics). It lacks two features, which this module adds:
//!
//! - It compresses only points that it encoded itself, not line protocol. This module compresses
//!   the body, and a second client adds `Content-Encoding: gzip` to every request.
//! - It discards the response headers, and with them `Retry-After`. After a 429 or 503, this
//!   module's own client sends an empty write to the same URL, where the same limit applies.
//!
//! The module's own client (`http`) sends everything else: all requests over HTTPS, all queries,
//! and all requests to InfluxDB 1.x, which has another URL, other credentials, and databases
//! instead of buckets.

use std::{
    collections::HashSet,
    io::Write as _,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use influxdb2::RequestError;
use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use reqwest_0_11::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{InfluxTarget, MetricsError};
use crate::http;

/// Least size of a body that is compressed, in bytes: a shorter one fits into one or two packets.
const GZIP_FROM: usize = 2048;

/// Longest pause that `Retry-After` can request. A wrong clock must not stop the metrics for good.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Longest response that is read, in bytes; a longer one counts as empty.
const LONGEST_ANSWER: usize = 1 << 20;

/// The only status that means stored lines: InfluxDB 1, 2 and 3 document it, and VictoriaMetrics
/// sends it. The login page of a proxy has status 200.
const STORED: u16 = 204;

/// Most requests for finding the bad lines of one batch, enough for about 80 of them. After that,
/// refused parts are dropped as a whole.
const SEARCH_REQUESTS: u32 = 1000;

/// The protocol that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// InfluxDB 1.x: `/write?db=`.
    V1,
    /// `/api/v2/write`.
    V2,
}

/// Why lines could not be delivered and must be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No response, or an internal error of the server.
    Away(String),
    /// The server asks for a pause.
    Busy {
        /// Length of the pause, if the server names one.
        wait: Option<Duration>,
        reason: String,
    },
    /// The server refuses the lines until the operator changes something: credentials, permissions,
    /// names.
    Refused(String),
}

/// The result of sending a batch.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Number of lines that the server stored.
    pub(super) written: u64,
    /// Number of lines that the server will never accept.
    pub(super) refused: u64,
    /// The server's messages about these lines, each once.
    pub(super) refusals: Vec<String>,
    /// Lines that must be sent again; empty without a `failure`.
    pub(super) rest: Vec<u8>,
    /// The failure that stopped the delivery.
    pub(super) failure: Option<Failure>,
}

/// The response to one request.
#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
    retry_after: Option<Duration>,
}

impl Answer {
    fn short(&self) -> String {
        let text = one_line(&self.text);
        if text.is_empty() {
            self.status.to_string()
        } else {
            format!("{} {text}", self.status)
        }
    }

    fn says(&self, what: &str) -> bool {
        self.text.to_ascii_lowercase().contains(what)
    }
}

/// The server of an [`InfluxTarget`].
pub(super) struct Server {
    target: InfluxTarget,
    http: Client,
    /// Clients for uncompressed and for compressed bodies; only for plain HTTP and a URL without a
    /// path.
    influxdb2: Option<[influxdb2::Client; 2]>,
    kind: Mutex<Option<Kind>>,
}

impl Server {
    pub(super) fn new(target: InfluxTarget, timeout: Duration) -> Result<Self, MetricsError> {
        // The client of `influxdb2` ignores the path of a URL.
        let influxdb2 = if target.url.scheme() == "http" && target.url.path() == "/" {
            let gzip = (
                reqwest_0_11::header::CONTENT_ENCODING,
                HeaderValue::from_static("gzip"),
            );
            Some([
                influxdb2_client(&target, timeout, HeaderMap::new())?,
                influxdb2_client(&target, timeout, HeaderMap::from_iter([gzip]))?,
            ])
        } else {
            None
        };
        Ok(Self {
            http: target.client(timeout)?,
            influxdb2,
            kind: Mutex::new(None),
            target,
        })
    }

    /// Sends a batch. Lines that the server refuses are searched for and left out; the others are
    /// delivered in order, up to the first failure. Cancel safe: sending a line twice is harmless,
    /// because series and time identify a point.
    pub(super) async fn deliver(&self, lines: Vec<u8>) -> Delivery {
        let mut delivery = Delivery::default();
        let mut to_do = vec![lines]; // a stack: the last part is sent first
        let failure = match self.kind().await {
            Ok(kind) => self.deliver_all(kind, &mut to_do, &mut delivery).await,
            Err(failure) => Some(failure),
        };
        delivery.failure = failure;
        while let Some(part) = to_do.pop() {
            delivery.rest.extend(part);
        }
        delivery
    }

    async fn deliver_all(
        &self,
        kind: Kind,
        to_do: &mut Vec<Vec<u8>>,
        delivery: &mut Delivery,
    ) -> Option<Failure> {
        let mut search = 0;
        let mut seen = HashSet::new();
        let mut made = false;
        while let Some(part) = to_do.last() {
            let count = line_count(part);
            if count == 0 {
                to_do.pop();
                continue;
            }
            let answer = match self.write(kind, part).await {
                Ok(answer) => answer,
                Err(reason) => {
                    self.forget_kind();
                    return Some(Failure::Away(reason));
                }
            };
            match answer.status {
                STORED => delivery.written += count,
                // InfluxDB 2 responds with 422 if the type of a field has changed.
                400 | 422 if answer.says("partial write") => {
                    let dropped = partly_refused(&answer.text).clamp(1, count);
                    delivery.refused += dropped;
                    delivery.written += count - dropped;
                    note(&answer, &mut seen, delivery);
                }
                400 | 413 | 422 => {
                    let hopeless = answer.status != 413
                        && (search >= SEARCH_REQUESTS || unparsable(&answer.text) >= count);
                    if count > 1 && !hopeless {
                        let (first, second) = halves(part);
                        to_do.pop();
                        to_do.push(second);
                        to_do.push(first);
                        search += 1;
                        continue;
                    }
                    delivery.refused += count;
                    note(&answer, &mut seen, delivery);
                }
                404 if !made && no_bucket(kind, &answer) => {
                    if let Err(failure) = self.make_bucket(kind, &answer).await {
                        return Some(failure);
                    }
                    made = true;
                    continue;
                }
                status => {
                    if matches!(status, 200..=399 | 404 | 405) {
                        self.forget_kind(); // another server may have replaced it
                    }
                    return Some(failure(&answer));
                }
            }
            to_do.pop();
        }
        None
    }

    async fn write(&self, kind: Kind, lines: &[u8]) -> Result<Answer, String> {
        let compressed = if lines.len() >= GZIP_FROM {
            gzip(lines)
        } else {
            None
        };
        let gzip = compressed.is_some();
        let body = compressed.unwrap_or_else(|| lines.to_vec());
        let mut request = match (kind, &self.influxdb2) {
            (Kind::V2, Some(clients)) => {
                return self
                    .write_by_influxdb2(&clients[usize::from(gzip)], body)
                    .await;
            }
            (Kind::V2, None) => self.v2_write(),
            (Kind::V1, _) => self.v1_write(),
        };
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        answer(request.body(body)).await
    }

    async fn write_by_influxdb2(
        &self,
        client: &influxdb2::Client,
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let InfluxTarget { org, bucket, .. } = &self.target;
        // The default precision is nanoseconds.
        let written = client.write_line_protocol(org, bucket, body).await;
        let mut written = influxdb2_answer(written)?;
        if matches!(written.status, 429 | 503) {
            let asked = answer(self.v2_write()).await.ok();
            written.retry_after = asked.and_then(|asked| asked.retry_after);
        }
        Ok(written)
    }

    // --- detection of the protocol ---

    /// The protocol of the server. The server is asked for it the first time and after it was away.
    async fn kind(&self) -> Result<Kind, Failure> {
        let known = self.kind.lock().map_or(None, |kind| *kind);
        if let Some(kind) = known {
            return Ok(kind);
        }
        let kind = self.detect().await?;
        if let Ok(mut known) = self.kind.lock() {
            *known = Some(kind);
        }
        Ok(kind)
    }

    fn forget_kind(&self) {
        if let Ok(mut kind) = self.kind.lock() {
            *kind = None;
        }
    }

    async fn detect(&self) -> Result<Kind, Failure> {
        let ping = self.http.get(self.target.address("/ping")).send().await;
        let ping = ping.map_err(|error| Failure::Away(http::describe(error)))?;
        if let Some(version) = ping.headers().get("x-influxdb-version") {
            let version = version.to_str().unwrap_or_default();
            // 1.8 also has a v2 endpoint, but cannot create a missing database through it.
            if version.trim_start_matches('v').starts_with("1.") {
                return Ok(Kind::V1);
            }
        }
        // An empty write changes nothing.
        let answer = answer(self.v2_write()).await.map_err(Failure::Away)?;
        match answer.status {
            // A server without the endpoint responds with plain text; a server without the bucket,
            // with JSON.
            404 | 405 if !answer.says("\"code\"") => Ok(Kind::V1),
            400 if answer.says("orgid") => Err(Failure::Refused(format!(
                "{}: name the organisation with --influx-org (INFLUX_ORG)",
                answer.short()
            ))),
            STORED | 400..=428 | 430..=499 => Ok(Kind::V2),
            _ => Err(failure(&answer)),
        }
    }

    // --- creation of a missing database or bucket ---

    async fn make_bucket(&self, kind: Kind, missing: &Answer) -> Result<(), Failure> {
        let made = match kind {
            Kind::V1 => self.make_database().await,
            Kind::V2 => self.make_v2_bucket().await,
        };
        match made {
            Ok(made) if (200..300).contains(&made.status) => Ok(()),
            Ok(made) if matches!(made.status, 429 | 500..) => Err(failure(&made)),
            Ok(made) => Err(Failure::Refused(format!(
                "{}, and it cannot be made with this token: {}. Make it, or name another with --influx-bucket (INFLUX_BUCKET)",
                missing.short(),
                made.short()
            ))),
            Err(reason) => Err(Failure::Away(reason)),
        }
    }

    async fn make_database(&self) -> Result<Answer, String> {
        let name = self.database().0.replace('\\', "\\\\").replace('"', "\\\"");
        let statement = format!("CREATE DATABASE \"{name}\"");
        let mut made = answer(self.v1("/query").form(&[("q", statement)])).await?;
        // Errors of a statement have status 200.
        if made.status == 200 && made.says("\"error\"") {
            made.status = 403;
        }
        Ok(made)
    }

    async fn make_v2_bucket(&self) -> Result<Answer, String> {
        let InfluxTarget { org, bucket, .. } = &self.target;
        let request = self.v2(Method::GET, "/api/v2/orgs");
        let found = answer(request.query(&[("org", org)])).await?;
        if !(200..300).contains(&found.status) {
            return Ok(found);
        }
        let list: Value = serde_json::from_str(&found.text).unwrap_or_default();
        let Some(id) = list["orgs"][0]["id"].as_str() else {
            return Ok(Answer {
                status: 404,
                text: format!("no organisation {org:?}"),
                retry_after: None,
            });
        };
        // Without a retention rule, points are kept for ever.
        let bucket = json!({ "orgID": id, "name": bucket, "retentionRules": [] });
        let request = self.v2(Method::POST, "/api/v2/buckets");
        let request = request.header(CONTENT_TYPE, "application/json");
        answer(request.body(bucket.to_string())).await
    }

    // --- requests ---

    /// A request with credentials in the form of InfluxDB 2.
    fn v2(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.target.address(path));
        self.target.with_token(request)
    }

    /// An empty write.
    fn v2_write(&self) -> RequestBuilder {
        let InfluxTarget { org, bucket, .. } = &self.target;
        let query = [("bucket", bucket), ("org", org)];
        let request = self.v2(Method::POST, "/api/v2/write").query(&query);
        request.query(&[("precision", "ns")]).body("")
    }

    fn v1_write(&self) -> RequestBuilder {
        let (database, policy) = self.database();
        let mut query = vec![("db", database), ("precision", "ns")];
        query.extend(policy.map(|policy| ("rp", policy)));
        self.v1("/write").query(&query)
    }

    /// A request with credentials in the form of InfluxDB 1.x.
    fn v1(&self, path: &str) -> RequestBuilder {
        let request = self.http.post(self.target.address(path));
        match self.target.token.split_once(':') {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None if self.target.token.is_empty() => request,
            None => request.basic_auth(&self.target.token, None::<&str>),
        }
    }

    /// The database and the retention policy of InfluxDB 1.x.
    fn database(&self) -> (&str, Option<&str>) {
        match self.target.bucket.split_once('/') {
            Some((database, policy)) => (database, Some(policy)),
            None => (&self.target.bucket, None),
        }
    }
}

/// A client of `influxdb2` that adds these headers to each request. It uses reqwest 0.11 without
/// TLS and only HTTP/1, because its HTTP/2 has a known vulnerability (deny.toml).
fn influxdb2_client(
    target: &InfluxTarget,
    timeout: Duration,
    headers: HeaderMap,
) -> Result<influxdb2::Client, MetricsError> {
    let mut builder = reqwest_0_11::ClientBuilder::new()
        .timeout(timeout)
        // A redirected POST would become a GET, or send the token to another server.
        .redirect(reqwest_0_11::redirect::Policy::none())
        .user_agent(http::USER_AGENT)
        .http1_only()
        .default_headers(headers);
    if http::is_loopback(&target.url) {
        builder = builder.no_proxy();
    }
    let (url, org, token) = (target.url.as_str(), &target.org, &target.token);
    influxdb2::ClientBuilder::with_builder(builder, url, org, token)
        .build()
        .map_err(|error| MetricsError::Client(error.to_string()))
}

async fn answer(request: RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(http::describe)?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let body = http::body(response, LONGEST_ANSWER).await?;
    let body = body.unwrap_or_default();
    Ok(Answer {
        status,
        text: String::from_utf8_lossy(&body).into_owned(),
        retry_after,
    })
}

fn influxdb2_answer(result: Result<(), RequestError>) -> Result<Answer, String> {
    let (status, text) = match result {
        Ok(()) => (STORED, String::new()),
        Err(RequestError::Http { status, text }) => (status.as_u16(), text),
        Err(RequestError::ReqwestProcessing { source }) if source.is_timeout() => {
            return Err(http::NO_ANSWER.to_owned());
        }
        Err(RequestError::ReqwestProcessing { source }) => {
            return Err(http::causes(&source.without_url()));
        }
        Err(error) => return Err(one_line(&error.to_string())),
    };
    Ok(Answer {
        status,
        text,
        retry_after: None,
    })
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    parse_retry_after(text, SystemTime::now())
}

/// Parses `Retry-After`: a number of seconds, or a date.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Classifies a response that is neither a success nor about single lines.
fn failure(answer: &Answer) -> Failure {
    let reason = answer.short();
    match answer.status {
        429 | 503 => Failure::Busy {
            wait: answer.retry_after,
            reason,
        },
        // InfluxDB 1.x reports this as an internal error.
        500 if answer.says("retention policy not found") => Failure::Refused(format!(
            "{reason}. Make it, or name another with --influx-bucket (INFLUX_BUCKET)"
        )),
        500.. => Failure::Away(reason),
        401 | 403 => Failure::Refused(format!(
            "{reason}. Check INFLUX_TOKEN (USER:PASSWORD for InfluxDB 1.x) and what it may write to"
        )),
        404 => Failure::Refused(format!(
            "{reason}. Check --influx-host, --influx-org and --influx-bucket"
        )),
        200..=299 => Failure::Refused(format!(
            "{reason}. InfluxDB answers a write with {STORED}; something else may answer in its place, such as the login page \
             of a proxy. Check --influx-host (INFLUX_HOST)"
        )),
        _ => Failure::Refused(format!("{reason}. Check --influx-host (INFLUX_HOST)")),
    }
}

/// Whether a 404 means that the database or bucket is missing, so that it can be created.
fn no_bucket(kind: Kind, answer: &Answer) -> bool {
    match kind {
        Kind::V1 => answer.says("database not found"),
        Kind::V2 => answer.says("bucket") && answer.says("not found"),
    }
}

/// Number of lines that InfluxDB refused while it stored the others. It gives a count for lines
/// that do not fit the schema, and lists the lines that it cannot parse.
fn partly_refused(text: &str) -> u64 {
    let dropped = text
        .rsplit_once("dropped=")
        .map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    let dropped = dropped.flatten().and_then(|digits| digits.parse().ok());
    let listed = text.matches("\"line_number\"").count() as u64; // InfluxDB 3
    dropped.unwrap_or(0) + unparsable(text) + listed
}

fn unparsable(text: &str) -> u64 {
    text.matches("unable to parse '").count() as u64
}

fn note(answer: &Answer, seen: &mut HashSet<String>, delivery: &mut Delivery) {
    let text = answer.short();
    if delivery.refusals.len() < 8 && seen.insert(text.clone()) {
        delivery.refusals.push(text);
    }
}

/// The start of a server's message, on one line, for the log.
fn one_line(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.floor_char_boundary(300);
    if end < line.len() {
        line.truncate(end);
        line.push('…');
    }
    line
}

pub(super) fn line_count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Splits two or more lines into two parts with about the same number of lines.
fn halves(lines: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let half = usize::try_from(line_count(lines) / 2).unwrap_or(1).max(1);
    let at = lines
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(half - 1)
        .map_or(lines.len(), |(at, _)| at + 1);
    (lines[..at].to_vec(), lines[at..].to_vec())
}

fn gzip(lines: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    encoder.write_all(lines).ok()?; // writing to memory cannot fail
    encoder.finish().ok()
}
