//! Experiments: real sweeps of real consumers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use primepool_tests::{Binary, Broker, Process, wait_for};
use serde_json::Value;
use tempfile::tempdir;

fn records(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("x/records.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether a process lives that names this folder.
fn somebody_lives(dir: &Path) -> bool {
    let name = dir.to_str().unwrap();
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let text = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let own = process.file_name() == std::process::id().to_string().as_str();
        !own && String::from_utf8_lossy(&text).contains(name)
    })
}

/// Whether this system lets us make a control group with a quota.
fn may_share() -> bool {
    let name = format!("primepool-test-{}", std::process::id());
    ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].iter().any(|root| {
        let group = Path::new(root).join(&name);
        let made = fs::create_dir(&group).is_ok();
        let works = ["cpu.cfs_quota_us", "cpu.max"]
            .iter()
            .any(|file| group.join(file).exists());
        let _ = fs::remove_dir(&group);
        made && works
    })
}

#[test]
fn a_sweep_measures_every_pair_and_reports() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1..2 --workers 1,2 --bits 256 --repeat 1 --min-time 1s --dir x";
    let args: Vec<&str> = args.split(' ').collect();
    let done = Process::start(Binary::Experiment, dir.path(), &broker.url, &args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let mut pairs = Vec::new();
    for record in records(dir.path()) {
        let figures = &record["measured"];
        assert!(figures["elapsed_s"].as_f64().unwrap() >= 1.0, "{record}");
        assert!(figures["primes_per_s"].as_f64().unwrap() > 0.0, "{record}");
        assert_eq!(figures["error_rate"], 0.0, "{record}");
        let folder = dir
            .path()
            .join("x")
            .join(figures["folder"].as_str().unwrap());
        let summary = fs::read_to_string(folder.join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["jobs_ok"], figures["jobs"]);
        let nodes = figures["jobs_by_node"].as_array().unwrap();
        assert_eq!(nodes.len() as u64, record["nodes"].as_u64().unwrap());
        pairs.push((record["nodes"].as_u64(), record["workers"].as_u64()));
    }
    pairs.sort_unstable();
    let expected = [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(n, w)| (Some(n), Some(w)));
    assert_eq!(pairs, expected);
    let baseline = fs::read_to_string(dir.path().join("x/baseline.json")).unwrap();
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    assert!(baseline["primes_per_s"][0].as_f64().unwrap() > 0.0);
    assert!(dir.path().join("x/report/report.html").exists());
    assert!(!somebody_lives(dir.path()));

    // A second one does not write over the first.
    let again = Process::start(Binary::Experiment, dir.path(), &broker.url, &args).wait();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("--resume"), "{again:?}");
}

#[test]
fn an_interrupted_sweep_leaves_nobody_and_goes_on() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1 --workers 1,2 --bits 128 --repeat 2 --min-time 1s --dir x";
    let args: Vec<&str> = args.split(' ').collect();
    let running = Process::start(Binary::Experiment, dir.path(), &broker.url, &args);
    wait_for("a record", || {
        (!records(dir.path()).is_empty()).then_some(())
    });
    running.signal("INT");
    let done = running.wait();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert!(done.stderr.contains("experiment run --resume"), "{done:?}");
    assert!(!somebody_lives(dir.path()));
    let before = records(dir.path());
    assert!(before.len() < 4);

    let args = ["run", "--resume", "x"];
    let done = Process::start(Binary::Experiment, dir.path(), &broker.url, &args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    let after = records(dir.path());
    assert_eq!(after.len(), 4);
    assert_eq!(after[..before.len()], before);
}

#[test]
fn a_share_is_a_ceiling_and_what_a_node_uses_is_told_of_it() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1 --workers 1 --bits 256 --repeat 1 --min-time 4s --cpus-per-node 0.25 --dir x";
    let args: Vec<&str> = args.split(' ').collect();
    let done = Process::start(Binary::Experiment, dir.path(), &broker.url, &args).wait_long();
    if !may_share() {
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("--cpus-per-node needs"), "{done:?}");
        return;
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    let figures = &records(dir.path())[0]["measured"];
    let number = |name: &str| figures[name].as_f64().unwrap();
    let cores = number("consumer_cpu_s") / number("elapsed_s");
    assert!((0.15..0.3).contains(&cores), "{cores} cores");
    let percent = number("cpu_pct");
    assert!((60.0..120.0).contains(&percent), "{percent} % of its share");
    assert!(!somebody_lives(dir.path()));
}
