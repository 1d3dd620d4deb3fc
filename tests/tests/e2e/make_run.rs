//! `make run`: a run from nothing to results on one machine, with nothing left behind.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use primepool_sandbox::{InfluxDb, Lifetime};
use primepool_tests::{Influx, Results, wait_for};
use tempfile::{TempDir, tempdir};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../infra/local")
        .join(name)
}

/// The folder of the binaries under test.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().to_owned()
}

/// Starts the program behind `make run`, with its state and its runs in `dir`, in a process group
/// of its own as in a terminal.
fn run(dir: &TempDir, variables: &[(&str, &str)], args: &[&str]) -> Child {
    let output = |name| fs::File::create(dir.path().join(name)).unwrap();
    Command::new(binaries().join("sandbox"))
        .arg("run")
        .args(args)
        .env("PRIMEPOOL_BIN", binaries())
        .env("PRIMEPOOL_STATE", dir.path().join("state"))
        .env("PRIMEPOOL_RUNS_DIR", dir.path().join("runs"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(output("out"))
        .stderr(output("err"))
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Ctrl-C: sends SIGINT to the whole process group.
fn interrupt(running: &Child) {
    let group = format!("-{}", running.id());
    let sent = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(sent.unwrap().success());
}

fn read(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

/// Panics if any process has this folder in its command line or its environment, or if the state
/// folder is not empty.
fn assert_nothing_left(dir: &TempDir) {
    let name = dir.path().to_str().unwrap();
    let left: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let process = entry.ok()?.path();
            let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
            let text = |file: &str| {
                let bytes = fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let cmdline = text("cmdline");
            let ours = cmdline.contains(name) || text("environ").contains(name);
            (ours && pid != std::process::id()).then_some(cmdline)
        })
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    let state: Vec<_> = fs::read_dir(dir.path().join("state"))
        .into_iter()
        .flatten()
        .collect();
    assert!(state.is_empty(), "{state:?}");
}

#[test]
fn from_nothing_to_results() {
    let dir = tempdir().unwrap();
    let variables = [("CONSUMERS", "2"), ("CONCURRENCY", "1")];
    let status = run(&dir, &variables, &["--count", "60", "--bits", "512"])
        .wait()
        .unwrap();
    let (out, err) = (read(&dir, "out"), read(&dir, "err"));
    assert_eq!(status.code(), Some(0), "{out}{err}");
    assert!(out.contains("60 of 60 primes of 512 bits"), "{out}");
    let results = Results::read(dir.path());
    results.assert_primes(60, 512);
    let nodes = results.summary["nodes"].as_array().unwrap();
    let names: Vec<_> = nodes
        .iter()
        .map(|node| (&node["node"], &node["workers"]))
        .collect();
    assert_eq!(
        names,
        [
            (&"local-1".into(), &1.into()),
            (&"local-2".into(), &1.into())
        ]
    );
    for file in ["results.jsonl", "summary.json", "metrics.lp"] {
        assert!(
            results.folder.join(file).metadata().unwrap().len() > 0,
            "{file}"
        );
    }
    assert_nothing_left(&dir);
    assert_eq!(results.summary["influxdb"]["jobs_ok"], 60);
    assert_eq!(jobs_in_kept_influxdb(&results), 60.0);
    assert_nothing_left(&dir);
}

/// Starts the InfluxDB that a run kept in its folder, and counts the run's jobs in it.
fn jobs_in_kept_influxdb(results: &Results) -> f64 {
    let kept = results.folder.join("influxdb");
    let lifetime = Lifetime::with_this_process(&kept.join("none"));
    let influxdb = InfluxDb::start(&kept, &lifetime).unwrap();
    let query = format!(
        "SELECT SUM(jobs) FROM job WHERE run = '{}' AND outcome = 'ok'",
        results.run()
    );
    let answer = influxdb.query("primepool", &query).unwrap();
    influxdb.stop().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let sum = &answer["results"][0]["series"][0]["values"][0][1];
    sum.as_f64().expect("a sum")
}

#[test]
fn without_metrics_there_is_no_database() {
    let dir = tempdir().unwrap();
    let variables = [
        ("METRICS", "off"),
        ("INFLUX_HOST", "http://127.0.0.1:1"),
        ("DASHBOARD", "on"),
    ];
    let status = run(&dir, &variables, &["--count", "5", "--bits", "64"])
        .wait()
        .unwrap();
    let err = read(&dir, "err");
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(err.contains("dashboard: http://127.0.0.1:"), "{err}");
    let results = Results::read(dir.path());
    assert!(!results.folder.join("influxdb").exists());
    assert!(results.folder.join("metrics.lp").exists());
    assert_eq!(results.summary.get("influxdb"), None);
    assert_nothing_left(&dir);
}

#[test]
fn an_influxdb_of_the_users_own_gets_the_metrics_of_all() {
    influxdb_of_the_users_own(&Influx::private(), "mine");
}

pub(crate) fn influxdb_of_the_users_own(influx: &Influx, bucket: &str) {
    let dir = tempdir().unwrap();
    let [host, org, token] = influx.variables();
    let state = ("XDG_STATE_HOME", dir.path().to_str().unwrap());
    let variables = [host, org, token, ("INFLUX_BUCKET", bucket), state];
    let status = run(&dir, &variables, &["--count", "40", "--bits", "256"])
        .wait()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", read(&dir, "err"));
    let results = Results::read(dir.path());
    assert!(!results.folder.join("influxdb").exists());
    assert_eq!(results.summary["influxdb"]["jobs_ok"], 40);
    assert!(influx.count(bucket, "node", "alive_s") > 0);
    assert_nothing_left(&dir);
}

#[test]
fn an_influxdb_for_the_producer_alone_is_refused() {
    let dir = tempdir().unwrap();
    // The option would apply to the producer only, not to the consumers.
    let args = ["--influx-host", "http://127.0.0.1:1"];
    let status = run(&dir, &[], &args).wait().unwrap();
    let err = read(&dir, "err");
    assert_eq!(status.code(), Some(2), "{err}");
    assert!(err.contains("INFLUX_HOST"), "{err}");
}

#[test]
fn ctrl_c_leaves_nothing_but_what_is_done_and_the_run_can_go_on() {
    let dir = tempdir().unwrap();
    let mut running = run(&dir, &[], &["--count", "800", "--bits", "1024"]);
    wait_for("results", || {
        (Results::count(dir.path()) >= 10).then_some(())
    });
    interrupt(&running);
    let status = running.wait().unwrap();
    let (out, err) = (read(&dir, "out"), read(&dir, "err"));
    assert_eq!(status.code(), Some(130), "{out}{err}");
    let before = Results::read(dir.path());
    assert!(!before.rows.is_empty() && before.rows.len() < 800);
    assert!(
        out.contains(&format!("{} of 800 primes", before.rows.len())),
        "{out}"
    );
    assert!(
        err.contains(&format!("make run RESUME={}", before.run())),
        "{err}"
    );
    assert_nothing_left(&dir);

    let status = run(&dir, &[("RESUME", before.run())], &[]).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", read(&dir, "err"));
    let after = Results::read(dir.path());
    after.assert_primes(800, 1024);
    // One database has the points of both sessions.
    assert_eq!(jobs_in_kept_influxdb(&after), 800.0);
    assert_nothing_left(&dir);
}

#[test]
fn killed_at_any_moment_it_leaves_no_process_and_no_port() {
    let dir = tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    // Delays that range from before the start of the broker until the run is well under way.
    for tenths in [0, 3, 7, 13, 20, 32, 45, 58, 70, 90] {
        let mut running = run(&dir, &[], &["--count", "50000", "--bits", "2048"]);
        std::thread::sleep(std::time::Duration::from_millis(100 * tenths));
        // Ports need no check: a process that has ended holds none.
        running.kill().unwrap();
        running.wait().unwrap();
        wait_for(&format!("the end, killed after {tenths} tenths"), || {
            let mut processes = fs::read_dir("/proc").unwrap().flatten();
            let lives = processes.any(|entry| {
                let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
                let text = [read("cmdline"), read("environ")].concat();
                String::from_utf8_lossy(&text).contains(name)
            });
            (!lives).then_some(())
        });
    }
    // The next run removes the folders that the killed runs left.
    let status = run(&dir, &[], &["--count", "5", "--bits", "64"]).wait();
    assert_eq!(status.unwrap().code(), Some(0), "{}", read(&dir, "err"));
    assert_nothing_left(&dir);
}

#[test]
fn wrong_variables_are_refused_before_anything_starts() {
    let dir = tempdir().unwrap();
    for (variable, text) in [
        (("CONSUMERS", "many"), "CONSUMERS is 'many'"),
        (("CONCURRENCY", "0x"), "CONCURRENCY is '0x'"),
        (("METRICS", "maybe"), "METRICS is 'maybe'"),
        (("DASHBOARD", "yes"), "DASHBOARD is 'yes'"),
    ] {
        let status = run(&dir, &[variable], &[]).wait().unwrap();
        assert_eq!(status.code(), Some(2));
        assert!(read(&dir, "err").contains(text), "{}", read(&dir, "err"));
    }
    assert_nothing_left(&dir);
}

/// Without the packages and without root, one line says what to do.
#[test]
fn set_up_without_root_says_what_to_install() {
    let bin = tempdir().unwrap();
    // Programs that every Debian has, without a compiler.
    for program in ["bash", "dirname", "env", "grep", "cat", "apt-get", "dpkg"] {
        let found = ["/usr/bin", "/bin"]
            .iter()
            .map(|dir| Path::new(dir).join(program));
        if let Some(path) = found.into_iter().find(|path| path.exists()) {
            std::os::unix::fs::symlink(path, bin.path().join(program)).unwrap();
        }
    }
    // The user has to provide a Rust toolchain.
    std::os::unix::fs::symlink("/bin/true", bin.path().join("cargo")).unwrap();
    let public = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.path(), public).unwrap();
    // A copy, because other users may be unable to read this checkout.
    for file in ["setup.sh", "lib.sh"] {
        let folder = bin.path().join("infra/local");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(script(file), folder.join(file)).unwrap();
    }
    let is_root = fs::metadata("/proc/self")
        .map(|me| std::os::unix::fs::MetadataExt::uid(&me))
        .unwrap()
        == 0;
    let mut command = Command::new("/bin/bash");
    if is_root {
        command = Command::new("/usr/bin/setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/bash",
        ]);
    }
    let output = command
        .arg(bin.path().join("infra/local/setup.sh"))
        .env_clear()
        .env("PATH", bin.path())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for text in ["gcc", "m4", "apt-get"] {
        assert!(err.contains(text), "{text:?} is not in {err}");
    }
}
