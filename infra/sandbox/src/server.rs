//! Client side of the servers in a folder: starts the keeper, and sends it requests.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    control::{Request, State, control_path},
    error::{Error, Result, failed, file_error},
    files::{make_private_dir, read},
    process::{ProcessId, this_program, wait_for},
    settings::{Kind, Settings},
};

/// Longest time from the start of a server until it answers: replaying a log can take long.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Lines of a log that an error message shows.
const SHOWN_LINES: usize = 6;

/// How long servers run.
#[derive(Debug, Clone)]
pub enum Lifetime {
    /// Until they are stopped.
    Detached,
    /// Until a process ends, for whatever reason; then a folder is deleted, if one is named.
    Process {
        /// The process that the servers end with.
        owner: ProcessId,
        /// The folder to delete when the owner has died.
        remove: Option<PathBuf>,
    },
}

impl Lifetime {
    /// Until this process ends; then `remove` is deleted.
    #[must_use]
    pub fn with_this_process(remove: &Path) -> Self {
        Self::Process {
            owner: ProcessId::this(),
            remove: Some(remove.to_owned()),
        }
    }
}

/// The servers in a folder, supervised by a keeper.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    dir: PathBuf,
}

impl Servers {
    /// Servers that were started before.
    pub(crate) fn at(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(file_error("find", dir))?;
        Settings::read(&dir)?;
        Ok(Self { dir })
    }

