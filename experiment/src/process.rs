//! The programs that an experiment starts: consumers, one a node, and producers.

use std::{
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::share::Share;

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// How long a node may take to join.
const JOIN: Duration = Duration::from_secs(60);

/// How long a process may take to end when it is asked to.
const END: Duration = Duration::from_secs(40);

/// Hundredths of a second, in which Linux counts CPU time for programs.
const TICKS: f64 = 100.0;

/// Whether somebody has asked the experiment to stop.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether somebody has.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Where the programs are: beside this one.
///
/// # Errors
/// They are not there.
pub fn programs() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find out where this program is")?;
    let dir = own.parent().unwrap_or(Path::new("")).to_owned();
    for name in ["consumer", "producer"] {
        if !dir.join(name).exists() {
            bail!(
                "{} is missing: build all programs with cargo build --release --bins",
                dir.join(name).display()
            );
        }
    }
    Ok(dir)
}

/// A consumer of its own, with a share of the machine's CPU time if it has one.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    child: Child,
    health: PathBuf,
    log: PathBuf,
    // After the child: a group can be deleted only when it is empty.
    _share: Option<Share>,
}

impl Node {
    /// Starts one; its log goes to `dir`. The broker's address comes from the environment.
    ///
    /// # Errors
    /// It cannot be started, or cannot get its share.
    pub fn start(
        programs: &Path,
        dir: &Path,
        number: u32,
        workers: u32,
        cores: Option<f64>,
    ) -> Result<Self> {
        let name = format!("node-{number}");
        let share = cores.map(Share::new).transpose()?;
        let (log, health) = (
            dir.join(format!("{name}.log")),
            dir.join(format!("{name}.health")),
        );
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = within(share.as_ref(), &programs.join("consumer"));
        command
            .args(["--node", &name, "--concurrency", &workers.to_string()])
            .arg("--health-file")
            .arg(&health)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        own_settings(&mut command);
        let child = command.spawn().context("cannot start a consumer")?;
        Ok(Self {
            name,
            child,
            health,
            log,
            _share: share,
        })
    }

    /// Waits until it takes work from the broker.
    ///
    /// # Errors
    /// It ended, or is not ready after a minute; with the end of its log.
    pub fn joined(&mut self, programs: &Path, stop: &Stop) -> Result<()> {
        let deadline = Instant::now() + JOIN;
        loop {
            let well = Command::new(programs.join("consumer"))
                .args(["health", "--health-file"])
                .arg(&self.health)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if well.success() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}): {}", self.name, self.last_words());
            }
            if stop.asked() {
                bail!("stopped");
            }
            if Instant::now() > deadline {
                bail!("{} has not joined: {}", self.name, self.last_words());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// CPU seconds so far; nothing of one that has ended.
    #[must_use]
    pub fn cpu_s(&self) -> Option<f64> {
        cpu_s(self.child.id())
    }

    fn last_words(&self) -> String {
        last_lines(&self.log)
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        signal(&self.child, "TERM");
    }

    /// Waits for its end; kills it if it takes too long.
    pub fn end(&mut self) {
        let deadline = Instant::now() + END;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                break;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a producer with its runs in `dir`, and waits for it; the CPU seconds that it used. The broker's address comes from the
/// environment.
///
/// # Errors
/// It does not end well; with the end of what it said.
pub fn produce(programs: &Path, dir: &Path, args: &[String], stop: &Stop) -> Result<f64> {
    let log = dir.join("producer.log");
    let file = File::create(&log).with_context(|| log.display().to_string())?;
    let mut command = within(None, &programs.join("producer"));
    command
        .args(args)
        .arg("--runs-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    own_settings(&mut command);
    let mut child = command.spawn().context("cannot start the producer")?;
    let (mut used, mut asked) = (0.0, false);
    let status = loop {
        // A process that has ended and was not waited for yet still tells.
        used = cpu_s(child.id()).unwrap_or(used);
        if is_zombie(child.id()) {
            break child.wait()?;
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.asked() && !asked {
            signal(&child, "INT");
            asked = true;
        }
        thread::sleep(LOOK);
    };
    if !status.success() {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        bail!("the producer ended with {how}: {}", last_lines(&log));
    }
    Ok(used)
}

/// A command that ends with this process, in a share of its own from its first instruction on.
pub fn within(share: Option<&Share>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(share) = share {
        command
            .args(["sh", "-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(share.procs());
    }
    command.arg(program);
    command
}

/// Takes away what the user has set for producers and consumers of other runs; the broker's address and where metrics go stay.
fn own_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let kept = ["AMQP", "TLS", "KERNEL", "MANAGEMENT", "METRICS"];
        if let Some(rest) = name.strip_prefix("PRIMEPOOL_")
            && !kept.iter().any(|kept| rest.starts_with(kept))
        {
            command.env_remove(&*name);
        }
    }
}

fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .stderr(Stdio::null())
        .status();
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything: the state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// CPU seconds that a process has used.
#[must_use]
pub fn cpu_s(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state == "Z"))
}

/// The last lines of a log, in one.
fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    lines.join(" · ")
}
