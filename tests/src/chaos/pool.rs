//! The pool under test: a broker, consumers and the producer, each process behind a proxy of its
//! own.

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

use super::{Options, memory::MemorySampler, proxy::Proxy, schedule::Fault};
use crate::{Binary, Broker, Cluster, Influx, Process, Results};

/// AMQP heartbeat in seconds; short, so that a silent connection soon counts as dead.
pub(super) const HEARTBEAT_S: u64 = 3;

/// Minimum age of the queues before the first fault.
const SETTLE: Duration = Duration::from_secs(2);

/// An action that undoes a fault later.
type Undo = Box<dyn FnOnce(&mut ChaosPool)>;

/// A single broker, or a cluster of three nodes.
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

    /// AMQP URL of a node (numbered from 1) for one of the pool's users.
    fn url(&self, node: u8, user: &str) -> String {
        match self {
            Self::One(broker) => broker.pool_url(user),
            Self::Three(cluster) => cluster.url(node, user),
        }
    }

    /// AMQP URL of the administrator, in the pool's virtual host.
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

    /// Starts a node again in a thread; does not wait for it.
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

    /// Copies the logs of the nodes into a folder.
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

/// A process and the proxy to its broker.
pub(super) struct ProxiedProcess {
    pub(super) name: String,
    pub(super) proxy: Proxy,
    url: String,
    pub(super) process: Option<Process>,
}

/// All processes of a chaos run, and the state of the faults.
pub(super) struct ChaosPool {
    pub(super) folder: PathBuf,
    pub(super) servers: Servers,
    pub(super) consumers: Vec<ProxiedProcess>,
    pub(super) producer: ProxiedProcess,
    pub(super) influx: Option<Influx>,
    pub(super) influx_down: bool,
    /// The file with the clock offset of the processes under test.
    pub(super) clock: Option<PathBuf>,
    /// A small file system for the runs, to be filled up.
    pub(super) disk: Option<PathBuf>,
    pub(super) memory: MemorySampler,
    /// Descriptions of the promises that were broken.
    pub(super) broken: Vec<String>,
    /// Broker nodes that are down.
    pub(super) down: Vec<u8>,
    /// Until this time a producer may fail to reach the broker.
    pub(super) trouble_until: Instant,
    /// While true, no producer is started: the disk is full, or the pause before a restart is not
    /// over.
    pub(super) producer_held: bool,
    pub(super) results: usize,
    pub(super) duplicates: u64,
    starting: Vec<(u8, JoinHandle<()>)>,
    later: Vec<(Instant, Undo)>,
    lines: Lines,
    started: Instant,
    log: File,
}

/// Counts the lines of a growing file; reads only the part that is new.
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

impl ChaosPool {
    /// Starts everything but the producer.
    pub(super) fn start(options: &Options, faults: &[Fault], folder: &Path) -> Self {
        let has = |fault| faults.contains(&fault);
        let servers = if has(Fault::Cluster) {
            Servers::Three(Arc::new(Cluster::private()))
        } else {
            Servers::One(Arc::new(Broker::private()))
        };
        // RabbitMQ 3.10 loses a quorum queue if it is killed within a second of declaring it (see
        // topology.rs).
        thread::sleep(SETTLE);
        let proxied = |name: String, node: u8, user: &str| {
            let url = servers.url(node, user);
            let (proxy, url) = Proxy::before(&url);
            ProxiedProcess {
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
                proxied(format!("c{}", n + 1), node, "consumer")
            })
            .collect();
        let producer = proxied("producer".to_owned(), 1, "producer");
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
        let mut pool = Self {
            servers,
            consumers,
            producer,
            influx: has(Fault::InfluxGone).then(Influx::private),
            influx_down: false,
            clock,
            disk,
            memory: MemorySampler::new(),
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
            pool.start_consumer(n);
        }
        pool
    }

    /// Logs an event, with the time and the number of results so far.
    pub(super) fn say(&mut self, what: &str) {
        let line = format!(
            "{:8.3} s {:6} results  {what}",
            self.started.elapsed().as_secs_f64(),
            self.results
        );
        notice(&line);
        let _ = writeln!(self.log, "{line}");
    }

    /// Records a broken promise.
    pub(super) fn break_promise(&mut self, what: String) {
        self.say(&format!("BROKEN: {what}"));
        self.broken.push(what);
    }

