//! The drivers of the other pools: Python programs that read settings and write figures, both as
//! JSON; see `experiment/peers/harness.py`.

use crate::system::System;
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail};
use primepool_common::clock::unix_time;
use serde_json::json;
use tempfile::TempDir;

use super::figures::{Figures, Settings};
use crate::process::{Stop, last_lines, wait};

/// Time limit of a driver beyond the times of its measurements: large primes take long.
const LONGEST: Duration = Duration::from_secs(600);

/// Subfolder of a comparison for the programs.
const FOLDER: &str = "peers";

/// Names and texts of the programs, which are embedded in this one.
const PROGRAMS: [(&str, &str); 7] = [
    ("harness.py", include_str!("../../peers/harness.py")),
    ("tasks.py", include_str!("../../peers/tasks.py")),
    ("ray_peer.py", include_str!("../../peers/ray_peer.py")),
    ("celery_app.py", include_str!("../../peers/celery_app.py")),
    ("celery_peer.py", include_str!("../../peers/celery_peer.py")),
    ("dask_peer.py", include_str!("../../peers/dask_peer.py")),
    ("gmpy2_loop.py", include_str!("../../peers/gmpy2_loop.py")),
];

/// Writes the programs to the folder of a comparison.
pub(crate) fn write_programs(dir: &Path) -> Result<()> {
    let folder = dir.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Makes a folder for all files of a system, to be dropped after its processes have ended. The name
/// is short, as Ray's sockets are in it, whose paths may have at most 107 bytes.
pub(crate) fn folder() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("primepool-")
        .rand_bytes(4)
        .tempdir()
        .context("cannot make a temporary folder")
}

/// Runs the driver of a system; fails also if that takes too long or is stopped.
pub(crate) fn measure(
    system: System,
    settings: &Settings,
    python: &Path,
    (dir, folder): (&Path, &Path),
    (round, shares): (u32, &[PathBuf]),
    amqp_url: &str,
    stop: &Stop,
) -> Result<Figures> {
    let program = match system {
        System::Ray => "ray_peer.py",
        System::Celery => "celery_peer.py",
        System::Dask => "dask_peer.py",
        System::Gmpy2 => "gmpy2_loop.py",
        System::Primepool | System::Engine => bail!("{system:?} has no driver"),
    };
    let log = dir.join(format!("{}-{round}.log", program.trim_end_matches(".py")));
    let file = File::create(&log).with_context(|| log.display().to_string())?;
    let started = unix_time();
    let mut child = Command::new("setpriv")
        // The driver ends in good order also when this process is killed.
        .args(["--pdeathsig", "TERM"])
        .arg(python)
        .arg(dir.join(FOLDER).join(program))
        .env("TMPDIR", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A driver that needs the password gets it by standard input.
        .env_remove("PRIMEPOOL_AMQP_URL")
        // Ctrl-C in a terminal reaches only this process, which then ends the driver.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .context("cannot start setpriv, of util-linux")?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = json!({
            "bits": settings.bits,
            "seed": settings.seed,
            "cores": settings.cores,
            "min_time_s": settings.min_time_s,
            "round_trips": settings.round_trips,
            "shares": shares,
            "started_ns": u64::try_from(started.as_nanos())?,
            "amqp_url": amqp_url,
            "folder": folder,
        });
        // A driver that has ended already is reported below.
        let _ = stdin.write_all(text.to_string().as_bytes());
    }
    let longest = LONGEST + Duration::from_secs_f64(40.0 * settings.min_time_s);
    let (start, mut is_late) = (Instant::now(), false);
    wait(&mut child, "TERM", || {
        is_late = start.elapsed() > longest;
        is_late || stop.asked()
    })?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_string(&mut text);
    }
    if stop.asked() {
        bail!("stopped");
    }
    if is_late {
        bail!(
            "it took longer than {} s and was stopped: {}",
            longest.as_secs(),
            last_lines(&log)
        );
    }
    serde_json::from_str(&text).map_err(|_| Error::msg(why(python, &log)))
}

/// The error of a driver that gave no figures, with what to do.
fn why(python: &Path, log: &Path) -> String {
    let last = last_lines(log);
    let text = fs::read_to_string(log).unwrap_or_default();
    if text.contains("ModuleNotFoundError") || text.contains("setpriv: ") {
        format!(
            "{} has not what is needed: make an environment with infra/local/setup.sh --peers, and name the python in it with --python; \
             make compare does both ({last})",
            python.display()
        )
    } else {
        format!("it gave no figures: {last}; all it said: {}", log.display())
    }
}
