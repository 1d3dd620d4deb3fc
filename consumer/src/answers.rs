//! The publishing side: publishes answers and dead letters, waits for their publisher confirms, and
//! only then acknowledges the units. Many confirms may be outstanding. Messages that were not
//! confirmed when a connection broke are published again.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use primepool_common::{
    broker::{
        APP_ID, Backoff, BrokerError, ConfirmedPublisher, Endpoint, MANDATORY, Message,
        describing_properties, open_publisher, properties,
    },
    clock::unix_time,
    message::{
        Envelope, JobAnswer, JobKind, JobOutcome, NodePresence, NodeSample, Presence, RunId,
        Subject, UnitAnswer, VERSION, WorkUnit,
    },
    pool::Announcer,
    topology::{self, NODE_HEADER, REASON_HEADER},
};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep_until};
use tracing::{debug, info, warn};

use crate::{
    ledger::{Ledger, Moment, UnitKey},
    node::Node,
    receipt::Receipt,
};

/// Most unconfirmed messages.
const WINDOW: usize = 512;

/// Shortest interval between two samples of the node in answers of the same run.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Most runs for which the time of the last sample is remembered.
const RUNS_REMEMBERED: usize = 64;

/// Input of the publishing side.
#[derive(Debug)]
pub enum Outgoing {
    /// A run's first unit is about to begin: take the run's first sample.
    FirstSight(RunId),
    /// The answer to a unit in the ledger.
    Answer(Box<UnitAnswer>),
    /// A message that no consumer can process.
    Dead(Box<DeadLetter>),
}

/// Data for the announcements of this consumer.
#[derive(Debug, Default)]
struct Announcements {
    /// Kinds of jobs that the consumer accepts; `max_bits` limits the size of the numbers.
    kinds: Vec<JobKind>,
    max_bits: u32,
    announcer: Announcer,
}

impl Outgoing {
    /// An answer to a whole unit without processing it: rejected if the unit is invalid, otherwise
    /// failed.
    #[must_use]
    pub fn refusal(
        node: &str,
        unit: &WorkUnit,
        redelivered: bool,
        reason: String,
        invalid: bool,
    ) -> Self {
        let mut answer = refused_unit(node, unit.run.clone(), unit.unit, redelivered);
        answer.published_ns = unit.published_ns;
        if invalid {
            answer.rejected = Some(reason);
        } else {
            let failed = JobAnswer {
                outcome: JobOutcome::Failed { reason },
                compute_us: 0,
                candidates: 0,
                certificate: None,
            };
            answer.first = unit.first;
            answer.jobs = vec![failed; unit.work.count() as usize];
        }
        Self::Answer(Box::new(answer))
    }

    /// An answer that leaves a whole unit to other consumers.
    #[must_use]
    pub(crate) fn hand_back(node: &str, unit: &WorkUnit, redelivered: bool, reason: &str) -> Self {
        let mut answer = refused_unit(node, unit.run.clone(), unit.unit, redelivered);
        answer.published_ns = unit.published_ns;
        answer.handed_back = Some(reason.to_owned());
        Self::Answer(Box::new(answer))
    }
}

fn refused_unit(node: &str, run: RunId, unit: u64, redelivered: bool) -> UnitAnswer {
    UnitAnswer {
        version: VERSION,
        run,
        unit,
        published_ns: 0,
        redelivered,
        node: node.to_owned(),
        worker: 0,
        rejected: None,
        handed_back: None,
        samples: Vec::new(),
        first: 0,
        jobs: Vec::new(),
    }
}

/// Most foreign headers that a dead letter keeps, and the most bytes of each. Together with the
/// added headers they must fit into one frame; otherwise the broker would close the connection at
/// every attempt.
const KEPT_HEADERS: usize = 16;
const KEPT_HEADER_BYTES: usize = 255;

/// The headers of a message that are short enough to be kept.
fn short_headers(properties: &BasicProperties) -> FieldTable {
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    let short = headers.filter(|(_, value)| match value {
        AMQPValue::LongString(text) => text.len() <= KEPT_HEADER_BYTES,
        AMQPValue::ByteArray(bytes) => bytes.len() <= KEPT_HEADER_BYTES,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => false,
        _ => true,
    });
    let mut kept = FieldTable::default();
    for (name, value) in short.take(KEPT_HEADERS) {
        kept.insert(name.clone(), value.clone());
    }
    kept
}

/// A message to be moved to `primepool.dead`.
#[derive(Debug)]
pub struct DeadLetter {
    delivery: Delivery,
    receipt: Receipt,
    reason: String,
    envelope: Option<Envelope>,
}

impl DeadLetter {
    /// `envelope` holds the fields that could be read. If there is one, the run receives an answer.
    #[must_use]
    pub fn new(
        delivery: Delivery,
        receipt: Receipt,
        reason: String,
        envelope: Option<Envelope>,
    ) -> Self {
        Self {
            delivery,
            receipt,
            reason,
            envelope,
        }
    }
}

