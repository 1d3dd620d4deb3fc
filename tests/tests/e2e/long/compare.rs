//! Comparisons with real other pools, which the set-up installs.

use std::{fs, path::PathBuf};

use primepool_tests::{Broker, python_of, wait_for};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::compare::{comparison, start, table};

/// Processes whose files are in this folder: path in `/proc` and command line.
fn processes(files: &TempDir) -> Vec<(PathBuf, String)> {
    let text = files.path().to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let line = |process: fs::DirEntry| {
        let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
        let said = [read("environ"), read("cmdline")].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = String::from_utf8_lossy(&read("cmdline")).into_owned();
        said.contains(text).then(|| (process.path(), line))
    };
    processes.filter_map(line).collect()
}

fn alive(files: &TempDir) -> Vec<String> {
    let processes = processes(files).into_iter();
    processes.map(|(_, line)| line).collect()
}

/// Addresses in hexadecimal, as in `/proc/net`, on which these processes listen.
fn listens_on(files: &TempDir) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap());
    let sockets: Vec<String> = processes(files)
        .iter()
        .flat_map(|(process, _)| fs::read_dir(process.join("fd")).into_iter().flatten())
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let lines = tables.iter().flat_map(|table| table.lines());
    let listening = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields[3] == "0A" && sockets.iter().any(|socket| socket == fields[9]);
        ours.then(|| fields[1].split(':').next().unwrap().to_owned())
    });
    listening.collect()
}

fn left(files: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(files.path()).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn all_pools_are_measured_and_leave_nothing() {
    let (broker, dir, files) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let args = "--bits 128 --repeat 1 --min-time 200ms --round-trips 20";
    let done = start(
        &broker,
        dir.path(),
        &files,
        &python_of("experiment/peers"),
        args,
    )
    .wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let table = table(dir.path());
    assert!(table.contains("| Primepool |"), "{table}");
    let compared = comparison(dir.path());
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    for record in compared["records"].as_array().unwrap() {
        let figures = &record["measured"];
        let system = record["system"].as_str().unwrap();
        assert!(number(&figures["primes"]["per_s"]) > 0.0, "{record}");
        if ["engine", "gmpy2"].contains(&system) {
            continue;
        }
        for rate in ["primes", "empty", "empty_batched"] {
            assert!(number(&figures[rate]["per_s"]) > 10.0, "{rate}: {record}");
            assert!(number(&figures[rate]["tasks"]) > 0.0, "{rate}: {record}");
        }
        let trip = &figures["round_trip_ms"];
        assert!(number(&trip["p50"]) > 0.0 && number(&trip["p50"]) <= number(&trip["p99"]));
        assert!(
            (0.01..60.0).contains(&number(&figures["startup_s"])),
            "{record}"
        );
        assert!(number(&figures["memory"]["bytes"]) > 5e6, "{record}");
    }
    assert_eq!(alive(&files), [""; 0]);
    assert_eq!(left(&files), [""; 0].map(PathBuf::from));
    let queues = broker.ctl(&["list_queues", "--quiet", "-p", vhost(&broker), "name"]);
    assert!(!queues.contains("peers"), "{queues}");
}

fn vhost(broker: &Broker) -> &str {
    broker.url.rsplit('/').next().unwrap()
}

#[test]
fn an_interrupted_comparison_leaves_nothing() {
    let (broker, dir, files) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let args = "--systems ray --repeat 1 --bits 128 --min-time 4s";
    let running = start(
        &broker,
        dir.path(),
        &files,
        &python_of("experiment/peers"),
        args,
    );
    wait_for("Ray's workers", || {
        let lines = alive(&files);
        lines
            .iter()
            .any(|line| line.contains("raylet"))
            .then_some(())
    });
    // They listen on loopback only.
    let addresses = wait_for("its servers", || {
        let addresses = listens_on(&files);
        (addresses.len() >= 3).then_some(addresses)
    });
    for address in addresses {
        assert!(
            ["0100007F", "0000000000000000FFFF00000100007F"].contains(&address.as_str()),
            "{address}"
        );
    }
    running.signal("INT");
    let done = running.wait();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(alive(&files), [""; 0]);
    assert_eq!(left(&files), [""; 0].map(PathBuf::from));
}
