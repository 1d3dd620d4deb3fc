//! What is needed to start programs and to know of them; and the producer of a run.

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

/// Folder in the experiment's for metrics that InfluxDB has not taken, of all its programs on this machine.
pub(crate) const SPOOL: &str = ".metrics-spool";

/// Names another one.
const SPOOL_VARIABLE: &str = "PRIMEPOOL_METRICS_SPOOL";

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// Time between two looks at whatever a run depends on.
const WATCH: Duration = Duration::from_secs(1);

/// How long a producer may take to end when it is asked to.
const END: Duration = Duration::from_secs(20);

/// Hundredths of a second, in which Linux counts CPU time for programs.
const TICKS: f64 = 100.0;

/// Whether somebody has asked the experiment to stop.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Asks.
    pub(crate) fn ask(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether somebody has.
    #[must_use]
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Where the programs are: beside this one.
///
/// # Errors
/// They are not there.
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

/// Runs a producer with its runs in `dir`, and waits for it; the CPU seconds that it used. The broker's address comes from the
/// environment; metrics that cannot be sent wait in `spool`. It is stopped when `watch`, which is called every second, finds
/// something wrong.
///
/// # Errors
/// It does not end well, with the end of what it said; or what `watch` has found.
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
    let (mut used, mut watched) = (0.0, Instant::now());
    let (mut found, mut asked) = (Ok(()), None);
    let status = loop {
        // A process that has ended and was not waited for yet still tells.
        used = cpu_s(child.id()).unwrap_or(used);
        if is_zombie(child.id()) {
            break child.wait()?;
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if asked.is_none() && watched.elapsed() >= WATCH {
            found = watch();
            watched = Instant::now();
        }
        match asked {
            None if stop.asked() || found.is_err() => {
                signal(&child, "INT");
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > END => child.kill()?,
            _ => {}
        }
        thread::sleep(LOOK);
    };
    found?;
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
pub(crate) fn within(share: Option<&Share>, program: &Path) -> Command {
    // The kernel tells it only of an end that is yet to come: it looks itself whether this process is still there.
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

/// Takes away what the user has set for producers and consumers of other runs; the broker's address and where metrics go stay.
/// Metrics that cannot be sent wait in `spool`, unless the user has named a folder.
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
pub(crate) fn cpu_s(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state == "Z"))
}

/// The last lines of a log, in one.
#[must_use]
pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    lines.join(" · ")
}