/// The publishing side and its state.
#[derive(Debug)]
pub struct Answers {
    /// Address of the broker.
    pub endpoint: Endpoint,
    /// Counters of this node.
    pub node: Arc<Node>,
    /// Deliveries to acknowledge.
    pub ledger: Ledger,
    /// Messages to send.
    pub outgoing: UnboundedReceiver<Outgoing>,
    /// Letters to publish before anything from `outgoing`.
    waiting: VecDeque<Letter>,
    samples: Samples,
    announcements: Option<Announcements>,
}

/// A message to publish, and the action after its confirm.
#[derive(Debug)]
struct Letter {
    message: Message,
    then: AfterConfirm,
}

#[derive(Debug)]
enum AfterConfirm {
    /// Acknowledge the deliveries of the unit.
    Settle(UnitKey),
    /// Acknowledge a message that was not a unit.
    Ack(Receipt),
    /// No action, because another letter acknowledges the delivery.
    Nothing,
}

impl Answers {
    /// The publishing side before its first connection.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        node: Arc<Node>,
        ledger: Ledger,
        outgoing: UnboundedReceiver<Outgoing>,
    ) -> Self {
        Self {
            endpoint,
            node,
            ledger,
            outgoing,
            waiting: VecDeque::new(),
            samples: Samples::default(),
            announcements: None,
        }
    }

    /// Also announces this consumer to the pool, with the kinds of jobs that it accepts and the
    /// largest numbers in bits.
    #[must_use]
    pub(crate) fn announcing(mut self, kinds: Vec<JobKind>, max_bits: u32) -> Self {
        self.announcements = Some(Announcements {
            kinds,
            max_bits,
            announcer: Announcer::default(),
        });
        self
    }

    async fn announce(&mut self, leaves: bool) {
        let Some(Announcements {
            kinds,
            max_bits,
            announcer,
        }) = &mut self.announcements
        else {
            return;
        };
        // While it is not consuming, other members of the pool must not count on its workers.
        let is_consuming = self.node.consuming.load(Relaxed);
        let node = NodePresence {
            name: self.node.name.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            kinds: if is_consuming {
                kinds.clone()
            } else {
                Vec::new()
            },
            max_bits: *max_bits,
            sample: self.node.sample(),
        };
        let every = Announcer::every(self.node.pool_consumers.load(Relaxed));
        let presence = Presence::new(Subject::Node(Box::new(node)), every, leaves);
        announcer.announce(&presence).await;
    }

    /// Publishes until all senders are dropped and all messages are confirmed.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let ended = self.session(&mut backoff).await;
            self.node.set_publishing(false);
            let Err(error) = ended else { return };
            backoff.pause("publishing", &error).await;
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let name = format!("primepool consumer {} (publishing)", self.node.name);
        let (connection, channel) = open_publisher(&self.endpoint, &name).await?;
        self.node.set_publishing(true);
        debug!(broker = %self.endpoint, "publishing answers");
        if let Some(announcements) = &mut self.announcements {
            announcements.announcer.attach(&connection).await;
        }
        let mut publisher = ConfirmedPublisher::new(channel, WINDOW);
        let ended = self.publish(&mut publisher, backoff).await;
        let unconfirmed = publisher.into_unconfirmed();
        self.waiting.extend(unconfirmed.map(|(letter, _)| letter));
        ended?;
        self.announce(true).await;
        let _ = connection.close(200, "drained".into()).await;
        Ok(())
    }

    /// Publishes and waits for confirms, until nothing is left to send or an error occurs.
    async fn publish(
        &mut self,
        publisher: &mut ConfirmedPublisher<(Letter, Moment)>,
        backoff: &mut Backoff,
    ) -> Result<(), BrokerError> {
        let mut is_over = false;
        let mut next_presence = tokio::time::Instant::now();
        let mut was_consuming = false;
        loop {
            while publisher.has_room()
                && let Some(letter) = self.waiting.pop_front()
            {
                let (message, sent) = (letter.message.clone(), self.ledger.now());
                publisher.publish(message, (letter, sent))?;
            }
            if is_over && publisher.is_idle() {
                return Ok(());
            }
            let is_consuming = self.node.consuming.load(Relaxed);
            if is_consuming != was_consuming || tokio::time::Instant::now() >= next_presence {
                was_consuming = is_consuming;
                self.announce(false).await;
                let every = Announcer::every(self.node.pool_consumers.load(Relaxed));
                next_presence = tokio::time::Instant::now() + every;
            }
            tokio::select! {
                () = sleep_until(next_presence), if self.announcements.is_some() => {}
                () = self.node.consuming_changed.notified() => {}
                (confirmed, burst_end) = publisher.next_burst() => {
                    let mut settled = Vec::new();
                    for (letter, sent) in confirmed {
                        self.confirmed(letter, sent, &mut settled);
                    }
                    self.node.in_flight.store(
                        u32::try_from(self.ledger.len()).unwrap_or(u32::MAX),
                        Relaxed,
                    );
                    self.ledger.acknowledge(settled).await;
                    burst_end?;
                    // Only a confirm shows that the broker accepts messages.
                    backoff.reset();
                }
                outgoing = self.outgoing.recv(), if !is_over && publisher.has_room() => {
                    match outgoing {
                        Some(outgoing) => self.prepare(outgoing),
                        None => is_over = true,
                    }
                }
            }
        }
    }

    /// Adds the deliveries to acknowledge, now that this letter is confirmed, to `settled`.
    fn confirmed(&mut self, letter: Letter, sent: Moment, settled: &mut Vec<Receipt>) {
        match letter.then {
            AfterConfirm::Settle(ref key) => {
                let (deliveries, again) = self.ledger.confirm(key, sent);
                settled.extend(deliveries);
                if again {
                    debug!(run = %key.0, unit = key.1, "redelivered before its answer was confirmed: sending the answer again");
                    self.waiting.push_back(letter);
                }
            }
            AfterConfirm::Ack(receipt) => settled.push(receipt),
            AfterConfirm::Nothing => {}
        }
    }

    /// Turns an input into letters.
    fn prepare(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::FirstSight(run) => self.samples.first_sight(&run, &self.node),
            Outgoing::Answer(mut answer) => {
                self.samples.attach(&mut answer, &self.node);
                let then = AfterConfirm::Settle((answer.run.clone(), answer.unit));
                self.push_answer(&answer, then);
            }
            Outgoing::Dead(dead) => self.prepare_dead(*dead),
        }
    }

    fn prepare_dead(&mut self, dead: DeadLetter) {
        let DeadLetter {
            delivery,
            receipt,
            reason,
            envelope,
        } = dead;
        warn!(queue = %delivery.routing_key, %reason, "not a work unit: moved to primepool.dead");
        if let Some(envelope) = envelope {
            let mut answer = refused_unit(
                &self.node.name,
                envelope.run,
                envelope.unit,
                delivery.redelivered,
            );
            answer.rejected = Some(reason.clone());
            self.push_answer(&answer, AfterConfirm::Nothing);
        }
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = short_headers(&delivery.properties);
        headers.insert(REASON_HEADER.into(), text(&reason));
        headers.insert(NODE_HEADER.into(), text(&self.node.name));
        headers.insert(
            "x-primepool-exchange".into(),
            text(delivery.exchange.as_str()),
        );
        headers.insert(
            "x-primepool-routing-key".into(),
            text(delivery.routing_key.as_str()),
        );
        let properties = describing_properties(&delivery.properties)
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_app_id(APP_ID.into());
        let message = Message {
            exchange: topology::DEAD_EXCHANGE,
            // A fanout exchange ignores the routing key.
            routing_key: topology::DEAD_QUEUE.to_owned(),
            options: MANDATORY,
            properties,
            body: Arc::new(delivery.data),
        };
        let then = AfterConfirm::Ack(receipt);
        self.waiting.push_back(Letter { message, then });
    }

    fn push_answer(&mut self, answer: &UnitAnswer, then: AfterConfirm) {
        // Serialising plain data cannot fail.
        let body = serde_json::to_vec(answer).unwrap_or_default();
        let properties = properties("answer", &answer.run, unix_time().as_secs())
            .with_message_id(format!("{}/{}", answer.run, answer.unit).into());
        let message = Message {
            exchange: topology::RESULTS_EXCHANGE,
            routing_key: answer.run.to_string(),
            options: MANDATORY,
            properties,
            body: Arc::new(body),
        };
        self.waiting.push_back(Letter { message, then });
    }
}

/// The runs that received samples of this node, and when.
#[derive(Debug, Default)]
struct Samples {
    runs: VecDeque<(RunId, RunSamples)>,
}

#[derive(Debug)]
struct RunSamples {
    /// Taken when the run's first unit arrived; sent with its first answer.
    first: Option<NodeSample>,
    last: Instant,
}

impl Samples {
    fn first_sight(&mut self, run: &RunId, node: &Node) {
        if self.runs.iter().any(|(known, _)| known == run) {
            return;
        }
        info!(%run, "first unit of a run");
        if self.runs.len() == RUNS_REMEMBERED {
            self.runs.pop_front();
        }
        let seen = RunSamples {
            first: Some(node.sample()),
            last: Instant::now(),
        };
        self.runs.push_back((run.clone(), seen));
    }

    fn attach(&mut self, answer: &mut UnitAnswer, node: &Node) {
        let Some((_, seen)) = self.runs.iter_mut().find(|(run, _)| *run == answer.run) else {
            return;
        };
        let first = seen.first.take();
        if first.is_some() || seen.last.elapsed() >= SAMPLE_EVERY {
            answer.samples.extend(first);
            answer.samples.push(node.sample());
            seen.last = Instant::now();
        }
    }
}
