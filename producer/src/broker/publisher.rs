//! The publisher: sends the units with a window of outstanding confirms, and records the confirmed
//! ones. Units without a confirm when a connection breaks are sent again.

use std::{sync::Arc, time::Instant};

use futures_util::future::OptionFuture;
use lapin::options::BasicPublishOptions;
use primepool_common::{
    broker::{
        Backoff, BrokerError, ConfirmedPublisher, Endpoint, MANDATORY, Message, control_message,
        open_publisher, properties,
    },
    clock::unix_ns,
    message::{Control, UnitId, WorkUnit},
    pool::PresenceReader,
    topology,
};
use tokio::time::sleep_until;
use tracing::debug;

use super::Membership;
use crate::{
    run_dir::{FolderError, IntegersFile, Journal, Manifest, Publication, Repackings},
    units::{PublisherAction, SharedUnits},
};

/// Largest number of messages that wait for a publisher confirm.
const WINDOW: usize = 1024;

/// Why publishing was aborted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The broker refuses the connection or a message.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A file of the run's folder cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A message that waits for its publisher confirm.
#[derive(Debug)]
enum Sent {
    Unit(Publication),
    CancelBatch(u32),
}

/// The publisher of a run.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub endpoint: Endpoint,
    /// The request and its packing.
    pub manifest: Arc<Manifest>,
    /// The integers of the jobs, if they have any.
    pub integers: Option<IntegersFile>,
    /// Source of the units.
    pub units: SharedUnits,
    pub journal: Journal,
    /// The file that records repackings.
    pub repackings: Repackings,
    /// Membership of the run in the pool.
    pub membership: Membership,
    /// Whether to end when every unit is confirmed; otherwise, more units may follow at any time.
    pub ends_when_idle: bool,
}

impl Publisher {
    /// Publishes until the units are closed, or, with `ends_when_idle`, until every unit is
    /// confirmed.
    ///
    /// # Errors
    /// The broker refuses in a way that only an operator can fix, or the journal cannot be written.
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
        self.membership.attach(&connection).await;
        self.resize()?;
        let mut publisher = ConfirmedPublisher::new(channel, WINDOW);
        let ended = self.publish(&mut publisher, backoff).await;
        let (mut units, mut cancelled) = (Vec::new(), Vec::new());
        for sent in publisher.into_unconfirmed() {
            match sent {
                Sent::Unit(publication) => units.push(publication.unit),
                Sent::CancelBatch(batch) => cancelled.push(batch),
            }
        }
        self.units.lock().give_back(&units, &cancelled);
        ended?;
        let _ = connection.close(200, "published".into()).await;
        Ok(())
    }

    /// Adapts the window and the packing to the pool. A run that publishes everything has no
    /// window.
    fn resize(&self) -> Result<(), FolderError> {
        self.membership.note_pool(Instant::now());
        if self.ends_when_idle {
            return Ok(());
        }
        let window = self.membership.window(&self.units.lock(), Instant::now());
        if self.units.lock().window() != window {
            self.units.update(|units| units.set_window(window));
        }
        // Hold the lock until the repacking is on disk, so that no unit is taken in between.
        let mut units = self.units.lock();
        if let Some(repacking) = units.adapt(self.membership.workers(Instant::now())) {
            debug!(
                from = repacking.from,
                jobs = repacking.packing.most,
                "packing units anew"
            );
            self.repackings.add(&repacking)?;
        }
        Ok(())
    }

    async fn publish(
        &mut self,
        publisher: &mut ConfirmedPublisher<Sent>,
        backoff: &mut Backoff,
    ) -> Result<(), PublishError> {
        let mut next_presence = Instant::now();
        loop {
            let now = Instant::now();
            let is_closed = self.units.lock().is_closed();
            if is_closed || now >= next_presence {
                next_presence = now + self.membership.announce(&self.units, is_closed).await;
                self.resize()?;
            }
            if is_closed {
                return Ok(());
            }
            if self.ends_when_idle && publisher.is_idle() && self.units.lock().is_idle() {
                return Ok(());
            }
            while publisher.has_room()
                && let Some(next) = self.next_action()
            {
                match next {
                    PublisherAction::Settle(repacking) => {
                        self.repackings.add(&repacking)?;
                        self.units.lock().settled(&repacking);
                    }
                    PublisherAction::Jobs { unit, jobs, avoid } => {
                        let integers = match &self.integers {
                            Some(integers) => integers.read(jobs.clone())?,
                            None => Vec::new(),
                        };
                        let Manifest { request, run, .. } = &*self.manifest;
                        let unit = WorkUnit {
                            avoid,
                            ..request.unit(run, unit, jobs, integers, unix_ns())
                        };
                        self.publish_unit(publisher, &unit)?;
                    }
                    PublisherAction::Campaign(mut unit) => {
                        unit.published_ns = unix_ns();
                        self.publish_unit(publisher, &unit)?;
                    }
                    PublisherAction::CancelBatch(batch) => {
                        let control = Control::cancel_group(self.manifest.run.clone(), batch);
                        // Best effort: a consumer that misses this message only wastes work.
                        let message = control_message(&control, BasicPublishOptions::default());
                        publisher.publish(message, Sent::CancelBatch(batch))?;
                    }
                }
            }
            let due = self
                .units
                .lock()
                .next_due()
                .map(|due| sleep_until(due.into()));
            tokio::select! {
                presence = PresenceReader::next_of(&mut self.membership.reader) => {
                    self.membership.note(presence, Instant::now());
                    self.resize()?;
                }
                () = sleep_until(next_presence.into()) => {}
                Some(()) = OptionFuture::from(due) => {}
                (confirmed, burst_end) = publisher.next_burst() => {
                    // Write to the journal once for each burst.
                    self.note_confirmed(confirmed)?;
                    burst_end?;
                    backoff.reset();
                }
                () = self.units.updated() => {
                    if self.units.lock().has_new_pace() {
                        self.resize()?;
                    }
                }
            }
        }
    }

    /// Takes the next action; the lock on the units is released on return.
    fn next_action(&self) -> Option<PublisherAction> {
        self.units.lock().next(Instant::now())
    }

    fn publish_unit(
        &self,
        publisher: &mut ConfirmedPublisher<Sent>,
        unit: &WorkUnit,
    ) -> Result<(), BrokerError> {
        let publication = self.journal.begin(unit.unit);
        let jobs = unit.work.count();
        debug!(unit = unit.unit, jobs, "publishing a unit");
        let message = self.message(unit);
        publisher.publish(message, Sent::Unit(publication))
    }

    /// Writes confirmed units to the journal. Units of campaigns are not recorded: a campaign
    /// issues new ones as needed.
    fn note_confirmed(&self, confirmed: Vec<Sent>) -> Result<(), FolderError> {
        let units = confirmed.into_iter().filter_map(|sent| match sent {
            Sent::Unit(publication) => Some(publication),
            Sent::CancelBatch(_) => None,
        });
        let of_run = |publication: &Publication| !UnitId::of(publication.unit).is_of_campaign();
        let publications: Vec<Publication> = units.filter(of_run).collect();
        self.journal.add(&publications)?;
        let mut units = self.units.lock();
        for publication in &publications {
            units.confirm(publication.unit);
        }
        Ok(())
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
            // Serialising plain data cannot fail.
            body: Arc::new(serde_json::to_vec(unit).unwrap_or_default()),
        }
    }
}
