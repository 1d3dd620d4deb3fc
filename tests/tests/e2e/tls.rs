//! TLS: both sides authenticate the peer before they send anything.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use primepool_common::broker::{BrokerArgs, Endpoint, QueueFigures};
use primepool_tests::{Authority, Binary, Broker, Consumer, Finished, Process, Results, wait_for};
use tempfile::{TempDir, tempdir};

/// A path as a command-line argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A broker with TLS, and the certificates of its clients.
struct Pool {
    folder: TempDir,
    broker: Broker,
    port: u16,
    management: String,
    authority: Authority,
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

impl Pool {
    fn start(mutual: bool) -> Self {
        let (folder, authority) = (tempdir().unwrap(), Authority::new("pool"));
        authority.write_server(folder.path(), &["localhost"]);
        for name in ["consumer", "producer"] {
            authority.write_client(folder.path(), name);
        }
        let (broker, port, management) = Broker::tls(folder.path(), mutual);
        Self {
            folder,
            broker,
            port,
            // The certificate names the host `localhost`.
            management: management.replace("127.0.0.1", "localhost"),
            authority,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// AMQP URL of the pool for a user, with the TLS port.
    fn url(&self, user: &str) -> String {
        let plain = self.broker.pool_url(user);
        let (login, _) = plain["amqp://".len()..].split_once('@').unwrap();
        format!("amqps://{login}@localhost:{}/primepool", self.port)
    }

    /// Options with the CA that a client trusts, and with its own certificate if any.
    fn flags(&self, client: Option<&str>) -> Vec<String> {
        let mut flags = vec!["--tls-ca".to_owned(), text(&self.file("ca.pem")).to_owned()];
        if let Some(name) = client {
            for (flag, extension) in [("--tls-cert", "pem"), ("--tls-key", "key")] {
                let file = self.file(&format!("{name}.{extension}"));
                flags.extend([flag.to_owned(), text(&file).to_owned()]);
            }
        }
        flags
    }

    /// Makes the broker read its certificates again.
    fn read_again(&self) {
        self.broker.ctl(&["eval", "ssl:clear_pem_cache()."]);
    }

    /// Finds three primes with a consumer and a producer that connect in this way; returns their
    /// logs.
    fn run(&self, consumer: (&str, Vec<String>), producer: (&str, Vec<String>)) -> String {
        let dir = tempdir().unwrap();
        let arguments = |own: &[&'static str], flags: &[String]| -> Vec<String> {
            let own = own.iter().map(|flag| (*flag).to_owned());
            own.chain(flags.iter().cloned()).collect()
        };
        let args = arguments(&["--node", "n1"], &consumer.1);
        let consumer = Consumer::at(dir.path(), consumer.0, &words(&args)).0;
        let args = arguments(&["--count", "300", "--bits", "256"], &producer.1);
        let done = Process::start(Binary::Producer, dir.path(), producer.0, &words(&args)).wait();
        assert_eq!(done.code, Some(0), "{done:?}");
        Results::read(dir.path()).assert_primes(300, 256);
        consumer.signal("TERM");
        let ended = consumer.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        done.stderr + &ended.stderr
    }

    /// Asks the management API for the figures of a queue, as a user of the pool.
    fn ask_management(&self, flags: &[String]) -> Result<QueueFigures, String> {
        let value = |flag: &str| {
            let at = flags.iter().position(|one| one == flag)?;
            Some(PathBuf::from(&flags[at + 1]))
        };
        let args = BrokerArgs {
            amqp_url: self.url("producer"),
            amqp_url_file: None,
            tls_ca: value("--tls-ca"),
            tls_cert: value("--tls-cert"),
            tls_key: value("--tls-key"),
            management_url: Some(self.management.clone()),
        };
        let endpoint = Endpoint::from_args(&args)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let api = endpoint.management().unwrap();
        let answer = runtime.block_on(api.queue("primepool.jobs.prime"));
        answer.map_err(|error| error.to_string())
    }
}

/// Checks that both programs end with status 3 and an error with these texts, and begin nothing.
fn assert_refused(url: &str, flags: &[String], texts: &[&str]) {
    for binary in [Binary::Producer, Binary::Consumer] {
        let dir = tempdir().unwrap();
        let args: Vec<&str> = flags.iter().map(String::as_str).collect();
        let done: Finished = Process::start(binary, dir.path(), url, &args).wait();
        assert_eq!(done.code, Some(3), "{binary:?}: {done:?}");
        for text in texts {
            assert!(done.stderr.contains(text), "{text:?}: {done:?}");
        }
        assert_eq!(Results::folder(dir.path()), None);
    }
}

#[test]
fn the_broker_has_to_be_the_one_that_is_meant() {
    let pool = Pool::start(false);
    let (url, trusted) = (pool.url("producer"), pool.flags(None));
    let (consumer, producer) = (pool.url("consumer"), url.clone());
    let log = pool.run((&consumer, trusted.clone()), (&producer, trusted.clone()));
    assert!(!log.contains("ERROR"), "{log}");
    assert!(pool.ask_management(&trusted).is_ok());

    let hint = "--tls-ca";
    // The system does not trust the pool's authority.
    assert_refused(&url, &[], &["TLS handshake", "UnknownIssuer", hint]);
    let stranger = Authority::new("pool").write(pool.file("stranger.pem"));
    let stranger = ["--tls-ca", text(&stranger)].map(str::to_owned);
    assert_refused(&url, &stranger, &["TLS handshake", hint]);
    let error = pool.ask_management(&stranger).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    // The certificate is valid for localhost only.
    let by_number = url.replace("localhost", "127.0.0.1");
    assert_refused(&by_number, &trusted, &["not valid for", "127.0.0.1", hint]);

    // The wrong protocol at each port.
    let plain = pool.broker.pool_url("producer");
    let secure = plain
        .replace("amqp://", "amqps://")
        .replace("127.0.0.1", "localhost");
    assert_refused(&secure, &trusted, &["TLS handshake", "amqp:// or amqps://"]);
    let insecure = url.replace("amqps://", "amqp://");
    assert_refused(&insecure, &[], &["amqps://"]);

    // The certificate expires, and is renewed as docs/OPERATIONS.md says.
    let folder = pool.folder.path();
    pool.authority
        .write_server_until(folder, &["localhost"], 2020);
    pool.read_again();
    assert_refused(&url, &trusted, &["TLS handshake", "xpired", hint]);
    pool.authority.write_server(folder, &["localhost"]);
    pool.read_again();
    pool.run((&consumer, trusted.clone()), (&producer, trusted));
}

#[test]
fn clients_have_to_show_a_certificate() {
    let pool = Pool::start(true);
    let (consumer, producer) = (pool.url("consumer"), pool.url("producer"));
    let own = |user| pool.flags(Some(user));
    let with_management = |user| {
        let address = ["--management-url", &pool.management].map(str::to_owned);
        [own(user), address.to_vec()].concat()
    };
    let log = pool.run(
        (&consumer, with_management("consumer")),
        (&producer, with_management("producer")),
    );
    assert!(
        !log.contains("metrics lack") && !log.contains("ERROR"),
        "{log}"
    );
    assert!(pool.ask_management(&own("producer")).is_ok());

    // No certificate, and one from another authority of the same name. The broker may close the
    // connection before its reason arrives.
    let texts = ["--tls-cert"];
    assert_refused(&producer, &pool.flags(None), &texts);
    assert!(pool.ask_management(&pool.flags(None)).is_err());
    Authority::new("pool").write_client(pool.folder.path(), "stranger");
    assert_refused(&producer, &own("stranger"), &texts);
    assert!(pool.ask_management(&own("stranger")).is_err());

    // A certificate in place of a password: the broker takes the user's name from it.
    let external = format!(
        "amqps://localhost:{}/primepool?auth_mechanism=external",
        pool.port
    );
    pool.run((&external, own("consumer")), (&external, own("producer")));
    pool.authority.write_client(pool.folder.path(), "nobody");
    assert_refused(&external, &own("nobody"), &["refused the login"]);
}

#[test]
fn files_that_hold_something_else_are_named() {
    let dir = tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    Authority::new("pool").write(file("ca.pem"));
    Authority::new("pool").write_client(dir.path(), "client");
    fs::write(file("noise"), "no certificate").unwrap();
    let (ca, noise) = (file("ca.pem"), file("noise"));
    let (certificate, key) = (file("client.pem"), file("client.key"));
    let cases: [(&[&str], &str); 5] = [
        (&["--tls-ca", text(&noise)], "holds no certificate"),
        (&["--tls-ca", text(&key)], "holds no certificate"),
        (
            &["--tls-cert", text(&key), "--tls-key", text(&key)],
            "--tls-cert",
        ),
        (
            &["--tls-cert", text(&certificate), "--tls-key", text(&ca)],
            "holds no private key",
        ),
        (&["--tls-cert", text(&certificate)], "--tls-key"),
    ];
    for (args, text) in cases {
        let url = "amqps://user:s3cr3t@127.0.0.1:1/%2f";
        let done = Process::start(Binary::Consumer, dir.path(), url, args).wait();
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        assert!(done.stderr.contains(text), "{text:?}: {done:?}");
    }
    // An option without effect would only seem to protect.
    let args = ["--tls-ca", text(&ca)];
    let url = "amqp://127.0.0.1:1/%2f";
    let done = Process::start(Binary::Consumer, dir.path(), url, &args).wait();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("amqps://"), "{done:?}");
}

/// Sends a ClientHello for this version only (minor version 2 is TLS 1.1) and returns the server's
/// first record: its type (21 is an alert, 22 a handshake message) and its contents.
fn hello(port: u16, minor: u8) -> (u8, Vec<u8>) {
    let mut body = vec![3, minor];
    body.extend([7; 32]); // random
    body.push(0); // no session
    // ECDHE-ECDSA with AES-128: GCM for TLS 1.2, CBC also for older versions.
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x09]);
    body.extend([1, 0]); // no compression
    let mut extensions = vec![0, 10, 0, 4, 0, 2, 0, 23]; // curve P-256
    extensions.extend([0, 11, 0, 2, 1, 0]); // uncompressed points
    extensions.extend([0, 13, 0, 6, 0, 4, 4, 3, 2, 3]); // ECDSA with SHA-256, SHA-1
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);

    // The management API starts to listen a little later than the broker.
    let mut stream = wait_for("a listener", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(&record).unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut contents = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut contents).unwrap();
    (head[0], contents)
}

#[test]
fn old_versions_are_refused() {
    let pool = Pool::start(false);
    let management = pool.management.rsplit(':').next().unwrap().parse().unwrap();
    for port in [pool.port, management] {
        let (kind, answer) = hello(port, 3);
        assert_eq!((kind, answer[0]), (22, 2), "TLS 1.2: a server's hello");
        for minor in [1, 2] {
            let fatal_version = (21, vec![2, 70]);
            assert_eq!(hello(port, minor), fatal_version, "TLS 1.{}", minor - 1);
        }
    }
}
