//! Processes: their identity, and how to end one together with another.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::error::{Result, failed, file_error};

/// Limit of open files for a server. Without a limit, as in some containers, the Erlang VM would
/// reserve memory for a thousand million files.
const OPEN_FILES: u64 = 65_536;

/// Identity of a process. The start time distinguishes it from a later process with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    pid: u32,
    /// Start time in clock ticks after boot.
    started: u64,
}

impl ProcessId {
    /// The process with this id, if it is alive.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        (!stat.is_dead).then_some(Self {
            pid,
            started: stat.started,
        })
    }

    /// This process.
    #[must_use]
    pub fn this() -> Self {
        // `/proc` always lists the process that reads it.
        Self::of(std::process::id()).unwrap_or_else(|| unreachable!())
    }

    /// The process id.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether the process is alive.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// Writes `PID:START`, for a command line.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pid, self.started)
    }
}

/// Parses a process id, or the form that `Display` writes.
impl FromStr for ProcessId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().ok();
        let (pid, started) = match text.split_once(':') {
            Some((pid, started)) => (pid, Some(number(started).ok_or("not a process")?)),
            None => (text, None),
        };
        let pid = pid.parse().map_err(|_| "not the number of a process")?;
        match started {
            Some(started) => Ok(Self { pid, started }),
            None => Self::of(pid).ok_or_else(|| format!("there is no process {pid}")),
        }
    }
}

/// The fields of `/proc/PID/stat` that are used here.
struct Stat {
    is_dead: bool,
    parent: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain any character.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Some(Self {
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// All descendants of this process that are alive.
pub(crate) fn descendants() -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, Stat::of(pid)?)))
            && !stat.is_dead
        {
            parents.insert(pid, stat.parent);
        }
    }
    let this = std::process::id();
    let descends = |pid: u32| {
        let mut next = parents.get(&pid);
        while let Some(parent) = next.filter(|parent| **parent != this) {
            next = parents.get(parent);
        }
        next.is_some()
    };
    parents
        .keys()
        .copied()
        .filter(|pid| descends(*pid))
        .collect()
}

/// Sends a signal to a process; errors are ignored.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A command that receives the signal `at_death` when the process that starts it ends, for whatever
/// reason. The program `sandbox` requests the signal from the kernel (parent-death signal), and
/// then executes the command. The kernel sends it as soon as the thread that started the command
/// ends.
///
/// # Errors
/// The program `sandbox` is not in the folder of this program.
pub fn tied(program: impl Into<OsString>, at_death: Signal) -> Result<Command> {
    Ok(tied_by(this_program()?, program, at_death))
}

pub(crate) fn tied_by(sandbox: PathBuf, program: impl Into<OsString>, at_death: Signal) -> Command {
    let mut command = Command::new(sandbox);
    command
        .arg("exec")
        .args(["--parent", &std::process::id().to_string()])
        .args(["--signal", &at_death.as_raw().to_string(), "--"])
        .arg(program.into());
    command
}

/// The path of the program `sandbox`: this program, or the one built next to it.
///
/// # Errors
/// The program is missing.
pub fn this_program() -> Result<PathBuf> {
    let this = std::env::current_exe()
        .map_err(|error| failed(format!("the path of this program is unknown: {error}")))?;
    if this
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("sandbox"))
        && this.parent().is_none_or(|folder| !folder.ends_with("deps"))
    {
        return Ok("/proc/self/exe".into()); // valid even if a build has replaced the file
    }
    // This is target/release/deps/TEST or target/release/PROGRAM.
    let mut folders = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sandbox"));
    folders.find(|path| path.is_file()).ok_or_else(|| {
        failed(format!(
            "the program sandbox is not beside {}: build it with cargo build --release --bins",
            this.display()
        ))
    })
}

/// Executes a command that receives the signal `at_death` when `parent` dies. Returns only on
/// failure.
pub(crate) fn exec(parent: u32, at_death: i32, command: &[OsString]) -> io::Error {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let files = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(files),
            ..limit
        },
    );
    let Some(at_death) = Signal::from_named_raw(at_death) else {
        return io::Error::other("not a signal");
    };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(at_death)) {
        return error.into();
    }
    // The parent may have died before the signal was requested.
    if rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(|pid| pid.get())
        != i32::try_from(parent).ok()
    {
        return io::Error::other("the parent is gone");
    }
    match command {
        [program, arguments @ ..] => Command::new(program).args(arguments).exec(),
        [] => io::Error::other("no command"),
    }
}

/// A Tokio runtime whose tasks run on the calling thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)
}

/// The exit status as a shell reports it: 128 plus the signal number if a signal ended the process.
pub(crate) fn exit_status(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

/// Calls `look` until it returns a value; returns `None` after `limit`.
pub(crate) fn wait_for<T>(
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs a command with `input` as its standard input and returns its output.
pub(crate) fn with_input(mut command: Command, input: &str) -> Result<Output> {
    let program = command.get_program().to_owned();
    let trouble = || file_error("run", Path::new(&program));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(trouble())?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the command ended without reading its input, its output explains why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(trouble())
}

/// Standard output and standard error of a command, trimmed.
pub(crate) fn text_of(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let this = ProcessId::this();
        assert!(this.is_alive());
        assert_eq!(this.to_string().parse(), Ok(this));
        assert_eq!(this.pid().to_string().parse(), Ok(this));
        let earlier = ProcessId {
            started: this.started - 1,
            ..this
        };
        assert!(!earlier.is_alive());
        assert!("0x".parse::<ProcessId>().is_err());
        assert!("1:x".parse::<ProcessId>().is_err());
    }

    #[test]
    fn children_descend_from_this_process_and_its_parent_does_not() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert!(!found.contains(&1) && !found.contains(&std::process::id()));
        assert!(!descendants().contains(&child.id()));
    }
}
