//! A private RabbitMQ: node name, credentials, cookie, epmd, ports and data of its own.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Write,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, failed, file_error, usage},
    ports::Ports,
    process::wait_for,
    random_hex, repository,
    server::{Lifetime, Servers, read},
    settings::{Kind, Launch, make_private_dir, write_private},
};

/// The user who may do everything.
const ADMINISTRATOR: &str = "primepool";
/// The users of `infra/rabbitmq/definitions.json`.
const POOL_USERS: [&str; 3] = ["consumer", "producer", "monitoring"];
/// More Erlang schedulers bring nothing to one queue and take memory; the cores are for the workers.
const MOST_SCHEDULERS: usize = 4;

/// What a broker has beyond AMQP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerOptions {
    /// The management API.
    pub management: bool,
    /// TLS for AMQP and the management API, with the certificates in this folder: `ca.pem`, `head.pem`, `head.key`.
    pub tls: Option<PathBuf>,
    /// With TLS: clients show a certificate too, which is enough to log in.
    pub mutual: bool,
}

/// Patterns of the names that a user may configure, write to and read from.
#[derive(Debug, Clone, Copy)]
pub struct Permissions<'a> {
    /// `configure`
    pub configure: &'a str,
    /// `write`
    pub write: &'a str,
    /// `read`
    pub read: &'a str,
}

/// A private RabbitMQ, one node or one of a cluster.
///
/// Its folder holds these addresses (mode 600): `amqp-url` of a user who may do everything, in the default virtual host;
/// `consumer-url`, `producer-url` and `monitoring-url` of the pool's users (`infra/rabbitmq/definitions.json`), in the
/// virtual host `primepool`; `management-url` and `tls-port` where there are such.
#[derive(Debug)]
pub struct Broker {
    pub(crate) servers: Servers,
    pub(crate) node: usize,
}

impl Broker {
    /// Starts a broker with its data in a folder, or again on the same data with the credentials and options that it had.
    ///
    /// # Errors
    /// RabbitMQ is not installed or does not start; the folder holds something else.
    pub fn start(dir: &Path, options: BrokerOptions, lifetime: &Lifetime) -> Result<Self> {
        let make = || Ok(Kind::Broker(Settings::new(options, 1)?));
        let servers = Servers::keep(dir, make, lifetime)?;
        servers.start(1)?;
        Ok(Self { servers, node: 1 })
    }

    /// A broker that was started before.
    ///
    /// # Errors
    /// There is none in that folder.
    pub fn at(dir: &Path) -> Result<Self> {
        let servers = Servers::at(dir)?;
        Ok(Self { servers, node: 1 })
    }

