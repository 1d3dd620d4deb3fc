//! The files in `infra/systemd` and `infra/kubernetes` agree with the programs, and the Dockerfile
//! with the workspace. Whether Kubernetes accepts the manifests, and whether they agree with each
//! other, is checked by `infra/kubernetes/check.py`, a part of `make check`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use primepool_common::{cli, message::JobKind, topology};
use primepool_tests::{Binary, Broker, Process, wait_for, workspace};
use serde_json::{Value, json};
use tempfile::tempdir;

/// The longest that a consumer takes after its drain time to return its units, close its
/// connections and send its last metrics: above the sum of the limits in `consumer/src/service.rs`.
const AFTER_DRAIN: Duration = Duration::from_secs(25);

fn read(path: &str) -> String {
    fs::read_to_string(infra(path)).unwrap()
}

fn infra(path: &str) -> PathBuf {
    workspace().join("infra").join(path)
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// A program's help, without its line breaks.
fn help(binary: Binary) -> String {
    let help = text(&binary.command().arg("--help").output().unwrap());
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The environment variables that a program's help names.
fn variables_of(binary: Binary) -> BTreeSet<String> {
    let help = help(binary);
    let named = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next());
    let mut named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert!(named.contains("PRIMEPOOL_AMQP_URL_FILE"), "{help}");
    // This variable has no option.
    named.insert("INFLUX_TOKEN".to_owned());
    named
}

/// The consumer's default drain time, from its help.
fn default_drain_time() -> Duration {
    let help = help(Binary::Consumer);
    let about = help.split("--drain-timeout <TIME>").nth(1).unwrap();
    let value = about.split("[default: ").nth(1).unwrap();
    cli::duration(value.split(']').next().unwrap()).unwrap()
}

// --- systemd -----------------------------------------------------------------------------------

fn unit() -> String {
    read("systemd/primepool-consumer.service")
}

/// The values of a setting of the unit, in order.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect()
}

fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let [value] = settings(unit, name)[..] else {
        panic!("the unit needs one {name}")
    };
    value
}

fn analyze(unit: &str, args: &[&str]) -> Output {
    let dir = tempdir().unwrap();
    let file = dir.path().join("primepool-consumer.service");
    fs::write(&file, unit).unwrap();
    Command::new("systemd-analyze")
        .args(args)
        .arg(&file)
        .output()
        .unwrap()
}

#[test]
fn systemd_accepts_the_unit() {
    let verify = |unit: String| {
        assert!(unit.contains("/usr/local/bin/consumer"));
        let program = Binary::Consumer.path();
        let unit = unit.replace("/usr/local/bin/consumer", program.to_str().unwrap());
        analyze(&unit, &["verify", "--man=no"])
    };
    let verified = verify(unit());
    assert!(verified.status.success(), "{}", text(&verified));
    assert_eq!(text(&verified), "");
    // systemd-analyze reports unknown settings.
    assert!(text(&verify(unit().replace("RestartSec=", "RestartSecs="))).contains("RestartSecs"));
}

#[test]
fn the_unit_is_hardened() {
    // The exposure in tenths: 1.5 of 10. "OK" is below 4; a distribution's usual service has 9.6.
    let args = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let found = analyze(&unit(), &args);
    assert!(found.status.success(), "{}", text(&found));
    let open = unit().replace("CapabilityBoundingSet=\n", "");
    assert!(!analyze(&open, &args).status.success());
}

#[test]
fn the_unit_waits_for_the_drain() {
    let unit = unit();
    let stop = Duration::from_secs(setting(&unit, "TimeoutStopSec").parse().unwrap());
    assert!(stop >= default_drain_time() + AFTER_DRAIN, "{stop:?}");
    assert_eq!(setting(&unit, "KillSignal"), "SIGTERM");
}

