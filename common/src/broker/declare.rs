//! Declares the exchanges and queues, and inspects them.
//!
//! Producer and consumer declare the same topology, so that either may start first. A user without
//! the permission to declare (because the broker was set up beforehand) only checks that it exists.

use std::time::Duration;

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{BrokerError, Endpoint, warn_when_blocked};
use crate::{
    message::{JobKind, RunId},
    topology::{
        CONTROL_EXCHANGE, CONTROL_STREAM, DEAD_EXCHANGE, DEAD_QUEUE, DELIVERY_LIMIT, JOBS_EXCHANGE,
        NODES_EXCHANGE, NODES_STREAM, QueueState, RESULTS_EXCHANGE, RESULTS_EXPIRE_MS,
        UNROUTED_EXCHANGE, UNROUTED_MAX_LENGTH, UNROUTED_QUEUE, jobs_queue, results_queue,
    },
};

/// Retention of [`CONTROL_STREAM`] by age and size. The broker deletes whole segments.
const CONTROL_AGE: &str = "7D";
const CONTROL_BYTES: i64 = 8 << 20;
const CONTROL_SEGMENT_BYTES: i64 = 1 << 20;

/// Retention of [`NODES_STREAM`] by age and size.
const NODES_AGE: &str = "1h";
const NODES_BYTES: i64 = 4 << 20;
const NODES_SEGMENT_BYTES: i64 = 1 << 20;

/// Age from which a quorum queue is relied on. RabbitMQ 3.10 writes a new quorum queue to its
/// directory with a delay of nearly a second; if the broker is killed in that time, the queue comes
/// back empty and without a leader.
const SETTLE: Duration = Duration::from_millis(1500);
/// Longest time for a declaration.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects for publishing: declares the topology, opens a channel in confirm mode, and logs when
/// the broker blocks the connection.
///
/// # Errors
/// The broker cannot be reached, or an error of [`declare`].
pub async fn open_publisher(
    endpoint: &Endpoint,
    name: &str,
) -> Result<(Connection, Channel), BrokerError> {
    let connection = endpoint.connect(name).await?;
    warn_when_blocked(&connection);
    declare(&connection).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok((connection, channel))
}

/// Declares all exchanges and queues that the runs share.
///
/// # Errors
/// An exchange or queue of the same name exists with different arguments, or one is missing and the
/// user may not declare it.
pub async fn declare(connection: &Connection) -> Result<(), BrokerError> {
    let is_new = declared(declare_shared(connection)).await?;
    if is_new {
        sleep(SETTLE).await;
    }
    Ok(())
}

/// Returns whether a quorum queue was new.
async fn declare_shared(connection: &Connection) -> Result<bool, BrokerError> {
    let mut declarer = Declarer::new(connection).await?;
    for name in [UNROUTED_EXCHANGE, DEAD_EXCHANGE, CONTROL_EXCHANGE] {
        declarer
            .exchange(name, ExchangeKind::Fanout, FieldTable::default())
            .await?;
    }
    let alternate = table([("alternate-exchange", text(UNROUTED_EXCHANGE))]);
    declarer
        .exchange(RESULTS_EXCHANGE, ExchangeKind::Direct, alternate)
        .await?;
    declarer
        .exchange(JOBS_EXCHANGE, ExchangeKind::Direct, FieldTable::default())
        .await?;
    let unrouted = table([
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongLongInt(UNROUTED_MAX_LENGTH)),
        ("x-message-ttl", AMQPValue::LongLongInt(RESULTS_EXPIRE_MS)),
    ]);
    declarer
        .queue(UNROUTED_QUEUE, unrouted, (UNROUTED_EXCHANGE, ""))
        .await?;
    let dead = table([("x-queue-type", text("quorum"))]);
    declarer
        .queue(DEAD_QUEUE, dead, (DEAD_EXCHANGE, ""))
        .await?;
    let control = stream_arguments(CONTROL_AGE, CONTROL_BYTES, CONTROL_SEGMENT_BYTES);
    declarer
        .queue(CONTROL_STREAM, control, (CONTROL_EXCHANGE, ""))
        .await?;
    declare_presence(connection).await?;
    // The last queue declared stands for all: if it exists already, those declared before it do
    // too.
    let mut is_new = false;
    for kind in JobKind::ALL {
        let name = jobs_queue(kind);
        is_new |= !exists(connection, &name).await?;
        let arguments = table([
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(DEAD_QUEUE)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ]);
        declarer
            .queue(&name, arguments, (JOBS_EXCHANGE, kind.as_str()))
            .await?;
    }
    declarer.close().await;
    Ok(is_new)
}

