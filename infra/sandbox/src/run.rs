//! `make run`: one run on this machine, with a private broker and a private InfluxDB.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    broker::Broker,
    broker_node::BrokerOptions,
    error::{Result, failed, file_error, usage},
    files::{make_private_dir, repository},
    influxdb::InfluxDb,
    process::{self, ProcessId, this_program, tied_by},
    run_request::{ProducerCommand, Variables},
    server::Lifetime,
};

/// Longest time until the consumers are connected.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Time for the consumers to drain. After a signal it is shorter, because no producer waits for
/// their results.
const DRAIN: Duration = Duration::from_secs(10);
const SHORT_DRAIN: Duration = Duration::from_secs(3);

/// Prints a message to standard error; a write error is ignored.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "primepool: {text}");
}

/// Runs the producer with these arguments, and returns its exit status.
///
/// # Errors
/// A variable or an argument is invalid; or a server or a consumer does not start.
pub(crate) fn run(arguments: &[String], owner: Option<ProcessId>) -> Result<u8> {
    let root = repository();
    let state = env::var_os("PRIMEPOOL_STATE").map_or(root.join(".primepool"), PathBuf::from);
    let runs_dir = env::var_os("PRIMEPOOL_RUNS_DIR").map_or(root.join("runs"), PathBuf::from);
    let variables = Variables::read()?;
    let producer_command = ProducerCommand::new(arguments, variables.resume.clone(), runs_dir)?;
    let programs = programs(variables.dashboard)?;
    env::set_current_dir(&root).map_err(file_error("enter", &root))?;
    let runtime = process::runtime()?;
    // The kernel sends the parent-death signal when the thread that started a program ends. Here
    // that is the main thread: the runtime has no other.
    runtime.block_on(async {
        if let Some(status) = rehearse(&programs, &producer_command).await? {
            return Ok(status);
        }
        make_private_dir(&state)?;
        sweep(&state);
        let work = state.join(format!("run-{}", std::process::id()));
        let _ = fs::remove_dir_all(&work); // left by an earlier process with this id
        let mut session = Session {
            variables,
            producer_command,
            programs,
            work,
            state,
            consumers: Vec::new(),
            dashboard: None,
            environment: Vec::new(),
            kept_influxdb: None,
            influxdb: None,
            broker: None,
            trouble: false,
            owner,
        };
        let outcome = session.run().await;
        session.clean_up(&outcome).await;
        outcome
    })
}

