//! The consuming side: subscribes to the queues, decodes the units, and hands them to the workers.
//! It reconnects whenever the connection or a subscription ends.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use primepool_common::{
    broker::{Backoff, BrokerError, ControlReader, Endpoint, declare, in_time, queue_state},
    message::{CONTENT_TYPE, Control, Instruction, JobKind, WorkUnit, decode_unit},
    topology,
};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error_span, info, warn};

use crate::{
    answers::{DeadLetter, Outgoing},
    cli::Settings,
    ledger::Ledger,
    metrics::Queues,
    node::Node,
    prefetch::Prefetch,
    receipt::{self, ChannelDeliveries, Receipt},
    running::Running,
    tasks::{Task, Tasks},
};

/// The consuming side and its state.
#[derive(Debug)]
pub(crate) struct Intake {
    pub endpoint: Endpoint,
    pub settings: Settings,
    pub node: Arc<Node>,
    /// Queue of units for the workers.
    pub tasks: Tasks,
    pub outgoing: UnboundedSender<Outgoing>,
    pub ledger: Ledger,
    pub prefetch: Prefetch,
    /// Units that the workers are processing.
    pub running: Running,
    /// Queues whose length is written to the metrics.
    pub queues: Queues,
    /// Becomes true when the consumer must stop taking units.
    pub stop: watch::Receiver<bool>,
}

/// First pause before this node requeues a unit that it must not process.
const LEAVE_FIRST: Duration = Duration::from_millis(300);

/// Number of times that this pause doubles.
const LEAVE_DOUBLINGS: u32 = 9;

/// Longest time for the subscriptions.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// The session that delivered the units. It must be kept until they are acknowledged: a channel
/// closes when its handle is dropped, and the broker then requeues the unacknowledged units.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    _channel: Channel,
}

impl Session {
    /// Closes the connection.
    pub(crate) async fn close(self) {
        let _ = self.connection.close(200, "drained".into()).await;
    }
}

/// The merged output of all subscriptions: the generation of a subscription, and a delivery or
/// `None` for its end.
type Deliveries = SelectAll<BoxStream<'static, (u32, Option<lapin::Result<Delivery>>)>>;

/// The subscriptions to the queues of all kinds. A subscription keeps its prefetch, so another
/// prefetch needs new subscriptions.
#[derive(Default)]
struct Subscriptions {
    deliveries: Deliveries,
    tags: Vec<String>,
    generation: u32,
}

impl Intake {
    /// Takes units until told to stop. Returns the session that delivered them.
    ///
    /// # Errors
    /// The first connection failed in a way that only the operator can fix. Later connections are
    /// retried without limit.
    pub(crate) async fn run(mut self) -> Result<Option<Session>, BrokerError> {
        let mut backoff = Backoff::new();
        let mut was_connected = false;
        loop {
            let result = self.session(&mut backoff, &mut was_connected).await;
            self.node.set_consuming(false);
            let error = match result {
                Ok(session) => return Ok(Some(session)),
                Err(error) => error,
            };
            if error.needs_operator() && !was_connected {
                return Err(error);
            }
            tokio::select! {
                () = backoff.pause("consuming", &error) => {}
                _ = self.stop.wait_for(|stop| *stop) => return Ok(None),
            }
        }
    }

