//! The pool that things happen to: a broker, consumers, the producer, each behind a network of its own.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use primepool_common::output::notice;

use super::{Options, memory::Watch, proxy::Proxy, schedule::Fault};
use crate::{Binary, Broker, Cluster, Influx, Process, Results};

/// Seconds after which a silent connection counts as dead; short, so that it is soon.
pub(super) const HEARTBEAT_S: u64 = 3;

/// Age of the queues before anything is done to the broker.
const SETTLE: Duration = Duration::from_secs(2);

/// What is done later to undo a fault.
type Undo = Box<dyn FnOnce(&mut Site)>;

/// One broker, or three nodes that are one.
pub(super) enum Servers {
    One(Arc<Broker>),
    Three(Arc<Cluster>),
}

impl Servers {
    pub(super) fn nodes(&self) -> u8 {
        match self {
            Self::One(_) => 1,
            Self::Three(_) => 3,
        }
    }

    /// Address for one of the pool's users at a node, from 1 on.
    fn url(&self, node: u8, user: &str) -> String {
        match self {
            Self::One(broker) => broker.pool_url(user),
            Self::Three(cluster) => cluster.url(node, user),
        }
    }

    /// Address for who may do everything, in the pool's virtual host.
    pub(super) fn admin(&self) -> String {
        match self {
            Self::One(broker) => format!("{}/primepool", broker.url.trim_end_matches("/%2f")),
            Self::Three(cluster) => cluster.admin_url(1),
        }
    }

    pub(super) fn kill(&self, node: u8) {
        match self {
            Self::One(broker) => broker.kill(),
            Self::Three(cluster) => cluster.kill(node),
        }
    }

    pub(super) fn ctl(&self, args: &[&str]) -> String {
        match self {
            Self::One(broker) => broker.ctl(args),
            Self::Three(cluster) => cluster.ctl(1, args),
        }
    }

    /// Starts a node again; returns at once.
    pub(super) fn start_again(&self, node: u8) -> JoinHandle<()> {
        match self {
            Self::One(broker) => {
                let broker = Arc::clone(broker);
                thread::spawn(move || broker.start_again())
            }
            Self::Three(cluster) => {
                let cluster = Arc::clone(cluster);
                thread::spawn(move || cluster.start_again(node))
            }
        }
    }

    /// Keeps the logs of the nodes.
    pub(super) fn keep_logs(&self, to: &Path) {
        let logs = match self {
            Self::One(broker) => vec![broker.log()],
            Self::Three(cluster) => (1..=3).map(|node| cluster.log(node)).collect(),
        };
        for (number, log) in logs.iter().enumerate() {
            let _ = fs::copy(log, to.join(format!("broker-{}.log", number + 1)));
        }
    }
}

/// A process and its network.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) proxy: Proxy,
    url: String,
    pub(super) process: Option<Process>,
}

/// Everything that runs.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) servers: Servers,
    pub(super) consumers: Vec<Lane>,
    pub(super) producer: Lane,
    pub(super) influx: Option<Influx>,
    pub(super) influx_down: bool,
    /// The offset of the clocks of our processes is in this file.
    pub(super) clock: Option<PathBuf>,
    /// A small file system for the runs.
    pub(super) disk: Option<PathBuf>,
    pub(super) watch: Watch,
    /// Promises that were broken, in words.
    pub(super) broken: Vec<String>,
    /// Nodes of the broker that do not run.
    pub(super) down: Vec<u8>,
    /// Until when a producer may find no broker.
    pub(super) trouble_until: Instant,
    /// No producer is to be started before somebody has made room, or has had time to start it.
    pub(super) producer_held: bool,
    pub(super) results: usize,
    pub(super) duplicates: u64,
    starting: Vec<(u8, JoinHandle<()>)>,
    later: Vec<(Instant, Undo)>,
    lines: Lines,
    started: Instant,
    log: File,
}

/// Counts the lines of a file that grows.
#[derive(Default)]
struct Lines {
    path: Option<PathBuf>,
    read: u64,
    count: usize,
}

