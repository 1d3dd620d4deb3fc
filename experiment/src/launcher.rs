//! Starts a node as a process of this machine, in a container, or by a command for another machine.

use std::{
    env,
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::{process::within, share::Share};

/// Placeholders in a command, which are filled in for each node.
const PLACEHOLDERS: [&str; 3] = ["{host}", "{node}", "{cpus}"];

/// Variables that name a file; a container gets the file too.
const FILES: [&str; 4] = [
    "PRIMEPOOL_TLS_CA",
    "PRIMEPOOL_TLS_CERT",
    "PRIMEPOOL_TLS_KEY",
    "INFLUX_TOKEN_FILE",
];

/// Other variables that a container gets, by name, so that no process list shows a value.
const VARIABLES: [&str; 6] = [
    "PRIMEPOOL_KERNEL",
    "PRIMEPOOL_MANAGEMENT_URL",
    "INFLUX_HOST",
    "INFLUX_ORG",
    "INFLUX_BUCKET",
    "INFLUX_TOKEN",
];

/// How nodes are started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Launcher {
    /// A process of this machine.
    #[default]
    Process,
    /// A container that Docker runs.
    Docker {
        /// Its image, which holds `consumer`, and `experiment` for the ceiling.
        image: String,
        /// More options of `docker run`.
        options: Vec<String>,
    },
    /// A command that starts `consumer` somewhere else.
    Command {
        /// Its words, with placeholders.
        words: Vec<String>,
        /// Values of `{host}`, one per node; empty if the command has no such placeholder.
        hosts: Vec<String>,
    },
}

/// A node to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeSpec<'a> {
    /// Number of the node, from 1.
    pub number: u32,
    pub name: &'a str,
    /// Cores that it may use, if they are limited.
    pub cores: Option<f64>,
}

/// A command that is ready to be started.
#[derive(Debug)]
pub(crate) struct PreparedCommand {
    pub command: Command,
    /// Whether it reads the broker's address from its standard input.
    pub reads_address: bool,
    /// Name of its container.
    pub container: Option<String>,
    /// Control group of the process; to be dropped after the process has ended.
    pub share: Option<Share>,
}

impl Launcher {
    /// Reads `process`, `docker`, or a command.
    pub(crate) fn new(
        text: &str,
        image: &str,
        docker_options: &str,
        hosts: &[String],
    ) -> Result<Self, String> {
        let split = |flag: &str, text: &str| {
            shlex::split(text).ok_or_else(|| format!("{flag}: a quotation mark has no partner"))
        };
        let launcher = match text.trim() {
            "process" => Self::Process,
            "docker" => Self::Docker {
                image: image.to_owned(),
                options: split("--docker-options", docker_options)?,
            },
            command => Self::Command {
                words: split("--launcher", command)?,
                hosts: hosts.to_vec(),
            },
        };
        match &launcher {
            Self::Command { words, hosts } => check(words, hosts)?,
            _ if !hosts.is_empty() => {
                return Err("--hosts needs a --launcher with {host}, such as 'ssh {host} consumer --amqp-url-file -'".to_owned());
            }
            _ => {}
        }
        Ok(launcher)
    }

    /// Checks that there are enough hosts, and that a limit of cores can be set.
    pub(crate) fn check_capacity(&self, nodes: u32, cores: Option<f64>) -> Result<(), String> {
        let Self::Command { words, hosts } = self else {
            return Ok(());
        };
        if !hosts.is_empty() && hosts.len() < nodes as usize {
            return Err(format!(
                "{nodes} nodes need {nodes} hosts, and --hosts names {}: name more (one may be named twice), or ask for fewer --nodes",
                hosts.len()
            ));
        }
        if cores.is_some() && !holds(words, "{cpus}") {
            return Err("--cpus-per-node cannot be given to another machine from here: let the --launcher do it with {cpus}, such as \
                 'docker -H ssh://{host} run --rm -i --cpus {cpus} primepool consumer --amqp-url-file -'"
                .to_owned());
        }
        Ok(())
    }

    /// Whether the nodes are processes of this machine, whose CPU time can be read.
    pub(crate) fn is_process(&self) -> bool {
        *self == Self::Process
    }

