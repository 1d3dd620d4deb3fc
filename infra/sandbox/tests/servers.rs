//! Private servers end with their owner, keep their ports, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use primepool_sandbox::{Broker, BrokerOptions, InfluxDb, Lifetime, ProcessId, VictoriaMetrics};
use tempfile::{TempDir, tempdir};

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of this machine with the path of a folder in their environment or command line.
fn processes_of(folder: &Path) -> Vec<u32> {
    let name = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).contains(name)
    })
    .collect()
}

fn port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once("127.0.0.1:").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// An idle process that owns servers.
fn owner() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

fn lifetime(owner: &Child, remove: &Path) -> Lifetime {
    Lifetime::Process {
        owner: ProcessId::of(owner.id()).unwrap(),
        remove: Some(remove.to_owned()),
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A broker that ends with this process, and its temporary folder.
fn broker() -> (TempDir, Broker) {
    let dir = tempdir().unwrap();
    let lifetime = Lifetime::with_this_process(dir.path());
    let folder = dir.path().join("broker");
    let broker = Broker::start(&folder, BrokerOptions::default(), &lifetime).unwrap();
    (dir, broker)
}

#[test]
fn servers_end_with_their_owner_and_leave_nothing() {
    let (dir, owner) = (tempdir().unwrap(), owner());
    let folder = dir.path().join("all");
    let lifetime = lifetime(&owner, &folder);
    let options = BrokerOptions::default();
    let broker = Broker::start(&folder.join("broker"), options, &lifetime).unwrap();
    let influxdb = InfluxDb::start(&folder.join("influxdb"), &lifetime).unwrap();
    let victoria = VictoriaMetrics::start(&folder.join("victoria"), &lifetime).unwrap();
    let urls = [broker.url("amqp"), influxdb.url(), victoria.url()].map(Result::unwrap);
    assert!(
        processes_of(&folder).len() >= 6,
        "three keepers, three servers"
    );
    kill(owner);
    wait_until("the end of all processes", || {
        processes_of(&folder).is_empty()
    });
    wait_until("the end of the folder", || !folder.exists());
    assert!(urls.iter().all(|url| is_free(port(url))));
}

#[test]
fn the_kernel_ends_servers_whose_keeper_is_killed() {
    let (dir, broker) = broker();
    let (folder, server) = (broker.dir(), broker.pid().unwrap());
    let amqp = port(&broker.url("amqp").unwrap());
    let keeper = *processes_of(&folder)
        .iter()
        .find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("\0keep\0")
        })
        .unwrap();
    assert_ne!(keeper, server);
    let killed = Command::new("kill")
        .args(["-KILL", &keeper.to_string()])
        .status();
    assert!(killed.unwrap().success());
    wait_until("the end of all processes", || {
        processes_of(&folder).is_empty()
    });
    assert!(is_free(amqp));
    // The broker can be started again with its data and ports.
    let again = Broker::start(
        &folder,
        BrokerOptions::default(),
        &Lifetime::with_this_process(dir.path()),
    );
    assert_eq!(port(&again.unwrap().url("amqp").unwrap()), amqp);
    broker.stop().unwrap();
}

#[test]
fn a_killed_server_keeps_its_port_and_data() {
    let (_dir, broker) = broker();
    let url = broker.vhost("here").unwrap();
    broker.kill().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port(&url))).is_err());
    // The system does not assign this port to a program that asks for any free port.
    assert!((0..500).all(|_| {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        other.local_addr().unwrap().port() != port(&url)
    }));
    broker.restart().unwrap();
    assert_eq!(broker.vhost("here").unwrap(), url);
    let vhosts = broker.ctl(&["list_vhosts", "--quiet"]).unwrap();
    assert!(vhosts.lines().any(|vhost| vhost == "here"), "{vhosts}");
    broker.stop().unwrap();
    assert!(is_free(port(&url)));
}

#[test]
fn a_port_that_another_program_took_is_replaced() {
    let (_dir, broker) = broker();
    let before = port(&broker.url("amqp").unwrap());
    broker.kill().unwrap();
    let other = TcpListener::bind(("127.0.0.1", before)).unwrap();
    broker.restart().unwrap();
    let after = port(&broker.url("amqp").unwrap());
    assert_ne!(after, before);
    assert!(broker.vhost("x").unwrap().contains(&format!(":{after}/")));
    drop(other);
    broker.stop().unwrap();
}

