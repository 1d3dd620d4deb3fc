//! The publishing side: sends the units with a window of outstanding confirmations, and writes down what was confirmed.
//! Whatever was not when a connection broke is sent again.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use lapin::options::BasicPublishOptions;
use primepool_common::{
    broker::{
        Backoff, BrokerError, ConfirmedPublisher, Endpoint, MANDATORY, Message, control_message,
        open_publisher, properties,
    },
    clock::unix_ns,
    message::{Control, UnitId, WorkUnit},
    topology,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::debug;

use crate::{
    run_dir::{FolderError, Journal, Manifest, Publication},
    state::Shared,
};

/// Most units that wait for a confirmation at once.
const WINDOW: usize = 1024;

/// Why publishing ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The broker refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] FolderError),
}

/// What the publishing side is asked for.
#[derive(Debug)]
pub(crate) enum PublishRequest {
    /// To publish these units, before all others.
    Units(Vec<u64>),
    /// To tell the consumers that the units of this batch are not wanted any more.
    CancelBatch(u32),
}

/// A message that waits for its confirm.
#[derive(Debug)]
enum Sent {
    Unit(Publication),
    Control,
}

/// What the publishing side works with.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// The broker.
    endpoint: Endpoint,
    /// What is asked for.
    manifest: Arc<Manifest>,
    /// Counters of the run.
    shared: Arc<Shared>,
    /// The confirmed units.
    journal: Journal,
    /// Units to publish; more may be asked for at any time.
    requests: UnboundedReceiver<PublishRequest>,
    /// Whether no more can be asked for.
    requests_ended: bool,
    /// Units that are to be published now.
    waiting: VecDeque<u64>,
    /// Batches whose cancellation is to be published now.
    cancelled: Vec<u32>,
}

impl Publisher {
    /// To publish `waiting`, and then whatever `requests` brings.
    #[must_use]
    pub(crate) fn new(
        endpoint: Endpoint,
        manifest: Arc<Manifest>,
        shared: Arc<Shared>,
        journal: Journal,
        requests: UnboundedReceiver<PublishRequest>,
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
    pub(crate) async fn run(mut self) -> Result<(), PublishError> {
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
        let (connection, channel) = open_publisher(&self.endpoint, &name).await?;
        let mut publisher = ConfirmedPublisher::new(channel, WINDOW);
        let ended = self.publish(&mut publisher, backoff).await;
        // Publish these first. The broker may get one twice; results are told apart by their jobs.
        for sent in publisher.into_unconfirmed().rev() {
            if let Sent::Unit(publication) = sent {
                self.waiting.push_front(publication.unit);
            }
        }
        ended?;
        let _ = connection.close(200, "published".into()).await;
        Ok(())
    }

    async fn publish(
        &mut self,
        publisher: &mut ConfirmedPublisher<Sent>,
        backoff: &mut Backoff,
    ) -> Result<(), PublishError> {
        loop {
            if self.requests_ended && self.waiting.is_empty() && publisher.is_idle() {
                return Ok(());
            }
            while publisher.has_room()
                && let Some(unit) = self.waiting.pop_front()
            {
                if let Some(unit) = self.unit(unit) {
                    let publication = self.journal.begin(unit.unit);
                    let message = self.message(&unit);
                    self.shared.note_published(unit.unit, Instant::now());
                    debug!(unit = unit.unit, jobs = unit.work.count(), "publishes");
                    publisher.publish(message, Sent::Unit(publication)).await?;
                }
            }
            while let Some(&batch) = self.cancelled.last() {
                let control = Control::cancel_group(self.manifest.run.clone(), batch);
                // Best effort: a consumer that misses this message only wastes work.
                let message = control_message(&control, BasicPublishOptions::default());
                publisher.publish(message, Sent::Control).await?;
                self.cancelled.pop();
            }
            tokio::select! {
                sent = publisher.next() => {
                    let mut confirmed = vec![sent?];
                    // Confirms come in bursts: one write for each burst.
                    let burst_end = loop {
                        match publisher.try_next() {
                            Ok(Some(sent)) => confirmed.push(sent),
                            Ok(None) => break Ok(()),
                            Err(error) => break Err(error),
                        }
                    };
                    self.note_confirmed(confirmed)?;
                    burst_end?;
                    backoff.reset();
                }
                request = self.requests.recv(), if !self.requests_ended => match request {
                    // Publish these first; they have waited longest.
                    Some(PublishRequest::Units(units)) => self.put_first(units),
                    Some(PublishRequest::CancelBatch(batch)) => {
                        self.waiting.retain(|unit| UnitId::of(*unit).batch != batch);
                        self.cancelled.push(batch);
                    }
                    None => self.requests_ended = true,
                },
            }
        }
    }

    /// Writes confirmed units to the journal. Units of campaigns are not in it: a campaign issues
    /// new ones as it needs them.
    fn note_confirmed(&self, confirmed: Vec<Sent>) -> Result<(), FolderError> {
        let units = confirmed.into_iter().filter_map(|sent| match sent {
            Sent::Unit(publication) => Some(publication),
            Sent::Control => None,
        });
        let of_run = |publication: &Publication| !UnitId::of(publication.unit).is_of_campaign();
        let units: Vec<Publication> = units.filter(of_run).collect();
        self.journal.add(&units)?;
        self.shared
            .units_published
            .fetch_add(units.len() as u64, Relaxed);
        Ok(())
    }

    fn put_first(&mut self, units: Vec<u64>) {
        let again: HashSet<u64> = units.iter().copied().collect();
        self.waiting.retain(|unit| !again.contains(unit));
        for unit in units.into_iter().rev() {
            self.waiting.push_front(unit);
        }
    }

    /// The unit of this number as it is published now; nothing if nobody wants it any more.
    fn unit(&self, unit: u64) -> Option<WorkUnit> {
        let published_ns = unix_ns();
        if UnitId::of(unit).is_of_campaign() {
            let unit = self.shared.campaign_unit(unit)?;
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

    fn message(&self, unit: &WorkUnit) -> Message {
        let manifest = &self.manifest;
        let kind = unit.work.kind();
        let published_s = unit.published_ns / 1_000_000_000;
        let properties = properties(kind.as_str(), &manifest.run, published_s)
            .with_priority(manifest.priority)
            .with_message_id(unit.message_id().into())
            .with_reply_to(topology::results_queue(&manifest.run).into());
        Message {
            exchange: topology::JOBS_EXCHANGE,
            routing_key: kind.as_str().to_owned(),
            options: MANDATORY,
            properties,
            // Plain data: it always has a JSON form.
            body: Arc::new(serde_json::to_vec(unit).unwrap_or_default()),
        }
    }
}