    /// Whether the nodes have machines of their own.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Command { .. })
    }

    /// The command of a consumer with `args`, and with those that the broker's address needs.
    pub(crate) fn consumer(
        &self,
        programs: &Path,
        node: NodeSpec<'_>,
        args: &[String],
    ) -> anyhow::Result<PreparedCommand> {
        Ok(match self {
            Self::Process => here(&programs.join("consumer"), node, args)?,
            Self::Docker { image, options } => {
                let mut prepared = docker(image, options, node, "consumer");
                prepared.command.args(["--amqp-url-file", "-"]).args(args);
                prepared.reads_address = true;
                prepared
            }
            Self::Command { words, hosts } => {
                let words = filled(words, hosts, node);
                let reads_address = words
                    .windows(2)
                    .any(|pair| pair[0] == "--amqp-url-file" && pair[1] == "-")
                    || words.iter().any(|word| word == "--amqp-url-file=-");
                elsewhere(&words, args, reads_address)
            }
        })
    }

    /// The command that runs `experiment` with `args` in place of a consumer.
    pub(crate) fn experiment(
        &self,
        own: &Path,
        node: NodeSpec<'_>,
        args: &[String],
    ) -> anyhow::Result<PreparedCommand> {
        Ok(match self {
            Self::Process => here(own, node, args)?,
            Self::Docker { image, options } => {
                let mut prepared = docker(image, options, node, "experiment");
                prepared.command.args(args);
                prepared
            }
            Self::Command { words, hosts } => {
                let mut words = filled(words, hosts, node);
                if let Some(at) = words.iter().position(|word| is_consumer(word)) {
                    words.truncate(at + 1);
                    let dir = words[at].len() - "consumer".len();
                    words[at].replace_range(dir.., "experiment");
                }
                elsewhere(&words, args, false)
            }
        })
    }
}

fn check(words: &[String], hosts: &[String]) -> Result<(), String> {
    let example =
        "write a command that starts consumer, such as 'ssh {host} consumer --amqp-url-file -'";
    if !words.iter().any(|word| is_consumer(word)) {
        return Err(format!(
            "--launcher is process, docker or a command: {example}"
        ));
    }
    for word in words {
        let mut rest = word.clone();
        for placeholder in PLACEHOLDERS {
            rest = rest.replace(placeholder, "");
        }
        if rest.contains(['{', '}']) {
            return Err(format!(
                "--launcher: {word:?} holds a placeholder that there is not; there are {}",
                PLACEHOLDERS.join(", ")
            ));
        }
    }
    match (holds(words, "{host}"), hosts.is_empty()) {
        (true, true) => Err("--launcher has {host}: name the hosts, as --hosts a,b,c".to_owned()),
        (false, false) => Err(format!(
            "--launcher has no place for the --hosts: {example}"
        )),
        _ => Ok(()),
    }
}

fn holds(words: &[String], placeholder: &str) -> bool {
    words.iter().any(|word| word.contains(placeholder))
}

fn is_consumer(word: &str) -> bool {
    word == "consumer" || word.ends_with("/consumer")
}

fn here(program: &Path, node: NodeSpec<'_>, args: &[String]) -> anyhow::Result<PreparedCommand> {
    let share = node.cores.map(Share::new).transpose()?;
    let mut command = within(share.as_ref(), program);
    command.args(args);
    Ok(PreparedCommand {
        command,
        reads_address: false,
        container: None,
        share,
    })
}

fn docker(image: &str, options: &[String], node: NodeSpec<'_>, program: &str) -> PreparedCommand {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "primepool-{}-{}",
        process::id(),
        NUMBER.fetch_add(1, Relaxed)
    );
    let mut command = within(None, Path::new("docker"));
    command
        .args(["run", "--rm", "--interactive", "--name", &name])
        .args(["--pull", "never", "--entrypoint", program]);
    // The private broker of `make experiment` listens on this machine's own address.
    let has_network = |option: &String| option.starts_with("--net");
    if !options.iter().any(has_network) {
        command.args(["--network", "host"]);
    }
    if let Some(cores) = node.cores {
        command.args(["--cpus", &cores.to_string()]);
    }
    for variable in VARIABLES {
        if env::var_os(variable).is_some() {
            command.args(["--env", variable]);
        }
    }
    for variable in FILES {
        if let Ok(file) = env::var(variable) {
            let mount = format!("type=bind,src={file},dst={file},readonly");
            command.args(["--env", variable, "--mount", &mount]);
        }
    }
    command.args(options).arg(image);
    PreparedCommand {
        command,
        reads_address: false,
        container: Some(name),
        share: None,
    }
}

