//! A private RabbitMQ with its own node name, credentials, Erlang cookie, epmd, ports and data.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    broker_node::{ADMINISTRATOR, BrokerOptions, Settings, node_name, rabbitmq_scripts, url},
    error::{Result, failed, file_error, usage},
    files::read,
    process::{text_of, wait_for, with_input},
    server::{Lifetime, Servers},
    settings::Kind,
};

/// Patterns for the names of queues and exchanges that a user may configure, write to and read
/// from.
#[derive(Debug, Clone, Copy)]
pub struct Permissions<'a> {
    /// Pattern for `configure`: declare and delete.
    pub configure: &'a str,
    /// Pattern for `write`: publish, and bind queues.
    pub write: &'a str,
    /// Pattern for `read`: consume, and bind to exchanges.
    pub read: &'a str,
}

/// A private RabbitMQ: one node, alone or in a cluster.
///
/// Its folder holds these addresses (mode 600): `amqp-url` of the administrator, in the default
/// virtual host; `consumer-url`, `producer-url`, `operator-url` and `monitoring-url` of the pool's
/// users (`infra/rabbitmq/definitions.json`), in the virtual host `primepool`; and, if enabled,
/// `management-url` and `tls-port`.
#[derive(Debug)]
pub struct Broker {
    pub(crate) servers: Servers,
    pub(crate) node: usize,
}

impl Broker {
    /// Starts a broker with its data in `dir`. If `dir` holds a broker already, starts it again
    /// with its data, credentials and options; `options` is then ignored.
    ///
    /// # Errors
    /// RabbitMQ is not installed or does not start, or the folder holds something else.
    pub fn start(dir: &Path, options: BrokerOptions, lifetime: &Lifetime) -> Result<Self> {
        let make = || Ok(Kind::Broker(Settings::new(options, 1)?));
        let servers = Servers::keep(dir, make, lifetime)?;
        servers.start(1)?;
        Ok(Self { servers, node: 1 })
    }

    /// The broker in `dir`, which was started before.
    ///
    /// # Errors
    /// There is no broker in that folder.
    pub fn at(dir: &Path) -> Result<Self> {
        let servers = Servers::at(dir)?;
        Ok(Self { servers, node: 1 })
    }

    /// The folder that holds the addresses of this node.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        match crate::settings::Settings::read(self.servers.dir()) {
            Ok(settings) => settings.folder(self.servers.dir(), self.node),
            Err(_) => self.servers.dir().to_owned(),
        }
    }

    /// The AMQP address for a user: `amqp` (the administrator), `consumer`, `producer`, `operator`
    /// or `monitoring`.
    ///
    /// # Errors
    /// There is no such user.
    pub fn url(&self, user: &str) -> Result<String> {
        self.read(&format!("{user}-url"))
    }

    /// The address of the management API.
    ///
    /// # Errors
    /// The broker was started without the management API.
    pub fn management_url(&self) -> Result<String> {
        self.read("management-url")
    }

    /// The port for AMQP over TLS.
    ///
    /// # Errors
    /// The broker was started without TLS.
    pub fn tls_port(&self) -> Result<u16> {
        self.read("tls-port")?.parse().map_err(failed)
    }

    /// The process id of the server.
    ///
    /// # Errors
    /// The server does not run.
    pub fn pid(&self) -> Result<u32> {
        self.read("pid")?.parse().map_err(failed)
    }

    /// The path of the server's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir().join("log/broker.log")
    }

    /// Kills the server with SIGKILL. Its ports stay reserved.
    ///
    /// # Errors
    /// No keeper runs for the folder.
    pub fn kill(&self) -> Result<()> {
        self.servers.kill(self.node)
    }

    /// Starts the server again after [`Broker::kill`].
    ///
    /// # Errors
    /// The server does not start.
    pub fn restart(&self) -> Result<()> {
        self.servers.start(self.node)
    }

    /// Stops the broker and all nodes of its cluster; keeps the data.
    ///
    /// # Errors
    /// The keeper does not answer.
    pub fn stop(&self) -> Result<()> {
        self.servers.stop()
    }

    /// Detaches the broker from its owner: it keeps running when the owner dies.
    ///
    /// # Errors
    /// The keeper does not answer.
    pub fn release(&self) -> Result<()> {
        self.servers.release()
    }

    /// Creates a virtual host unless it exists, and returns the administrator's address in it.
    ///
    /// # Errors
    /// The name has other characters than letters, digits, dot, dash and underscore, or the broker
    /// does not answer.
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

    /// Creates a user, or changes its password and permissions, and returns the user's address.
    ///
    /// # Errors
    /// A name or the password has other characters than letters, digits, dot, dash and underscore;
    /// a pattern has quotes or backslashes; or the broker does not answer.
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

    /// Runs rabbitmqctl, and returns its standard output.
    ///
    /// # Errors
    /// rabbitmqctl is not installed or fails.
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

    /// A rabbitmqctl command for this broker.
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

    /// Evaluates an Erlang expression that must return `ok`. This uses erl_call, a part of Erlang
    /// that answers within milliseconds; rabbitmqctl takes more than a second to load. The
    /// expression is passed on standard input, so that no password appears on a command line.
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
        // Two simultaneous calls may choose the same name for themselves; the broker then rejects
        // one of them.
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

/// Checks a name that is inserted unquoted into an Erlang expression and into addresses. The error
/// does not show a password.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