    /// Schedules an action for [`ChaosPool::mend`].
    pub(super) fn later(&mut self, after: Duration, undo: impl FnOnce(&mut ChaosPool) + 'static) {
        self.later.push((Instant::now() + after, Box::new(undo)));
    }

    /// Excuses producers that fail to reach the broker within this time from now.
    pub(super) fn trouble(&mut self, time: Duration) {
        self.trouble_until = self.trouble_until.max(Instant::now() + time);
    }

    /// Runs the actions that are due; true if none are left and all nodes are up.
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

    /// Kills broker nodes and restarts them together after a pause: none may be able to start
    /// alone.
    pub(super) fn lose_nodes(&mut self, nodes: Vec<u8>, pause: Duration) {
        self.trouble(Duration::from_secs(60));
        for node in &nodes {
            self.servers.kill(*node);
            self.down.push(*node);
        }
        self.later(pause, move |pool| {
            for node in nodes {
                let starting = pool.servers.start_again(node);
                pool.starting.push((node, starting));
            }
        });
    }

    /// Starts consumer `n`.
    pub(super) fn start_consumer(&mut self, n: usize) {
        let proxied = &self.consumers[n];
        let spool = format!("spool-{}", proxied.name);
        let args = ["--node", &proxied.name, "--concurrency", "1"];
        let args = [&args[..], &["--metrics-spool", &spool]].concat();
        let process = self.spawn(Binary::Consumer, proxied, &args);
        self.memory.follow(&proxied.name, process.pid());
        self.consumers[n].process = Some(process);
    }

    pub(super) fn start_producer(&mut self, args: &[&str]) {
        let process = self.spawn(Binary::Producer, &self.producer, args);
        self.memory.follow("producer", process.pid());
        self.producer.process = Some(process);
    }

    fn spawn(&self, binary: Binary, proxied: &ProxiedProcess, args: &[&str]) -> Process {
        let ours = binary.command();
        // The process is killed when the test harness ends for any reason.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(ours.get_program()).args(args).env_clear();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .env("PRIMEPOOL_AMQP_URL", &proxied.url);
        command.stdin(std::process::Stdio::null());
        if let Some(influx) = &self.influx {
            command.args(influx.flags());
        }
        if let Some(clock) = &self.clock {
            command
                .env("LD_PRELOAD", faketime())
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                // Only the wall clock jumps, not the monotonic clock.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        Process::spawn(command, &proxied.name, &self.folder)
    }

    pub(super) fn kill_consumer(&mut self, n: usize) {
        if let Some(process) = self.consumers[n].process.take() {
            self.memory.leave(process.pid());
            process.kill();
        }
    }

    /// Kills the producer with SIGKILL; false if it does not run.
    pub(super) fn kill_producer(&mut self) -> bool {
        let Some(process) = self.producer.process.take() else {
            return false;
        };
        self.memory.leave(process.pid());
        process.kill();
        true
    }

    /// A consumer that exited by itself is a broken promise; it is replaced.
    pub(super) fn look_at_consumers(&mut self) {
        for n in 0..self.consumers.len() {
            let ended = self.consumers[n].process.as_mut().and_then(Process::ended);
            if let Some(status) = ended {
                let name = self.consumers[n].name.clone();
                self.break_promise(format!("consumer {name} ended by itself: {status}"));
                self.kill_consumer(n);
                self.later(Duration::from_secs(1), move |pool| pool.start_consumer(n));
            }
        }
    }

    /// The exit status of the producer, if it has ended; 128 plus the number if a signal killed it.
    pub(super) fn producer_ended(&mut self) -> Option<i32> {
        let status = self.producer.process.as_mut()?.ended()?;
        let process = self.producer.process.take()?;
        self.memory.leave(process.pid());
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

impl Drop for ChaosPool {
    fn drop(&mut self) {
        self.producer.process = None;
        for proxied in &mut self.consumers {
            proxied.process = None;
        }
        for (_, starting) in self.starting.drain(..) {
            let _ = starting.join();
        }
        if let Some(disk) = &self.disk {
            let _ = Command::new("umount").arg(disk).status();
        }
    }
}

/// Path of libfaketime, which fakes the wall clock.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found
        .find(|path| path.exists())
        .expect("clock-jump needs the package faketime: run infra/local/setup.sh --test")
}
