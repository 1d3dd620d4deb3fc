use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::{Broker, cpu_seconds, wait_for};

/// One of the pool's programs.
#[derive(Debug, Clone, Copy)]
pub enum Binary {
    /// The program `producer`.
    Producer,
    /// The program `consumer`.
    Consumer,
    /// The program `experiment`.
    Experiment,
    /// The program `primepool`, for operators.
    Monitor,
}

impl Binary {
    /// Path of the executable.
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

    /// A command that runs the program without the environment variables that would configure it.
    pub fn command(self) -> Command {
        self.alone(Command::new(self.path()))
    }

    /// Like [`Binary::command`], with the default action for SIGHUP.
    fn command_with_hangups(self) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=HUP").arg(self.path());
        self.alone(command)
    }

    /// Clears the environment and closes standard input.
    fn alone(self, mut command: Command) -> Command {
        command.env_clear().stdin(Stdio::null());
        if let (Self::Experiment, Some(path)) = (self, std::env::var_os("PATH")) {
            command.env("PATH", path); // it starts other programs
        }
        // The kernel of the engine stays selected, so that each kernel can be tested and measured.
        if let Some(kernel) = std::env::var_os("PRIMEPOOL_KERNEL") {
            command.env("PRIMEPOOL_KERNEL", kernel);
        }
        command
    }
}

/// Whether this process ignores SIGHUP: signal 1, the lowest bit of the set in `/proc`.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap() & 1 == 1
}

/// A running program whose output goes to files. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: PathBuf,
    name: String,
}

/// Exit status and output of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// Everything written to standard output.
    pub stdout: String,
    /// Everything written to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program in the folder `dir`, which also receives its output.
    pub fn start(binary: Binary, dir: &Path, url: &str, args: &[&str]) -> Self {
        // A program inherits the ignored SIGHUP of, for example, `nohup make test`.
        let mut command = if ignores_hangup() {
            binary.command_with_hangups()
        } else {
            binary.command()
        };
        command.args(args).env("PRIMEPOOL_AMQP_URL", url);
        Self::spawn(command, &format!("{binary:?}"), dir)
    }

    /// Starts a command in the folder `dir`; its output goes to files there named after `name` and
    /// a number.
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

    /// The output so far: standard output and standard error.
    pub fn output(&self) -> (String, String) {
        let read = |extension: &str| {
            fs::read_to_string(self.dir.join(format!("{}.{extension}", self.name))).unwrap()
        };
        (read("out"), read("err"))
    }

    /// Waits until standard error contains a text: for tests of the messages, never for readiness.
    pub fn wait_for_line(&self, text: &str) {
        wait_for(&format!("{text:?} of {}", self.name), || {
            self.output().1.contains(text).then_some(())
        });
    }

    /// Waits until the program computes: until it has used a fifth of a second of CPU time from now
    /// on, far more than it uses while it waits.
    pub fn wait_until_busy(&self) {
        let before = cpu_seconds(self.pid());
        wait_for(&format!("work of {}", self.name), || {
            (cpu_seconds(self.pid()) - before > 0.2).then_some(())
        });
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `INT`, to the program.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// The exit status, if the program has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills the program with SIGKILL and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the program, for a minute at most.
    pub fn wait(mut self) -> Finished {
        let status = wait_for(&format!("the end of {}", self.name), || {
            self.child.try_wait().unwrap()
        });
        self.finished(status)
    }

    /// Waits for the end of the program, for any length of time.
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

/// A consumer process, and its health file.
#[derive(Debug)]
pub struct Consumer(pub Process, PathBuf);

static HEALTH_FILES: AtomicU32 = AtomicU32::new(0);

impl Consumer {
    /// Starts a consumer with two workers and waits until it consumes.
    pub fn start(dir: &Path, broker: &Broker, node: &str) -> Self {
        Self::with(dir, broker, &["--node", node, "--concurrency", "2"])
    }

    /// Starts a consumer with these options and waits until it consumes.
    pub fn with(dir: &Path, broker: &Broker, args: &[&str]) -> Self {
        Self::at(dir, &broker.url, args)
    }

    /// Starts a consumer with this AMQP URL and these options, and waits until it consumes.
    pub fn at(dir: &Path, url: &str, args: &[&str]) -> Self {
        let consumer = Self::begin(dir, url, args);
        consumer.wait_until_connected();
        consumer
    }

    /// Starts a consumer with this AMQP URL and these options; does not wait.
    pub fn begin(dir: &Path, url: &str, args: &[&str]) -> Self {
        let number = HEALTH_FILES.fetch_add(1, Ordering::Relaxed);
        let health = dir.join(format!("health-{number}"));
        let args = [args, &["--health-file", health.to_str().unwrap()]].concat();
        Self(Process::start(Binary::Consumer, dir, url, &args), health)
    }

    /// Path of the consumer's health file.
    pub fn health_file(&self) -> &Path {
        &self.1
    }

    /// Whether the health file says that the consumer is connected; `None` before it is first
    /// written.
    pub fn is_connected(&self) -> Option<bool> {
        let health = fs::read(&self.1).ok()?;
        let health: Value = serde_json::from_slice(&health).ok()?;
        health["connected"].as_bool()
    }

    /// Waits until the consumer is subscribed and can publish.
    pub fn wait_until_connected(&self) {
        self.wait_until(true);
    }

    /// Waits until the consumer has no connection.
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
