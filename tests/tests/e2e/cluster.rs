//! The pool with three broker nodes.

use std::{collections::BTreeMap, path::Path};

use primepool_common::{message::JobKind, topology};
use primepool_tests::{Binary, Cluster, Consumer, Process, Results, wait_for};
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn a_node_of_three_is_killed_in_the_middle_of_a_run() {
    let (cluster, dir) = (Cluster::private(), tempdir().unwrap());
    let members = |node: u8, column: &str| -> Vec<(String, usize)> {
        let args = ["list_queues", "-p", "primepool", "name", column];
        let text = cluster.ctl(
            node,
            &[&args[..], &["--formatter", "json", "--quiet"]].concat(),
        );
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let named = rows.iter().filter(|row| row[column].is_array());
        named
            .map(|row| {
                let name = row["name"].as_str().unwrap().to_owned();
                (name, row[column].as_array().unwrap().len())
            })
            .collect()
    };
    // Each queue has a replica on each node.
    let copies = members(1, "members");
    for kind in JobKind::ALL {
        let queue = topology::jobs_queue(kind);
        assert!(copies.contains(&(queue, 3)), "{copies:?}");
    }
    assert!(copies.iter().all(|(_, count)| *count == 3), "{copies:?}");

    let consumer = |node: u8| {
        let name = format!("n{node}");
        let args = ["--node", &name, "--concurrency", "1"];
        let url = cluster.url(node, "consumer");
        Consumer::at(dir.path(), &url, &args)
    };
    let (second, _third) = (consumer(2), consumer(3));
    // The run takes seconds, so that node 2 is killed while the consumers work.
    let args = ["--count", "300", "--bits", "1536", "--unit-size", "2"];
    let url = cluster.url(1, "producer");
    let producer = Process::start(Binary::Producer, dir.path(), &url, &args);
    wait_for("results", || {
        (Results::count(dir.path()) >= 50).then_some(())
    });
    cluster.kill(2);
    second.wait_until_disconnected();
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(300, 1536);
    let by = |node: &str| {
        results
            .rows
            .iter()
            .filter(|row| row["node"] == node)
            .count()
    };
    assert!(by("n2") > 0 && by("n3") > 0, "{} {}", by("n2"), by("n3"));

    // The node rejoins the cluster, and its consumer reconnects.
    cluster.start_again(2);
    wait_for("three copies in use", || {
        let online = members(1, "online");
        let full =
            online.len() >= JobKind::ALL.len() && online.iter().all(|(_, count)| *count == 3);
        full.then_some(())
    });
    second.wait_until_connected();
}

/// A results queue lives on one node. While that node is down, the broker confirms answers that it
/// cannot route to the queue.
#[test]
fn answers_that_go_astray_are_asked_for_again() {
    const UNITS: u64 = 20;
    let cluster = Cluster::private();
    let dirs = [(); 3].map(|()| tempdir().unwrap());
    let [waiting, elsewhere, away] = dirs.each_ref().map(tempfile::TempDir::path);
    let queues = |column: &str| -> BTreeMap<String, u64> {
        let args = ["list_queues", "-p", "primepool", "name", column, "--quiet"];
        let json = ["--formatter", "json"];
        let text = cluster.ctl(2, &[&args[..], &json].concat());
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let row = |row: &Value| Some((row["name"].as_str()?.to_owned(), row[column].as_u64()?));
        rows.iter().filter_map(row).collect()
    };
    let produce = |dir: &Path, node: u8, args: &[&str]| {
        Process::start(Binary::Producer, dir, &cluster.url(node, "producer"), args)
    };
    let new = ["--count", "40", "--bits", "256", "--unit-size", "2"];

    // All three queues are on node 1. One producer is connected to node 1, one to another node, and
    // one has exited.
    let connected = produce(waiting, 1, &new);
    for dir in [elsewhere, away] {
        let detached = produce(dir, 1, &[&new[..], &["--detach"]].concat()).wait();
        assert_eq!(detached.code, Some(0), "{detached:?}");
    }
    let run = Results::wait_for_run(elsewhere);
    let remote = produce(elsewhere, 2, &["resume", &run]);
    wait_for("both producers", || {
        let readers = queues("consumers");
        let readers = readers
            .iter()
            .filter(|(name, _)| name.starts_with("primepool.results.2"));
        let read: Vec<u64> = readers.map(|(_, consumers)| *consumers).collect();
        (read.len() == 3 && read.iter().sum::<u64>() == 2).then_some(())
    });
    cluster.kill(1);
    let _consumers = [2, 3].map(|node| {
        let name = format!("n{node}");
        let args = ["--node", &name, "--concurrency", "1"];
        let url = cluster.url(node, "consumer");
        Process::start(Binary::Consumer, dirs[0].path(), &url, &args)
    });
    wait_for("all answers to go astray", || {
        let messages = queues("messages");
        (messages.get(topology::UNROUTED_QUEUE)? >= &(3 * UNITS)).then_some(())
    });
    cluster.start_again(1);
    let run = Results::wait_for_run(away);
    let resumed = produce(away, 3, &["resume", &run]);
    for (dir, producer) in [(waiting, connected), (elsewhere, remote), (away, resumed)] {
        let done = producer.wait();
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stderr.contains("gone astray"), "{done:?}");
        Results::read(dir).assert_primes(2 * UNITS, 256);
    }
    let left = queues("messages");
    assert!(
        left.keys()
            .all(|name| !name.starts_with("primepool.results.2")),
        "{left:?}"
    );
}
