//! `primepool dashboard`: its page receives the state of the pool, and only permitted clients
//! receive it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use primepool_tests::{Binary, Broker, Consumer, Process, Results, wait_for};
use serde_json::Value;
use tempfile::tempdir;

/// A running dashboard, and the address that it prints.
pub(crate) struct Dashboard {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Dashboard {
    /// Starts a dashboard at any free port.
    pub(crate) fn start(dir: &std::path::Path, broker: &Broker) -> Self {
        let args = [
            "dashboard",
            "--listen",
            "127.0.0.1:0",
            "--interval",
            "500ms",
        ];
        let process = Process::start(Binary::Monitor, dir, &broker.url, &args);
        let address = wait_for("the address of the dashboard", || {
            let printed = process.output().0;
            let line = printed.strip_suffix("/\n")?.strip_prefix("http://")?;
            Some(line.to_owned())
        });
        Self { process, address }
    }

    /// Status and text of the response to a request for `path`.
    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The state of the pool, as the page receives it.
    pub(crate) fn pool(&self, query: &str) -> Value {
        let host = format!("Host: {}\r\n", self.address);
        let (status, body) = self.get(&format!("/pool.json?{query}"), &host);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn the_page_gets_nodes_runs_and_the_last_hour() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let dashboard = Dashboard::start(dir.path(), &broker);
    let args = ["--node", "n1", "--concurrency", "2", "--kinds", "prime"];
    let _consumer = Consumer::with(dir.path(), &broker, &args);
    let args = ["--count", "200000", "--bits", "512"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let run = Results::wait_for_run(dir.path());
    let query = format!("run={run}");
    wait_for("jobs of the run", || {
        let pool = dashboard.pool(&query);
        let busy = pool["samples"].as_array()?.iter().any(|sample| {
            sample["jobs_per_s"].as_f64() > Some(0.0) && sample["workers"].as_u64() == Some(2)
        });
        let done = pool["run"]["samples"].as_array()?.last()?["done"].as_u64();
        (busy && done > Some(0)).then_some(())
    });
    let pool = dashboard.pool(&query);
    assert_eq!(pool["report"]["nodes"][0]["node"], "n1", "{pool}");
    assert_eq!(pool["run"]["ended"], false, "{pool}");
    producer.signal("INT");
    producer.wait();
    wait_for("the end of the run", || {
        let pool = dashboard.pool("since=0");
        (pool["ended"][0]["run"] == run.as_str()).then_some(())
    });

    let host = format!("Host: {}\r\n", dashboard.address);
    let (status, page) = dashboard.get("/", &host);
    assert!(status == 200 && page.contains("/page.js"), "{page}");
    let (status, refused) = dashboard.get("/pool.json", "Host: pool.evil.example\r\n");
    assert_eq!(status, 421);
    assert!(refused.contains("--host NAME"), "{refused}");
    dashboard.process.signal("TERM");
    let ended = dashboard.process.wait();
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

#[test]
fn it_does_not_start_where_it_would_be_open_or_cannot_listen() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, text) in [
        ("0.0.0.0:0", "PRIMEPOOL_DASHBOARD_TOKEN"),
        (&*taken, "--listen ADDRESS:PORT"),
        ("localhost", "--listen"),
    ] {
        let args = ["dashboard", "--listen", listen];
        let refused = Process::start(Binary::Monitor, dir.path(), &broker.url, &args).wait();
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(text), "{refused:?}");
    }
}
