//! What is under `infra/systemd` and `infra/kubernetes` is what systemd and Kubernetes accept, and speaks of the programs as they are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Affinity, Namespace, PersistentVolumeClaim, Pod, PodSpec, ResourceRequirements},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kcr_keda_sh::v1alpha1::{
    scaledobjects::ScaledObject, triggerauthentications::TriggerAuthentication,
};
use primepool_common::{message::JobKind, topology};
use primepool_tests::{Binary, Broker, Process, wait_for, workspace};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::tempdir;

/// Time that a consumer may take after its drain time: to give back the rest, close its connections, send its last metrics.
/// Above the sum of the limits in `consumer/src/service.rs`.
const AFTER_DRAIN: Duration = Duration::from_secs(25);

fn infra(path: &str) -> PathBuf {
    workspace().join("infra").join(path)
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// A program's help, without its line breaks.
fn help(binary: Binary) -> String {
    let help = binary.command().arg("--help").output().unwrap();
    let help = text(&help);
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Variables that a program's help names.
fn variables(binary: Binary) -> BTreeSet<String> {
    let help = help(binary);
    let named = help
        .split("[env: ")
        .skip(1)
        .map(|rest| rest.split(['=', ']']).next().unwrap().to_owned());
    let mut named: BTreeSet<String> = named.collect();
    assert!(named.contains("PRIMEPOOL_AMQP_URL_FILE"), "{help}");
    // It has no option of its own.
    named.insert("INFLUX_TOKEN".to_owned());
    named
}

/// The consumer's drain time unless told, from its help.
fn default_drain_time() -> Duration {
    let help = help(Binary::Consumer);
    let about = help.split("--drain-timeout <TIME>").nth(1).unwrap();
    let value = about.split("[default: ").nth(1).unwrap();
    primepool_common::cli::duration(value.split(']').next().unwrap()).unwrap()
}

// --- systemd ------------------------------------------------------------------------------------------------------------

fn unit() -> String {
    fs::read_to_string(infra("systemd/primepool-consumer.service")).unwrap()
}

/// Values of a setting of the unit, in order.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect()
}

/// What systemd says of a unit that starts the real program.
fn verify(unit: &str) -> Output {
    let dir = tempdir().unwrap();
    let file = dir.path().join("primepool-consumer.service");
    let program = Binary::Consumer.path();
    let program = program.to_str().unwrap();
    assert!(unit.contains("/usr/local/bin/consumer"));
    fs::write(&file, unit.replace("/usr/local/bin/consumer", program)).unwrap();
    Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output()
        .unwrap()
}

#[test]
fn systemd_accepts_the_unit() {
    let verified = verify(&unit());
    assert!(verified.status.success(), "{}", text(&verified));
    assert_eq!(text(&verified), "");
    // It would say something.
    let wrong = unit().replace(
        "MemoryDenyWriteExecute=yes",
        "MemoryDenyWriteExecute=perhaps",
    );
    assert!(text(&verify(&wrong)).contains("perhaps"));
    let wrong = unit().replace("RestartSec=", "RestartSecs=");
    assert!(text(&verify(&wrong)).contains("RestartSecs"));
}

#[test]
fn the_unit_is_hardened() {
    let exposure = |unit: &str| {
        let dir = tempdir().unwrap();
        let file = dir.path().join("primepool-consumer.service");
        fs::write(&file, unit).unwrap();
        Command::new("systemd-analyze")
            // In tenths: 1.5 of 10. "OK" is below 4, the usual service of a distribution has 9.6.
            .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let found = exposure(&unit());
    assert!(found.status.success(), "{}", text(&found));
    let open = unit().replace("CapabilityBoundingSet=\n", "");
    assert!(!exposure(&open).status.success());
}

#[test]
fn the_unit_waits_for_the_drain() {
    let unit = unit();
    let [stop] = settings(&unit, "TimeoutStopSec")[..] else {
        panic!("one TimeoutStopSec");
    };
    let stop = Duration::from_secs(stop.parse().unwrap());
    assert!(stop >= default_drain_time() + AFTER_DRAIN, "{stop:?}");
    assert_eq!(settings(&unit, "KillSignal"), ["SIGTERM"]);
}

/// The example of settings, with every variable switched on, or only those that are.
fn example_settings(all: bool) -> BTreeMap<String, String> {
    let text = fs::read_to_string(infra("systemd/consumer.env")).unwrap();
    let line = |line: &str| {
        let line = if all {
            line.strip_prefix('#').unwrap_or(line)
        } else {
            line
        };
        let (name, value) = line.split_once('=')?;
        let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        (is_name && !name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The unit's command and environment, as systemd would make them, with a real broker: it joins, is well and drains.
#[test]
fn the_command_of_the_unit_works_with_every_setting_of_the_example() {
    let broker = Broker::vhost();
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("amqp-url"), format!("{}\n", broker.url)).unwrap();
    fs::write(path("influx-token"), "").unwrap();
    let unit = unit();
    let own: BTreeMap<String, String> = settings(&unit, "Environment")
        .iter()
        .flat_map(|line| line.split_whitespace())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let value = value
                .replace("%t/primepool", dir.path().to_str().unwrap())
                .replace("%S/primepool", dir.path().to_str().unwrap());
            (name.to_owned(), value)
        })
        .collect();
    let known = variables(Binary::Consumer);
    let examples = example_settings(true);
    assert!(examples.len() > 8, "{examples:?}");
    for name in own.keys().chain(examples.keys()) {
        assert!(known.contains(name), "the consumer has no variable {name}");
    }
    assert!(
        example_settings(false).is_empty(),
        "the example changes nothing unless somebody wants it to"
    );

    let [start] = settings(&unit, "ExecStart")[..] else {
        panic!("one ExecStart");
    };
    let start = start.replace("${CREDENTIALS_DIRECTORY}", dir.path().to_str().unwrap());
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/consumer"));
    let mut command = Binary::Consumer.command();
    command.args(words).envs(&own).envs(&examples);
    // The example's authority does not exist, and its InfluxDB is nobody's.
    command
        .env_remove("PRIMEPOOL_TLS_CA")
        .env_remove("INFLUX_HOST");
    let consumer = Process::spawn(command, "consumer", dir.path());
    consumer.wait_for_line("consuming broker");
    let well = |name: &str| {
        let mut health = Binary::Consumer.command();
        health
            .arg("health")
            .env("PRIMEPOOL_HEALTH_FILE", &own[name]);
        health.output().unwrap().status.success()
    };
    wait_for("health", || well("PRIMEPOOL_HEALTH_FILE").then_some(()));
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

    let first = install(&args);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains("amqp-url"), "{}", text(&first));
    assert_eq!(mode("etc/primepool/amqp-url"), 0o600);
    assert_eq!(mode("etc/primepool/influx-token"), 0o600);
    assert_eq!(mode("usr/local/bin/consumer"), 0o755);
    let installed =
        fs::read_to_string(at("etc/systemd/system/primepool-consumer.service")).unwrap();
    assert_eq!(installed, unit());
    // Every file that the unit names is there.
    for credential in settings(&installed, "LoadCredential") {
        let (_, file) = credential.split_once(':').unwrap();
        assert!(at(&file[1..]).exists(), "{file}");
    }
    for file in settings(&installed, "EnvironmentFile") {
        assert!(at(&file[1..]).exists(), "{file}");
    }

    fs::write(at("etc/primepool/amqp-url"), "amqp://mine").unwrap();
    fs::write(at("etc/primepool/consumer.env"), "PRIMEPOOL_NODE=mine\n").unwrap();
    let again = install(&args);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("restart"), "{}", text(&again));
    let kept = |path: &str| fs::read_to_string(at(path)).unwrap();
    assert_eq!(kept("etc/primepool/amqp-url"), "amqp://mine");
    assert_eq!(kept("etc/primepool/consumer.env"), "PRIMEPOOL_NODE=mine\n");

    let removed = install(&["--remove", "--root", root]);
    assert!(removed.status.success(), "{}", text(&removed));
    assert!(!at("usr/local/bin/consumer").exists());
    assert_eq!(kept("etc/primepool/amqp-url"), "amqp://mine");
}