impl Lines {
    fn count(&mut self, path: PathBuf) -> usize {
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        if self.path.as_ref() != Some(&path) || length < self.read {
            *self = Self {
                path: Some(path.clone()),
                ..Self::default()
            };
        }
        let mut text = Vec::new();
        if length > self.read
            && let Ok(mut file) = File::open(&path)
            && file.seek(SeekFrom::Start(self.read)).is_ok()
            && file.read_to_end(&mut text).is_ok()
        {
            self.read += text.len() as u64;
            self.count += text.iter().filter(|byte| **byte == b'\n').count();
        }
        self.count
    }
}

impl Site {
    /// Starts everything but the producer.
    pub(super) fn start(options: &Options, faults: &[Fault], folder: &Path) -> Self {
        let has = |fault| faults.contains(&fault);
        let servers = if has(Fault::Cluster) {
            Servers::Three(Arc::new(Cluster::private()))
        } else {
            Servers::One(Arc::new(Broker::private()))
        };
        // RabbitMQ 3.10 loses a quorum queue that is killed within a second of its making (topology.rs).
        thread::sleep(SETTLE);
        let lane = |name: String, node: u8, user: &str| {
            let url = servers.url(node, user);
            let (proxy, url) = Proxy::before(&url);
            Lane {
                name,
                url: format!("{url}?heartbeat={HEARTBEAT_S}"),
                proxy,
                process: None,
            }
        };
        let nodes = servers.nodes();
        let consumers = (0..options.consumers)
            .map(|n| {
                let node = u8::try_from(n % usize::from(nodes)).unwrap() + 1;
                lane(format!("c{}", n + 1), node, "consumer")
            })
            .collect();
        let producer = lane("producer".to_owned(), 1, "producer");
        let clock = has(Fault::ClockJump).then(|| {
            let file = folder.join("clock");
            fs::write(&file, "+0\n").unwrap();
            file
        });
        let disk = has(Fault::DiskFull).then(|| {
            let disk = folder.join("disk");
            fs::create_dir(&disk).unwrap();
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
                .arg(&disk)
                .status();
            assert!(
                mounted.unwrap().success(),
                "disk-full needs root, who may mount: leave it out of --faults"
            );
            disk
        });
        let mut site = Self {
            servers,
            consumers,
            producer,
            influx: has(Fault::InfluxGone).then(Influx::private),
            influx_down: false,
            clock,
            disk,
            watch: Watch::new(),
            broken: Vec::new(),
            down: Vec::new(),
            trouble_until: Instant::now(),
            producer_held: false,
            results: 0,
            duplicates: 0,
            starting: Vec::new(),
            later: Vec::new(),
            lines: Lines::default(),
            started: Instant::now(),
            log: File::create(folder.join("actions.log")).unwrap(),
            folder: folder.to_owned(),
        };
        for n in 0..options.consumers {
            site.start_consumer(n);
        }
        site
    }

    /// Says what happens, with the time and the results so far.
    pub(super) fn say(&mut self, what: &str) {
        let line = format!(
            "{:8.3} s {:6} results  {what}",
            self.started.elapsed().as_secs_f64(),
            self.results
        );
        notice(&line);
        let _ = writeln!(self.log, "{line}");
    }

    /// Notes a broken promise.
    pub(super) fn break_promise(&mut self, what: String) {
        self.say(&format!("BROKEN: {what}"));
        self.broken.push(what);
    }

    /// Does something after a time.
    pub(super) fn later(&mut self, after: Duration, undo: impl FnOnce(&mut Site) + 'static) {
        self.later.push((Instant::now() + after, Box::new(undo)));
    }

    /// Whoever starts now may find no broker for this long.
    pub(super) fn trouble(&mut self, time: Duration) {
        self.trouble_until = self.trouble_until.max(Instant::now() + time);
    }

    /// Undoes what is due; whether nothing is left.
    pub(super) fn mend(&mut self) -> bool {
        let now = Instant::now();
        while let Some(due) = self.later.iter().position(|(at, _)| *at <= now) {
            let (_, undo) = self.later.swap_remove(due);
            undo(self);
        }
        for (node, starting) in std::mem::take(&mut self.starting) {
            if starting.is_finished() {
                starting.join().unwrap();
                self.down.retain(|down| *down != node);
                self.trouble(Duration::from_secs(15));
                self.say(&format!("broker node {node} is back"));
            } else {
                self.starting.push((node, starting));
            }
        }
        self.later.is_empty() && self.starting.is_empty()
    }

