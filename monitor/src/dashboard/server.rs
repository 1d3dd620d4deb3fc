//! The dashboard's web server.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION,
        REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tracing::debug;

use super::{
    access::{Access, Decision, parameter},
    history::{History, PoolSample, RunHistory},
};
use crate::report::{Report, RunLine};

/// Most connections that are served at a time; further ones wait.
const MOST_CONNECTIONS: usize = 64;

/// Longest wait for the head of a request, also between two requests on one connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause after a failed `accept`, which usually means too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Content security policy: the page loads scripts, styles, images and data only from this server,
/// and no other site may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The state that the page shows.
#[derive(Debug)]
pub(super) struct DashboardState {
    /// The last report; `None` before the first.
    pub(super) report: Option<Report>,
    pub(super) history: History,
    /// Why there is no newer report.
    pub(super) trouble: Option<String>,
}

/// Body of `/pool.json`.
#[derive(Debug, Serialize)]
struct Pool<'a> {
    report: Option<&'a Report>,
    trouble: Option<&'a str>,
    /// Samples that the page does not have yet.
    samples: Vec<&'a PoolSample>,
    /// Runs of the last hour that have ended.
    ended: Vec<&'a RunLine>,
    /// The run that the page shows in detail.
    run: Option<&'a RunHistory>,
}

