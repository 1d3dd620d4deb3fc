//! The command line of `sandbox`.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};
use rustix::process::Signal;

use crate::{
    broker::{Broker, Permissions},
    broker_node::BrokerOptions,
    cluster::BrokerCluster,
    docker::{self, DockerEngine},
    error::{Result, failed, file_error, usage},
    http::Reply,
    influxdb::InfluxDb,
    influxdb_2::InfluxDb2,
    influxdb_program, keeper,
    process::{self, ProcessId},
    run,
    server::Lifetime,
};

/// Private servers for runs, tests and benchmarks. Each has a folder DIR of its own and is on
/// 127.0.0.1 only.
#[derive(Debug, Parser)]
#[command(name = "sandbox", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A run from nothing to results: `make run`. Variables: CONSUMERS, CONCURRENCY, RESUME,
    /// METRICS, DASHBOARD, PRIMEPOOL_BIN
    #[command(disable_help_flag = true)]
    Run {
        /// The run ends when this process does
        #[arg(long, value_name = "PID")]
        owner: Option<ProcessId>,
        /// Arguments of the producer [default: --count 100 --bits 1024]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// RabbitMQ. DIR gets its addresses: amqp-url (may do everything), consumer-url, producer-url,
    /// operator-url, monitoring-url
    #[command(subcommand)]
    Broker(BrokerVerb),
    /// Three RabbitMQ nodes that are one cluster, in DIR/1 to DIR/3
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// InfluxDB 1.x. DIR gets influx-url and influx-token
    #[command(subcommand)]
    #[command(alias = "influxdb1")]
    Influxdb(InfluxVerb),
    /// InfluxDB 2. DIR gets influx-url and operator-, writer-, reader- and producer-token
    #[command(subcommand)]
    Influxdb2(Influx2Verb),
    /// A Docker engine in a network of its own, at unix://DIR/docker.sock. Needs root
    #[command(subcommand)]
    Docker(DockerVerb),
    /// Run a command with a private broker (PRIMEPOOL_AMQP_URL, PRIMEPOOL_BROKER_DIR,
    /// PRIMEPOOL_BROKER_PID)
    With {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    Keep {
        dir: PathBuf,
        #[arg(long)]
        owner: Option<ProcessId>,
        #[arg(long)]
        remove: Option<PathBuf>,
    },
    #[command(hide = true)]
    Exec {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        signal: i32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    Engine { dir: PathBuf },
    #[command(hide = true)]
    EngineInit { dir: PathBuf, cgroup: String },
}

/// How long a server runs.
#[derive(Debug, clap::Args)]
struct Until {
    /// Stop it when this process ends, however that ends
    #[arg(long, value_name = "PID")]
    owner: Option<ProcessId>,
    /// Delete DIR then
    #[arg(long, requires = "owner")]
    remove: bool,
}

#[derive(Debug, Subcommand)]
enum BrokerVerb {
    /// Start a broker with its data in DIR, or again on the same data
    Start {
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
        /// With the management API, at the address in DIR/management-url
        #[arg(long)]
        management: bool,
        /// With TLS, at the port in DIR/tls-port; CERTS has ca.pem, head.pem and head.key
        #[arg(long, value_name = "CERTS")]
        tls: Option<PathBuf>,
        /// Clients show a certificate too, which is enough to log in
        #[arg(long, requires = "tls")]
        mutual: bool,
    },
    /// Stop it; keeps the data
    Stop { dir: PathBuf },
    /// End it with SIGKILL; keeps the data, and the ports for the next start
    Kill { dir: PathBuf },
    /// Make a virtual host and print its address
    Vhost { dir: PathBuf, name: String },
    /// Make a user with these permissions (patterns of names); the password is the first line of
    /// standard input
    User {
        dir: PathBuf,
        name: String,
        vhost: String,
        configure: String,
        write: String,
        read: String,
    },
    /// Run rabbitmqctl
    Ctl {
        dir: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
enum ClusterVerb {
    /// Start the nodes with their data in DIR, or again on the same data
    Start {
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
    },
    /// Stop them; keeps the data
    Stop { dir: PathBuf },
    /// End a node with SIGKILL
    Kill { dir: PathBuf, node: usize },
    /// Start a node again
    Restart { dir: PathBuf, node: usize },
    /// Run rabbitmqctl on the first node
    Ctl {
        dir: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
enum InfluxVerb {
    /// Make a newer program than distributions have from its published module, with Go: some ten
    /// minutes. The variable PRIMEPOOL_INFLUXD, with its path, makes servers of it
    Make,
    /// Start a server with its data in DIR, or again on the same data
    Start {
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
    },
    /// Stop it; keeps the data
    Stop { dir: PathBuf },
    /// End it with SIGKILL; keeps the data, and the ports for the next start
    Kill { dir: PathBuf },
    /// Run a query (DATABASE may be empty) and print the answer, as JSON
    Query {
        dir: PathBuf,
        database: String,
        influxql: String,
    },
    /// Write files of line protocol, such as the metrics.lp of runs; makes the database
    Import {
        dir: PathBuf,
        database: String,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum Influx2Verb {
    /// Make the program from its published module, with Go: some ten minutes
    Make,
    /// Start a server with its data in DIR, or again on the same data
    Start {
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
    },
    /// Stop it; keeps the data
    Stop { dir: PathBuf },
    /// End it with SIGKILL; keeps the data, and the port for the next start
    Kill { dir: PathBuf },
    /// Run a query in InfluxQL and print the answer, as JSON
    Query { dir: PathBuf, influxql: String },
    /// Run a query in Flux and print the answer, as CSV
    Flux { dir: PathBuf, flux: String },
}

#[derive(Debug, Subcommand)]
enum DockerVerb {
    /// Start an engine with its data in DIR, or again on the same data
    Start {
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
    },
    /// Stop it and its containers; keeps the data
    Stop { dir: PathBuf },
    /// End it and its containers with SIGKILL; keeps the data
    Kill { dir: PathBuf },
    /// Stop it and delete DIR
    Remove { dir: PathBuf },
    /// Run a command in the engine's network, with docker set to the engine
    Run {
        dir: PathBuf,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Runs the program `sandbox`.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command.act() {
        Ok(status) => status.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "primepool: {error}");
            error.status().into()
        }
    }
}

impl Until {
    fn lifetime(&self, dir: &Path) -> Result<Lifetime> {
        let remove = self.remove.then(|| std::path::absolute(dir)).transpose();
        Ok(match self.owner {
            Some(owner) => Lifetime::Process {
                owner,
                remove: remove.map_err(file_error("find", dir))?,
            },
            // This command owns the server until it is ready, so that Ctrl-C leaves no process
            // behind.
            None => Lifetime::Process {
                owner: ProcessId::this(),
                remove: None,
            },
        })
    }

    /// Detaches a ready server from this command, unless another owner was given.
    fn begin(&self, release: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.owner.is_none() {
            release()
        } else {
            Ok(())
        }
    }
}

impl Verb {
    fn act(self) -> Result<u8> {
        match self {
            Self::Run { owner, arguments } => return run::run(&arguments, owner),
            Self::Broker(verb) => verb.act()?,
            Self::Cluster(verb) => verb.act()?,
            Self::Influxdb(verb) => verb.act()?,
            Self::Influxdb2(verb) => verb.act()?,
            Self::Docker(verb) => verb.act()?,
            Self::With { command } => return with_broker(&command),
            Self::Keep { dir, owner, remove } => {
                keeper::keep(&keeper::Options { dir, owner, remove })?
            }
            Self::Exec {
                parent,
                signal,
                command,
            } => {
                let error = process::exec(parent, signal, &command);
                return Err(failed(format!("cannot start {command:?}: {error}")));
            }
            Self::Engine { dir } => docker::host(&dir)?,
            Self::EngineInit { dir, cgroup } => docker::init(&dir, &cgroup)?,
        }
        Ok(0)
    }
}

impl BrokerVerb {
    fn act(self) -> Result<()> {
        match self {
            Self::Start {
                dir,
                until,
                management,
                tls,
                mutual,
            } => {
                let options = BrokerOptions {
                    management,
                    tls,
                    mutual,
                };
                let broker = Broker::start(&dir, options, &until.lifetime(&dir)?)?;
                until.begin(|| broker.release())
            }
            Self::Stop { dir } => stop(&dir, |dir| Broker::at(dir)?.stop()),
            Self::Kill { dir } => Broker::at(&dir)?.kill(),
            Self::Vhost { dir, name } => print(&Broker::at(&dir)?.vhost(&name)?),
            Self::User {
                dir,
                name,
                vhost,
                configure,
                write,
                read,
            } => {
                let mut input = String::new();
                let read_input = std::io::stdin().read_to_string(&mut input);
                read_input.map_err(file_error("read", "standard input"))?;
                let password = input.lines().next().unwrap_or_default();
                let permissions = Permissions {
                    configure: &configure,
                    write: &write,
                    read: &read,
                };
                print(&Broker::at(&dir)?.user(&name, password, &vhost, permissions)?)
            }
            Self::Ctl { dir, arguments } => {
                become_command(Broker::at(&dir)?.ctl_command()?.args(arguments))
            }
        }
    }
}

impl ClusterVerb {
    fn act(self) -> Result<()> {
        match self {
            Self::Start { dir, until } => {
                let lifetime = until.lifetime(&dir)?;
                let cluster = BrokerCluster::start(&dir, BrokerOptions::default(), &lifetime)?;
                until.begin(|| cluster.node(1).release())
            }
            Self::Stop { dir } => stop(&dir, |dir| BrokerCluster::at(dir)?.stop()),
            Self::Kill { dir, node } => BrokerCluster::at(&dir)?.node(node).kill(),
            Self::Restart { dir, node } => BrokerCluster::at(&dir)?.node(node).restart(),
            Self::Ctl { dir, arguments } => {
                let cluster = BrokerCluster::at(&dir)?;
                become_command(cluster.node(1).ctl_command()?.args(arguments))
            }
        }
    }
}

impl InfluxVerb {
    fn act(self) -> Result<()> {
        match self {
            Self::Make => make(influxdb_program::ONE),
            Self::Start { dir, until } => {
                let influxdb = InfluxDb::start(&dir, &until.lifetime(&dir)?)?;
                if until.owner.is_some() {
                    return Ok(());
                }
                influxdb.release()?;
                let (url, dir) = (influxdb.url()?, dir.display());
                print(&format!(
                    "InfluxDB runs at {url}, database primepool, user and password in {dir}/influx-token\n\
                     ask it:  sandbox influxdb query {dir} primepool \
                     'SELECT sum(\"jobs\") FROM \"job\" GROUP BY \"node\"'\n\
                     stop it: sandbox influxdb stop {dir}"
                ))
            }
            Self::Stop { dir } => stop(&dir, |dir| InfluxDb::at(dir)?.stop()),
            Self::Kill { dir } => InfluxDb::at(&dir)?.kill(),
            Self::Query {
                dir,
                database,
                influxql,
            } => show(InfluxDb::at(&dir)?.query(&database, &influxql)?),
            Self::Import {
                dir,
                database,
                files,
            } => {
                let influxdb = InfluxDb::at(&dir)?;
                for file in files {
                    let lines = fs::read_to_string(&file).map_err(|error| {
                        usage(format!("cannot read {}: {error}", file.display()))
                    })?;
                    influxdb.write(&database, &lines)?;
                }
                Ok(())
            }
        }
    }
}

impl Influx2Verb {
    fn act(self) -> Result<()> {
        match self {
            Self::Make => make(influxdb_program::TWO),
            Self::Start { dir, until } => {
                let influxdb = InfluxDb2::start(&dir, &until.lifetime(&dir)?)?;
                until.begin(|| influxdb.release())
            }
            Self::Stop { dir } => stop(&dir, |dir| InfluxDb2::at(dir)?.stop()),
            Self::Kill { dir } => InfluxDb2::at(&dir)?.kill(),
            Self::Query { dir, influxql } => show(InfluxDb2::at(&dir)?.query(&influxql)?),
            Self::Flux { dir, flux } => show(InfluxDb2::at(&dir)?.flux(&flux)?),
        }
    }
}

impl DockerVerb {
    fn act(self) -> Result<()> {
        match self {
            Self::Start { dir, until } => {
                let engine = DockerEngine::start(&dir, &until.lifetime(&dir)?)?;
                until.begin(|| engine.release())
            }
            Self::Stop { dir } => stop(&dir, |dir| DockerEngine::at(dir)?.stop()),
            Self::Kill { dir } => DockerEngine::at(&dir)?.kill(),
            Self::Remove { dir } => DockerEngine::at(&dir)?.remove(),
            Self::Run { dir, command } => {
                let [program, arguments @ ..] = &command[..] else {
                    return Err(usage("no command"));
                };
                become_command(
                    DockerEngine::at(&dir)?
                        .command(Path::new(program))?
                        .args(arguments),
                )
            }
        }
    }
}

/// Builds a program, and prints its path.
fn make(release: influxdb_program::Release) -> Result<()> {
    print(&release.make()?.display().to_string())
}

/// Prints the answer of a database.
fn show(reply: Reply) -> Result<()> {
    match reply.status {
        200 => print(reply.body.trim_end()),
        _ => Err(failed(format!(
            "InfluxDB refused the query: {}",
            reply.body
        ))),
    }
}

/// Stops a server. A server that was never started is no error.
fn stop(dir: &Path, act: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if crate::settings::Settings::exists(dir) {
        act(dir)
    } else {
        Ok(())
    }
}

fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        // The reader has closed standard output: it needs no more.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(file_error("write to", "standard output")),
    }
}

fn become_command(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(failed(format!(
        "cannot start {:?}: {error}",
        command.get_program()
    )))
}

/// Runs a command with a private broker that ends with the command.
fn with_broker(command: &[OsString]) -> Result<u8> {
    let [program, arguments @ ..] = command else {
        return Err(usage("no command"));
    };
    let dir = tempfile::Builder::new()
        .prefix("primepool-")
        .tempdir()
        .map_err(file_error("make", "a temporary folder"))?;
    let folder = dir.path().join("broker");
    let broker = Broker::start(
        &folder,
        BrokerOptions::default(),
        &Lifetime::with_this_process(dir.path()),
    )?;
    let mut command = process::tied_by(process::this_program()?, program, Signal::INT);
    command
        .args(arguments)
        .env("PRIMEPOOL_BROKER_DIR", &folder)
        .env("PRIMEPOOL_BROKER_PID", broker.pid()?.to_string())
        .env("PRIMEPOOL_AMQP_URL", broker.url("amqp")?);
    let runtime = process::runtime()?;
    let status = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut child = tokio::process::Command::from(command)
            .spawn()
            .map_err(file_error("start", Path::new(program)))?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map_err(failed),
                _ = interrupt.recv() => {} // the terminal has sent it to the command too
                _ = terminate.recv() => {
                    if let Some(pid) = child.id() {
                        process::signal(pid, Signal::INT);
                    }
                }
            }
        }
    })?;
    broker.stop()?;
    Ok(process::exit_status(status))
}