    /// Creates the folder if it is new, and starts a keeper if none runs. Starts no server.
    pub(crate) fn keep(
        dir: &Path,
        make: impl FnOnce() -> Result<Kind>,
        lifetime: &Lifetime,
    ) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(file_error("find", dir))?;
        let fresh = !Settings::exists(&dir);
        if fresh {
            let server = make()?;
            Settings::make_dir(&dir)?;
            let ports = Default::default();
            Settings { server, ports }.write(&dir)?;
        }
        let this = Self { dir };
        if this.ask(Request::State(1)).is_err() {
            this.start_keeper(lifetime)?;
        }
        Ok(this)
    }

    fn start_keeper(&self, lifetime: &Lifetime) -> Result<()> {
        make_private_dir(&self.dir.join("log"))?;
        let log = self.dir.join("log/keeper");
        let errors = fs::File::create(&log).map_err(file_error("write", &log))?;
        let mut command = Command::new(this_program()?);
        command.arg("keep").arg(&self.dir);
        if let Lifetime::Process { owner, remove } = lifetime {
            command.args(["--owner", &owner.to_string()]);
            if let Some(folder) = remove {
                command.arg("--remove").arg(folder);
            }
        }
        let mut keeper = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .current_dir("/")
            .spawn()
            .map_err(file_error("start", "the keeper of servers"))?;
        let mut line = String::new();
        if let Some(output) = keeper.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        if line.trim() == "ok" {
            // Reap the keeper when it ends.
            std::thread::spawn(move || keeper.wait());
            return Ok(());
        }
        let _ = keeper.wait();
        let errors = fs::read_to_string(&log).unwrap_or_default();
        Err(failed(format!(
            "the servers in {} cannot be looked after: {}",
            self.dir.display(),
            errors.trim()
        )))
    }

    /// Starts a server (numbered from 1) unless it runs, and waits until it answers.
    pub(crate) fn start(&self, number: usize) -> Result<()> {
        let mut tries = 3;
        loop {
            self.ask(Request::Start(number))?;
            match self.await_ready(number)? {
                None => return Ok(()),
                // Another program may have taken one of the ports at this very moment; the next
                // attempt replaces that port.
                Some(_) if self.port_was_taken(number) && tries > 0 => tries -= 1,
                Some(how) => return Err(self.trouble(number, &format!("did not start ({how})"))),
            }
        }
    }

    /// Starts a server unless it runs; does not wait for it.
    pub(crate) fn start_only(&self, number: usize) -> Result<()> {
        self.ask(Request::Start(number)).map(drop)
    }

    /// Waits until a server answers; returns how it ended if it did.
    pub(crate) fn await_ready(&self, number: usize) -> Result<Option<String>> {
        let found = wait_for(START_LIMIT, || {
            Ok(match self.state(number)? {
                State::Ready => Some(None),
                State::Ended(how) => Some(Some(how)),
                State::Down => Some(Some("it was killed".to_owned())),
                State::Starting => None,
            })
        })?;
        found.ok_or_else(|| self.trouble(number, "was not ready after two minutes"))
    }

    fn port_was_taken(&self, number: usize) -> bool {
        let log = self.log_text(number);
        log.contains("address already in use") || log.contains("eaddrinuse")
    }

    pub(crate) fn state(&self, number: usize) -> Result<State> {
        let line = self.ask(Request::State(number))?;
        State::parse(&line).ok_or_else(|| failed(format!("the keeper says '{line}'")))
    }

    /// Kills a server with SIGKILL.
    pub(crate) fn kill(&self, number: usize) -> Result<()> {
        self.ask(Request::Kill(number)).map(drop)
    }

    /// Ends the servers and the keeper. Does nothing if no keeper runs.
    pub(crate) fn stop(&self) -> Result<()> {
        match self.ask(Request::Stop) {
            Err(_) if UnixStream::connect(self.dir.join("control")).is_err() => return Ok(()),
            result => result.map(drop)?,
        }
        // The keeper holds the lock until it ends.
        wait_for(Duration::from_secs(10), || {
            let lock = fs::File::open(self.dir.join("lock"));
            Ok(lock
                .map_or(true, |lock| lock.try_lock().is_ok())
                .then_some(()))
        })?;
        Ok(())
    }

    /// Detaches the servers from their owner: they keep running when it dies.
    pub(crate) fn release(&self) -> Result<()> {
        self.ask(Request::Release).map(drop)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text of a file in the folder, trimmed.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        read(&self.dir.join(name))
    }

    fn ask(&self, request: Request) -> Result<String> {
        let (_folder, path) = control_path(&self.dir)?;
        let gone = |_| failed(format!("nothing runs in {}", self.dir.display()));
        let mut stream = UnixStream::connect(path).map_err(gone)?;
        writeln!(stream, "{}", request.line()).map_err(gone)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map_err(gone)?;
        match reply.trim() {
            "" => Err(failed(format!(
                "the keeper of {} ended",
                self.dir.display()
            ))),
            reply => match reply.strip_prefix("error: ") {
                Some(error) => Err(failed(error)),
                None => Ok(reply.to_owned()),
            },
        }
    }

    fn logs(&self, number: usize) -> Vec<PathBuf> {
        let settings = Settings::read(&self.dir);
        let folder = settings.map_or(self.dir.clone(), |settings| {
            settings.folder(&self.dir, number)
        });
        let files = fs::read_dir(folder.join("log"))
            .into_iter()
            .flatten()
            .flatten();
        let mut logs: Vec<PathBuf> = files.map(|file| file.path()).collect();
        logs.sort();
        logs
    }

    fn log_text(&self, number: usize) -> String {
        let texts = self.logs(number).into_iter().map(fs::read);
        let texts = texts
            .flatten()
            .map(|text| String::from_utf8_lossy(&text).into_owned());
        texts.collect()
    }

    /// An error with an excerpt of the logs: lines that name an error, and the last lines.
    fn trouble(&self, number: usize, what: &str) -> Error {
        let mut shown = Vec::new();
        for log in self.logs(number) {
            let Ok(text) = fs::read(&log) else { continue };
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            let is_error = |line: &&&str| line.contains("[error]") || line.contains("level=error");
            let errors = lines.iter().filter(is_error).take(SHOWN_LINES);
            let end = lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES));
            for line in errors.chain(end) {
                let line: String = line.chars().take(300).collect();
                if !shown.contains(&line) {
                    shown.push(line);
                }
            }
        }
        failed(format!(
            "the server in {} {what}; from its logs:\n{}",
            self.dir.display(),
            shown.join("\n")
        ))
    }
}

/// Defines `kill`, `restart`, `stop` and `release` for a server that is alone in its folder. The
/// type has a field `servers`.
macro_rules! life_of_one {
    ($server:ident) => {
        impl $server {
            /// Kills the server with SIGKILL; keeps the data. Its ports stay reserved.
            ///
            /// # Errors
            /// No keeper runs for the folder.
            pub fn kill(&self) -> Result<()> {
                self.servers.kill(1)
            }

            /// Starts the server again after [`Self::kill`].
            ///
            /// # Errors
            /// The server does not start.
            pub fn restart(&self) -> Result<()> {
                self.servers.start(1)
            }

            /// Stops the server; keeps the data.
            ///
            /// # Errors
            /// The keeper does not answer.
            pub fn stop(&self) -> Result<()> {
                self.servers.stop()
            }

            /// Detaches the server from its owner: it keeps running when the owner dies.
            ///
            /// # Errors
            /// The keeper does not answer.
            pub fn release(&self) -> Result<()> {
                self.servers.release()
            }
        }
    };
}
pub(crate) use life_of_one;