fn filled(words: &[String], hosts: &[String], node: NodeSpec<'_>) -> Vec<String> {
    let host = hosts.get(node.number as usize - 1);
    let cores = node.cores.map(|cores| cores.to_string());
    let fill = |word: &String| {
        word.replace("{host}", host.map_or("", String::as_str))
            .replace("{node}", node.name)
            .replace("{cpus}", cores.as_deref().unwrap_or_default())
    };
    words.iter().map(fill).collect()
}

fn elsewhere(words: &[String], args: &[String], reads_address: bool) -> PreparedCommand {
    let (program, rest) = words.split_first().map_or(("", words), |(p, r)| (p, r));
    let mut command = within(None, Path::new(program));
    command.args(rest).args(args);
    PreparedCommand {
        command,
        reads_address,
        container: None,
        share: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn command(text: &str, hosts: &[&str]) -> Result<Launcher, String> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        Launcher::new(text, "primepool", "", &hosts)
    }

    fn words(prepared: &PreparedCommand) -> String {
        let words = prepared
            .command
            .get_args()
            .map(|word| word.to_str().unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    fn node(number: u32) -> NodeSpec<'static> {
        NodeSpec {
            number,
            name: "node-2",
            cores: Some(0.5),
        }
    }

    #[test]
    fn a_command_is_filled_in_for_each_node() {
        let text = "ssh -p 22 '{host}' nice /opt/bin/consumer --amqp-url-file - --prefetch 9";
        let launcher = command(text, &["a", "b"]).unwrap();
        let args = ["--node".to_owned(), "node-2".to_owned()];
        let prepared = launcher.consumer(Path::new(""), node(2), &args).unwrap();
        assert!(prepared.reads_address);
        assert!(words(&prepared).ends_with(
            "ssh -p 22 b nice /opt/bin/consumer --amqp-url-file - --prefetch 9 --node node-2"
        ));
        let args = ["bare-loop".to_owned()];
        let prepared = launcher.experiment(Path::new(""), node(1), &args).unwrap();
        assert!(!prepared.reads_address);
        assert!(words(&prepared).ends_with("ssh -p 22 a nice /opt/bin/experiment bare-loop"));
    }

    #[test]
    fn what_a_command_lacks_is_said() {
        let says = |text: &str, hosts: &[&str], what: &str| {
            let error = command(text, hosts).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        says("ssh {host} primes", &["a"], "starts consumer");
        says("proces", &[], "process, docker or a command");
        says("ssh {host} consumer", &[], "--hosts a,b,c");
        says("ssh a consumer", &["a"], "no place");
        says("ssh {hots} consumer", &["a"], "{host}, {node}, {cpus}");
        says("ssh 'a consumer", &[], "quotation mark");
        says("docker", &["a"], "needs a --launcher");
        let launcher = command("ssh {host} consumer", &["a", "b"]).unwrap();
        assert_eq!(launcher.check_capacity(2, None), Ok(()));
        assert!(
            launcher
                .check_capacity(3, None)
                .unwrap_err()
                .contains("3 hosts")
        );
        let error = launcher.check_capacity(2, Some(0.5)).unwrap_err();
        assert!(error.contains("{cpus}"), "{error}");
    }

    #[test]
    fn a_container_has_the_limit_and_a_network() {
        let launcher = command("docker", &[]).unwrap();
        let prepared = launcher.consumer(Path::new(""), node(1), &[]).unwrap();
        let line = words(&prepared);
        assert!(line.contains("--network host --cpus 0.5"), "{line}");
        assert!(line.ends_with("primepool --amqp-url-file -"), "{line}");
        assert!(prepared.reads_address && prepared.container.is_some());
        let launcher = Launcher::new("docker", "x:1", "--network 'a b'", &[]).unwrap();
        let prepared = launcher.consumer(Path::new(""), node(1), &[]).unwrap();
        let line = words(&prepared);
        assert!(!line.contains("host"), "{line}");
        assert!(line.contains("--network a b x:1"), "{line}");
    }
}