    /// Runs one session: from connecting to the request to stop, or to the first error.
    async fn session(
        &mut self,
        backoff: &mut Backoff,
        was_connected: &mut bool,
    ) -> Result<Session, BrokerError> {
        let name = format!("primepool consumer {} (consuming)", self.settings.node);
        let connection = self.endpoint.connect(&name).await?;
        declare(&connection).await?;
        // Opened before the first unit arrives, because that unit may belong to a cancelled run.
        let mut control = ControlReader::open_or_warn(&connection).await;
        let channel = connection.create_channel().await?;
        let unsettled = ChannelDeliveries::default();
        let mut subscriptions = Subscriptions::default();
        self.subscribe(&channel, &mut subscriptions).await?;
        self.node.set_consuming(true);
        *was_connected = true;
        backoff.reset();
        let kinds = subscriptions.tags.join(",");
        info!(broker = %self.endpoint, %kinds, prefetch = self.prefetch.units(), "consuming");
        if let Some(kind) = self.settings.kinds.first() {
            let state = queue_state(&connection, &topology::jobs_queue(*kind)).await?;
            self.node.pool_consumers.store(state.consumers, Relaxed);
        }
        let mut stop = self.stop.clone();
        let mut next_look = pin!(sleep(Duration::ZERO));
        loop {
            tokio::select! {
                message = ControlReader::next_of(&mut control) => self.apply_control(&message),
                next = subscriptions.deliveries.next() => match next {
                    Some((_, Some(Ok(delivery)))) => self.receive(delivery, &unsettled),
                    Some((_, Some(Err(error)))) => return Err(error.into()),
                    // A newer subscription has replaced this one.
                    Some((generation, None)) if generation != subscriptions.generation => {}
                    // The broker cancelled the subscription: its queue is gone, or a unit exceeded
                    // the broker's acknowledgement timeout.
                    Some((_, None)) | None => return Err(BrokerError::Lost {
                        reason: "a subscription ended".to_owned(),
                    }),
                },
                () = &mut next_look => {
                    let (busy, units) = self.node.work_done();
                    if self.prefetch.look(busy, units) {
                        debug!(prefetch = self.prefetch.units(), "subscribing anew");
                        self.subscribe(&channel, &mut subscriptions).await?;
                    }
                    let next = Instant::now() + self.prefetch.until_look();
                    next_look.as_mut().reset(next);
                }
                // The guard that `wait_for` returns must not be held while the queues are
                // inspected.
                _ = async { stop.wait_for(|stop| *stop).await.is_ok() } => break,
                () = self.queues.due() => self.queues.look(&connection).await,
            }
        }
        self.unsubscribe(&channel, subscriptions).await;
        Ok(Session {
            connection,
            _channel: channel,
        })
    }

    /// Subscribes with the current prefetch and cancels the previous subscriptions, whose
    /// outstanding deliveries are still received.
    async fn subscribe(
        &self,
        channel: &Channel,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), BrokerError> {
        let before = std::mem::take(&mut subscriptions.tags);
        subscriptions.generation += 1;
        let all = async {
            let prefetch = self.prefetch.units();
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await?;
            for kind in &self.settings.kinds {
                self.subscribe_to(channel, *kind, subscriptions).await?;
            }
            cancel(channel, &before).await;
            Ok(())
        };
        in_time("a subscription", SUBSCRIBE_TIMEOUT, all).await?
    }

