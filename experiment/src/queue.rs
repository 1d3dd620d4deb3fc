//! The queue of the jobs, as an experiment has to see it: whether it is free, who has joined, and how to leave it empty.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use clap::Parser;
use lapin::{Connection, options::QueuePurgeOptions};
use primepool_common::{
    broker::{BrokerArgs, BrokerError, Endpoint, delete_results, queue_state},
    message::{JobKind, RunId},
    topology::{self, QueueState},
};
use tokio::runtime::Runtime;

/// Time between two looks at the queue.
const LOOK: Duration = Duration::from_millis(50);

/// The options of the broker, of which only the environment is read: it is what consumers and producers get.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    broker: BrokerArgs,
}

/// The queue of jobs of a kind, on the broker that the environment names.
#[derive(Debug)]
pub(crate) struct JobsQueue {
    runtime: Runtime,
    endpoint: Endpoint,
    address: String,
    name: String,
}

impl JobsQueue {
    /// Reads the broker's address; asks nothing yet.
    ///
    /// # Errors
    /// The address is not one.
    pub(crate) fn from_environment(kind: JobKind) -> Result<Self> {
        let broker = Environment::try_parse_from(["experiment"])?.broker;
        let endpoint = Endpoint::from_args(&broker).map_err(Error::msg)?;
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            endpoint,
            address: broker.address().map_err(Error::msg)?,
            name: topology::jobs_queue(kind),
        })
    }

    /// The broker's address, password included.
    #[must_use]
    pub(crate) fn address(&self) -> &str {
        self.address.trim()
    }

    /// Looks that nobody else uses the queue.
    ///
    /// # Errors
    /// Somebody does, or the broker cannot be reached.
    pub(crate) fn is_free(&self) -> Result<()> {
        let state = self.until(Duration::ZERO, |_| Ok(true))?;
        if state.consumers > 0 {
            bail!(
                "{} consumer(s) of somebody else take jobs of this broker, and would take the experiment's: end them, or name \
                 another virtual host in PRIMEPOOL_AMQP_URL",
                state.consumers
            );
        }
        if state.ready > 0 {
            bail!(
                "{} unit(s) wait in {} of this broker, and the experiment's consumers would take them: let consumers finish them, \
                 drop them (rabbitmqctl purge_queue {}), or name another virtual host in PRIMEPOOL_AMQP_URL",
                state.ready,
                self.name,
                self.name
            );
        }
        Ok(())
    }

    /// Looks at the queue until `is_so`, or until the time is over; its last state. One that is not there is empty.
    ///
    /// # Errors
    /// Those of `is_so`, or the broker cannot be reached.
    pub(crate) fn until(
        &self,
        longest: Duration,
        mut is_so: impl FnMut(QueueState) -> Result<bool>,
    ) -> Result<QueueState> {
        let deadline = Instant::now() + longest;
        self.runtime.block_on(async {
            let connection = self.endpoint.connect("experiment").await?;
            let state = loop {
                let state = match queue_state(&connection, &self.name).await {
                    Ok(state) => state,
                    Err(BrokerError::NotFound { .. }) => QueueState {
                        ready: 0,
                        consumers: 0,
                    },
                    Err(error) => return Err(error.into()),
                };
                if is_so(state)? || Instant::now() >= deadline {
                    break state;
                }
                tokio::time::sleep(LOOK).await;
            };
            let _ = connection.close(200, "done".into()).await;
            Ok(state)
        })
    }

    /// Does something on a connection of its own.
    ///
    /// # Errors
    /// The broker cannot be reached, or what `act` says.
    pub(crate) fn with_connection<T>(
        &self,
        act: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.runtime.block_on(async {
            let connection = self.endpoint.connect("experiment").await?;
            let result = act(&connection).await;
            let _ = connection.close(200, "done".into()).await;
            result
        })
    }

    /// Drops what a run that was not finished has left: its units and its answers.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub(crate) fn clear(&self, runs: &[RunId]) -> Result<()> {
        self.runtime.block_on(async {
            let connection = self.endpoint.connect("experiment").await?;
            let channel = connection.create_channel().await?;
            channel
                .queue_purge(self.name.as_str().into(), QueuePurgeOptions::default())
                .await
                .with_context(|| format!("cannot empty {}", self.name))?;
            for run in runs {
                delete_results(&connection, run).await?;
            }
            let _ = connection.close(200, "done".into()).await;
            Ok(())
        })
    }
}
