//! Reports of experiments that are read back from InfluxDB.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use primepool_tests::{Binary, Broker, Finished, Influx, Process, report};
use tempfile::tempdir;

use crate::experiment::{report_of, start};

/// Runs `experiment` with this InfluxDB.
fn experiment(influx: &Influx, dir: &Path, url: &str, args: &str) -> Finished {
    let mut command = Binary::Experiment.command();
    command
        .args(args.split(' '))
        .env("PRIMEPOOL_AMQP_URL", url)
        .envs(influx.variables());
    Process::spawn(command, "experiment", dir).wait_long()
}

/// Makes the report of an experiment from this InfluxDB.
fn report_from(influx: &Influx, dir: &Path, name: &str) -> Output {
    let mut report = report(&["experiment", name, "--influx"]);
    report.envs(influx.variables()).current_dir(dir);
    report.output().unwrap()
}

#[track_caller]
fn assert_reports(done: &Output) {
    assert!(done.status.success(), "{done:?}");
}

/// The files below a folder, by relative path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[track_caller]
fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (files(left), files(right));
    let names = |files: &BTreeMap<PathBuf, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, text) in &left {
        assert!(text == &right[name], "{} differs", name.display());
    }
}

#[test]
fn the_report_is_the_same_from_influxdb_and_from_the_folder() {
    report_is_the_same(&Influx::private());
}

pub(crate) fn report_is_the_same(influx: &Influx) {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1,2 --workers 1 --bits 256 --repeat 1 --min-time 2s --dir x";
    // An earlier experiment of the same name must not be mixed up with this one.
    let sooner = tempdir().unwrap();
    let done = experiment(
        influx,
        sooner.path(),
        &broker.url,
        &args.replace("1,2", "1"),
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = experiment(influx, dir.path(), &broker.url, args);
    assert_eq!(done.code, Some(0), "{done:?}");

    report_of(dir.path());
    let folder = dir.path().join("x/report");
    for chart in ["throughput", "queue_length"] {
        let file = folder.join(format!("config_workers_1/{chart}_vs_cluster_size.svg"));
        assert!(file.exists(), "{}", file.display());
    }

    // From the database alone, without the experiment's folder.
    let elsewhere = tempdir().unwrap();
    let done = report_from(influx, elsewhere.path(), "x");
    assert_reports(&done);
    assert!(String::from_utf8_lossy(&done.stdout).contains("x-report/report.html"));
    assert_same(&folder, &elsewhere.path().join("x-report"));

    let done = report_from(influx, elsewhere.path(), "y");
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("knows no experiment y"), "{said}");
}

#[test]
fn an_experiment_without_influxdb_can_be_imported_later() {
    let (influx, broker, dir) = (Influx::private(), Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1 --workers 1,2 --bits 256 --repeat 1 --min-time 1s --dir x";
    let done = start(&broker, dir.path(), args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");

    influx.import("primepool", &dir.path().join("x/metrics.lp"));
    report_of(dir.path());
    assert_reports(&report_from(&influx, dir.path(), "x"));
    assert_same(&dir.path().join("x/report"), &dir.path().join("x-report"));
}