    async fn subscribe_to(
        &self,
        channel: &Channel,
        kind: JobKind,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), BrokerError> {
        let generation = subscriptions.generation;
        let tag = match generation {
            1 => kind.to_string(),
            _ => format!("{kind}-{generation}"),
        };
        let consumer = channel
            .basic_consume(
                topology::jobs_queue(kind).into(),
                tag.as_str().into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        // Marks the end of this stream, which `SelectAll` would otherwise drop silently.
        let end = stream::once(async { None });
        let deliveries = consumer.map(Some).chain(end);
        let marked = deliveries.map(move |delivery| (generation, delivery));
        subscriptions.deliveries.push(marked.boxed());
        subscriptions.tags.push(tag);
        Ok(())
    }

    /// Cancels the subscriptions and requeues deliveries that were not read yet.
    async fn unsubscribe(&self, channel: &Channel, subscriptions: Subscriptions) {
        cancel(channel, &subscriptions.tags).await;
        let mut deliveries = subscriptions.deliveries;
        let moment = Duration::from_millis(50);
        while let Ok(Some((_, item))) = timeout(moment, deliveries.next()).await {
            if let Some(Ok(delivery)) = item {
                receipt::requeue(&delivery.acker).await;
            }
        }
    }

    /// The reason why this node must leave a unit to others; `None` if it may process it.
    fn reason_to_leave(&self, unit: &WorkUnit) -> Option<String> {
        if unit.avoid.contains(&self.node.name) {
            let nodes = unit.avoid.join(", ");
            return Some(format!("no results of {nodes} are wanted for it"));
        }
        unit.work.jobs().needs_other_build()
    }

    fn receive(&self, delivery: Delivery, deliveries: &ChannelDeliveries) {
        let receipt = deliveries.receive(&delivery);
        let unit = match decode_unit(&delivery.data) {
            Ok(unit) => unit,
            Err((error, envelope)) => {
                let reason = foreign(&delivery).unwrap_or_else(|| error.to_string());
                let letter = DeadLetter::new(delivery, receipt, reason, envelope);
                self.send(Outgoing::Dead(Box::new(letter)));
                return;
            }
        };
        let key = (unit.run.clone(), unit.unit);
        let refusal = unit.validate(self.settings.max_bits).err();
        let tried = delivery_count(&delivery);
        // A span of level error, so that no log filter keeps an event but drops its span.
        let span = error_span!("unit", run = %unit.run, unit = unit.unit, kind = %unit.work.kind());
        let _in_unit = span.enter();
        debug!(
            jobs = unit.work.count(),
            redelivered = delivery.redelivered,
            "received"
        );
        let reason_to_leave = refusal
            .is_none()
            .then(|| self.reason_to_leave(&unit))
            .flatten();
        if reason_to_leave.is_some() && !unit.hand_back && tried < topology::REFUSE_AFTER_DELIVERIES
        {
            leave_to_others(receipt, tried);
            return;
        }
        if self.running.is_cancelled(&unit) {
            debug!("dropped: its run was cancelled");
            // Without a connection the unit is redelivered, and dropped then.
            tokio::spawn(async move { receipt.acknowledge().await });
            return;
        }
        if !self.ledger.enter(key, receipt) {
            debug!("redelivered while it is being worked on");
            return;
        }
        self.node.in_flight.store(
            u32::try_from(self.ledger.len()).unwrap_or(u32::MAX),
            Relaxed,
        );
        if let Some(reason) = refusal {
            warn!(%reason, "rejected");
            self.send(Outgoing::refusal(
                &self.node.name,
                &unit,
                delivery.redelivered,
                reason,
                true,
            ));
        } else if let Some(reason) = reason_to_leave.as_ref().filter(|_| unit.hand_back) {
            debug!(%reason, "handed back");
            self.send(Outgoing::hand_back(
                &self.node.name,
                &unit,
                delivery.redelivered,
                reason,
            ));
        } else if tried >= topology::REFUSE_AFTER_DELIVERIES {
            let reason = match reason_to_leave {
                Some(reason) => {
                    format!("no other node took the unit in {tried} deliveries: {reason}")
                }
                None => format!(
                    "given up after {tried} deliveries without an answer: this unit seems to end the consumers that work on it"
                ),
            };
            warn!(%reason, "failed");
            self.send(Outgoing::refusal(
                &self.node.name,
                &unit,
                delivery.redelivered,
                reason,
                false,
            ));
        } else {
            self.send(Outgoing::FirstSight(unit.run.clone()));
            let task = Task {
                unit,
                redelivered: delivery.redelivered,
            };
            self.tasks.push(task);
        }
    }

    fn apply_control(&self, message: &Control) {
        let (run, batch) = match &message.instruction {
            Instruction::Cancel(run) => (run, None),
            Instruction::CancelGroup(run, batch) => (run, Some(*batch)),
        };
        if self.running.cancel(run, batch) {
            // Most of these are old messages, which every new connection reads again.
            debug!(%run, batch, "cancelled");
            if batch.is_none() && self.ledger.holds(run) {
                info!(%run, "the run was cancelled: its units are dropped");
            }
        }
    }

    fn send(&self, outgoing: Outgoing) {
        // The receiver lives until the drain has ended.
        let _ = self.outgoing.send(outgoing);
    }
}

/// Cancels these subscriptions.
async fn cancel(channel: &Channel, tags: &[String]) {
    for tag in tags {
        let cancelled = channel
            .basic_cancel(tag.as_str().into(), BasicCancelOptions::default())
            .await;
        if let Err(error) = cancelled {
            debug!(%tag, %error, "cannot cancel a subscription");
        }
    }
}

/// Requeues a unit that this node must not process, from a producer before 0.2. The pause before it
/// doubles with each delivery, because other nodes need time to find room for the unit, and passing
/// it to and fro helps nobody. All pauses together take five minutes.
fn leave_to_others(receipt: Receipt, tried: i64) {
    let doublings = u32::try_from(tried).unwrap_or(0).min(LEAVE_DOUBLINGS);
    tokio::spawn(async move {
        sleep(LEAVE_FIRST * 2_u32.pow(doublings)).await;
        receipt.requeue_counted().await;
    });
}

/// The reason, if the message's own properties say that it is not a Primepool message.
fn foreign(delivery: &Delivery) -> Option<String> {
    let content_type = delivery.properties.content_type().as_ref()?;
    (content_type.as_str() != CONTENT_TYPE)
        .then(|| format!("foreign: content type {content_type:?} is not {CONTENT_TYPE}"))
}

/// Number of earlier deliveries of this message by a quorum queue (its header `x-delivery-count`).
fn delivery_count(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers();
    let count = headers
        .as_ref()
        .and_then(|headers| headers.inner().get("x-delivery-count"));
    match count {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        _ => 0,
    }
}