/// Runs the unit's command with a real broker, in the environment that systemd would set up: the
/// consumer joins, is healthy and drains.
#[test]
fn the_command_of_the_unit_works_with_every_setting_of_the_example() {
    let broker = Broker::vhost();
    let dir = tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    fs::write(dir.path().join("amqp-url"), format!("{}\n", broker.url)).unwrap();
    fs::write(dir.path().join("influx-token"), "").unwrap();
    let unit = unit();
    let own: BTreeMap<String, String> = settings(&unit, "Environment")
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let value = value
                .replace("%t/primepool", root)
                .replace("%S/primepool", root);
            (name.to_owned(), value)
        })
        .collect();
    let example = read("systemd/consumer.env");
    let examples: BTreeMap<String, String> = example
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
            let named =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            assert!(
                !named || line.starts_with('#'),
                "an unedited example changes something: {line}"
            );
            named.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect();
    assert!(examples.len() > 8, "{examples:?}");
    let known = variables_of(Binary::Consumer);
    for name in own.keys().chain(examples.keys()) {
        assert!(known.contains(name), "the consumer has no variable {name}");
    }

    let start = setting(&unit, "ExecStart").replace("${CREDENTIALS_DIRECTORY}", root);
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/consumer"));
    let mut command = Binary::Consumer.command();
    command.args(words).envs(&own).envs(&examples);
    // The example's certificate authority and InfluxDB do not exist.
    command
        .env_remove("PRIMEPOOL_TLS_CA")
        .env_remove("INFLUX_HOST");
    let consumer = Process::spawn(command, "consumer", dir.path());
    wait_for("health", || {
        let mut health = Binary::Consumer.command();
        health
            .arg("health")
            .env("PRIMEPOOL_HEALTH_FILE", &own["PRIMEPOOL_HEALTH_FILE"]);
        health.output().unwrap().status.success().then_some(())
    });
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code, Some(0));
}

fn install(args: &[&str]) -> Output {
    Command::new(infra("systemd/install.sh"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_worker_is_installed_upgraded_and_removed() {
    let dir = tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let program = Binary::Consumer.path();
    let args = ["--root", root, "--program", program.to_str().unwrap()];
    let at = |path: &str| dir.path().join(path);
    let mode = |path: &str| at(path).metadata().unwrap().permissions().mode() & 0o777;
    let kept = |path: &str| fs::read_to_string(at(path)).unwrap();

    let first = install(&args);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains("amqp-url"), "{}", text(&first));
    assert_eq!(mode("etc/primepool/amqp-url"), 0o600);
    assert_eq!(mode("etc/primepool/influx-token"), 0o600);
    assert_eq!(mode("usr/local/bin/consumer"), 0o755);
    let installed = kept("etc/systemd/system/primepool-consumer.service");
    assert_eq!(installed, unit());
    // The files that the unit names exist.
    let credentials = settings(&installed, "LoadCredential");
    let files = credentials
        .iter()
        .map(|credential| credential.split_once(':').unwrap().1);
    for file in files.chain(settings(&installed, "EnvironmentFile")) {
        assert!(at(&file[1..]).exists(), "{file}");
    }

    fs::write(at("etc/primepool/amqp-url"), "amqp://mine").unwrap();
    fs::write(at("etc/primepool/consumer.env"), "PRIMEPOOL_NODE=mine\n").unwrap();
    let again = install(&args);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("restart"), "{}", text(&again));
    assert_eq!(kept("etc/primepool/amqp-url"), "amqp://mine");
    assert_eq!(kept("etc/primepool/consumer.env"), "PRIMEPOOL_NODE=mine\n");

    let removed = install(&["--remove", "--root", root]);
    assert!(removed.status.success(), "{}", text(&removed));
    assert!(!at("usr/local/bin/consumer").exists());
    assert_eq!(kept("etc/primepool/amqp-url"), "amqp://mine");
}

#[test]
fn a_program_that_cannot_be_installed_is_refused() {
    let dir = tempdir().unwrap();
    let wrong = dir.path().join("consumer");
    fs::write(&wrong, "no program").unwrap();
    for (program, error) in [
        ("/nonexistent/consumer", "cargo build"),
        (wrong.to_str().unwrap(), "does not run here"),
    ] {
        let refused = install(&["--root", dir.path().to_str().unwrap(), "--program", program]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused).contains(error), "{}", text(&refused));
    }
    assert!(!dir.path().join("usr").exists());
}