fn answer(status: StatusCode, kind: &'static str, text: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An answer of one line of plain text.
fn tell(status: StatusCode, text: &str) -> Answer {
    answer(status, TEXT, format!("{text}\n").into())
}

/// The web server; clones share its state.
#[derive(Debug, Clone)]
pub(super) struct Server {
    access: Arc<Access>,
    state: Arc<Mutex<DashboardState>>,
}

type Answer = Response<Full<Bytes>>;

impl Server {
    pub(super) fn new(access: Access, state: DashboardState) -> Self {
        Self {
            access: Arc::new(access),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Locks the state that the page shows.
    pub(super) fn state(&self) -> MutexGuard<'_, DashboardState> {
        // Every change leaves the state consistent, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts connections for ever.
    pub(super) async fn serve(self, listener: TcpListener) -> Infallible {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    debug!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream) {
        let answer = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.answer(&request))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), answer)
            .await;
        if let Err(error) = served {
            debug!(%error, "a connection broke");
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        let decision = self
            .access
            .decide(request.method(), request.headers(), query);
        let mut answer = match decision {
            Decision::Serve => self.page(request.uri().path(), query),
            Decision::SetCookie(cookie) => {
                let mut answer = answer(StatusCode::SEE_OTHER, TEXT, Bytes::new());
                answer
                    .headers_mut()
                    .insert(LOCATION, HeaderValue::from_static("/"));
                // A token has only characters that are valid in a header.
                if let Ok(cookie) = HeaderValue::try_from(cookie) {
                    answer.headers_mut().insert(SET_COOKIE, cookie);
                }
                answer
            }
            Decision::WrongMethod => {
                let mut answer = tell(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "the dashboard only shows: `primepool top` and `primepool cancel` change something",
                );
                let allowed = HeaderValue::from_static("GET, HEAD");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
            Decision::WrongHost => tell(
                StatusCode::MISDIRECTED_REQUEST,
                "the dashboard is not known by this name: ask for it by its address or as localhost, or start it with --host NAME",
            ),
            Decision::NoToken => tell(
                StatusCode::UNAUTHORIZED,
                "the dashboard wants its token: open /?token=TOKEN once, or send the header `Authorization: Bearer TOKEN`",
            ),
        };
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
        ] {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    fn page(&self, path: &str, query: &str) -> Answer {
        let file = |kind, text: &'static str| answer(StatusCode::OK, kind, text.into());
        match path {
            "/" => file(HTML, include_str!("page/index.html")),
            "/page.css" => file("text/css; charset=utf-8", include_str!("page/page.css")),
            "/page.js" => file(
                "text/javascript; charset=utf-8",
                include_str!("page/page.js"),
            ),
            "/icon.svg" => file("image/svg+xml", include_str!("page/icon.svg")),
            "/pool.json" => self.pool(query),
            _ => tell(StatusCode::NOT_FOUND, "there is no such page: open /"),
        }
    }

    fn pool(&self, query: &str) -> Answer {
        let since = parameter(query, "since").and_then(|since| since.parse().ok());
        let run = parameter(query, "run").and_then(|run| run.parse().ok());
        let state = self.state();
        let pool = Pool {
            report: state.report.as_ref(),
            trouble: state.trouble.as_deref(),
            samples: state.history.since(since.unwrap_or(0)),
            ended: state.history.ended(),
            run: run.as_ref().and_then(|run| state.history.run(run)),
        };
        // Plain data: it always has a JSON form.
        let text = serde_json::to_string(&pool).unwrap_or_default();
        answer(StatusCode::OK, "application/json", text.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::{super::access::Token, *};
    use crate::report::tests::report;

    fn server(token: Option<&str>) -> Server {
        let token = Token::read(None, token).unwrap();
        let access = Access::new("127.0.0.1:8265".parse().unwrap(), &[], token).unwrap();
        let mut history = History::new(Duration::from_secs(2));
        let nobody = Default::default();
        history.note(&report(&[("r1", 4.0), ("r2", 2.0)]), &nobody, 6.0, 1000);
        let report = report(&[("r2", 3.0)]);
        history.note(&report, &nobody, 3.0, 3000);
        let state = DashboardState {
            report: Some(report),
            history,
            trouble: None,
        };
        Server::new(access, state)
    }

    fn get(server: &Server, path: &str) -> (StatusCode, Answer) {
        let request = Request::get(path).header("host", "localhost:8265");
        let answer = server.answer(&request.body(()).unwrap());
        (answer.status(), answer)
    }

    async fn json(server: &Server, path: &str) -> Value {
        let (status, answer) = get(server, path);
        assert_eq!(status, StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_page_gets_what_it_does_not_have_yet() {
        let server = server(None);
        let all = json(&server, "/pool.json").await;
        assert_eq!(all["samples"].as_array().unwrap().len(), 2);
        assert_eq!(all["report"]["runs"][0]["run"], "r2");
        assert_eq!(all["ended"][0]["run"], "r1");
        assert_eq!(all["run"], Value::Null);
        let more = json(&server, "/pool.json?since=1000&run=r1").await;
        assert_eq!(more["samples"].as_array().unwrap().len(), 1);
        assert_eq!(more["samples"][0]["jobs_per_s"], 3.0);
        assert_eq!(more["run"]["ended"], true);
        assert_eq!(more["run"]["samples"][0]["done"], 10);
        let none = json(&server, "/pool.json?since=x&run=../y").await;
        assert_eq!(none["run"], Value::Null);
    }

    #[test]
    fn every_answer_forbids_what_a_page_does_not_need() {
        let server = server(Some("0123456789abcdef"));
        for (path, status) in [
            ("/", StatusCode::UNAUTHORIZED),
            ("/?token=0123456789abcdef", StatusCode::SEE_OTHER),
        ] {
            let (got, answer) = get(&server, path);
            assert_eq!(got, status);
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
        let request = Request::post("/").header("host", "localhost").body(());
        let answer = server.answer(&request.unwrap());
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn the_page_has_what_it_names() {
        let server = server(None);
        let page = include_str!("page/index.html");
        for attribute in ["href=\"", "src=\""] {
            for part in page.split(attribute).skip(1) {
                let path = part.split('"').next().unwrap();
                if !path.starts_with('#') {
                    assert_eq!(get(&server, path).0, StatusCode::OK, "{path}");
                }
            }
        }
        // The content security policy forbids both.
        assert!(!page.contains("style=") && !page.contains("<script>"));
        assert_eq!(get(&server, "/none").0, StatusCode::NOT_FOUND);
    }
}
