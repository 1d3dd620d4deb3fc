//! The nodes of a private broker, for their keeper: configuration, addresses, environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, failed, file_error, usage},
    files::{make_private_dir, repository, write_private},
    launch::Launch,
    ports::Ports,
    process::{text_of, with_input},
    random::random_hex,
};

/// The user with all permissions.
pub(crate) const ADMINISTRATOR: &str = "primepool";
/// The users in `infra/rabbitmq/definitions.json`.
const POOL_USERS: [&str; 4] = ["consumer", "producer", "operator", "monitoring"];
/// Most Erlang schedulers: more do not speed up a single queue, but use memory and cores that the
/// workers need.
const MOST_SCHEDULERS: usize = 4;

/// Optional features of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerOptions {
    /// Enables the management API.
    pub management: bool,
    /// Enables TLS for AMQP and the management API. The folder holds the certificates: `ca.pem`,
    /// `head.pem`, `head.key`.
    pub tls: Option<PathBuf>,
    /// Mutual TLS: clients present a certificate, which is enough to log in. Requires `tls`.
    pub mutual: bool,
}

/// Settings of a broker and all its nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    options: BrokerOptions,
    nodes: usize,
    cookie: String,
    /// Passwords by user.
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

    /// The epmd of the broker; the nodes of a cluster find each other through it.
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
        // One log per start, so that an error message never shows lines of an earlier start.
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

    /// The complete environment of a node. Nothing of the caller's environment is inherited: a
    /// `RABBITMQ_…` variable there could point at another broker.
    pub(crate) fn environment(
        &self,
        dir: &Path,
        ports: &Ports,
        node: usize,
    ) -> Vec<(OsString, OsString)> {
        let folder = self.folder(dir, node);
        let port = |kind: &str| ports[&format!("{kind}-{node}")].to_string();
        let path = |name: &str| folder.join(name).into_os_string();
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let schedulers = cores.min(MOST_SCHEDULERS);
        let variables: Vec<(&str, OsString)> = vec![
            ("HOME", path("home")), // holds the Erlang cookie
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
            // rabbitmqctl listens too: let it use any free port.
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
            // Makes the start script execute the Erlang VM instead of waiting for it as a child.
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

    /// `rabbitmq.conf`: the configuration of every pool, with the additions of a private broker.
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
            // A node that joins looks for the nodes started before it.
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

    /// `infra/rabbitmq/tls.conf` with the addresses and paths of this broker.
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
            // The management API has the same options under its own prefix.
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

/// The name of a node. It is part of the node's data, so it does not depend on the ports.
pub(crate) fn node_name(node: usize) -> String {
    format!("primepool{node}@localhost")
}

pub(crate) fn url(user: &str, password: &str, port: &str, vhost: &str) -> String {
    let vhost = if vhost == "/" { "%2f" } else { vhost };
    format!("amqp://{user}:{password}@127.0.0.1:{port}/{vhost}")
}

fn configuration_of_pools(file: &str) -> Result<String> {
    let path = repository().join("infra/rabbitmq").join(file);
    fs::read_to_string(&path).map_err(file_error("read", &path))
}

/// The folder of RabbitMQ's own scripts. The wrappers in `/usr/sbin` would switch to another user.
pub(crate) fn rabbitmq_scripts() -> Result<PathBuf> {
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
}