#[test]
fn stopped_data_is_served_again_from_other_ports_where_its_own_are_taken() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("with \"quotes\" and spaces");
    let lifetime = Lifetime::with_this_process(dir.path());
    let influxdb = InfluxDb::start(&folder, &lifetime).unwrap();
    influxdb.write("there", "m value=1 1").unwrap();
    influxdb.stop().unwrap();
    let before = influxdb.url().unwrap();
    let _other = TcpListener::bind(("127.0.0.1", port(&before))).unwrap();
    let influxdb = InfluxDb::start(&folder, &lifetime).unwrap();
    assert_ne!(influxdb.url().unwrap(), before);
    let answer = influxdb.query("there", "SELECT * FROM m").unwrap();
    assert!(
        answer.status == 200 && answer.body.contains("[\"1970-"),
        "{answer:?}"
    );
    influxdb.stop().unwrap();
    // The database of a run of an earlier version has no settings.
    fs::remove_file(folder.join("settings.json")).unwrap();
    let influxdb = InfluxDb::start(&folder, &lifetime).unwrap();
    let answer = influxdb.query("there", "SELECT * FROM m").unwrap();
    assert!(answer.body.contains("[\"1970-"), "{answer:?}");
    influxdb.stop().unwrap();
}

#[test]
fn a_private_influxdb_is_private() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("influxdb");
    let influxdb = InfluxDb::start(&folder, &Lifetime::with_this_process(dir.path())).unwrap();
    for name in [
        "influx-url",
        "influx-token",
        "influxdb.conf",
        "settings.json",
    ] {
        let mode = fs::metadata(folder.join(name)).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    let token = influxdb.token().unwrap();
    let (_, password) = token.split_once(':').unwrap();
    assert!(password.len() >= 32);
    for pid in processes_of(&folder) {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!arguments.contains(password));
    }
    let table = fs::read_to_string("/proc/net/tcp").unwrap()
        + &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let port = port(&influxdb.url().unwrap());
    let mut listening = table
        .lines()
        .filter(|line| line.contains(&format!(":{port:04X} ")) && line.contains(" 0A "));
    let line = listening.next().unwrap();
    assert!(line.contains(&format!(" 0100007F:{port:04X} ")), "{line}");
    assert!(listening.next().is_none());
    // The second start finds the running server; queries need the password.
    let again = InfluxDb::start(&folder, &Lifetime::Detached).unwrap();
    assert_eq!(again.url().unwrap(), influxdb.url().unwrap());
    let url = format!("{}/query?q=SHOW+DATABASES", influxdb.url().unwrap());
    assert_eq!(
        primepool_sandbox::http("GET", &url, None, "")
            .unwrap()
            .status,
        401
    );
    influxdb.stop().unwrap();
}

#[test]
fn two_sandboxes_do_not_disturb_each_other() {
    let both: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = (0..2).map(|_| scope.spawn(broker)).collect();
        starting
            .into_iter()
            .map(|broker| broker.join().unwrap())
            .collect()
    });
    let [(_, first), (_, second)] = &both[..] else {
        unreachable!()
    };
    first.vhost("only-here").unwrap();
    first.kill().unwrap();
    let vhosts = second.ctl(&["list_vhosts", "--quiet"]).unwrap();
    assert!(!vhosts.contains("only-here"), "{vhosts}");
    first.restart().unwrap();
    second.stop().unwrap();
    assert!(
        first
            .ctl(&["list_vhosts", "--quiet"])
            .unwrap()
            .contains("only-here")
    );
    first.stop().unwrap();
}

#[test]
fn a_folder_with_something_else_is_refused() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("mine"), "").unwrap();
    let error = InfluxDb::start(dir.path(), &Lifetime::Detached).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(error.status(), 2);
    let error = Broker::at(&dir.path().join("nothing")).unwrap_err();
    assert!(error.to_string().contains("no private server"), "{error}");
}
