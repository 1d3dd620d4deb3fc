//! Experiments whose nodes are containers on a real engine.

use std::fs;

use primepool_tests::{Binary, Broker, DockerEngine, Process, wait_for};
use serde_json::Value;
use tempfile::tempdir;

use crate::experiment::{records, shows_in_a_command_line};

#[test]
fn nodes_in_containers_have_a_limit_and_go_with_the_experiment() {
    let Some(engine) = DockerEngine::private() else {
        return;
    };
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    engine.make_image("pool-test", &[Binary::Consumer, Binary::Experiment]);
    let start_on = |broker: &Broker, folder: &str, options: &str| {
        let url = broker.url.replace("127.0.0.1", DockerEngine::HOST);
        let mut command = engine.command(&Binary::Experiment.path());
        command
            .env("PRIMEPOOL_AMQP_URL", &url)
            .args(["run", "--launcher", "docker", "--dir", folder])
            .args(["--repeat", "1", "--bits", "256"])
            .args(options.split(' '));
        Process::spawn(command, "experiment", dir.path())
    };
    let start = |folder: &str, options: &str| start_on(&broker, folder, options);
    let consumers = || broker.consumers("primepool.jobs.prime").unwrap_or(0);
    let containers = || engine.docker(&["ps", "--all", "--quiet"]);

    let running = start(
        "x",
        "--image pool-test --nodes 1,2 --cpus-per-node 0.25 --min-time 4s",
    );
    wait_for("two nodes", || (consumers() == 2).then_some(()));
    assert!(!shows_in_a_command_line(broker.password()));
    let ids = containers();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!(ids.len(), 2);
    let told = engine.docker(&[&["inspect"], &ids[..]].concat());
    assert!(!told.contains(broker.password()), "{told}");
    let done = running.wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(containers(), "");
    for record in records(dir.path()) {
        let figures = &record["measured"];
        let nodes = record["nodes"].as_u64().unwrap();
        assert_eq!(figures["nodes_idle"], 0, "{record}");
        let number = |name: &str| figures[name].as_f64().unwrap();
        let cores = number("consumer_cpu_s") / number("elapsed_s") / nodes as f64;
        assert!((0.15..0.3).contains(&cores), "{cores} cores: {record}");
    }
    let baseline = fs::read_to_string(dir.path().join("x/baseline.json")).unwrap();
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    assert!(baseline["together"]["2"][0].as_f64().unwrap() > 0.0);

    // The nodes end even if the experiment is killed, which leaves it no time to act.
    let running = start("y", "--image pool-test --nodes 2");
    wait_for("two nodes", || (consumers() == 2).then_some(()));
    running.kill();
    wait_for("their end", || containers().is_empty().then_some(()));

    // A new virtual host, without units of the killed experiment.
    let done = start_on(&Broker::vhost(), "z", "--image nothing").wait_long();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("nothing"), "{done:?}");
}