#[test]
fn what_cannot_be_installed_is_said() {
    let dir = tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let missing = install(&["--root", root, "--program", "/nonexistent/consumer"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing).contains("cargo build"), "{}", text(&missing));
    let wrong = dir.path().join("consumer");
    fs::write(&wrong, "no program").unwrap();
    let wrong = install(&["--root", root, "--program", wrong.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong).contains("does not run here"),
        "{}",
        text(&wrong)
    );
    assert!(!dir.path().join("usr").exists());
}

// --- Kubernetes -----------------------------------------------------------------------------------------------------------

/// The RabbitMQ Cluster Operator's resource, as far as ours uses it: no package carries its schema.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RabbitmqCluster {
    api_version: String,
    kind: String,
    metadata: Name,
    spec: RabbitmqSpec,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RabbitmqSpec {
    replicas: u32,
    image: String,
    resources: ResourceRequirements,
    persistence: Persistence,
    rabbitmq: Rabbitmq,
    affinity: Affinity,
    r#override: Override,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Persistence {
    storage: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rabbitmq {
    additional_config: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Override {
    stateful_set: Spec<Template<PodSpec>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec<T> {
    spec: T,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template<T> {
    template: Spec<T>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    api_version: String,
    kind: String,
    namespace: String,
    resources: Vec<String>,
    labels: Vec<Value>,
    images: Vec<Image>,
    config_map_generator: Vec<Generated>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Image {
    name: String,
    new_name: String,
    new_tag: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generated {
    name: String,
    literals: Vec<String>,
}

/// Nothing that the type does not know, nothing missing that it needs, everything of the type that it has to be of: what is read
/// into it and written again is the same.
fn is_a<T: Serialize + DeserializeOwned>(manifest: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(read).unwrap();
    match difference("", manifest, &written) {
        None => Ok(()),
        Some(difference) => Err(difference),
    }
}

/// Where what stands in the manifest and what the type made of it part.
fn difference(at: &str, ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            names.into_iter().find_map(|name| {
                let at = format!("{at}.{name}");
                match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) => difference(&at, ours, theirs),
                    (Some(_), None) => Some(format!("{at}: there is no such field")),
                    _ => Some(format!("{at}: is missing")),
                }
            })
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => ours
            .iter()
            .zip(theirs)
            .enumerate()
            .find_map(|(n, (ours, theirs))| difference(&format!("{at}[{n}]"), ours, theirs)),
        _ if ours == theirs => None,
        _ => Some(format!("{at}: {ours} was read as {theirs}")),
    }
}

/// Checks a manifest against the published types.
fn validate(manifest: &Value) -> Result<(), String> {
    let of = |name: &str| manifest[name].as_str().unwrap_or_default();
    match (of("apiVersion"), of("kind")) {
        ("v1", "Namespace") => is_a::<Namespace>(manifest),
        ("v1", "PersistentVolumeClaim") => is_a::<PersistentVolumeClaim>(manifest),
        ("v1", "Pod") => is_a::<Pod>(manifest),
        ("apps/v1", "Deployment") => is_a::<Deployment>(manifest),
        ("batch/v1", "Job") => is_a::<Job>(manifest),
        ("policy/v1", "PodDisruptionBudget") => is_a::<PodDisruptionBudget>(manifest),
        ("networking.k8s.io/v1", "NetworkPolicy") => is_a::<NetworkPolicy>(manifest),
        ("keda.sh/v1alpha1", "ScaledObject") => is_a::<ScaledObject>(manifest),
        ("keda.sh/v1alpha1", "TriggerAuthentication") => is_a::<TriggerAuthentication>(manifest),
        ("rabbitmq.com/v1beta1", "RabbitmqCluster") => is_a::<RabbitmqCluster>(manifest),
        (version, kind) => Err(format!("nothing is known of {kind:?} of {version:?}")),
    }
}

/// The documents of a YAML file. The reader refuses a key that is there twice.
fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| {
            let value = serde_yaml_ng::Value::deserialize(document);
            let value = value.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            serde_json::to_value(value).unwrap()
        })
        .collect()
}

fn kustomization() -> Kustomization {
    let [one] = &documents(&infra("kubernetes/kustomization.yaml"))[..] else {
        panic!("one kustomization");
    };
    is_a::<Kustomization>(one).unwrap();
    serde_json::from_value(one.clone()).unwrap()
}

/// All manifests: those that the kustomization lists, and those for producers.
fn manifests() -> Vec<(String, Value)> {
    let mut files: Vec<String> = kustomization().resources;
    files.extend(["producer/job.yaml".into(), "producer/desk.yaml".into()]);
    let mut all = Vec::new();
    for file in files {
        for manifest in documents(&infra("kubernetes").join(&file)) {
            all.push((file.clone(), manifest));
        }
    }
    all
}

fn manifest(kind: &str, name: &str) -> Value {
    let mut found = manifests()
        .into_iter()
        .map(|(_, manifest)| manifest)
        .filter(|m| m["kind"] == kind && m["metadata"]["name"] == name);
    let one = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two {kind} {name}");
    one
}

/// The pods that the manifests make, with what they are called.
fn pods() -> Vec<(String, Value)> {
    let pod = |manifest: &Value| match manifest["kind"].as_str().unwrap() {
        "Pod" => Some(manifest.clone()),
        "Deployment" | "Job" => Some(manifest["spec"]["template"].clone()),
        _ => None,
    };
    let pods = manifests();
    let pods = pods
        .iter()
        .filter_map(|(file, m)| Some((file.clone(), pod(m)?)));
    pods.collect()
}

#[test]
fn manifests_are_of_the_published_types() {
    let mut kinds = BTreeSet::new();
    for (file, manifest) in manifests() {
        if let Err(error) = validate(&manifest) {
            panic!("{file}: {error}");
        }
        kinds.insert(manifest["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    // Every file is used.
    let listed: BTreeSet<String> = manifests().into_iter().map(|(file, _)| file).collect();
    for folder in ["", "producer/"] {
        for entry in fs::read_dir(infra("kubernetes").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_manifest = name.ends_with(".yaml") && name != "kustomization.yaml";
            let name = format!("{folder}{name}");
            assert!(!is_manifest || listed.contains(&name), "{name} is unused");
        }
    }
}

#[test]
fn wrong_manifests_are_refused() {
    let broken = |kind: &str, name: &str, pointer: &str, value: Option<Value>| {
        let mut manifest = manifest(kind, name);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = manifest.pointer_mut(parent).unwrap();
        match value {
            Some(value) => parent[field] = value,
            None => drop(parent.as_object_mut().unwrap().remove(field).unwrap()),
        }
        validate(&manifest).expect_err(pointer)
    };
    let consumer = ("Deployment", "primepool-consumer");
    let at = |pointer: &str, value| broken(consumer.0, consumer.1, pointer, value);
    let unknown = at("/spec/template/spec/containerz", Some(json!([])));
    assert!(!unknown.is_empty());
    let unknown = at(
        "/spec/template/spec/securityContext/runAsUsr",
        Some(json!(10001)),
    );
    assert!(unknown.contains("no such field"), "{unknown}");
    at(
        "/spec/template/spec/terminationGracePeriodSeconds",
        Some(json!("60s")),
    );
    assert!(at("/spec/selector", None).contains("missing"));
    let scaled =
        |pointer: &str, value| broken("ScaledObject", "primepool-consumer", pointer, value);
    scaled("/spec/coolDownPeriod", Some(json!(300)));
    scaled("/spec/maxReplicaCount", Some(json!("many")));
    scaled("/spec/scaleTargetRef", None);
    let cluster =
        |pointer: &str, value| broken("RabbitmqCluster", "primepool-broker", pointer, value);
    cluster("/spec/replicaCount", Some(json!(3)));
    cluster(
        "/spec/override/statefulSet/spec/template/spec/volume",
        Some(json!([])),
    );
    broken(
        "NetworkPolicy",
        "primepool-broker",
        "/spec/policyType",
        Some(json!(["Ingress"])),
    );
    assert!(validate(&json!({"apiVersion": "v1", "kind": "Deployment"})).is_err());
}

/// The namespace's standard "restricted", for each pod that we write.
#[test]
fn pods_keep_to_the_restricted_standard() {
    let namespace = manifest("Namespace", "primepool");
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    // The user that the image makes.
    let dockerfile = fs::read_to_string(infra("Dockerfile")).unwrap();
    let user = dockerfile
        .lines()
        .find_map(|l| l.strip_prefix("USER "))
        .unwrap();
    let (user, group) = user.split_once(':').unwrap();
    let pods = pods();
    assert_eq!(pods.len(), 3);
    for (file, pod) in pods {
        let spec = &pod["spec"];
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{file}");
        assert_eq!(security["runAsUser"].to_string(), user, "{file}");
        assert_eq!(security["runAsGroup"].to_string(), group, "{file}");
        assert_eq!(
            security["fsGroup"].to_string(),
            group,
            "{file}: it writes to volumes"
        );
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{file}"
        );
        assert_eq!(spec["automountServiceAccountToken"], false, "{file}");
        for container in spec["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{file}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{file}");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{file}");
            for of in ["requests", "limits"] {
                for what in ["cpu", "memory"] {
                    assert!(
                        container["resources"][of][what].is_string(),
                        "{file}: {of}.{what}"
                    );
                }
            }
        }
    }
}

/// Variables and commands in pods are those of the programs; each file that they name is on a volume.
#[test]
fn pods_run_the_programs_as_they_are() {
    let version = env!("CARGO_PKG_VERSION");
    let kustomization = kustomization();
    let [image] = &kustomization.images[..] else {
        panic!("one image");
    };
    assert_eq!(
        (image.name.as_str(), image.new_tag.as_str()),
        ("primepool", version)
    );
    for (file, pod) in pods() {
        let spec = &pod["spec"];
        for container in spec["containers"].as_array().unwrap() {
            let args: Vec<&str> = container["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|arg| arg.as_str().unwrap())
                .collect();
            let binary = match args[0] {
                "consumer" => Binary::Consumer,
                // The desk runs producers when asked to.
                "producer" | "sleep" => Binary::Producer,
                other => panic!("{file}: {other} is not in the image"),
            };
            let image = container["image"].as_str().unwrap();
            assert!(
                image == "primepool" || image == format!("primepool:{version}"),
                "{image}"
            );
            let known = variables(binary);
            let mut names: Vec<String> = container["env"]
                .as_array()
                .unwrap()
                .iter()
                .map(|variable| variable["name"].as_str().unwrap().to_owned())
                .collect();
            if container.get("envFrom").is_some() {
                let [map] = &kustomization.config_map_generator[..] else {
                    panic!("one map");
                };
                assert_eq!(container["envFrom"][0]["configMapRef"]["name"], map.name);
                let pairs = map
                    .literals
                    .iter()
                    .map(|pair| pair.split_once('=').unwrap());
                names.extend(pairs.map(|(name, _)| name.to_owned()));
            }
            for name in &names {
                assert!(
                    known.contains(name),
                    "{file}: {binary:?} has no variable {name}"
                );
            }
            let mounts: Vec<&str> = container["volumeMounts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|mount| mount["mountPath"].as_str().unwrap())
                .collect();
            for variable in container["env"].as_array().unwrap() {
                let Some(path) = variable["value"].as_str().filter(|v| v.starts_with('/')) else {
                    continue;
                };
                assert!(
                    mounts.iter().any(|mount| path.starts_with(mount)),
                    "{file}: {path}"
                );
            }
            if binary.path().ends_with("producer") && args[0] == "producer" {
                // Given up for want of a broker, and not for its options.
                let runs = tempdir().unwrap();
                let run = Binary::Producer
                    .command()
                    .args(&args[1..])
                    .args(["--amqp-url", "amqp://127.0.0.1:1/%2f", "--runs-dir"])
                    .arg(runs.path())
                    .output()
                    .unwrap();
                assert_eq!(run.status.code(), Some(3), "{}", text(&run));
            }
        }
    }
}

#[test]
fn a_consumer_has_whole_cores_and_time_to_drain() {
    let consumer = manifest("Deployment", "primepool-consumer");
    let spec = &consumer["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let resources = &container["resources"];
    assert_eq!(resources["requests"], resources["limits"]);
    let cores: u32 = resources["limits"]["cpu"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(cores > 0);
    let drain = container["env"].as_array().unwrap().iter();
    let drain = drain
        .clone()
        .find(|v| v["name"] == "PRIMEPOOL_DRAIN_TIMEOUT")
        .unwrap();
    let drain = primepool_common::cli::duration(drain["value"].as_str().unwrap()).unwrap();
    let grace = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(
        Duration::from_secs(grace) >= drain + AFTER_DRAIN,
        "{grace} s"
    );
}

/// The probes' commands, run on the file of a real consumer.
#[test]
fn probes_tell_life_from_connection() {
    let consumer = manifest("Deployment", "primepool-consumer");
    let container = &consumer["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(
            container[probe]["exec"]["command"],
            json!(["consumer", "health"])
        );
    }
    let variables = container["env"].as_array().unwrap().iter();
    let file = variables
        .clone()
        .find(|v| v["name"] == "PRIMEPOOL_HEALTH_FILE")
        .unwrap();
    let file = file["value"].as_str().unwrap();
    let command: Vec<String> =
        serde_json::from_value(container["livenessProbe"]["exec"]["command"].clone()).unwrap();
    assert!(command[2].contains(file), "{command:?}");

    let dir = tempdir().unwrap();
    let health = dir.path().join("health");
    let lives = || {
        let script = command[2].replace(file, health.to_str().unwrap());
        let run = Command::new(&command[0])
            .arg(&command[1])
            .arg(script)
            .output();
        run.unwrap().status.success()
    };
    assert!(!lives(), "there is no such file");
    // A consumer whose broker is away lives and is not ready.
    let args = ["--health-file", health.to_str().unwrap()];
    let process = Process::start(
        Binary::Consumer,
        dir.path(),
        "amqp://127.0.0.1:1/%2f",
        &args,
    );
    wait_for("its health file", || lives().then_some(()));
    let mut ready = Binary::Consumer.command();
    ready.args(["health", "--health-file"]).arg(&health);
    assert_eq!(ready.output().unwrap().status.code(), Some(1));
    process.kill();
    let stale = Command::new("touch")
        .args(["-d", "-2 minutes"])
        .arg(&health)
        .status();
    assert!(stale.unwrap().success());
    assert!(!lives(), "nobody has renewed it for two minutes");
}

/// What selects pods selects those that there are.
#[test]
fn selectors_match() {
    let consumer = manifest("Deployment", "primepool-consumer");
    let labels = &consumer["spec"]["template"]["metadata"]["labels"];
    let selects = |selector: &Value| {
        let wanted = selector["matchLabels"].as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
    };
    assert!(selects(&consumer["spec"]["selector"]));
    let spread = &consumer["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert!(selects(&spread["labelSelector"]));
    let budget = manifest("PodDisruptionBudget", "primepool-consumer");
    assert!(selects(&budget["spec"]["selector"]));
    let scaled = manifest("ScaledObject", "primepool-consumer");
    assert_eq!(
        scaled["spec"]["scaleTargetRef"]["name"],
        consumer["metadata"]["name"]
    );
    assert!(
        consumer["spec"].get("replicas").is_none(),
        "it is the scaler's"
    );

    // The operator labels its pods with the resource's name.
    let broker = manifest("RabbitmqCluster", "primepool-broker");
    let name = &broker["metadata"]["name"];
    let of = |selector: &Value| selector["matchLabels"]["app.kubernetes.io/name"] == *name;
    assert!(of(
        &manifest("PodDisruptionBudget", "primepool-broker")["spec"]["selector"]
    ));
    let policy = manifest("NetworkPolicy", "primepool-broker");
    assert!(of(&policy["spec"]["podSelector"]));
    let apart = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0";
    assert!(of(&broker.pointer(apart).unwrap()["labelSelector"]));

    // Both sides of the network's rules: every pod of ours may reach the broker, and the broker lets it.
    let rule = manifest("NetworkPolicy", "primepool-consumer");
    assert!(of(&rule["spec"]["egress"][0]["to"][0]["podSelector"]));
    let expression = |selector: &Value| selector["matchExpressions"][0].clone();
    let left = expression(&rule["spec"]["podSelector"]);
    assert_eq!(
        left,
        expression(&policy["spec"]["ingress"][0]["from"][0]["podSelector"])
    );
    for (file, pod) in pods() {
        let component = &pod["metadata"]["labels"][left["key"].as_str().unwrap()];
        assert!(
            left["values"].as_array().unwrap().contains(component),
            "{file}"
        );
    }
}

/// One trigger for each kind of job, on the queue that has its units.
#[test]
fn the_scaler_watches_the_queues_that_there_are() {
    let scaled = manifest("ScaledObject", "primepool-consumer");
    let triggers = scaled["spec"]["triggers"].as_array().unwrap();
    let watched: BTreeSet<&str> = triggers
        .iter()
        .map(|trigger| trigger["metadata"]["queueName"].as_str().unwrap())
        .collect();
    let kinds = JobKind::ALL
        .into_iter()
        .filter(|kind| *kind != JobKind::Noop);
    let queues: Vec<String> = kinds.map(topology::jobs_queue).collect();
    assert_eq!(watched, queues.iter().map(String::as_str).collect());
    assert_eq!(triggers.len(), watched.len());
    let authentication = manifest("TriggerAuthentication", "primepool-broker");
    for trigger in triggers {
        assert_eq!(trigger["type"], "rabbitmq");
        // With AMQP only what waits would count, and consumers at work would be taken away.
        assert_eq!(trigger["metadata"]["protocol"], "http");
        assert_eq!(
            trigger["authenticationRef"]["name"],
            authentication["metadata"]["name"]
        );
        let value: f64 = trigger["metadata"]["value"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(value >= 1.0);
    }
}

/// `secrets.sh` makes every secret that a manifest wants, with the broker's address as it is.
#[test]
fn secrets_are_what_the_manifests_want() {
    let made = Command::new(infra("kubernetes/secrets.sh"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let dir = tempdir().unwrap();
    let file = dir.path().join("secrets.yaml");
    fs::write(&file, &made.stdout).unwrap();
    let mut there = BTreeMap::new();
    for secret in documents(&file) {
        is_a::<k8s_openapi::api::core::v1::Secret>(&secret).unwrap();
        let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
        let data = secret.data.unwrap();
        let data = data
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8(value.0).unwrap()));
        there.insert(
            secret.metadata.name.unwrap(),
            data.collect::<BTreeMap<_, _>>(),
        );
    }
    let broker = manifest("RabbitmqCluster", "primepool-broker");
    let host = broker["metadata"]["name"].as_str().unwrap();
    let scaled = manifest("ScaledObject", "primepool-consumer");
    let vhost = scaled["spec"]["triggers"][0]["metadata"]["vhostName"]
        .as_str()
        .unwrap();
    for user in ["consumer", "producer"] {
        let url = &there[&format!("primepool-{user}")]["amqp-url"];
        assert!(url.starts_with(&format!("amqp://{user}:")), "{user}");
        assert!(url.ends_with(&format!("@{host}:5672/{vhost}")), "{user}");
    }
    let keda = manifest("TriggerAuthentication", "primepool-broker");
    let wanted = &keda["spec"]["secretTargetRef"][0];
    let url = &there[wanted["name"].as_str().unwrap()][wanted["key"].as_str().unwrap()];
    assert!(url.ends_with(&format!("@{host}.primepool.svc:15672/")));
    for (file, pod) in pods() {
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                assert!(there.contains_key(name), "{file}: {name}");
            }
        }
    }
    let volume = "/spec/override/statefulSet/spec/template/spec/volumes/0/secret/secretName";
    let definitions = &there[broker.pointer(volume).unwrap().as_str().unwrap()]["definitions.json"];
    let definitions: Value = serde_json::from_str(definitions).unwrap();
    assert_eq!(definitions["vhosts"], json!([{"name": vhost}]));
    for user in definitions["users"].as_array().unwrap() {
        assert_ne!(user["password_hash"], "", "{user}");
    }
    // The broker is told to read them from where they are.
    let config = broker["spec"]["rabbitmq"]["additionalConfig"]
        .as_str()
        .unwrap();
    let mount =
        "/spec/override/statefulSet/spec/template/spec/containers/0/volumeMounts/0/mountPath";
    let mount = broker.pointer(mount).unwrap().as_str().unwrap();
    assert!(config.contains(&format!("load_definitions = {mount}/definitions.json")));
    // What all brokers of a pool are told stands there too, in the same words.
    let shared = fs::read_to_string(infra("rabbitmq/primepool.conf")).unwrap();
    for line in shared
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
    {
        assert!(
            config.lines().any(|ours| ours == line),
            "additionalConfig lacks: {line}"
        );
    }
    // A second time other passwords, so that nobody takes them for constants.
    let again = Command::new(infra("kubernetes/secrets.sh"))
        .output()
        .unwrap();
    assert_ne!(made.stdout, again.stdout);
}
