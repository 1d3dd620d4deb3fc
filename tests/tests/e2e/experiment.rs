//! Experiments: real sweeps with real consumers.

use std::{fs, path::Path, process::Command};

use primepool_tests::{
    Binary, Broker, Consumer, Process, SshServer, python_of, report, wait_for, workspace,
};
use serde_json::Value;
use tempfile::tempdir;

/// Starts `experiment` with these arguments.
pub(crate) fn start(broker: &Broker, dir: &Path, args: &str) -> Process {
    let args: Vec<&str> = args.split(' ').collect();
    Process::start(Binary::Experiment, dir, &broker.url, &args)
}

/// Makes the report of the experiment `x` below `dir`; returns its output.
pub(crate) fn report_of(dir: &Path) -> String {
    let done = report(&["experiment", "x"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Reads the records of the experiment `x` below `dir`.
pub(crate) fn records(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("x/records.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether any process has this broker's URL in its environment, as processes of an experiment
/// have.
pub(crate) fn any_process_with_url(broker: &Broker) -> bool {
    let entry = format!("PRIMEPOOL_AMQP_URL={}\0", broker.url);
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&entry)
    })
}

/// Whether the command line of any process contains this text.
pub(crate) fn shows_in_a_command_line(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

/// Process ids of the children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let child = |process: fs::DirEntry| {
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        let is_child = fields.split_whitespace().nth(1)? == parent.to_string();
        is_child.then(|| process.file_name().to_str()?.parse().ok())?
    };
    processes.filter_map(child).collect()
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_sweep_measures_every_pair_and_reports() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1..2 --workers 1,2 --bits 256 --repeat 1 --min-time 1s --dir x";
    let done = start(&broker, dir.path(), args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut pairs = Vec::new();
    for record in records(dir.path()) {
        let figures = &record["measured"];
        assert!(figures["elapsed_s"].as_f64().unwrap() >= 1.0, "{record}");
        assert!(figures["jobs_per_s"].as_f64().unwrap() > 0.0, "{record}");
        assert_eq!(figures["error_rate"], 0.0, "{record}");
        let folder = dir
            .path()
            .join("x")
            .join(figures["folder"].as_str().unwrap());
        let summary = fs::read_to_string(folder.join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["jobs_ok"], figures["jobs"]);
        assert_eq!(figures["nodes_idle"], 0, "{record}");
        assert!(figures["latency_p95_ms"].as_f64().unwrap() > 0.0);
        pairs.push((record["nodes"].as_u64(), record["workers"].as_u64()));
    }
    pairs.sort_unstable();
    let expected = [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(n, w)| (Some(n), Some(w)));
    assert_eq!(pairs, expected);
    let baseline = fs::read_to_string(dir.path().join("x/baseline.json")).unwrap();
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    assert!(baseline["jobs_per_s"][0].as_f64().unwrap() > 0.0);
    assert!(!any_process_with_url(&broker));
    let said = report_of(dir.path());
    assert!(said.contains("The best configuration is"), "{said}");
    assert!(dir.path().join("x/report/report.html").exists());

    // A second experiment does not overwrite the first.
    let again = start(&broker, dir.path(), args).wait();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("--resume"), "{again:?}");
}

#[test]
fn factoring_scales_too() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --kind factor --bits 64 --workers 1 --repeat 1 --min-time 1s --dir x";
    let done = start(&broker, dir.path(), args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let record = &records(dir.path())[0]["measured"];
    let run = dir
        .path()
        .join("x")
        .join(record["folder"].as_str().unwrap());
    let results = fs::read_to_string(run.join("results.jsonl")).unwrap();
    let first: Value = serde_json::from_str(results.lines().next().unwrap()).unwrap();
    assert_eq!(first["factors"].as_array().unwrap().len(), 2, "{first}");
    let said = report_of(dir.path());
    assert!(said.contains("numbers/s"), "{said}");
}

#[test]
fn what_makes_reports_passes_its_own_tests() {
    let mut tests = Command::new(python_of("experiment/report"));
    tests.args([
        "-B",
        "-m",
        "unittest",
        "discover",
        "-s",
        "experiment/report",
        "-p",
        "tests.py",
    ]);
    let done = tests.current_dir(workspace()).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn an_interrupted_sweep_leaves_nobody_and_goes_on() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1 --workers 1,2 --bits 128 --repeat 2 --min-time 1s --dir x";
    let running = start(&broker, dir.path(), args);
    wait_for("a record", || {
        (!records(dir.path()).is_empty()).then_some(())
    });
    running.signal("INT");
    let done = running.wait();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert!(done.stderr.contains("experiment run --resume"), "{done:?}");
    assert!(!any_process_with_url(&broker));
    let before = records(dir.path());
    assert!(before.len() < 4);

    let done = start(&broker, dir.path(), "run --resume x").wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let after = records(dir.path());
    assert_eq!(after.len(), 4);
    assert_eq!(after[..before.len()], before);
}

#[test]
fn a_configuration_that_fails_is_reported_and_does_not_end_the_sweep() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1,2 --workers 1 --bits 128 --repeat 1 --min-time 2s --dir x";
    let running = start(&broker, dir.path(), args);
    // Kill the node of the first measurement whose run has begun.
    wait_for("a run that is measured", || {
        let mut runs = fs::read_dir(dir.path().join("x/runs")).ok()?.flatten();
        runs.any(|run| run.path().join("try-0").exists())
            .then_some(())
    });
    let consumer = children(running.pid()).into_iter().find(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.contains("node-1")
    });
    kill(consumer.unwrap());
    let done = running.wait_long();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("FAILED: node-1 ended"), "{done:?}");
    assert!(!any_process_with_url(&broker));
    let failed: Vec<bool> = records(dir.path())
        .iter()
        .map(|record| record.get("failed").is_some())
        .collect();
    assert_eq!(failed, [true, false]);
    assert_eq!(broker.ready("primepool.jobs.prime"), Some(0));

    let done = start(&broker, dir.path(), "run --resume x").wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let records = records(dir.path());
    assert_eq!(records.len(), 3);
    assert_eq!(records[2]["nodes"], records[0]["nodes"]);
    assert!(records[2].get("measured").is_some());
}

