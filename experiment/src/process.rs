//! Starts programs, such as the producer of a run, and waits for them.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::share::Share;

/// Subfolder of an experiment for metrics that wait for InfluxDB.
pub(crate) const SPOOL: &str = ".metrics-spool";
const SPOOL_VARIABLE: &str = "PRIMEPOOL_METRICS_SPOOL";

/// Interval at which a process is polled.
const LOOK: Duration = Duration::from_millis(20);

/// Interval between two calls of a producer's `watch`.
const WATCH: Duration = Duration::from_secs(1);

/// Time for a process to end after a signal; SIGKILL follows.
const END: Duration = Duration::from_secs(20);

/// Clock ticks per second in `/proc/PID/stat` (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A flag that tells all parts of the program that it was interrupted.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn ask(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The folder of this program, which must hold `consumer` and `producer` too.
pub(crate) fn programs() -> Result<PathBuf> {
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

/// Runs a producer, with its runs in `dir`, and returns the CPU seconds that it used. The broker's
/// address comes from the environment; metrics that cannot be sent wait in `spool`. `watch` is
/// called every second; its error stops the producer.
pub(crate) fn produce(
    programs: &Path,
    (dir, spool): (&Path, &Path),
    args: &[String],
    stop: &Stop,
    mut watch: impl FnMut() -> Result<()>,
) -> Result<f64> {
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
    own_settings(&mut command, spool);
    let mut child = command.spawn().context("cannot start the producer")?;
    let (mut found, mut watched) = (Ok(()), Instant::now());
    let (status, cpu_s) = wait(&mut child, "INT", || {
        if watched.elapsed() >= WATCH {
            found = watch();
            watched = Instant::now();
        }
        stop.asked() || found.is_err()
    })?;
    found?;
    if !status.success() {
        bail!("the producer ended with {status}: {}", last_lines(&log));
    }
    Ok(cpu_s)
}

/// Waits until `child` has ended; returns its status and the CPU seconds that it used. Once
/// `is_over` is true, the child gets the signal `end`, and SIGKILL [`END`] later.
pub(crate) fn wait(
    child: &mut Child,
    end: &str,
    mut is_over: impl FnMut() -> bool,
) -> Result<(ExitStatus, f64)> {
    let mut signalled: Option<Instant> = None;
    // An ended process keeps its CPU time until it is waited for.
    while !has_ended(child.id()) {
        match signalled {
            None if is_over() => {
                signal(child.id(), end);
                signalled = Some(Instant::now());
            }
            Some(since) if since.elapsed() > END => child.kill()?,
            _ => {}
        }
        thread::sleep(LOOK);
    }
    let used = cpu_s(child.id()).unwrap_or_default();
    Ok((child.wait()?, used))
}

/// A command whose process ends with this one and is in `share` from its first instruction on.
pub(crate) fn within(share: Option<&Share>, program: &Path) -> Command {
    // No signal comes if this process has ended already: the shell checks for that.
    let script =
        r#"[ "$PPID" = "$0" ] || exit; [ -z "$1" ] || echo $$ >"$1" || exit; shift; exec "$@""#;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c", script])
        .arg(std::process::id().to_string())
        .arg(share.map(Share::procs).unwrap_or_default())
        .arg(program);
    command
}

/// Removes variables that the user has set for other producers and consumers; those of the broker
/// and of metrics stay. Metrics wait in `spool`, unless the user has named a folder.
pub(crate) fn own_settings(command: &mut Command, spool: &Path) {
    if env::var_os(SPOOL_VARIABLE).is_none() {
        command.env(SPOOL_VARIABLE, spool);
    }
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

/// Sends a signal, such as `TERM`, to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// The fields of `/proc/PID/stat` after the name; the first is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether a child is a zombie.
fn has_ended(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state == "Z"))
}

/// CPU seconds that a process has used.
pub(crate) fn cpu_s(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// The last three lines of a log, joined into one.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    lines.join(" · ")
}
