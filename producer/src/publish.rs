//! The publishing side: sends the units with a window of outstanding confirmations, and writes down what was confirmed.
//! Whatever was not when a connection broke is sent again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions};
use primepool_common::{
    broker::{
        Backoff, BrokerError, Endpoint, MANDATORY, confirmed, properties, publish_control, refusal,
    },
    clock::unix_ns,
    message::{Control, WorkUnit, group_of},
    topology,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{debug, warn};

use crate::{
    folder::{FolderError, Journal, Manifest, Publication},
    state::Shared,
};

/// Most units that wait for a confirmation at once.
const WINDOW: usize = 1024;

/// Seconds without a confirmation after which the log says so.
const COMPLAIN_EVERY: u32 = 30;

/// Why publishing ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] FolderError),
}

impl From<lapin::Error> for PublishError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error.into())
    }
}

/// What the publishing side is asked for.
#[derive(Debug)]
pub enum Request {
    /// To publish these units, before all others.
    Units(Vec<u64>),
    /// To tell everybody that nobody wants the units of this group any more.
    CancelGroup(u32),
}

/// What the publishing side works with.
#[derive(Debug)]
pub struct Publisher {
    /// The broker.
    endpoint: Endpoint,
    /// What is asked for.
    manifest: Arc<Manifest>,
    /// Counters of the run.
    shared: Arc<Shared>,
    /// The confirmed units.
    journal: Journal,
    /// Units to publish; more may be asked for at any time.
    requests: UnboundedReceiver<Request>,
    /// Whether no more can be asked for.
    requests_ended: bool,
    /// Units that are to be published now.
    waiting: VecDeque<u64>,
    /// Groups that everybody is to be told of now.
    cancelled: Vec<u32>,
}

