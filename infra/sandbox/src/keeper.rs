//! The keeper: a process that supervises the servers in one folder. It holds their ports, starts
//! and ends them on request, and ends them when their owner dies. If the keeper itself is killed,
//! the kernel kills the servers.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{PidfdFlags, Signal, WaitOptions},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{interval, timeout},
};

use crate::{
    control::{Request, State, control_path},
    error::{Result, failed, file_error},
    kinds,
    launch::Launch,
    ports::HeldPorts,
    process::{self, ProcessId, descendants, tied_by},
    settings::Settings,
};

/// Time for a server to shut down after SIGTERM.
const GRACE: Duration = Duration::from_secs(45);
/// Longest time for a client to send its request, or to take the reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// Command-line options of a keeper.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dir: PathBuf,
    /// The process that the servers end with.
    pub(crate) owner: Option<ProcessId>,
    /// The folder to delete when the owner has died.
    pub(crate) remove: Option<PathBuf>,
}

/// Runs the keeper of a folder until it is stopped or its owner dies.
pub(crate) fn keep(options: &Options) -> Result<()> {
    // Leave the terminal's session: Ctrl-C is not for the servers.
    let _ = rustix::process::setsid();
    // Orphaned descendants become children of this process, so that `Keeper::end` finds them.
    rustix::process::set_child_subreaper(rustix::process::getpid().into())
        .map_err(|error| failed(format!("cannot become a subreaper: {error}")))?;
    let lock = options.dir.join("lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock)
        .map_err(file_error("open", &lock))?;
    file.try_lock()
        .map_err(|_| failed(format!("{} has a keeper already", options.dir.display())))?;
    // Keep the lock until this process has ended: a free lock means that no keeper runs.
    std::mem::forget(file);
    let runtime = process::runtime()?;
    runtime.block_on(Keeper::run(options))
}

/// A server that was started, killed or has ended.
enum Server {
    Down,
    Started(Child),
    Ended(String),
}

struct Keeper {
    dir: PathBuf,
    settings: Settings,
    ports: HeldPorts,
    helpers: Vec<Child>,
    /// Servers in the order of their numbers, which begin with 1.
    servers: Vec<Server>,
}

impl Keeper {
    async fn run(options: &Options) -> Result<()> {
        let mut settings = Settings::read(&options.dir)?;
        let ports = HeldPorts::hold(&kinds::port_names(&settings), &settings.ports)?;
        settings.ports = ports.numbers();
        settings.write(&options.dir)?;
        kinds::write_files(&settings, &options.dir)?;
        let mut keeper = Self {
            dir: options.dir.clone(),
            settings,
            ports,
            helpers: Vec::new(),
            servers: Vec::new(),
        };
        let owner = options.owner.map(watch).transpose();
        if let (Err(_), Some(folder)) = (&owner, &options.remove) {
            remove(folder);
        }
        let mut owner = owner?;
        let signals = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        let [mut terminate, mut interrupt, mut hangup] = signals.map(signal);
        let (Ok(terminate), Ok(interrupt), Ok(hangup)) =
            (&mut terminate, &mut interrupt, &mut hangup)
        else {
            return Err(failed("cannot attend to signals"));
        };
        let control = listen(&options.dir)?;
        keeper.start_helpers()?;
        let mut stdout = std::io::stdout();
        let _ = writeln!(stdout, "ok").and_then(|()| stdout.flush());

        let mut tick = interval(Duration::from_secs(1));
        let mut owner_died = false;
        let stopped_by = loop {
            tokio::select! {
                () = died(owner.as_mut()) => {
                    owner_died = true;
                    break None;
                }
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                _ = hangup.recv() => break None,
                _ = tick.tick() => {
                    keeper.reap_ended();
                    if !options.dir.exists() {
                        break None;
                    }
                }
                Ok((stream, _)) = control.accept() => {
                    let mut client = Client(BufReader::new(stream));
                    match client.request().await {
                        None => client.reply("error: not a request").await,
                        Some(Request::Stop) => break Some(client),
                        Some(Request::Release) => {
                            owner = None;
                            client.reply("ok").await;
                        }
                        Some(request) => {
                            let reply = keeper.answer(request).await;
                            client.reply(&reply.unwrap_or_else(|e| format!("error: {e}"))).await;
                        }
                    }
                }
            }
        };
        let _ = fs::remove_file(options.dir.join("control"));
        keeper
            .end(if owner_died { Duration::ZERO } else { GRACE })
            .await;
        if let (true, Some(folder)) = (owner_died, &options.remove) {
            remove(folder);
        }
        if let Some(mut client) = stopped_by {
            client.reply("ok").await;
        }
        Ok(())
    }

    async fn answer(&mut self, request: Request) -> Result<String> {
        match request {
            Request::Start(number) => {
                self.reap_ended();
                if !matches!(
                    self.servers.get(number.wrapping_sub(1)),
                    Some(Server::Started(_))
                ) {
                    self.start(number)?;
                }
            }
            Request::Kill(number) => {
                if let Some(server) = self.servers.get_mut(number.wrapping_sub(1)) {
                    if let Server::Started(child) = server {
                        let _ = child.kill().await;
                        kinds::clean_up(&self.settings, &self.dir);
                    }
                    *server = Server::Down;
                    let _ = fs::remove_file(self.pid_file(number));
                }
            }
            Request::State(number) => return Ok(self.state(number).line()),
            Request::Stop | Request::Release => {}
        }
        Ok("ok".to_owned())
    }

    fn start(&mut self, number: usize) -> Result<()> {
        if self
            .ports
            .replace_taken(&kinds::port_names_of(&self.settings, number))?
        {
            self.settings.ports = self.ports.numbers();
            self.settings.write(&self.dir)?;
            kinds::write_files(&self.settings, &self.dir)?;
        }
        let Some(launch) = kinds::launch(&self.settings, &self.dir, number)? else {
            return Err(failed(format!("there is no server {number}")));
        };
        let child = spawn(&launch)?;
        if let Some(pid) = child.id() {
            fs::write(self.pid_file(number), format!("{pid}\n"))
                .map_err(file_error("write", self.pid_file(number)))?;
        }
        while self.servers.len() < number {
            self.servers.push(Server::Down);
        }
        self.servers[number - 1] = Server::Started(child);
        Ok(())
    }

    fn start_helpers(&mut self) -> Result<()> {
        for launch in kinds::helpers(&self.settings, &self.dir) {
            self.helpers.push(spawn(&launch)?);
        }
        Ok(())
    }

    fn state(&mut self, number: usize) -> State {
        self.reap_ended();
        match self.servers.get(number.wrapping_sub(1)) {
            None | Some(Server::Down) => State::Down,
            Some(Server::Ended(how)) => State::Ended(how.clone()),
            Some(Server::Started(_)) if kinds::is_ready(&self.settings, &self.dir, number) => {
                State::Ready
            }
            Some(Server::Started(_)) => State::Starting,
        }
    }

    /// Records which servers have ended.
    fn reap_ended(&mut self) {
        for index in 0..self.servers.len() {
            if let Server::Started(child) = &mut self.servers[index]
                && let Ok(Some(status)) = child.try_wait()
            {
                self.servers[index] = Server::Ended(status.to_string());
                let _ = fs::remove_file(self.pid_file(index + 1));
            }
        }
    }

    fn pid_file(&self, number: usize) -> PathBuf {
        self.settings.folder(&self.dir, number).join("pid")
    }

    /// Ends all processes that the keeper has started.
    async fn end(mut self, grace: Duration) {
        self.reap_ended();
        let mut children: Vec<Child> = Vec::new();
        for (index, server) in std::mem::take(&mut self.servers).into_iter().enumerate() {
            if let Server::Started(child) = server {
                children.push(child);
            }
            let _ = fs::remove_file(self.pid_file(index + 1));
        }
        for child in &children {
            if let Some(pid) = child.id().filter(|_| !grace.is_zero()) {
                process::signal(pid, Signal::TERM);
            }
        }
        let ended = async {
            for child in &mut children {
                let _ = child.wait().await;
            }
        };
        let _ = timeout(grace, ended).await;
        for child in children.iter_mut().chain(&mut self.helpers) {
            let _ = child.kill().await;
        }
        // Kill their descendants, which are now children of this process.
        for _ in 0..100 {
            let left = descendants();
            if left.is_empty() {
                break;
            }
            for pid in left {
                process::signal(pid, Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Reap what is left: the first process of a container may not reap orphans.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        kinds::clean_up(&self.settings, &self.dir);
    }
}

/// A connection to the control socket.
struct Client(BufReader<UnixStream>);

impl Client {
    async fn request(&mut self) -> Option<Request> {
        let mut line = String::new();
        let mut limited = (&mut self.0).take(100);
        let read = limited.read_line(&mut line);
        timeout(PATIENCE, read).await.ok()?.ok()?;
        Request::parse(line.trim())
    }

    async fn reply(&mut self, text: &str) {
        let line = format!("{}\n", text.replace('\n', " "));
        let _ = timeout(PATIENCE, self.0.write_all(line.as_bytes())).await;
    }
}

fn listen(dir: &Path) -> Result<UnixListener> {
    let (_folder, path) = control_path(dir)?;
    let _ = fs::remove_file(&path); // left by a keeper that was killed
    UnixListener::bind(&path).map_err(file_error("listen on", dir.join("control")))
}

/// Returns a receiver that resolves when the process dies.
fn watch(owner: ProcessId) -> Result<oneshot::Receiver<()>> {
    let gone = || failed(format!("process {} is gone", owner.pid()));
    let pid = i32::try_from(owner.pid())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(gone)?;
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // The process id may have been reused before the pidfd was opened.
    if !owner.is_alive() {
        return Err(gone());
    }
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut files = [PollFd::new(&descriptor, PollFlags::IN)];
        while poll(&mut files, None) == Err(Errno::INTR) {}
        let _ = sender.send(());
    });
    Ok(receiver)
}

async fn died(owner: Option<&mut oneshot::Receiver<()>>) {
    match owner {
        Some(owner) => drop(owner.await),
        None => std::future::pending().await,
    }
}

fn spawn(launch: &Launch) -> Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&launch.log)
        .map_err(file_error("open", &launch.log))?;
    let log_of_errors = log.try_clone().map_err(file_error("open", &launch.log))?;
    let mut command = tied_by("/proc/self/exe".into(), &launch.program, Signal::KILL);
    command
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_of_errors);
    // In its own process group the server receives no signals from a terminal. Only the kernel's
    // parent-death signal ends it together with the keeper.
    Command::from(command)
        .process_group(0)
        .spawn()
        .map_err(file_error("start", Path::new(&launch.program)))
}

/// Deletes a folder; retries for ten seconds, because another keeper may still write to it.
fn remove(folder: &Path) {
    for _ in 0..100 {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