    /// Kills nodes of the broker and starts them again after a time, all at once: none may be able to go on alone.
    pub(super) fn lose_nodes(&mut self, nodes: Vec<u8>, pause: Duration) {
        self.trouble(Duration::from_secs(60));
        for node in &nodes {
            self.servers.kill(*node);
            self.down.push(*node);
        }
        self.later(pause, move |site| {
            for node in nodes {
                let starting = site.servers.start_again(node);
                site.starting.push((node, starting));
            }
        });
    }

    /// Starts a consumer in its place.
    pub(super) fn start_consumer(&mut self, n: usize) {
        let lane = &self.consumers[n];
        let spool = format!("spool-{}", lane.name);
        let args = ["--node", &lane.name, "--concurrency", "1"];
        let args = [&args[..], &["--metrics-spool", &spool]].concat();
        let process = self.spawn(Binary::Consumer, lane, &args);
        self.watch.follow(&lane.name, process.pid());
        self.consumers[n].process = Some(process);
    }

    /// Starts a producer with these arguments.
    pub(super) fn start_producer(&mut self, args: &[&str]) {
        let process = self.spawn(Binary::Producer, &self.producer, args);
        self.watch.follow("producer", process.pid());
        self.producer.process = Some(process);
    }

    fn spawn(&self, binary: Binary, lane: &Lane, args: &[&str]) -> Process {
        let ours = binary.command();
        // It ends with the harness, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(ours.get_program()).args(args).env_clear();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .env("PRIMEPOOL_AMQP_URL", &lane.url);
        command.stdin(std::process::Stdio::null());
        if let Some(influx) = &self.influx {
            command.args(influx.flags());
        }
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", faketime())
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                // Only the wall clock jumps.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        Process::spawn(command, &lane.name, &self.folder)
    }

    /// kill -9 of a consumer.
    pub(super) fn kill_consumer(&mut self, n: usize) {
        if let Some(process) = self.consumers[n].process.take() {
            self.watch.leave(process.pid());
            process.kill();
        }
    }

    /// kill -9 of the producer.
    pub(super) fn kill_producer(&mut self) -> bool {
        let Some(process) = self.producer.process.take() else {
            return false;
        };
        self.watch.leave(process.pid());
        process.kill();
        true
    }

    /// A consumer that ended unasked breaks a promise; another one takes its place.
    pub(super) fn look_at_consumers(&mut self) {
        for n in 0..self.consumers.len() {
            let ended = self.consumers[n].process.as_mut().and_then(Process::ended);
            if let Some(status) = ended {
                let name = self.consumers[n].name.clone();
                self.break_promise(format!("consumer {name} ended by itself: {status}"));
                self.kill_consumer(n);
                self.later(Duration::from_secs(1), move |site| site.start_consumer(n));
            }
        }
    }

    /// The status of a producer that has ended.
    pub(super) fn producer_ended(&mut self) -> Option<i32> {
        let status = self.producer.process.as_mut()?.ended()?;
        let process = self.producer.process.take()?;
        self.watch.leave(process.pid());
        Some(
            status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        )
    }

    /// Counts the results of the run below `dir`.
    pub(super) fn count(&mut self, dir: &Path) {
        if let Some(folder) = Results::folder(dir) {
            self.results = self.lines.count(folder.join("results.jsonl"));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.producer.process = None;
        for lane in &mut self.consumers {
            lane.process = None;
        }
        for (_, starting) in self.starting.drain(..) {
            let _ = starting.join();
        }
        if let Some(disk) = &self.disk {
            let _ = Command::new("umount").arg(disk).status();
        }
    }
}

/// The library that fakes the time.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found
        .find(|path| path.exists())
        .expect("clock-jump needs the package faketime: run infra/local/setup.sh --test")
}