impl Publisher {
    /// To publish `waiting`, and then whatever `requests` brings.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        manifest: Arc<Manifest>,
        shared: Arc<Shared>,
        journal: Journal,
        requests: UnboundedReceiver<Request>,
        waiting: Vec<u64>,
    ) -> Self {
        Self {
            endpoint,
            manifest,
            shared,
            journal,
            requests,
            requests_ended: false,
            waiting: waiting.into(),
            cancelled: Vec::new(),
        }
    }

    /// Publishes until nothing more can be asked for.
    ///
    /// # Errors
    /// The broker refuses in a way that only an operator can mend, or the journal cannot be written.
    pub async fn run(mut self) -> Result<(), PublishError> {
        let mut backoff = Backoff::new();
        loop {
            let error = match self.session(&mut backoff).await {
                Ok(()) => return Ok(()),
                Err(PublishError::Broker(error)) if !error.needs_operator() => error,
                Err(error) => return Err(error),
            };
            backoff.pause("publishing", &error).await;
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), PublishError> {
        let name = format!("primepool producer {} (publishing)", self.manifest.run);
        let (connection, channel) = topology::open_publisher(&self.endpoint, &name).await?;
        let mut unconfirmed = HashMap::new();
        let ended = self.publish(&channel, &mut unconfirmed, backoff).await;
        // What is in doubt goes first; the broker may get it twice, the results are told apart by their jobs.
        for publication in unconfirmed.into_values() {
            self.waiting.push_front(publication.unit);
        }
        ended?;
        let _ = connection.close(200, "published".into()).await;
        Ok(())
    }

    async fn publish(
        &mut self,
        channel: &Channel,
        unconfirmed: &mut HashMap<u64, Publication>,
        backoff: &mut Backoff,
    ) -> Result<(), PublishError> {
        let mut confirms = FuturesUnordered::new();
        let mut number = 0;
        let mut quiet = 0;
        let mut pulse = tokio::time::interval(Duration::from_secs(1));
        loop {
            if self.requests_ended && self.waiting.is_empty() && unconfirmed.is_empty() {
                return Ok(());
            }
            while unconfirmed.len() < WINDOW
                && let Some(unit) = self.waiting.pop_front()
            {
                let Some(unit) = self.unit(unit) else {
                    continue;
                };
                number += 1;
                unconfirmed.insert(number, self.journal.begin(unit.unit));
                let confirm = self.send(channel, &unit).await?;
                confirms.push(confirmed(number, confirm));
            }
            while let Some(&group) = self.cancelled.last() {
                number += 1;
                let control = Control::cancel_group(self.manifest.run.clone(), group);
                // Who does not hear it only does more than is needed.
                let options = BasicPublishOptions::default();
                let confirm = publish_control(channel, &control, options).await?;
                confirms.push(confirmed(number, confirm));
                self.cancelled.pop();
            }
            tokio::select! {
                Some((number, confirmation)) = confirms.next() => {
                    let mut confirmed = Vec::new();
                    Self::take_word(unconfirmed, number, confirmation?, &mut confirmed)?;
                    // Confirmations come in bursts: one write for each burst.
                    while let Some(Some((number, confirmation))) = confirms.next().now_or_never() {
                        Self::take_word(unconfirmed, number, confirmation?, &mut confirmed)?;
                    }
                    quiet = 0;
                    backoff.reset();
                    // Units of groups are made anew, as their work needs them.
                    confirmed.retain(|publication| group_of(publication.unit) == 0);
                    self.journal.add(&confirmed)?;
                    self.shared.units_published.fetch_add(confirmed.len() as u64, Relaxed);
                }
                request = self.requests.recv(), if !self.requests_ended => match request {
                    // They go first: somebody waits for them longest.
                    Some(Request::Units(units)) => self.put_first(units),
                    Some(Request::CancelGroup(group)) => {
                        self.waiting.retain(|unit| group_of(*unit) != group);
                        self.cancelled.push(group);
                    }
                    None => self.requests_ended = true,
                },
                // A connection that broke while everything waits is seen here.
                _ = pulse.tick() => {
                    if !channel.status().connected() {
                        return Err(BrokerError::Lost { reason: "the channel is closed".to_owned() }.into());
                    }
                    quiet = if unconfirmed.is_empty() { 0 } else { quiet + 1 };
                    if quiet % COMPLAIN_EVERY == COMPLAIN_EVERY - 1 {
                        warn!("the broker has confirmed nothing for {quiet} s: {} units wait for its word", unconfirmed.len());
                    }
                }
            }
        }
    }

    fn put_first(&mut self, units: Vec<u64>) {
        let again: HashSet<u64> = units.iter().copied().collect();
        self.waiting.retain(|unit| !again.contains(unit));
        for unit in units.into_iter().rev() {
            self.waiting.push_front(unit);
        }
    }

    fn take_word(
        unconfirmed: &mut HashMap<u64, Publication>,
        number: u64,
        confirmation: Confirmation,
        confirmed: &mut Vec<Publication>,
    ) -> Result<(), PublishError> {
        if let Some(error) = refusal(&confirmation) {
            return Err(error.into());
        }
        confirmed.extend(unconfirmed.remove(&number));
        Ok(())
    }

    /// The unit of this number as it is published now; nothing if nobody wants it any more.
    fn unit(&self, unit: u64) -> Option<WorkUnit> {
        let published_ns = unix_ns();
        if group_of(unit) > 0 {
            let unit = self.shared.grouped(unit)?;
            return Some(WorkUnit {
                published_ns,
                ..unit
            });
        }
        let Manifest { ask, run, .. } = &*self.manifest;
        let (first, end) = self.shared.bounds(unit);
        let mut unit = ask.unit(run, unit, first, end, published_ns);
        unit.avoid = self.shared.avoided(unit.unit);
        Some(unit)
    }

    async fn send(
        &self,
        channel: &Channel,
        unit: &WorkUnit,
    ) -> Result<PublisherConfirm, lapin::Error> {
        let manifest = &self.manifest;
        // Plain data: it always has a JSON form.
        let body = serde_json::to_vec(unit).unwrap_or_default();
        let kind = unit.work.kind();
        let published_s = unit.published_ns / 1_000_000_000;
        let properties = properties(kind.as_str(), &manifest.run, published_s)
            .with_priority(manifest.priority)
            .with_message_id(unit.message_id().into())
            .with_reply_to(topology::results_queue(&manifest.run).into());
        self.shared.note_published(unit.unit, Instant::now());
        debug!(unit = unit.unit, jobs = unit.work.count(), "publishes");
        channel
            .basic_publish(
                topology::JOBS_EXCHANGE.into(),
                kind.as_str().into(),
                MANDATORY,
                &body,
                properties,
            )
            .await
    }
}
