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

/// Number of nodes in a cluster.
const NODES: usize = 3;
/// Longest time for the nodes to form the cluster.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Three RabbitMQ nodes in the subfolders `1`, `2` and `3`, with the same users and passwords.
#[derive(Debug)]
pub struct BrokerCluster {
    nodes: Vec<Broker>,
}

impl BrokerCluster {
    /// Starts the nodes, or starts them again on their data, and waits until they form a cluster.
    ///
    /// # Errors
    /// RabbitMQ is not installed, or a node does not start or does not join.
    pub fn start(dir: &Path, options: BrokerOptions, lifetime: &Lifetime) -> Result<Self> {
        let fresh = !crate::settings::Settings::exists(dir);
        let make = || Ok(Kind::Broker(Settings::new(options, NODES)?));
        let servers = Servers::keep(dir, make, lifetime)?;
        for node in 1..=NODES {
            if fresh {
                servers.start(node)?; // each joins the nodes before it
            } else {
                servers.start_only(node)?; // a node may need the others to start
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

    /// The cluster in `dir`, which was started before.
    ///
    /// # Errors
    /// There is no server in that folder.
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

    /// A node by its number from 1; a number that is too large means the last node.
    #[must_use]
    pub fn node(&self, number: usize) -> &Broker {
        &self.nodes[number.clamp(1, NODES) - 1]
    }

    /// The folder that holds the folders of the nodes.
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
