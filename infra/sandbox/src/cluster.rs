//! Three private RabbitMQ nodes that form one cluster.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    broker::Broker,
    broker_node::{BrokerOptions, Settings},
    error::{Result, failed},
    process::wait_for,
    server::{Lifetime, Servers},
    settings::Kind,
};

/// Nodes of a cluster.
const NODES: usize = 3;
/// Time that nodes have to find each other.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Three RabbitMQ nodes in the folders `1`, `2` and `3` of one folder, with the same users and
/// passwords.
#[derive(Debug)]
pub struct BrokerCluster {
    nodes: Vec<Broker>,
}

impl BrokerCluster {
    /// Starts the nodes, or starts them again on the same data, and waits until they are one
    /// cluster.
    ///
    /// # Errors
    /// RabbitMQ is not installed; a node does not start or does not join.
    pub fn start(dir: &Path, options: BrokerOptions, lifetime: &Lifetime) -> Result<Self> {
        let fresh = !crate::settings::Settings::exists(dir);
        let make = || Ok(Kind::Broker(Settings::new(options, NODES)?));
        let servers = Servers::keep(dir, make, lifetime)?;
        for node in 1..=NODES {
            if fresh {
                servers.start(node)?; // each finds those before it
            } else {
                servers.start_only(node)?; // none may be able to go on without the others
            }
        }
        let this = Self::of(&servers);
        for node in &this.nodes {
            node.restart()?;
        }
        let joined = wait_for(JOIN_LIMIT, || {
            let answer = this.nodes[0].ask_erlang("length(rabbit_nodes:all_running()).")?;
            Ok((answer == format!("{{ok, {NODES}}}")).then_some(()))
        })?;
        joined.ok_or_else(|| {
            failed(format!(
                "the nodes in {} did not become one cluster: see {}/*/log/broker.log",
                dir.display(),
                dir.display()
            ))
        })?;
        Ok(this)
    }

    /// A cluster that was started before.
    ///
    /// # Errors
    /// There is none in that folder.
    pub fn at(dir: &Path) -> Result<Self> {
        Ok(Self::of(&Servers::at(dir)?))
    }

    fn of(servers: &Servers) -> Self {
        let nodes = (1..=NODES).map(|node| Broker {
            servers: servers.clone(),
            node,
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// A node, from 1 on; the last one for a larger number.
    #[must_use]
    pub fn node(&self, number: usize) -> &Broker {
        &self.nodes[number.clamp(1, NODES) - 1]
    }

    /// The folder of all nodes.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.nodes[0].servers.dir().to_owned()
    }

    /// Stops all nodes; keeps the data.
    ///
    /// # Errors
    /// The keeper does not answer.
    pub fn stop(&self) -> Result<()> {
        self.nodes[0].stop()
    }
}