    /// The folder with its addresses.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        match crate::settings::Settings::read(self.servers.dir()) {
            Ok(settings) => settings.folder(self.servers.dir(), self.node),
            Err(_) => self.servers.dir().to_owned(),
        }
    }

    /// The address for one of the users: `amqp`, who may do everything, `consumer`, `producer`, `monitoring`.
    ///
    /// # Errors
    /// There is no such user.
    pub fn url(&self, user: &str) -> Result<String> {
        self.read(&format!("{user}-url"))
    }

    /// The address of the management API, if it has one.
    ///
    /// # Errors
    /// It has none.
    pub fn management_url(&self) -> Result<String> {
        self.read("management-url")
    }

    /// The port for AMQP with TLS.
    ///
    /// # Errors
    /// It has none.
    pub fn tls_port(&self) -> Result<u16> {
        self.read("tls-port")?.parse().map_err(failed)
    }

    /// The number of the server's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        self.read("pid")?.parse().map_err(failed)
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir().join("log/broker.log")
    }

    /// Ends the server with SIGKILL. Its ports stay held.
    ///
    /// # Errors
    /// Nothing runs in its folder.
    pub fn kill(&self) -> Result<()> {
        self.servers.kill(self.node)
    }

    /// Starts the server again after [`Broker::kill`].
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&self) -> Result<()> {
        self.servers.start(self.node)
    }

    /// Stops the broker, with all nodes of its cluster; keeps the data.
    ///
    /// # Errors
    /// Its keeper does not answer.
    pub fn stop(&self) -> Result<()> {
        self.servers.stop()
    }

    /// It goes on when its owner dies.
    ///
    /// # Errors
    /// Its keeper does not answer.
    pub fn release(&self) -> Result<()> {
        self.servers.release()
    }

    /// Makes a virtual host if it is not there; the address for the user who may do everything.
    ///
    /// # Errors
    /// The name is none, or the broker does not answer.
    pub fn vhost(&self, name: &str) -> Result<String> {
        check_name("virtual host", name)?;
        self.evaluate(&format!(
            "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"sandbox\">>),
             ok = rabbit_auth_backend_internal:set_permissions(<<\"{ADMINISTRATOR}\">>, <<\"{name}\">>,
                 <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"sandbox\">>)."
        ))?;
        let url = self.url("amqp")?;
        let (address, _) = url.rsplit_once('/').unwrap_or((&url, ""));
        Ok(format!("{address}/{name}"))
    }

    /// Makes a user, or changes its password and permissions; its address.
    ///
    /// # Errors
    /// A name, the password or a pattern has other characters than letters, digits, dot, dash and underscore (a pattern:
    /// quotes or backslashes); the broker does not answer.
    pub fn user(
        &self,
        name: &str,
        password: &str,
        vhost: &str,
        permissions: Permissions<'_>,
    ) -> Result<String> {
        check_name("user", name)?;
        check_name("password", password)?;
        if vhost != "/" {
            check_name("virtual host", vhost)?;
        }
        let Permissions {
            configure,
            write,
            read,
        } = permissions;
        if [configure, write, read]
            .iter()
            .any(|pattern| pattern.contains(['"', '\\']))
        {
            return Err(usage(
                "a permission pattern cannot have quotes or backslashes",
            ));
        }
        self.evaluate(&format!(
            "case rabbit_auth_backend_internal:exists(<<\"{name}\">>) of
                 true -> ok = rabbit_auth_backend_internal:change_password(
                     <<\"{name}\">>, <<\"{password}\">>, <<\"sandbox\">>);
                 false -> ok = rabbit_auth_backend_internal:add_user(
                     <<\"{name}\">>, <<\"{password}\">>, <<\"sandbox\">>)
             end,
             ok = rabbit_auth_backend_internal:set_permissions(<<\"{name}\">>, <<\"{vhost}\">>,
                 <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"sandbox\">>)."
        ))?;
        let port = self.url("amqp")?;
        let (_, port) = port.rsplit_once("127.0.0.1:").unwrap_or(("", &port));
        let port = port.split('/').next().unwrap_or_default();
        Ok(url(name, password, port, vhost))
    }

    /// Runs rabbitmqctl; what it prints.
    ///
    /// # Errors
    /// It fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.ctl_command()?.args(arguments).output();
        let output = output.map_err(file_error("start", "rabbitmqctl"))?;
        if !output.status.success() {
            return Err(failed(format!(
                "rabbitmqctl {arguments:?}: {}",
                text_of(&output)
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// rabbitmqctl, set to this broker.
    ///
    /// # Errors
    /// RabbitMQ is not installed.
    pub fn ctl_command(&self) -> Result<Command> {
        self.client(&rabbitmq_scripts()?.join("rabbitmqctl"))
    }

    fn client(&self, program: &Path) -> Result<Command> {
        let (dir, settings) = (
            self.servers.dir(),
            crate::settings::Settings::read(self.servers.dir())?,
        );
        let Kind::Broker(broker) = &settings.server else {
            return Err(usage(format!("there is no broker in {}", dir.display())));
        };
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .envs(broker.environment(dir, &settings.ports, self.node))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Evaluates Erlang, which ends with ok. rabbitmqctl takes more than a second to load; erl_call, part of Erlang,
    /// milliseconds. The expression comes by standard input, so that no password is on a command line.
    pub(crate) fn evaluate(&self, erlang: &str) -> Result<()> {
        let answer = self.ask_erlang(erlang)?;
        if ["{ok, ok}", "ok"].contains(&answer.as_str()) {
            return Ok(());
        }
        let answer: String = answer.chars().take(300).collect();
        Err(failed(format!(
            "the broker in {} answered: {answer}",
            self.dir().display()
        )))
    }

    pub(crate) fn ask_erlang(&self, erlang: &str) -> Result<String> {
        let node = self.node_name();
        // Two calls at the same moment may take the same name for themselves; the node turns one away.
        let answer = wait_for(Duration::from_secs(10), || {
            let mut command = self.client(Path::new("erl_call"))?;
            command.args(["-r", "-sname", &node, "-e"]);
            let output = with_input(command, &format!("{erlang}\n"))?;
            let answer = text_of(&output);
            Ok((!answer.contains("failed to connect")).then_some(answer))
        })?;
        answer.ok_or_else(|| {
            failed(format!(
                "the broker in {} does not answer",
                self.dir().display()
            ))
        })
    }

    pub(crate) fn node_name(&self) -> String {
        node_name(self.node)
    }

    fn read(&self, name: &str) -> Result<String> {
        read(&self.dir().join(name))
    }
}

/// What a broker is, for the keeper of its nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    options: BrokerOptions,
    nodes: usize,
    cookie: String,
    /// By user.
    passwords: BTreeMap<String, String>,
}

impl Settings {
    pub(crate) fn new(mut options: BrokerOptions, nodes: usize) -> Result<Self> {
        rabbitmq_scripts()?;
        if let Some(folder) = &options.tls {
            let files = ["ca.pem", "head.pem", "head.key"];
            if let Some(missing) = files
                .iter()
                .find(|file| fs::File::open(folder.join(file)).is_err())
            {
                return Err(usage(format!(
                    "cannot read {missing} in {}: name a folder with {} (docs/OPERATIONS.md, TLS)",
                    folder.display(),
                    files.join(", ")
                )));
            }
            options.tls = Some(std::path::absolute(folder).map_err(file_error("find", folder))?);
        } else if options.mutual {
            return Err(usage("mutual TLS needs TLS: give --tls too"));
        }
        let mut passwords = BTreeMap::new();
        for user in POOL_USERS.into_iter().chain([ADMINISTRATOR]) {
            passwords.insert(user.to_owned(), random_hex(20)?);
        }
        Ok(Self {
            options,
            nodes,
            cookie: random_hex(20)?,
            passwords,
        })
    }

    pub(crate) fn folder(&self, dir: &Path, node: usize) -> PathBuf {
        if self.nodes == 1 {
            dir.to_owned()
        } else {
            dir.join(node.to_string())
        }
    }

    pub(crate) fn port_names(&self) -> Vec<String> {
        let mut names = vec!["epmd".to_owned()];
        for node in 1..=self.nodes {
            names.extend(self.port_names_of(node));
        }
        names
    }

    pub(crate) fn port_names_of(&self, node: usize) -> Vec<String> {
        let mut kinds = vec!["amqp", "dist"];
        kinds.extend(self.options.management.then_some("management"));
        kinds.extend(self.options.tls.as_ref().map(|_| "tls"));
        kinds.iter().map(|kind| format!("{kind}-{node}")).collect()
    }

    /// Nodes of a cluster find each other by one epmd.
    pub(crate) fn epmd(&self, dir: &Path, ports: &Ports) -> Launch {
        Launch::new("epmd", dir.join("log/epmd")).arguments([
            "-address",
            "127.0.0.1",
            "-port",
            &ports["epmd"].to_string(),
        ])
    }

    pub(crate) fn launch(&self, dir: &Path, ports: &Ports, node: usize) -> Result<Option<Launch>> {
        if node == 0 || node > self.nodes {
            return Ok(None);
        }
        let folder = self.folder(dir, node);
        // One log a start: what is shown of a failure is not from the start before.
        let log = folder.join("log/broker.log");
        let _ = fs::rename(&log, log.with_added_extension("before"));
        let _ = fs::remove_file(folder.join("log/console"));
        let server = rabbitmq_scripts()?.join("rabbitmq-server");
        let launch = Launch::new(server, folder.join("log/console"));
        Ok(Some(launch.environment(self.environment(dir, ports, node))))
    }

    pub(crate) fn is_ready(&self, ports: &Ports, node: usize) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, ports[&format!("amqp-{node}")])).is_ok()
    }

    /// Nothing of the caller's environment gets in: a `RABBITMQ_…` variable there could point at another broker.
    fn environment(&self, dir: &Path, ports: &Ports, node: usize) -> Vec<(OsString, OsString)> {
        let folder = self.folder(dir, node);
        let port = |kind: &str| ports[&format!("{kind}-{node}")].to_string();
        let path = |name: &str| folder.join(name).into_os_string();
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let schedulers = cores.min(MOST_SCHEDULERS);
        let variables: Vec<(&str, OsString)> = vec![
            ("HOME", path("home")), // with the cookie
            ("ERL_EPMD_PORT", ports["epmd"].to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("ERL_CRASH_DUMP_SECONDS", "0".into()),
            ("RABBITMQ_NODENAME", node_name(node).into()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODE_PORT", port("amqp").into()),
            ("RABBITMQ_DIST_PORT", port("dist").into()),
            // Unbound schedulers: the kernel may move them away from a core that computes.
            ("RABBITMQ_SCHEDULER_BIND_TYPE", "u".into()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("{loopback} -start_epmd false +sbwt none +S {schedulers}:{schedulers}")
                    .into(),
            ),
            // rabbitmqctl listens too, on any port.
            (
                "RABBITMQ_CTL_ERL_ARGS",
                format!("{loopback} -start_epmd false").into(),
            ),
            ("RABBITMQ_CTL_DIST_PORT_MIN", "0".into()),
            ("RABBITMQ_CTL_DIST_PORT_MAX", "0".into()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path("none.config")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_MNESIA_DIR", path("data/node")),
            ("RABBITMQ_FEATURE_FLAGS_FILE", path("data/feature_flags")),
            ("RABBITMQ_PID_FILE", path("data/node.pid")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_LOGS", path("log/broker.log")),
            // The start script becomes the Erlang VM instead of waiting beside it.
            ("RUNNING_UNDER_SYSTEMD", "true".into()),
        ];
        let variables = variables.into_iter();
        variables
            .map(|(name, value)| (name.into(), value))
            .collect()
    }

    pub(crate) fn write_files(&self, dir: &Path, ports: &Ports) -> Result<()> {
        let definitions = self.definitions()?;
        for node in 1..=self.nodes {
            let folder = self.folder(dir, node);
            for name in ["home", "data", "log"] {
                make_private_dir(&folder.join(name))?;
            }
            let cookie = folder.join("home/.erlang.cookie");
            if !cookie.exists() {
                write_private(&cookie, self.cookie.as_bytes())?;
            }
            write_private(&folder.join("definitions.json"), definitions.as_bytes())?;
            let plugins: Vec<&str> = [
                self.options.management.then_some("rabbitmq_management"),
                self.options.mutual.then_some("rabbitmq_auth_mechanism_ssl"),
            ]
            .into_iter()
            .flatten()
            .collect();
            let plugins = format!("[{}].\n", plugins.join(","));
            write_private(&folder.join("enabled_plugins"), plugins.as_bytes())?;
            let configuration = self.configuration(&folder, ports, node)?;
            write_private(&folder.join("rabbitmq.conf"), configuration.as_bytes())?;
            let port = |kind: &str| ports[&format!("{kind}-{node}")].to_string();
            let write = |name: &str, text: String| {
                write_private(&folder.join(name), format!("{text}\n").as_bytes())
            };
            for (user, password) in &self.passwords {
                let (file, vhost) = match user.as_str() {
                    ADMINISTRATOR => ("amqp-url".to_owned(), "/"),
                    _ => (format!("{user}-url"), "primepool"),
                };
                write(&file, url(user, password, &port("amqp"), vhost))?;
            }
            if self.options.tls.is_some() {
                write("tls-port", port("tls"))?;
            }
            if self.options.management {
                let scheme = if self.options.tls.is_some() {
                    "https"
                } else {
                    "http"
                };
                write(
                    "management-url",
                    format!("{scheme}://127.0.0.1:{}", port("management")),
                )?;
            }
        }
        Ok(())
    }

    /// The pool's definitions, with hashes of the passwords.
    fn definitions(&self) -> Result<String> {
        let mut command = Command::new(repository().join("infra/rabbitmq/definitions.sh"));
        command.args(["--administrator", ADMINISTRATOR]);
        let lines = self.passwords.iter();
        let lines: String = lines
            .map(|(user, password)| format!("{user} {password}\n"))
            .collect();
        let output = with_input(command, &lines)?;
        if !output.status.success() {
            return Err(failed(format!("definitions.sh: {}", text_of(&output))));
        }
        String::from_utf8(output.stdout).map_err(failed)
    }

    /// That of every pool's broker, and what is the private one's own.
    fn configuration(&self, folder: &Path, ports: &Ports, node: usize) -> Result<String> {
        let mut text = configuration_of_pools("primepool.conf")?;
        text += &format!(
            "\n# What is the private broker's own.\n\
             load_definitions = {}\n\
             vm_memory_high_watermark.relative = 0.3\n\
             disk_free_limit.absolute = 64MB\n\
             log.console = false\n\
             log.file.level = info\n",
            folder.join("definitions.json").display()
        );
        let port = |kind: &str| ports[&format!("{kind}-{node}")];
        if self.nodes > 1 {
            let wanted = [
                "cluster_formation.peer_discovery_backend",
                "cluster_partition_handling",
            ];
            for line in configuration_of_pools("cluster.conf")?.lines() {
                if wanted
                    .iter()
                    .any(|key| line.starts_with(&format!("{key} ")))
                {
                    text += &format!("{line}\n");
                }
            }
            // A node that joins looks for those before it.
            for number in 1..=node {
                let name = node_name(number);
                text += &format!("cluster_formation.classic_config.nodes.{number} = {name}\n");
            }
            text += &format!(
                "cluster_formation.target_cluster_size_hint = {}\n",
                self.nodes
            );
        }
        if self.options.management {
            let kind = if self.options.tls.is_some() {
                "ssl"
            } else {
                "tcp"
            };
            let port = port("management");
            text += &format!("management.{kind}.ip = 127.0.0.1\nmanagement.{kind}.port = {port}\n");
        }
        if let Some(certificates) = &self.options.tls {
            text += &self.tls_configuration(certificates, port("tls"))?;
        }
        Ok(text)
    }

    /// As `infra/rabbitmq/tls.conf` has it, but for the addresses.
    fn tls_configuration(&self, certificates: &Path, port: u16) -> Result<String> {
        let mut text = String::new();
        for line in configuration_of_pools("tls.conf")?.lines() {
            let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
            let line = match key {
                _ if key.starts_with("listeners.tcp.") => continue,
                _ if key.starts_with("listeners.ssl.") => format!("{key} = 127.0.0.1:{port}"),
                "ssl_options.fail_if_no_peer_cert" if self.options.mutual => {
                    format!("{key} = true")
                }
                _ if value.starts_with("/etc/rabbitmq/") => {
                    let file = value.trim_start_matches("/etc/rabbitmq/");
                    format!("{key} = {}", certificates.join(file).display())
                }
                _ => line.to_owned(),
            };
            text += &format!("{line}\n");
            // The management API has the same options under a name of its own.
            if let (true, Some(option)) =
                (self.options.management, line.strip_prefix("ssl_options."))
            {
                text += &format!("management.ssl.{option}\n");
            }
        }
        if self.options.mutual {
            text += "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
                     ssl_cert_login_from = common_name\n";
        }
        Ok(text)
    }
}

/// Part of the data of a node, so it does not change with the ports.
fn node_name(node: usize) -> String {
    format!("primepool{node}@localhost")
}

fn url(user: &str, password: &str, port: &str, vhost: &str) -> String {
    let vhost = if vhost == "/" { "%2f" } else { vhost };
    format!("amqp://{user}:{password}@127.0.0.1:{port}/{vhost}")
}

fn configuration_of_pools(file: &str) -> Result<String> {
    let path = repository().join("infra/rabbitmq").join(file);
    fs::read_to_string(&path).map_err(file_error("read", &path))
}

/// RabbitMQ's own scripts: the wrappers in `/usr/sbin` switch to another user.
fn rabbitmq_scripts() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("RABBITMQ_HOME") {
        return Ok(Path::new(&home).join("sbin"));
    }
    let folders = [
        "/usr/lib/rabbitmq/lib",
        "/usr/lib64/rabbitmq/lib",
        "/usr/local/lib",
        "/opt",
    ];
    let entries = folders.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rabbitmq"))
        .map(|entry| entry.path().join("sbin"))
        .filter(|folder| folder.join("rabbitmq-server").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| failed("RabbitMQ is not installed: run infra/local/setup.sh"))
}

/// Names that go into an expression and into addresses unquoted. The text of a password is not repeated.
fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    let shown = if what == "password" {
        String::new()
    } else {
        format!(" '{name}'")
    };
    Err(usage(format!(
        "{what}{shown}: give letters, digits, dots, dashes and underscores"
    )))
}

fn with_input(mut command: Command, input: &str) -> Result<Output> {
    let program = command.get_program().to_owned();
    let trouble = || file_error("run", Path::new(&program));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(trouble())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ended has said why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(trouble())
}

fn text_of(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(options: BrokerOptions, nodes: usize) -> (Settings, Ports) {
        let settings = Settings {
            options,
            nodes,
            cookie: "c".to_owned(),
            passwords: BTreeMap::new(),
        };
        let names = settings.port_names();
        let ports = names.into_iter().zip(5000..).collect();
        (settings, ports)
    }

    #[test]
    fn a_node_of_a_cluster_looks_for_those_before_it() {
        let (settings, ports) = settings(BrokerOptions::default(), 3);
        let text = settings
            .configuration(Path::new("/d/2"), &ports, 2)
            .unwrap();
        assert!(text.contains("nodes.1 = primepool1@localhost"), "{text}");
        assert!(text.contains("nodes.2 = primepool2@localhost"), "{text}");
        assert!(!text.contains("nodes.3"), "{text}");
        assert!(
            text.contains("cluster_partition_handling = pause_minority"),
            "{text}"
        );
        assert!(text.contains("target_cluster_size_hint = 3"), "{text}");
    }

    #[test]
    fn tls_is_that_of_pools_but_for_addresses() {
        let options = BrokerOptions {
            management: true,
            tls: Some("/certs".into()),
            mutual: true,
        };
        let (settings, ports) = settings(options, 1);
        let text = settings.configuration(Path::new("/d"), &ports, 1).unwrap();
        let port = ports["tls-1"];
        for line in [
            &format!("listeners.ssl.default = 127.0.0.1:{port}") as &str,
            "ssl_options.cacertfile = /certs/ca.pem",
            "management.ssl.cacertfile = /certs/ca.pem",
            "ssl_options.fail_if_no_peer_cert = true",
            "management.ssl.ip = 127.0.0.1",
        ] {
            assert!(text.lines().any(|has| has == line), "{line}: {text}");
        }
        assert!(!text.contains("listeners.tcp"), "{text}");
    }

    #[test]
    fn names_that_would_break_an_expression_are_refused() {
        assert!(check_name("user", "n1.x-y_z").is_ok());
        for name in ["", "a b", "a\"", "a>>", "ä"] {
            assert!(check_name("user", name).is_err(), "{name}");
        }
        let error = check_name("password", "se cret").unwrap_err();
        assert!(!error.to_string().contains("se cret"));
    }
}
