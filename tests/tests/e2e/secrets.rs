//! No password and no token is revealed: everything that the programs and scripts write, and every
//! command line that they start, is searched for each secret in all the forms in which it travels.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use primepool_tests::{Binary, Broker, Influx, Process, Results, wait_for, workspace};
use tempfile::tempdir;

/// The most verbose log filter, including what is silent by default.
const LOUD: &str =
    "trace,lapin=trace,lapin::channels=trace,hyper=trace,reqwest=trace,influxdb2=trace";

/// Secret texts, each with a description.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Adds a user's password.
    fn login(&mut self, user: &str, password: &str) {
        self.word(&format!("password of {user}"), password);
        // Basic authentication, and the mechanism PLAIN of SASL.
        self.base64(
            &format!("login of {user}"),
            format!("{user}:{password}").as_bytes(),
        );
        self.base64(
            &format!("PLAIN of {user}"),
            format!("\0{user}\0{password}").as_bytes(),
        );
    }

    /// Adds a secret by itself.
    fn word(&mut self, what: &str, word: &str) {
        assert!(
            word.len() >= 8,
            "{what}: so short a word is found by chance"
        );
        let json = serde_json::to_string(word).unwrap();
        let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
        let bytes: Vec<String> = word.bytes().map(|byte| byte.to_string()).collect();
        for (form, text) in [
            ("", word.to_owned()),
            ("percent-encoded", percent(word)),
            (
                "percent-encoded in lower case",
                percent(word).to_lowercase(),
            ),
            ("in JSON or Debug", json.trim_matches('"').to_owned()),
            ("in hexadecimal", hex),
            ("as a list of bytes", bytes.join(", ")),
        ] {
            self.0.entry(text).or_insert(format!("{what} {form}"));
        }
        self.base64(what, word.as_bytes());
    }

    /// Adds the Base64 of a secret inside a longer text, which depends on its position, without the
    /// digits shared with its neighbours.
    fn base64(&mut self, what: &str, bytes: &[u8]) {
        for shift in 0..3 {
            let padded = [&[0; 2][..shift], bytes].concat();
            let whole = padded.len() / 3 * 3;
            let text = STANDARD.encode(&padded[..whole]);
            let inner = &text[if shift == 0 { 0 } else { 4 }..];
            self.0.insert(inner.to_owned(), format!("{what} in base64"));
        }
    }

    /// Adds the secrets of a private broker: the passwords in its URLs, and the Erlang cookie.
    fn broker(&mut self, dir: &Path) -> Option<()> {
        for name in [
            "amqp-url",
            "consumer-url",
            "producer-url",
            "operator-url",
            "monitoring-url",
        ] {
            let url = fs::read_to_string(dir.join(name)).ok()?;
            let (login, _) = url.strip_prefix("amqp://")?.split_once('@')?;
            let (user, password) = login.split_once(':')?;
            self.login(user, password);
        }
        let cookie = fs::read_to_string(dir.join("home/.erlang.cookie")).ok()?;
        self.word("Erlang's cookie", cookie.trim());
        Some(())
    }

    /// Adds the secrets of a private InfluxDB.
    fn influx(&mut self, dir: &Path) -> Option<()> {
        let token = fs::read_to_string(dir.join("influx-token")).ok()?;
        let (user, password) = token.trim().split_once(':')?;
        self.login(user, password);
        Some(())
    }

    /// Descriptions of the secrets that a text contains.
    fn found(&self, text: &[u8]) -> Vec<&str> {
        let text = String::from_utf8_lossy(text);
        let found = self.0.iter().filter(|(secret, _)| text.contains(*secret));
        found.map(|(_, what)| what.as_str()).collect()
    }

    #[track_caller]
    fn assert_not_in(&self, name: &str, text: &[u8]) {
        let found = self.found(text);
        if found.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(text).replace('\0', " ");
        let line = text
            .lines()
            .find(|line| !self.found(line.as_bytes()).is_empty());
        panic!(
            "{name} holds {found:?}: {}",
            line.unwrap_or("over several lines")
        );
    }

    /// Panics if a file below a folder contains a secret. Files with the names `keepers` have to
    /// contain one, and may be readable by their owner only.
    #[track_caller]
    fn assert_not_below(&self, dir: &Path, keepers: &[&str]) -> usize {
        let files = files(dir);
        for file in &files {
            let Ok(text) = fs::read(file) else {
                continue; // deleted by a running server
            };
            if keepers.iter().any(|name| file.ends_with(name)) {
                let mode = fs::metadata(file).unwrap().permissions().mode();
                assert_eq!(mode & 0o177, 0, "{}: {mode:o}", file.display());
                assert!(
                    !self.found(&text).is_empty(),
                    "{} keeps nothing",
                    file.display()
                );
            } else {
                self.assert_not_in(&file.display().to_string(), &text);
            }
        }
        files.len()
    }
}

fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}

/// Polls the command lines of all processes, and collects them.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<HashSet<Vec<u8>>>,
}

impl Watch {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let seen = thread::spawn(move || {
            let mut seen = HashSet::new();
            while !asked.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    let name = process.file_name();
                    if name.as_encoded_bytes()[0].is_ascii_digit()
                        && let Ok(line) = fs::read(process.path().join("cmdline"))
                        && !seen.contains(&line)
                    {
                        seen.insert(line);
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { stop, seen }
    }

    /// Panics if one of the secrets was seen, or if one of the `expected` texts was not.
    fn end(self, secrets: &Secrets, expected: &[&str]) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.seen.join().unwrap();
        for line in &seen {
            secrets.assert_not_in("a command line", line);
        }
        for text in expected {
            let found = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(text);
            assert!(seen.iter().any(found), "{text} was not seen");
        }
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let mut secrets = Secrets::default();
    secrets.login("user", "pa/ss+wo%rd");
    for text in [
        "amqp://user:pa/ss+wo%rd@host",
        "amqp://user:pa%2Fss%2Bwo%25rd@host",
        "amqp://user:pa%2fss%2bwo%25rd@host",
        "Authorization: Basic dXNlcjpwYS9zcyt3byVyZA==", // user:pa/ss+wo%rd
        "AHVzZXIAcGEvc3Mrd28lcmQ=",                      // PLAIN
        "[112, 97, 47, 115, 115, 43, 119, 111, 37, 114, 100]",
    ] {
        assert!(!secrets.found(text.as_bytes()).is_empty(), "{text}");
    }
    assert!(
        secrets
            .found(b"amqp://user@host, Basic dXNlcg==")
            .is_empty()
    );
}

#[test]
fn the_programs_keep_them_to_themselves() {
    let ((broker, management), influx, dir) =
        (Broker::pool(), Influx::private(), tempdir().unwrap());
    // Characters that need encoding reveal a place where the password is encoded once more.
    let (user, password) = ("leaky", "s3cr3t/pa+ss%&'x=y");
    let file = dir.path().join("make-user");
    let expression = format!(
        "ok = rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"{password}\">>, <<\"test\">>),
         ok = rabbit_auth_backend_internal:set_tags(<<\"{user}\">>, [management], <<\"test\">>),
         ok = rabbit_auth_backend_internal:set_permissions(
             <<\"{user}\">>, <<\"primepool\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)."
    );
    fs::write(&file, expression).unwrap();
    broker.ctl(&["eval_file", file.to_str().unwrap()]);
    fs::remove_file(file).unwrap();
    let (_, host) = broker.url.split_once('@').unwrap();
    let url = format!("amqp://{user}:{}@{host}", percent(password));

    let mut secrets = Secrets::default();
    secrets.broker(broker.dir()).unwrap();
    secrets.influx(&influx.dir).unwrap();
    secrets.login(user, password);
    let watch = Watch::start();

    let start = |binary: Binary, url: &str, args: &[&str]| {
        let mut command = binary.command();
        command
            .args(args)
            .env("PRIMEPOOL_AMQP_URL", url)
            .env("PRIMEPOOL_LOG", LOUD)
            .env("INFLUX_HOST", &influx.url)
            .env("INFLUX_TOKEN", &influx.token)
            .env("PRIMEPOOL_METRICS_INTERVAL", "200ms");
        if !matches!(binary, Binary::Experiment) {
            command.env("PRIMEPOOL_MANAGEMENT_URL", &management);
            command.env("PRIMEPOOL_METRICS_SPOOL", dir.path().join("spool"));
        }
        Process::spawn(command, &format!("{binary:?}"), dir.path())
    };
    let health = ["--node", "n1", "--health-file", "health"];
    let consumer = start(Binary::Consumer, &url, &health);
    wait_for("good health", || {
        let health = fs::read_to_string(dir.path().join("health")).ok()?;
        health.contains(r#""connected":true"#).then_some(())
    });
    let args = ["--count", "2000", "--bits", "512"];
    let done = start(Binary::Producer, &url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("TRACE"), "it is loud");
    assert!(
        done.stderr.contains("starting new connection"),
        "so is the HTTP client"
    );
    Results::read(dir.path()).assert_primes(2000, 512);
    assert!(fs::read_to_string(dir.path().join("health")).is_ok());

    // While InfluxDB is down, metrics wait on disk, and the log reports it.
    influx.kill();
    let done = start(Binary::Producer, &url, &["--count", "50", "--bits", "512"]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(files(&dir.path().join("spool")).len() > 1);
    influx.start_again();
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code, Some(0));

    let args = "run --nodes 1 --workers 1 --bits 256 --repeat 1 --min-time 1s --dir x";
    let args: Vec<&str> = args.split(' ').collect();
    let done = start(Binary::Experiment, &url, &args).wait_long();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(dir.path().join("x/records.jsonl").exists());

    // Stop here: the command lines that follow contain secrets on purpose.
    watch.end(&secrets, &["--health-file", "--runs-dir"]);

    // Every kind of error.
    let encoded = percent(password);
    let login = format!("{user}:{encoded}");
    let wrong_password = url.replace(&encoded, "wr0ng-s3cr3t");
    secrets.login(user, "wr0ng-s3cr3t");
    for (wrong, code) in [
        (wrong_password, 3),
        (url.replace("primepool", "nowhere"), 3),
        (url.replace("amqp://", "amqps://"), 3),
        (url.replace(host, "127.0.0.1:1/%2f"), 3),
        (url.replace("amqp://", "http://"), 2),
        (url.replace(&encoded, password), 2), // not encoded
        (format!("{login}@{host}"), 2),
    ] {
        let done = start(Binary::Producer, &wrong, &["--count", "1"]).wait();
        assert_eq!(done.code, Some(code), "{done:?}");
    }
    for (flag, value) in [
        ("--management-url", format!("http://{login}@{host}")),
        ("--influx-host", format!("http://{login}@{host}")),
        ("--amqp-url", format!("{login}@{host}")),
        ("--influx-token", influx.token.clone()),
    ] {
        // A secret on the command line is refused, and the error does not repeat it.
        let done = Binary::Producer.command().args([flag, &value]).output();
        let done = done.unwrap();
        assert!(!done.status.success(), "{flag}: {done:?}");
        secrets.assert_not_in(flag, &[done.stdout, done.stderr].concat());
    }
    for binary in [Binary::Producer, Binary::Consumer, Binary::Experiment] {
        for args in [&["--help"][..], &["-h"], &["--no-such-flag"]] {
            let done = binary
                .command()
                .args(args)
                .env("PRIMEPOOL_AMQP_URL", &url)
                .env("INFLUX_TOKEN", &influx.token)
                .output()
                .unwrap();
            secrets.assert_not_in("help", &[done.stdout, done.stderr].concat());
        }
    }
    let searched = secrets.assert_not_below(dir.path(), &[]);
    assert!(searched > 40, "{searched}");
}

/// Files of a private broker that have to contain a secret.
const BROKER_KEEPS: [&str; 7] = [
    "settings.json",
    "amqp-url",
    "consumer-url",
    "producer-url",
    "operator-url",
    "monitoring-url",
    "home/.erlang.cookie",
];

#[test]
fn the_scripts_keep_them_to_themselves() {
    let dir = tempdir().unwrap();
    let (mut secrets, watch) = (Secrets::default(), Watch::start());

    // The processes that `make run` starts, with a broker and an InfluxDB of its own.
    let test = std::env::current_exe().unwrap();
    let binaries = test.parent().unwrap().parent().unwrap();
    let output = |name| fs::File::create(dir.path().join(name)).unwrap();
    let state = dir.path().join("state");
    let mut running = Command::new(binaries.join("sandbox"))
        .arg("run")
        .args(["--count", "300", "--bits", "512"])
        .env("PRIMEPOOL_BIN", binaries)
        .env("PRIMEPOOL_STATE", &state)
        .env("PRIMEPOOL_RUNS_DIR", dir.path().join("runs"))
        .env("PRIMEPOOL_LOG", LOUD)
        .stdin(Stdio::null())
        .stdout(output("out"))
        .stderr(output("err"))
        .spawn()
        .unwrap();
    let work = wait_for("the folder of the run", || {
        let folder = fs::read_dir(&state).ok()?.flatten().next()?.path();
        (secrets.broker(&folder.join("broker")).is_some()
            && secrets.influx(&folder.join("influxdb")).is_some())
        .then_some(folder)
    });
    let mode = fs::metadata(&work).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else gets in");
    assert_eq!(running.wait().unwrap().code(), Some(0));
    // The kept database needs its token.
    secrets.assert_not_below(dir.path(), &["influxdb/influx-token"]);

    // The private servers that tests and documentation use.
    let mut broker = Broker::private();
    broker.url = broker.url.replace("/%2f", "/primepool");
    secrets.broker(broker.dir()).unwrap();
    for i in 0..5 {
        broker.user(&format!("user{i}"), ["^$", "^$", "^$"]);
    }
    secrets.word("password of other users", "other-password");
    secrets.assert_not_below(&broker.dir().join("log"), &[]);
    let influx = Influx::private();
    secrets.influx(&influx.dir).unwrap();
    influx.query("_internal", "SHOW DATABASES");
    secrets.assert_not_below(&influx.dir, &["influx-token"]);
    secrets.assert_not_below(broker.dir(), &BROKER_KEEPS);

    // Hashes of passwords must not be revealed either, because they allow guessing.
    let passwords = "consumer 0123456789\nproducer 9876543210\noperator 1357924680\nmonitoring 0246813579\nboss 9753186420\n";
    let file = dir.path().join("passwords");
    fs::write(&file, passwords).unwrap();
    let mut hashes = BTreeSet::new();
    for _ in 0..10 {
        let made = Command::new(workspace().join("infra/rabbitmq/definitions.sh"))
            .args(["--administrator", "boss"])
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        for user in made["users"].as_array().unwrap() {
            let hash = user["password_hash"].as_str().unwrap();
            assert_eq!(hash.len(), 48, "{user}");
            hashes.insert(hash.to_owned());
        }
    }
    assert_eq!(hashes.len(), 50, "each with a salt of its own");
    for hash in &hashes {
        secrets
            .0
            .insert(hash.clone(), "hash of a password".to_owned());
    }
    for line in passwords.lines() {
        let (user, password) = line.split_once(' ').unwrap();
        secrets.login(user, password);
    }
    watch.end(&secrets, &["sandbox", "beam", "influxd", "sed"]);
}