#[test]
fn a_broker_that_somebody_uses_is_left_alone() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "other");
    let done = start(&broker, dir.path(), "run --dir x").wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stderr.contains("1 consumer(s) that the experiment"),
        "{done:?}"
    );
    consumer.0.kill();

    let args = ["run", "--dir", "y"];
    let nobody = "amqp://127.0.0.1:1/%2f";
    let done = Process::start(Binary::Experiment, dir.path(), nobody, &args).wait();
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("cannot reach the broker"), "{done:?}");
}

#[test]
fn nodes_on_other_machines_are_started_through_ssh_and_go_with_the_experiment() {
    let (broker, dir, keys) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let server = SshServer::start(keys.path());
    let launcher = format!(
        "ssh -F {} {{host}} {} --amqp-url-file -",
        server.client_config().display(),
        Binary::Consumer.path().display()
    );
    let start = |folder: &str, options: &str| {
        let mut args = vec!["run", "--launcher", &launcher, "--dir", folder];
        args.extend(options.split(' '));
        Process::start(Binary::Experiment, dir.path(), &broker.url, &args)
    };
    let consumers = || broker.consumers("primepool.jobs.prime").unwrap_or(0);

    let hosts = "--hosts 127.0.0.1,localhost";
    let options = format!("--nodes 1,2 --bits 256 --repeat 1 --min-time 1s {hosts}");
    let running = start("x", &options);
    wait_for("two nodes", || (consumers() == 2).then_some(()));
    assert!(!shows_in_a_command_line(broker.password()));
    let done = running.wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(consumers(), 0);
    for record in records(dir.path()) {
        let figures = &record["measured"];
        assert_eq!(figures["nodes_idle"], 0, "{record}");
        assert!(
            figures["consumer_cpu_s"].as_f64().unwrap() > 0.1,
            "{record}"
        );
    }
    let baseline = fs::read_to_string(dir.path().join("x/baseline.json")).unwrap();
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    assert!(baseline["together"]["2"][0].as_f64().unwrap() > 0.0);

    // The nodes end even if the experiment is killed, which leaves it no time to act.
    let options = format!("--nodes 2 --repeat 1 {hosts}");
    let running = start("y", &options);
    wait_for("two nodes", || (consumers() == 2).then_some(()));
    running.kill();
    wait_for("their end", || (consumers() == 0).then_some(()));

    let done = start("z", "--nodes 3 --hosts 127.0.0.1,localhost").wait();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("3 nodes need 3 hosts"), "{done:?}");
}
