use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::{Broker, cpu_seconds, wait_for};

/// One of our programs.
#[derive(Debug, Clone, Copy)]
pub enum Binary {
    /// `producer`
    Producer,
    /// `consumer`
    Consumer,
    /// `experiment`
    Experiment,
    /// `primepool`
    Monitor,
}

impl Binary {
    /// The file.
    pub fn path(self) -> PathBuf {
        let name = match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Experiment => "experiment",
            Self::Monitor => "primepool",
        };
        // target/<profile>/deps/<this test>, or target/<profile>/<this program>
        let this = std::env::current_exe().unwrap();
        let folder = this.parent().unwrap();
        let folder = if folder.ends_with("deps") {
            folder.parent().unwrap()
        } else {
            folder
        };
        let path = folder.join(name);
        assert!(
            path.exists(),
            "{} is not built: run the tests with `make test`",
            path.display()
        );
        path
    }

    /// The program, with nothing of this environment that it would listen to.
    pub fn command(self) -> Command {
        self.alone(Command::new(self.path()))
    }

    /// The same, with SIGHUP as programs have it by default.
    fn command_with_hangups(self) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=HUP").arg(self.path());
        self.alone(command)
    }

    /// Takes away what the program would listen to.
    fn alone(self, mut command: Command) -> Command {
        command.env_clear().stdin(Stdio::null());
        if let (Self::Experiment, Some(path)) = (self, std::env::var_os("PATH")) {
            command.env("PATH", path); // it starts others
        }
        // But for the engine's kernel, so that each can be tested and measured.
        if let Some(kernel) = std::env::var_os("PRIMEPOOL_KERNEL") {
            command.env("PRIMEPOOL_KERNEL", kernel);
        }
        command
    }
}

/// Whether this process ignores SIGHUP, signal 1 and therefore the lowest bit of the set in /proc.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap() & 1 == 1
}

/// A program that runs, with its output in files. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: PathBuf,
    name: String,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program in the folder `dir`, where its output goes too.
    pub fn start(binary: Binary, dir: &Path, url: &str, args: &[&str]) -> Self {
        // Programs that ignore SIGHUP, as under `nohup make test`, hand that on to those they start.
        let mut command = if ignores_hangup() {
            binary.command_with_hangups()
        } else {
            binary.command()
        };
        command.args(args).env("PRIMEPOOL_AMQP_URL", url);
        Self::spawn(command, &format!("{binary:?}"), dir)
    }

    /// Starts a command in the folder `dir`, where its output goes too, to files of this name and a number.
    pub fn spawn(mut command: Command, name: &str, dir: &Path) -> Self {
        let number = (0..).find(|n| !dir.join(format!("{name}-{n}.out")).exists());
        let name = format!("{name}-{}", number.unwrap());
        let file = |extension: &str| File::create(dir.join(format!("{name}.{extension}"))).unwrap();
        let child = command
            .current_dir(dir)
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Self {
            child,
            dir: dir.to_owned(),
            name,
        }
    }

    /// What it wrote so far: standard output and standard error.
    pub fn output(&self) -> (String, String) {
        let read = |extension: &str| {
            fs::read_to_string(self.dir.join(format!("{}.{extension}", self.name))).unwrap()
        };
        (read("out"), read("err"))
    }

    /// Waits until its standard error holds a text: for a test of what it tells people, never for readiness.
    pub fn wait_for_line(&self, text: &str) {
        wait_for(&format!("{text:?} of {}", self.name), || {
            self.output().1.contains(text).then_some(())
        });
    }

    /// Waits until it computes: until it has used a fifth of a second of CPU time from now on, far more than it uses while it waits.
    pub fn wait_until_busy(&self) {
        let before = cpu_seconds(self.pid());
        wait_for(&format!("work of {}", self.name), || {
            (cpu_seconds(self.pid()) - before > 0.2).then_some(())
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `INT`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, a minute at most.
    pub fn wait(mut self) -> Finished {
        let status = wait_for(&format!("the end of {}", self.name), || {
            self.child.try_wait().unwrap()
        });
        self.finished(status)
    }

    /// Waits for its end, however long that takes.
    pub fn wait_long(mut self) -> Finished {
        let status = self.child.wait().unwrap();
        self.finished(status)
    }

    fn finished(&self, status: ExitStatus) -> Finished {
        let (stdout, stderr) = self.output();
        Finished {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (stdout, stderr) = self.output();
            eprintln!("--- {} ---\n{stdout}{stderr}", self.name);
        }
    }
}

/// A consumer, and the file in which it says whether it is connected.
#[derive(Debug)]
pub struct Consumer(pub Process, PathBuf);

static HEALTH_FILES: AtomicU32 = AtomicU32::new(0);

impl Consumer {
    /// Starts one with two workers and waits until it consumes.
    pub fn start(dir: &Path, broker: &Broker, node: &str) -> Self {
        Self::with(dir, broker, &["--node", node, "--concurrency", "2"])
    }

    /// Starts one with these options and waits until it consumes.
    pub fn with(dir: &Path, broker: &Broker, args: &[&str]) -> Self {
        Self::at(dir, &broker.url, args)
    }

    /// Starts one at this address with these options and waits until it consumes.
    pub fn at(dir: &Path, url: &str, args: &[&str]) -> Self {
        let consumer = Self::begin(dir, url, args);
        consumer.wait_until_connected();
        consumer
    }

    /// Starts one at this address with these options.
    pub fn begin(dir: &Path, url: &str, args: &[&str]) -> Self {
        let number = HEALTH_FILES.fetch_add(1, Ordering::Relaxed);
        let health = dir.join(format!("health-{number}"));
        let args = [args, &["--health-file", health.to_str().unwrap()]].concat();
        Self(Process::start(Binary::Consumer, dir, url, &args), health)
    }

    /// The file that it was given.
    pub fn health_file(&self) -> &Path {
        &self.1
    }

    /// Whether it says that it is connected; nothing if it has not said anything yet.
    pub fn is_connected(&self) -> Option<bool> {
        let health = fs::read(&self.1).ok()?;
        let health: Value = serde_json::from_slice(&health).ok()?;
        health["connected"].as_bool()
    }

    /// Waits until it is subscribed and can publish.
    pub fn wait_until_connected(&self) {
        self.wait_until(true);
    }

    /// Waits until it has no connection.
    pub fn wait_until_disconnected(&self) {
        self.wait_until(false);
    }

    fn wait_until(&self, connected: bool) {
        wait_for(
            &format!("connected: {connected} of {}", self.0.name),
            || (self.is_connected() == Some(connected)).then_some(()),
        );
    }
}