/// Deletes the folders of `sandbox run` processes that were killed before a keeper could delete
/// them.
fn sweep(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("run-")?.parse().ok());
        if pid.is_some_and(|pid| ProcessId::of(pid).is_none()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The folder of the programs producer and consumer, and primepool if a dashboard is wanted:
/// `PRIMEPOOL_BIN`, or the folder of this program.
fn programs(dashboard: bool) -> Result<PathBuf> {
    let this = env::current_exe().map_err(failed)?;
    let beside = this.parent().unwrap_or(Path::new("/")).to_owned();
    let folder = env::var_os("PRIMEPOOL_BIN").map_or(beside, PathBuf::from);
    let folder = std::path::absolute(&folder).map_err(file_error("find", &folder))?;
    let needed = ["producer", "consumer", "primepool"];
    let needed = &needed[..if dashboard { 3 } else { 2 }];
    match needed.iter().find(|name| !folder.join(name).is_file()) {
        None => Ok(folder),
        Some(missing) => Err(usage(format!(
            "there is no program {missing} in {}: build it with cargo build --release --bins",
            folder.display()
        ))),
    }
}

/// Removes variables that the programs would read as flags.
fn forget_own(command: &mut Command) {
    for name in [
        "PRIMEPOOL_AMQP_URL",
        "PRIMEPOOL_AMQP_URL_FILE",
        "PRIMEPOOL_HEALTH_FILE",
    ] {
        command.env_remove(name);
    }
}

/// Runs the producer with an address at which no broker listens. It parses its arguments before it
/// connects: `--help` (exit status 0) and wrong arguments (2) take effect before a broker is
/// started.
async fn rehearse(programs: &Path, producer_command: &ProducerCommand) -> Result<Option<u8>> {
    let mut command = Command::from(tied_by(
        this_program()?,
        programs.join("producer"),
        Signal::KILL,
    ));
    forget_own(&mut command);
    let output = command
        .args(&producer_command.arguments)
        .env("PRIMEPOOL_AMQP_URL", "amqp://127.0.0.1:1")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(file_error("start", programs.join("producer")))?;
    match output.status.code() {
        Some(status @ (0 | 2)) => {
            use std::io::Write; // the help text, or the usage error
            let _ = std::io::stdout().write_all(&output.stdout);
            let _ = std::io::stderr().write_all(&output.stderr);
            Ok(u8::try_from(status).ok())
        }
        _ => Ok(None),
    }
}

struct Session {
    variables: Variables,
    producer_command: ProducerCommand,
    programs: PathBuf,
    state: PathBuf,
    /// Folder of all files that end with this session.
    work: PathBuf,
    broker: Option<Broker>,
    influxdb: Option<InfluxDb>,
    /// Folder of the resumed run that holds the data of the database already.
    kept_influxdb: Option<PathBuf>,
    consumers: Vec<Child>,
    dashboard: Option<Child>,
    /// Variables with the settings of the database, for producer and consumers.
    environment: Vec<(&'static str, String)>,
    /// Whether to keep the logs of the consumers.
    trouble: bool,
    owner: Option<ProcessId>,
}

/// Signals that end a run, each with its exit status.
const ENDING: [(SignalKind, u8); 3] = [
    (SignalKind::interrupt(), 130),
    (SignalKind::terminate(), 143),
    (SignalKind::hangup(), 129),
];

impl Session {
    async fn run(&mut self) -> Result<u8> {
        let began = Instant::now();
        let Variables {
            consumers,
            concurrency,
            ..
        } = self.variables;
        let own_influxdb =
            self.variables.metrics && env::var_os("INFLUX_HOST").is_none_or(|host| host.is_empty());
        say(&format!(
            "starting a private RabbitMQ{} and {consumers} consumer(s) with {concurrency} compute thread(s) each",
            if own_influxdb {
                ", a private InfluxDB"
            } else {
                ""
            }
        ));
        let lifetime = Lifetime::with_this_process(&self.work);
        make_private_dir(&self.work)?;
        let dir = self.work.join("broker");
        self.broker = Some(Broker::start(&dir, BrokerOptions::default(), &lifetime)?);
        if own_influxdb {
            self.start_influxdb(&lifetime)?;
        }
        self.start_consumers().await?;
        if self.variables.dashboard {
            self.start_dashboard().await?;
        }
        say(&format!(
            "ready after {:.0} s",
            began.elapsed().as_secs_f64()
        ));
        self.produce().await
    }

    fn start_influxdb(&mut self, lifetime: &Lifetime) -> Result<()> {
        if !InfluxDb::is_installed() {
            say(
                "there is no InfluxDB 1.x on this machine: the metrics are in the run's metrics.lp alone",
            );
            return Ok(());
        }
        let kept = self
            .producer_command
            .resume
            .as_ref()
            .map(|run| self.producer_command.runs_dir.join(run).join("influxdb"));
        let kept = kept.filter(|folder| folder.is_dir());
        let lifetime = match (&kept, lifetime) {
            // The data of the resumed run stays.
            (Some(_), Lifetime::Process { owner, .. }) => Lifetime::Process {
                owner: *owner,
                remove: None,
            },
            _ => lifetime.clone(),
        };
        let dir = kept.clone().unwrap_or_else(|| self.work.join("influxdb"));
        let influxdb = InfluxDb::start(&dir, &lifetime)?;
        self.environment = vec![
            ("INFLUX_HOST", influxdb.url()?),
            ("INFLUX_TOKEN", influxdb.token()?),
            ("INFLUX_BUCKET", "primepool".to_owned()),
            (
                "PRIMEPOOL_METRICS_SPOOL",
                self.work.join("metrics-spool").display().to_string(),
            ),
        ];
        if env::var_os("PRIMEPOOL_METRICS_INTERVAL").is_none() {
            self.environment
                .push(("PRIMEPOOL_METRICS_INTERVAL", "500ms".to_owned())); // runs here are short
        }
        self.influxdb = Some(influxdb);
        self.kept_influxdb = kept;
        Ok(())
    }

    /// A command for one of the pool's programs; it ends with this process.
    fn program(&self, name: &str, at_death: Signal) -> Result<Command> {
        let mut command =
            Command::from(tied_by(this_program()?, self.programs.join(name), at_death));
        forget_own(&mut command);
        for name in [
            "ARGS",
            "CONSUMERS",
            "CONCURRENCY",
            "RESUME",
            "METRICS",
            "DASHBOARD",
        ] {
            command.env_remove(name);
        }
        if !self.variables.metrics {
            command.env_remove("INFLUX_HOST");
        } else if self.influxdb.is_some() {
            command
                .env_remove("INFLUX_TOKEN_FILE")
                .env_remove("INFLUX_ORG");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn broker_url(&self, user: &str) -> Result<String> {
        match &self.broker {
            Some(broker) => broker.url(user),
            None => Err(failed("there is no broker")),
        }
    }

    async fn start_consumers(&mut self) -> Result<()> {
        // The consumer's user has no more rights than a consumer needs. The address is passed in
        // the environment, because every user of the machine can read a command line.
        let url = self.broker_url("consumer")?;
        for number in 1..=self.variables.consumers {
            let log = self.log_of(number);
            let file = fs::File::create(&log).map_err(file_error("write", &log))?;
            let errors = file.try_clone().map_err(file_error("write", &log))?;
            let mut command = self.program("consumer", Signal::KILL)?;
            command
                .args(["--concurrency", &self.variables.concurrency.to_string()])
                .args(["--node", &format!("local-{number}")])
                .arg("--health-file")
                .arg(self.health_file(number))
                .env("PRIMEPOOL_AMQP_URL", &url)
                // Ctrl-C in the terminal is for the producer, which ends first.
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(file)
                .stderr(errors);
            let child = command.spawn().map_err(file_error("start", "a consumer"))?;
            self.consumers.push(child);
        }
        let deadline = Instant::now() + CONNECT_LIMIT;
        for number in 1..=self.variables.consumers {
            while !self.is_connected(number).await {
                let index = usize::try_from(number - 1).unwrap_or_default();
                let ended = self.consumers[index]
                    .try_wait()
                    .is_ok_and(|status| status.is_some());
                let problem = if ended {
                    "ended before it was ready"
                } else if Instant::now() >= deadline {
                    "is not ready after 30 s"
                } else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                return Err(failed(self.consumer_trouble(number, problem)));
            }
        }
        Ok(())
    }

    /// Starts `primepool dashboard` on any free port, and prints its address.
    async fn start_dashboard(&mut self) -> Result<()> {
        let mut command = self.program("primepool", Signal::KILL)?;
        command
            .args(["dashboard", "--listen", "127.0.0.1:0", "--interval", "1s"])
            .env("PRIMEPOOL_AMQP_URL", self.broker_url("operator")?)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut dashboard = command
            .spawn()
            .map_err(file_error("start", "primepool dashboard"))?;
        let mut address = String::new();
        if let Some(output) = dashboard.stdout.take() {
            let read = BufReader::new(output);
            let _ = timeout(CONNECT_LIMIT, read.take(100).read_line(&mut address)).await;
        }
        self.dashboard = Some(dashboard);
        match address.trim() {
            "" => Err(failed("primepool dashboard did not start: see above")),
            address => {
                say(&format!("dashboard: {address} while this run lasts"));
                Ok(())
            }
        }
    }

    async fn is_connected(&self, number: u32) -> bool {
        if !self.health_file(number).exists() {
            return false;
        }
        let mut command = Command::new(self.programs.join("consumer"));
        forget_own(&mut command);
        command
            .arg("health")
            .arg("--health-file")
            .arg(self.health_file(number));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }

    fn log_of(&self, number: u32) -> PathBuf {
        self.work.join(format!("consumer-{number}.log"))
    }

    fn health_file(&self, number: u32) -> PathBuf {
        self.work.join(format!("consumer-{number}.health"))
    }

    /// A message about a consumer, with the end of its log.
    fn consumer_trouble(&mut self, number: u32, problem: &str) -> String {
        self.trouble = true;
        let mut text = String::new();
        let _ =
            fs::File::open(self.log_of(number)).and_then(|mut log| log.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("consumer {number} {problem}; the end of its log:\n{end}")
    }

    async fn produce(&mut self) -> Result<u8> {
        let mut command = self.program("producer", Signal::INT)?;
        command
            .args(&self.producer_command.arguments)
            .env("PRIMEPOOL_AMQP_URL", self.broker_url("producer")?)
            .env("PRIMEPOOL_RESUME_COMMAND", "make run RESUME={run}")
            .env("PRIMEPOOL_RUNS_DIR", &self.producer_command.runs_dir);
        let [interrupt, terminate, hangup] = ENDING.map(|(kind, _)| signal(kind));
        let mut interrupt = interrupt.map_err(failed)?;
        let mut terminate = terminate.map_err(failed)?;
        let mut hangup = hangup.map_err(failed)?;
        let mut producer = command
            .spawn()
            .map_err(file_error("start", "the producer"))?;
        let mut signalled = None;
        let mut lonely = false;
        let mut living: Vec<u32> = (1..=self.variables.consumers).collect();
        let status = loop {
            tokio::select! {
                status = producer.wait() => break status.map_err(failed)?,
                // The terminal has sent SIGINT to the producer too. Do not send a second one: it
                // has a stronger effect than the first.
                _ = interrupt.recv() => signalled = Some(130),
                _ = terminate.recv() => {
                    signalled = Some(143);
                    interrupt_child(&producer);
                }
                _ = hangup.recv() => {
                    signalled = Some(129);
                    interrupt_child(&producer);
                }
                () = sleep(Duration::from_secs(1)) => {
                    if self.owner.is_some_and(|owner| !owner.is_alive()) && signalled.is_none() {
                        signalled = Some(129);
                        interrupt_child(&producer);
                    }
                    let ended: Vec<u32> = living.iter().copied().filter(|number| self.has_ended(*number)).collect();
                    for number in ended {
                        living.retain(|other| *other != number);
                        let text = self.consumer_trouble(number, "ended unexpectedly");
                        say(&text);
                    }
                    if living.is_empty() && !lonely {
                        lonely = true;
                        say("no consumer is left: ending the producer");
                        interrupt_child(&producer);
                    }
                }
            }
        };
        let status = process::exit_status(status);
        Ok(match signalled {
            Some(signalled) if signalled != 130 => signalled,
            _ if lonely => 1,
            _ => status,
        })
    }

    fn has_ended(&mut self, number: u32) -> bool {
        let index = usize::try_from(number - 1).unwrap_or_default();
        self.consumers[index]
            .try_wait()
            .is_ok_and(|status| status.is_some())
    }

    async fn clean_up(&mut self, outcome: &Result<u8>) {
        let drain = match outcome {
            Ok(129 | 130 | 143) => SHORT_DRAIN,
            _ => DRAIN,
        };
        for consumer in &self.consumers {
            if let Some(pid) = consumer.id() {
                process::signal(pid, Signal::TERM);
            }
        }
        let ended = async {
            for consumer in &mut self.consumers {
                let _ = consumer.wait().await;
            }
        };
        let _ = timeout(drain, ended).await;
        for consumer in &mut self.consumers {
            let _ = consumer.kill().await;
        }
        if let Some(dashboard) = &mut self.dashboard {
            let _ = dashboard.kill().await;
        }
        if let Some(influxdb) = self.influxdb.take() {
            self.keep_metrics(&influxdb);
        }
        if let Some(broker) = self.broker.take() {
            let _ = broker.stop();
        }
        if self.trouble || !matches!(outcome, Ok(0 | 2 | 129 | 130 | 143)) {
            self.keep_logs();
        }
        let _ = fs::remove_dir_all(&self.work);
        let _ = fs::remove_dir(&self.state); // if nothing else is there
    }

    /// Stops the database and moves its data to the folder of the run.
    fn keep_metrics(&self, influxdb: &InfluxDb) {
        // The database contains only this run.
        let query = "SHOW TAG VALUES FROM \"run\" WITH KEY = \"run\"";
        let reply = influxdb.query("primepool", query).ok();
        let answer =
            reply.and_then(|reply| serde_json::from_str::<serde_json::Value>(&reply.body).ok());
        let run = answer.as_ref().and_then(|answer| {
            answer
                .pointer("/results/0/series/0/values/0/1")
                .and_then(|run| run.as_str())
        });
        if influxdb.stop().is_err() || self.kept_influxdb.is_some() {
            return;
        }
        let Some(run) = run else { return };
        let (folder, from) = (self.producer_command.runs_dir.join(run), influxdb.dir());
        let to = folder.join("influxdb");
        let shown = to.strip_prefix(repository()).unwrap_or(&to).display();
        if folder.is_dir() && !to.exists() && move_folder(from, &to) {
            say(&format!(
                "metrics: {shown}; look at them with: target/release/sandbox influxdb start {shown}"
            ));
        } else {
            say(&format!(
                "could not put the metrics into {shown}: those of this run are lost but for the summary"
            ));
        }
    }

    fn keep_logs(&self) {
        let logs = self
            .state
            .join("logs")
            .join(format!("run-{}", std::process::id()));
        let mut kept = false;
        for number in 1..=self.variables.consumers {
            let log = self.log_of(number);
            if log.exists() && fs::create_dir_all(&logs).is_ok() {
                kept |= fs::rename(&log, logs.join(log.file_name().unwrap_or_default())).is_ok();
            }
        }
        if kept {
            say(&format!("logs of the consumers: {}", logs.display()));
        }
    }
}

/// Moves a folder, even to another file system.
fn move_folder(from: &Path, to: &Path) -> bool {
    let copy = || {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status();
        copied.is_ok_and(|status| status.success())
    };
    fs::rename(from, to).is_ok() || copy()
}

fn interrupt_child(child: &Child) {
    if let Some(pid) = child.id() {
        process::signal(pid, Signal::INT);
    }
}