// --- the image ---------------------------------------------------------------------------------

/// The first layer of the image is built from the manifests of all crates, with empty source files.
#[test]
fn the_image_knows_all_crates() {
    let asked = [
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ];
    let mut cargo = Command::new(env!("CARGO"));
    let told = cargo.args(asked).current_dir(workspace()).output().unwrap();
    assert!(told.status.success(), "{}", text(&told));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let root = format!("{}/", workspace().display());
    let dockerfile = read("Dockerfile");
    let packages = list(&told, "/packages");
    assert!(packages.len() >= 10, "{}", packages.len());
    for package in packages {
        let manifest = string(package, "/manifest_path");
        let manifest = manifest.strip_prefix(&root).unwrap();
        let copy = format!(
            "COPY {manifest} {}",
            manifest.trim_end_matches("Cargo.toml")
        );
        assert!(dockerfile.contains(&copy), "no {copy:?}");
        let targets = list(package, "/targets").iter();
        for bench in targets.filter(|target| target["kind"][0] == "bench") {
            let path = string(bench, "/src_path").strip_prefix(&root).unwrap();
            assert!(dockerfile.contains(path), "no {path}");
        }
    }
}

// --- Kubernetes --------------------------------------------------------------------------------

/// The documents of a YAML text. The reader refuses a key that occurs twice in one map.
fn documents(text: &str) -> Vec<Value> {
    let document = |text| {
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).unwrap();
        serde_json::to_value(value).unwrap()
    };
    text.split("\n---\n").map(document).collect()
}