/// Arguments of a stream that keeps messages up to an age such as `7D` and up to a total size of
/// `bytes`, in segments of `segment_bytes`.
fn stream_arguments(age: &str, bytes: i64, segment_bytes: i64) -> FieldTable {
    table([
        ("x-queue-type", text("stream")),
        ("x-max-age", text(age)),
        ("x-max-length-bytes", AMQPValue::LongLongInt(bytes)),
        (
            "x-stream-max-segment-size-bytes",
            AMQPValue::LongLongInt(segment_bytes),
        ),
    ])
}

/// Declares the exchange and the stream of announcements. A pool also works without them: a broker
/// that was set up by an earlier version lacks them, and a limit may forbid another queue.
async fn declare_presence(connection: &Connection) -> Result<(), BrokerError> {
    let declared = async {
        let mut declarer = Declarer::new(connection).await?;
        declarer
            .exchange(NODES_EXCHANGE, ExchangeKind::Fanout, FieldTable::default())
            .await?;
        let nodes = stream_arguments(NODES_AGE, NODES_BYTES, NODES_SEGMENT_BYTES);
        declarer
            .queue(NODES_STREAM, nodes, (NODES_EXCHANGE, ""))
            .await?;
        declarer.close().await;
        Ok(())
    };
    match declared.await {
        Err(error @ BrokerError::Lost { .. }) => Err(error),
        Err(error) => {
            debug!(%error, "no announcements on this broker");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the queue of a run's answers exists. Its binding is renewed, because the producer may
/// have ended between declaring and binding the queue.
///
/// # Errors
/// The connection is lost, or the user lacks the permission.
pub async fn find_results(connection: &Connection, run: &RunId) -> Result<bool, BrokerError> {
    let name = results_queue(run);
    let bound = declared(async {
        let channel = connection.create_channel().await?;
        // Unlike a declaration, this does not create a queue that has just been deleted.
        channel
            .queue_bind(
                name.as_str().into(),
                RESULTS_EXCHANGE.into(),
                run.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let _ = channel.close(200, "found".into()).await;
        Ok(())
    })
    .await;
    match bound {
        Ok(()) => Ok(true),
        Err(BrokerError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Declares the queue of a run's answers.
///
/// # Errors
/// The queue exists with different arguments, or the user may not declare it.
pub async fn declare_results(connection: &Connection, run: &RunId) -> Result<(), BrokerError> {
    let name = results_queue(run);
    declared(async {
        let mut declarer = Declarer::new(connection).await?;
        let arguments = table([
            ("x-queue-type", text("classic")),
            ("x-expires", AMQPValue::LongLongInt(RESULTS_EXPIRE_MS)),
        ]);
        declarer
            .queue(&name, arguments, (RESULTS_EXCHANGE, run.as_str()))
            .await?;
        declarer.close().await;
        Ok(())
    })
    .await
}

async fn exists(connection: &Connection, queue: &str) -> Result<bool, BrokerError> {
    match queue_state(connection, queue).await {
        Ok(_) => Ok(true),
        Err(BrokerError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn declared<T>(
    declaration: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    in_time("a declaration", DECLARE_TIMEOUT, declaration).await?
}

/// Waits for the broker's reply to a request, at most `limit`: a request that is sent while the
/// connection is being lost may never get a reply.
///
/// # Errors
/// [`BrokerError::Lost`], with the name of the request, if there is no reply in time.
pub async fn in_time<T>(
    request: &str,
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, BrokerError> {
    let answered = timeout(limit, answer).await;
    answered.map_err(|_| BrokerError::Lost {
        reason: format!("no answer to {request} within {} s", limit.as_secs()),
    })
}

/// Deletes the queue of a run's answers, including its messages.
///
/// # Errors
/// The connection is lost, or the user lacks the permission.
pub async fn delete_results(connection: &Connection, run: &RunId) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    channel
        .queue_delete(results_queue(run).into(), QueueDeleteOptions::default())
        .await?;
    Ok(())
}

/// The number of ready messages and of consumers of a queue.
///
/// # Errors
/// [`BrokerError::NotFound`] if the queue does not exist, or the connection is lost.
pub async fn queue_state(connection: &Connection, queue: &str) -> Result<QueueState, BrokerError> {
    // A passive declaration of a missing queue closes the channel, so it gets a channel of its own.
    let channel = connection.create_channel().await?;
    let declared = channel
        .queue_declare(queue.into(), PASSIVE_QUEUE, FieldTable::default())
        .await?;
    let state = QueueState {
        ready: declared.message_count(),
        consumers: declared.consumer_count(),
    };
    let _ = channel.close(200, "done".into()).await;
    Ok(state)
}

const PASSIVE_QUEUE: QueueDeclareOptions = QueueDeclareOptions {
    passive: true,
    durable: true,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

/// Declares exchanges and queues on its own channel. A refused declaration closes the channel; a
/// new one is opened then.
struct Declarer<'a> {
    connection: &'a Connection,
    channel: Channel,
}

impl<'a> Declarer<'a> {
    async fn new(connection: &'a Connection) -> Result<Self, BrokerError> {
        Ok(Self {
            connection,
            channel: connection.create_channel().await?,
        })
    }

    async fn exchange(
        &mut self,
        name: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = self
            .channel
            .exchange_declare(name.into(), kind.clone(), options, arguments)
            .await;
        let Err(refusal) = declared else {
            return Ok(());
        };
        self.after_refusal(&refusal).await?;
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..options
        };
        self.channel
            .exchange_declare(name.into(), kind, passive, FieldTable::default())
            .await
            .map_err(|error| missing(&refusal, &error))
    }

    /// Declares a durable queue and binds it.
    async fn queue(
        &mut self,
        name: &str,
        arguments: FieldTable,
        (exchange, routing_key): (&str, &str),
    ) -> Result<(), BrokerError> {
        let durable = QueueDeclareOptions {
            passive: false,
            ..PASSIVE_QUEUE
        };
        if let Err(refusal) = self
            .channel
            .queue_declare(name.into(), durable, arguments)
            .await
        {
            self.after_refusal(&refusal).await?;
            // The user that declared the queue in advance has also bound it.
            return self
                .channel
                .queue_declare(name.into(), PASSIVE_QUEUE, FieldTable::default())
                .await
                .map(|_| ())
                .map_err(|error| missing(&refusal, &error));
        }
        self.channel
            .queue_bind(
                name.into(),
                exchange.into(),
                routing_key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(())
    }

    /// Only after ACCESS_REFUSED (403) is it worth checking whether the object exists already.
    async fn after_refusal(&mut self, refusal: &lapin::Error) -> Result<(), BrokerError> {
        let not_permitted =
            matches!(refusal.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == 403);
        if !not_permitted {
            return Err(BrokerError::from_session(refusal));
        }
        self.channel = self.connection.create_channel().await?;
        Ok(())
    }

    async fn close(self) {
        // The result does not matter: the channel ends with its connection at the latest.
        let _ = self.channel.close(200, "declared".into()).await;
    }
}

/// The error for an object that this user may not declare and that could not be found either. The
/// refusal tells the operator to create it, unless the object is only unavailable for now, as a
/// queue is until its node has started.
fn missing(refusal: &lapin::Error, error: &lapin::Error) -> BrokerError {
    match BrokerError::from_session(error) {
        away @ BrokerError::Lost { .. } => away,
        _ => BrokerError::from_session(refusal),
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}
