//! The jobs queue of an experiment: whether it is free, its consumers, and how to empty it.

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

const POLL: Duration = Duration::from_millis(50);

/// The broker's options, read from the environment alone, as producers and consumers get them.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    broker: BrokerArgs,
}

/// The jobs queue of a kind, on the broker that the environment names.
#[derive(Debug)]
pub(crate) struct JobsQueue {
    runtime: Runtime,
    endpoint: Endpoint,
    address: String,
    name: String,
}

impl JobsQueue {
    /// Reads the broker's address, but does not connect yet.
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
    pub(crate) fn address(&self) -> &str {
        self.address.trim()
    }

    /// Fails if the queue has consumers or ready units, or if the broker cannot be reached.
    pub(crate) fn is_free(&self) -> Result<()> {
        let state = self.state()?;
        if state.consumers > 0 {
            bail!(
                "{} consumer(s) that the experiment did not start take jobs of this broker: \
                 end them, or name another virtual host in PRIMEPOOL_AMQP_URL",
                state.consumers
            );
        }
        if state.ready > 0 {
            bail!(
                "{} unit(s) of another run wait in {}: let consumers finish them, drop them \
                 (rabbitmqctl purge_queue {}), or name another virtual host in PRIMEPOOL_AMQP_URL",
                state.ready,
                self.name,
                self.name
            );
        }
        Ok(())
    }

    /// The state of the queue now; a queue that does not exist is empty.
    pub(crate) fn state(&self) -> Result<QueueState> {
        self.until(Duration::ZERO, |_| Ok(true))
    }

    /// Polls the queue until `is_so` is true or fails, or the time is over; returns the last state.
    pub(crate) fn until(
        &self,
        longest: Duration,
        mut is_so: impl FnMut(QueueState) -> Result<bool>,
    ) -> Result<QueueState> {
        let deadline = Instant::now() + longest;
        self.with_connection(async |connection| {
            loop {
                let state = match queue_state(connection, &self.name).await {
                    Ok(state) => state,
                    Err(BrokerError::NotFound { .. }) => QueueState {
                        ready: 0,
                        consumers: 0,
                    },
                    Err(error) => return Err(error.into()),
                };
                if is_so(state)? || Instant::now() >= deadline {
                    return Ok(state);
                }
                tokio::time::sleep(POLL).await;
            }
        })
    }

    /// Calls `act` with a new connection and closes the connection afterwards.
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

    /// Purges this queue and that of no-op jobs, and deletes the results queues of `runs`.
    pub(crate) fn clear(&self, runs: &[RunId]) -> Result<()> {
        self.with_connection(async |connection| {
            let channel = connection.create_channel().await?;
            let noop = topology::jobs_queue(JobKind::Noop);
            for name in [&self.name, &noop] {
                channel
                    .queue_purge(name.as_str().into(), QueuePurgeOptions::default())
                    .await
                    .with_context(|| format!("cannot purge {name}"))?;
            }
            for run in runs {
                delete_results(connection, run).await?;
            }
            Ok(())
        })
    }
}