/// The value at a JSON pointer.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    let found = value.pointer(pointer);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = at(value, pointer).as_str();
    found.unwrap_or_else(|| panic!("{pointer} is no string in {value}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = at(value, pointer).as_array();
    found.unwrap_or_else(|| panic!("{pointer} is no list in {value}"))
}

fn kustomization() -> Value {
    documents(&read("kubernetes/kustomization.yaml")).remove(0)
}

/// The manifests with their files: those that the kustomization lists, and those for producers.
fn manifests() -> Vec<(String, Value)> {
    let kustomization = kustomization();
    let files = list(&kustomization, "/resources").iter();
    let files = files.map(|file| file.as_str().unwrap());
    let mut manifests = Vec::new();
    for file in files.chain(["producer/job.yaml", "producer/desk.yaml"]) {
        let documents = documents(&read(&format!("kubernetes/{file}")));
        manifests.extend(documents.into_iter().map(|each| (file.to_owned(), each)));
    }
    manifests
}

fn manifest(kind: &str, name: &str) -> Value {
    let mut found = manifests();
    found.retain(|(_, each)| each["kind"] == kind && each["metadata"]["name"] == name);
    assert_eq!(found.len(), 1, "one {kind} {name}");
    found.remove(0).1
}

/// The pods that the manifests create, with their files.
fn pods() -> Vec<(String, Value)> {
    let pod = |(file, mut manifest): (String, Value)| match manifest["kind"].as_str().unwrap() {
        "Pod" => Some((file, manifest)),
        "Deployment" | "Job" => Some((file, manifest["spec"]["template"].take())),
        _ => None,
    };
    let pods: Vec<_> = manifests().into_iter().filter_map(pod).collect();
    assert_eq!(pods.len(), 3);
    pods
}

/// The variables and commands in pods exist in the programs.
#[test]
fn pods_run_the_programs_as_they_are() {
    let kustomization = kustomization();
    for (file, pod) in pods() {
        for container in list(&pod, "/spec/containers") {
            let args = list(container, "/args").iter();
            let args: Vec<&str> = args.filter_map(Value::as_str).collect();
            let binary = match args[0] {
                "consumer" => Binary::Consumer,
                // In the pod of desk.yaml, which sleeps, the user starts producers.
                "producer" | "sleep" => Binary::Producer,
                other => panic!("{file}: {other} is not in the image"),
            };
            let variables = list(container, "/env").iter();
            let mut names: Vec<&str> = variables.map(|each| string(each, "/name")).collect();
            if container.get("envFrom").is_some() {
                let pairs = list(&kustomization, "/configMapGenerator/0/literals").iter();
                names.extend(pairs.map(|pair| pair.as_str().unwrap().split_once('=').unwrap().0));
            }
            let known = variables_of(binary);
            let unknown: Vec<_> = names
                .iter()
                .filter(|name| !known.contains(**name))
                .collect();
            assert!(unknown.is_empty(), "{file}: {binary:?} lacks {unknown:?}");
            if args[0] == "producer" {
                // The producer accepts its options and fails because no broker answers.
                let runs = tempdir().unwrap();
                let mut run = Binary::Producer.command();
                run.args(&args[1..]).arg("--runs-dir").arg(runs.path());
                run.args(["--amqp-url", "amqp://127.0.0.1:1/%2f"]);
                let run = run.output().unwrap();
                assert_eq!(run.status.code(), Some(3), "{}", text(&run));
            }
        }
    }
}

/// The value of an environment variable in the consumer's pod.
fn consumer_variable(container: &Value, name: &str) -> String {
    let found = list(container, "/env")
        .iter()
        .find(|variable| variable["name"] == name);
    string(found.unwrap_or_else(|| panic!("no {name}")), "/value").to_owned()
}

#[test]
fn a_consumer_has_time_to_drain() {
    let consumer = manifest("Deployment", "primepool-consumer");
    let spec = at(&consumer, "/spec/template/spec");
    let drain = consumer_variable(at(spec, "/containers/0"), "PRIMEPOOL_DRAIN_TIMEOUT");
    let grace = at(spec, "/terminationGracePeriodSeconds").as_u64().unwrap();
    let needed = cli::duration(&drain).unwrap() + AFTER_DRAIN;
    assert!(Duration::from_secs(grace) >= needed, "{grace} s");
}

/// Runs the probes' commands on the health file of a real consumer.
#[test]
fn probes_tell_life_from_connection() {
    let consumer = manifest("Deployment", "primepool-consumer");
    let container = at(&consumer, "/spec/template/spec/containers/0");
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(
            container[probe]["exec"]["command"],
            json!(["consumer", "health"])
        );
    }
    let file = consumer_variable(container, "PRIMEPOOL_HEALTH_FILE");
    let command = at(container, "/livenessProbe/exec/command").clone();
    let command: Vec<String> = serde_json::from_value(command).unwrap();
    assert!(command[2].contains(&file), "{command:?}");

    let dir = tempdir().unwrap();
    let health = dir.path().join("health");
    let lives = || {
        let script = command[2].replace(&file, health.to_str().unwrap());
        let run = Command::new(&command[0])
            .arg(&command[1])
            .arg(script)
            .output();
        run.unwrap().status.success()
    };
    assert!(!lives(), "there is no health file yet");
    // A consumer that cannot reach its broker is alive but not ready.
    let args = ["--health-file", health.to_str().unwrap()];
    let broker = "amqp://127.0.0.1:1/%2f";
    let process = Process::start(Binary::Consumer, dir.path(), broker, &args);
    wait_for("its health file", || lives().then_some(()));
    let mut ready = Binary::Consumer.command();
    ready.args(["health", "--health-file"]).arg(&health);
    assert_eq!(ready.output().unwrap().status.code(), Some(1));
    process.kill();
    let aged = Command::new("touch")
        .args(["-d", "-2 minutes"])
        .arg(&health)
        .status();
    assert!(aged.unwrap().success());
    assert!(!lives(), "the health file is two minutes old");
}

/// The scaler has one trigger for each kind of job, on the job queue of that kind.
#[test]
fn the_scaler_watches_the_queues_of_the_pool() {
    let scaled = manifest("ScaledObject", "primepool-consumer");
    let triggers = list(&scaled, "/spec/triggers").iter();
    let mut watched: Vec<_> = triggers
        .map(|each| string(each, "/metadata/queueName"))
        .collect();
    let kinds = JobKind::ALL
        .into_iter()
        .filter(|kind| *kind != JobKind::Noop);
    let mut queues: Vec<String> = kinds.map(topology::jobs_queue).collect();
    watched.sort_unstable();
    queues.sort_unstable();
    assert_eq!(watched, queues);
}
