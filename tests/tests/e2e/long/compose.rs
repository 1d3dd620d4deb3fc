//! docker-compose.yml on a real engine with real containers; `make test-compose` runs only this.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use primepool_tests::{Binary, DockerEngine, Process, Results, wait_for, workspace};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// The pool in a folder of its own, on a private engine.
struct Pool {
    engine: DockerEngine,
    /// A copy of the parts of this repository that the image and the compose file need.
    folder: TempDir,
    /// Whether the image is made from the programs under test instead of the sources.
    has_programs: bool,
    began: Instant,
}

/// The certificate authorities that this machine trusts.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Name of the image with the programs under test.
const PROGRAMS: &str = "primepool-programs";

/// Makes an image with the programs under test, in the form that infra/Dockerfile expects.
fn import_programs(engine: &DockerEngine) {
    let folder = tempdir().unwrap();
    for name in ["bin", "certs"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for program in [
        Binary::Consumer,
        Binary::Producer,
        Binary::Experiment,
        Binary::Monitor,
    ] {
        let path = program.path();
        let name = path.file_name().unwrap();
        fs::copy(&path, folder.path().join("bin").join(name)).unwrap();
    }
    fs::copy(AUTHORITIES, folder.path().join("certs/ca-certificates.crt")).unwrap();
    let packaging = Binary::Consumer.path().with_file_name("packaging");
    let written = Command::new(packaging).arg(folder.path()).status().unwrap();
    assert!(written.success());
    engine.import(folder.path(), PROGRAMS);
}

/// Copies the repository without local files, as in a fresh clone.
fn copy_of_the_sources() -> TempDir {
    let folder = tempdir().unwrap();
    let script = "tar --exclude=./.git --exclude=./.env --exclude=./runs --exclude=target \
                  --exclude=./infra/compose/secrets -c . | tar -x -C \"$1\"";
    let copied = Command::new("bash")
        .args(["-o", "pipefail", "-c", script, "bash"])
        .arg(folder.path())
        .current_dir(workspace())
        .status();
    assert!(copied.unwrap().success());
    folder
}

impl Pool {
    fn new(engine: DockerEngine, has_programs: bool) -> Self {
        Self {
            engine,
            folder: copy_of_the_sources(),
            has_programs,
            began: Instant::now(),
        }
    }

    fn stage(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.engine.command(Path::new(program));
        command.args(args).current_dir(self.folder.path());
        // A proxy between this machine and the internet may have an authority of its own.
        if Path::new(AUTHORITIES).exists() {
            command.env("PRIMEPOOL_BUILD_CA", AUTHORITIES);
        }
        if self.has_programs {
            command.env("PRIMEPOOL_PROGRAMS", PROGRAMS);
        }
        command.env("PRIMEPOOL_INFLUX_RETENTION", "720h");
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> (bool, String, String) {
        let output = self.command(program, args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn compose(&self, args: &[&str]) -> String {
        let (ok, out, err) = self.run("docker", &[&["compose"], args].concat());
        assert!(ok, "docker compose {args:?}: {out}{err}");
        out
    }

    /// Ids of the containers of a service, including those that do not run.
    fn containers(&self, service: &str) -> Vec<String> {
        let ids = self.compose(&["ps", "--all", "--quiet", "--no-trunc", service]);
        ids.lines().map(str::to_owned).collect()
    }

    fn inspect(&self, container: &str) -> Value {
        let told: Value =
            serde_json::from_str(&self.engine.docker(&["inspect", container])).unwrap();
        told[0].clone()
    }

    fn health(&self, container: &str) -> String {
        let state = self.inspect(container);
        state["State"]["Health"]["Status"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }

    fn wait_for_health(&self, container: &str, health: &str) {
        wait_for(&format!("{health}: {container}"), || {
            std::thread::sleep(Duration::from_millis(200));
            (self.health(container) == health).then_some(())
        });
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs/compose")
    }

    fn run_names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.runs()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    fn results(&self, run: &str) -> Results {
        let folder = self.runs().join(run);
        let text = fs::read_to_string(folder.join("results.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let rows = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let summary = fs::read(folder.join("summary.json")).unwrap_or_else(|_| b"null".into());
        Results {
            rows: rows.collect(),
            summary: serde_json::from_slice(&summary).unwrap(),
            folder,
        }
    }

    /// Starts a run that takes some seconds, and waits until a part of it is done.
    fn begin(&self) -> Run {
        let before = self.run_names();
        let args = [&["compose", "run", "--rm", "-T", "producer"][..], &LONG].concat();
        let process = Process::spawn(
            self.command("docker", &args),
            "producer",
            self.folder.path(),
        );
        let name = wait_for("the run's folder", || {
            self.run_names().difference(&before).next().cloned()
        });
        wait_for("results", || {
            (self.results(&name).rows.len() >= 100).then_some(())
        });
        Run { process, name }
    }

    /// Waits for the end of a run, and checks that each job has one result.
    fn finish(&self, run: Run) -> Results {
        let done = run.process.wait_long();
        assert_eq!(done.code, Some(0), "{done:?}");
        let results = self.results(&run.name);
        results.assert_primes(LONG_COUNT, 1024);
        results
    }

    fn secret(&self, name: &str) -> String {
        let secrets = self.folder.path().join("infra/compose/secrets");
        fs::read_to_string(secrets.join(name)).unwrap()
    }

    /// Body of a server's response at the address that the compose file publishes on this machine.
    fn get(&self, port: u16, path: &str, header: &str) -> String {
        // HTTP 1.0, because the body then ends with the connection.
        let script = "exec 3<>/dev/tcp/127.0.0.1/$1; \
                      printf 'GET %s HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n%s\\r\\n\\r\\n' \"$2\" \"$3\" >&3; cat <&3";
        let port = port.to_string();
        let (ok, out, err) = self.run("bash", &["-c", script, "bash", &port, path, header]);
        assert!(ok, "{err}");
        let (_, body) = out.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    /// The value of an InfluxQL query for a single number, asked with Grafana's token.
    fn ask_influxdb(&self, query: &str) -> Option<f64> {
        self.ask_influxdb_as("grafana", query)
    }

    /// Like `ask_influxdb`, with the token of the service `holder`.
    fn ask_influxdb_as(&self, holder: &str, query: &str) -> Option<f64> {
        let token = self.secret(&format!("{holder}-influxdb-token"));
        let header = format!("Authorization: Token {token}");
        let query = query.replace(' ', "%20").replace('"', "%22");
        let path = format!("/query?db=primepool&q={query}");
        let answer: Value = serde_json::from_str(&self.get(8086, &path, &header)).unwrap();
        answer["results"][0]["series"][0]["values"][0][1].as_f64()
    }
}

struct Run {
    process: Process,
    name: String,
}

const LONG_COUNT: u64 = 4000;
/// Arguments of a run that takes some seconds on two cores with the fastest kernel, and a minute
/// with the portable one.
const LONG: [&str; 6] = ["--count", "4000", "--bits", "1024", "--unit-size", "4"];

fn nodes(results: &Results) -> BTreeSet<String> {
    let nodes = results
        .rows
        .iter()
        .map(|row| row["node"].as_str().unwrap().to_owned());
    nodes.collect()
}

#[test]
fn a_user_is_added_and_the_passwords_of_the_others_stay() {
    let folder = copy_of_the_sources();
    let make = || {
        let script = folder.path().join("infra/compose/secrets.sh");
        let made = Command::new(script).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let entries = fs::read_dir(folder.path().join("infra/compose/secrets")).unwrap();
        let secrets = entries.map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        });
        secrets.collect::<BTreeMap<_, _>>()
    };
    let before = make();
    assert_eq!(make(), before);
    fs::remove_file(
        folder
            .path()
            .join("infra/compose/secrets/operator-amqp-url"),
    )
    .unwrap();
    let after = make();
    let changed: Vec<_> = after
        .iter()
        .filter(|(name, text)| before.get(*name) != Some(text))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(changed, ["operator-amqp-url", "rabbitmq-definitions"]);
    let definitions: Value = serde_json::from_str(&after["rabbitmq-definitions"]).unwrap();
    for user in definitions["users"].as_array().unwrap() {
        assert_ne!(user["password_hash"], "", "{user}");
    }
}

/// All parts are one test: the image is built once, and each part continues from the state that the
/// previous one left.
#[test]
fn a_pool_in_containers() {
    // `make test-all` builds the image from the sources.
    let has_programs = std::env::var_os("PRIMEPOOL_TEST_FULL").is_none();
    let Some((engine, stand_ins)) = DockerEngine::with_images(!has_programs) else {
        return;
    };
    if has_programs {
        import_programs(&engine);
    }
    let pool = Pool::new(engine, has_programs);
    let is_influxdb_2 = !stand_ins.contains("InfluxDB 1.6");

    pool.stage("make up");
    let (ok, out, err) = pool.run(
        "infra/compose/compose.sh",
        &["up", "consumer", "dashboard", "producer"],
    );
    assert!(ok, "{out}{err}");
    assert!(out.contains("100 of 100 primes of 1024 bits"), "{out}{err}");
    for text in [
        "http://127.0.0.1:15672  user monitoring",
        "http://127.0.0.1:8086  user admin",
        "secrets/grafana-password",
        "http://127.0.0.1:8265  open /?token=",
    ] {
        assert!(err.contains(text), "{text:?} is not in {err}");
    }
    let first = pool.run_names().into_iter().next().unwrap();
    pool.results(&first).assert_primes(100, 1024);

    pool.stage("the operator sees the consumer and the queues");
    let ask = ["run", "--rm", "-T", "primepool", "status", "--json"];
    let status: Value = serde_json::from_str(&pool.compose(&ask)).unwrap();
    let consumer = &pool.containers("consumer")[0];
    assert_eq!(status["nodes"][0]["node"], consumer[..12], "{status}");
    assert_eq!(status["queues"][0]["consumers"], 1, "{status}");

    pool.stage("its page shows the same to whoever has the token");
    let pool_json = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        pool.get(8265, "/pool.json", &header)
    };
    assert!(pool_json("0123456789abcdef").contains("wants its token"));
    let token = pool.secret("dashboard-token");
    wait_for("the consumer on the page", || {
        let shown: Value = serde_json::from_str(&pool_json(&token)).unwrap();
        (shown["report"]["nodes"][0]["node"] == consumer[..12]).then_some(())
    });

    pool.stage("what runs is as the file says");
    assert_confined(&pool);

    pool.stage("metrics are in the database");
    let jobs = format!("SELECT SUM(\"jobs\") FROM \"job\" WHERE \"run\" = '{first}'");
    wait_for("the jobs in InfluxDB", || {
        (pool.ask_influxdb(&jobs) == Some(100.0)).then_some(())
    });
    // From the consumer itself, and a figure that only the management API knows.
    for query in [
        "SELECT COUNT(\"busy_s\") FROM \"node\"",
        "SELECT COUNT(\"unacked\") FROM \"queue\"",
    ] {
        wait_for(query, || (pool.ask_influxdb(query)? > 0.0).then_some(()));
    }
    assert_eq!(pool.ask_influxdb_as("producer", &jobs), Some(100.0));
    // The producer has read the summary back from the database.
    assert_eq!(pool.results(&first).summary["influxdb"]["jobs_ok"], 100);
    if is_influxdb_2 {
        assert_eq!(
            pool.ask_influxdb_as("consumer", &jobs),
            None,
            "it may write"
        );
        let header = format!("Authorization: Token {}", pool.secret("influxdb-token"));
        let bucket = pool.get(8086, "/api/v2/buckets?name=primepool", &header);
        let bucket: Value = serde_json::from_str(&bucket).unwrap();
        let rule = &bucket["buckets"][0]["retentionRules"][0];
        assert_eq!(rule["everySeconds"], 720 * 3600, "{bucket}");
    }

    pool.stage("three consumers, one is killed in the middle of a run");
    pool.compose(&[
        "up",
        "-d",
        "--no-build",
        "--no-recreate",
        "--wait",
        "--scale",
        "consumer=3",
        "consumer",
    ]);
    let consumers = pool.containers("consumer");
    assert_eq!(consumers.len(), 3);
    let run = pool.begin();
    pool.engine.docker(&["kill", &consumers[2]]);
    let results = pool.finish(run);
    let expected: BTreeSet<_> = consumers.iter().map(|id| id[..12].to_owned()).collect();
    assert_eq!(nodes(&results), expected, "each of the three has worked");

    pool.stage("a consumer crashes and comes back by itself");
    let run = pool.begin();
    pool.engine.crash(&consumers[0]);
    pool.finish(run);
    assert_eq!(pool.inspect(&consumers[0])["RestartCount"], 1);
    pool.wait_for_health(&consumers[0], "healthy");

    pool.stage("the broker is killed in the middle of a run");
    let run = pool.begin();
    let broker = pool.containers("rabbitmq").remove(0);
    pool.engine.docker(&["kill", &broker]);
    pool.wait_for_health(&consumers[0], "unhealthy");
    pool.compose(&["start", "rabbitmq"]);
    pool.finish(run);
    pool.wait_for_health(&consumers[0], "healthy");

    pool.stage("consumers are stopped in the middle of a run, and others go on with it");
    let run = pool.begin();
    let done = pool.results(&run.name).rows.len();
    pool.compose(&["stop", "consumer"]);
    for consumer in &consumers[..2] {
        assert_eq!(pool.inspect(consumer)["State"]["ExitCode"], 0, "{consumer}");
        let log = pool.engine.docker(&["logs", consumer]);
        assert!(!log.contains("ERROR"), "{log}");
    }
    let after = pool.results(&run.name).rows.len();
    assert!(after >= done && after < 4000, "{after}: the run was over");
    pool.compose(&["start", "consumer"]);
    let results = pool.finish(run);
    // The units in progress were finished, and the rest was returned.
    let redelivered = |row: &&Value| row["redelivered"] == true;
    let again = results.rows.iter().filter(redelivered).count();
    eprintln!("          {again} jobs were handed out a second time");

    pool.stage("all is stopped");
    let began = Instant::now();
    pool.compose(&["stop"]);
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    for service in ["rabbitmq", "influxdb", "consumer"] {
        for container in pool.containers(service) {
            let state = pool.inspect(&container)["State"].clone();
            assert_eq!(
                (&state["ExitCode"], &state["OOMKilled"]),
                (&0.into(), &false.into()),
                "{service}: {state}"
            );
        }
    }

    pool.stage("make down");
    let (ok, _, err) = pool.run("infra/compose/compose.sh", &["down"]);
    assert!(ok && err.contains("docker compose down --volumes"), "{err}");
    assert_eq!(pool.compose(&["ps", "--all", "--quiet"]), "");
    let volumes = pool.engine.docker(&["volume", "ls", "--quiet"]);
    assert!(
        volumes.lines().any(|name| name == "primepool_influxdb"),
        "{volumes}"
    );
    pool.compose(&["down", "--volumes"]);
    if is_influxdb_2 {
        pool.stage("a new database makes new tokens");
        let asked = |token: &str| {
            let header = format!("Authorization: Token {token}");
            pool.get(8086, "/query?db=primepool&q=SHOW%20MEASUREMENTS", &header)
        };
        let old = pool.secret("grafana-influxdb-token");
        let (ok, out, err) = pool.run("infra/compose/compose.sh", &["up", "influxdb"]);
        assert!(ok, "{out}{err}");
        let new = pool.secret("grafana-influxdb-token");
        assert!(asked(&old).contains("unauthorized"), "{}", asked(&old));
        assert!(asked(&new).contains("\"results\""), "{}", asked(&new));
        // An existing token is kept.
        let (ok, out, err) = pool.run("infra/compose/compose.sh", &["up", "influxdb"]);
        assert!(ok, "{out}{err}");
        assert_eq!(pool.secret("grafana-influxdb-token"), new);
        pool.compose(&["down", "--volumes"]);
    }
    pool.stage("done");

    for line in stand_ins.lines() {
        eprintln!("{line}");
    }
    if !is_influxdb_2 {
        eprintln!(
            "so not tested: the set-up of InfluxDB 2, its tokens, its protocol, InfluxQL on it; \
             infra/local/setup.sh --influxdb2 makes one"
        );
    } else if stand_ins.contains("influxdb") {
        eprintln!("so not tested: the entry point and the `influx ping` of InfluxDB's own image");
    }
    if stand_ins.contains("rabbitmq") {
        eprintln!("so not tested: the entry point of RabbitMQ's own image, and versions after 4.0");
    }
    if stand_ins.contains("grafana") {
        eprintln!("so not tested: Grafana; of it only what docker compose config says");
    }
}

fn assert_confined(pool: &Pool) {
    let secrets = pool.folder.path().join("infra/compose/secrets");
    assert_eq!(
        fs::metadata(&secrets).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let passwords: Vec<String> = fs::read_dir(&secrets)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(passwords.len() >= 8);
    for service in ["rabbitmq", "influxdb", "consumer", "dashboard"] {
        let container = pool.containers(service).remove(0);
        if service != "dashboard" {
            pool.wait_for_health(&container, "healthy");
        }
        let told = pool.inspect(&container);
        let text = told.to_string();
        assert!(
            !passwords.iter().any(|password| text.contains(password)),
            "{service}"
        );
        let host = &told["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert!(host["NanoCpus"].as_u64().unwrap() > 0 && host["Memory"].as_u64().unwrap() > 0);
        let exec = |script: &str| {
            pool.engine
                .docker(&["exec", &container, "sh", "-c", script])
        };
        // The state of the first process, whatever the compose file says.
        let status = exec("cat /proc/1/status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().split_whitespace().next().unwrap().to_owned()
        };
        assert_ne!(field("Uid:"), "0", "{service}");
        assert_eq!(field("CapBnd:"), "0000000000000000", "{service}");
        assert_eq!(field("NoNewPrivs:"), "1", "{service}");
        let (ok, ..) = pool.run("docker", &["exec", &container, "touch", "/usr/x"]);
        assert!(!ok, "{service} can write to its image");
    }
    // A consumer reaches nothing outside the pool, not even this machine; services with a published
    // port reach it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reach = format!("exec 3<>/dev/tcp/{}/{port}", DockerEngine::HOST);
    for (service, reaches) in [("influxdb", true), ("consumer", false)] {
        let container = pool.containers(service).remove(0);
        let args = ["exec", &container, "timeout", "3", "bash", "-c", &reach];
        assert_eq!(pool.run("docker", &args).0, reaches, "{service}");
    }
}
