//! The collector: receives answers from the run's queue, passes them to the sink, and acknowledges
//! those that the sink has written to disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use lapin::{
    Acker, Connection,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use primepool_common::{
    broker::{Backoff, BrokerError, ControlReader, Endpoint, in_time, queue_state},
    clock::unix_ns,
    pool::Announcer,
    topology::{self, QueueState},
};
use primepool_engine::Kernel;
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    time::interval,
};
use tracing::info;

use super::{
    LossDetector,
    lost_answers::{Loss, PoolObservation},
    results_queue::{OpenError, delete, open},
};
use crate::{
    results::{Arrival, SinkInput},
    run_dir::{Journal, Manifest},
    status::{Event, Status},
    units::SharedUnits,
};

/// Time limit for a request to the broker, similar to the time in which heartbeats detect a dead
/// connection.
const PATIENCE: Duration = Duration::from_secs(40);

/// Name of the operation that asks for the length of a queue, for error messages.
const LOOK: &str = "a look at a queue";

/// Prefetch count, and the limit of the total bytes of prefetched answers.
const PREFETCH: usize = 1024;
const PREFETCH_BYTES: usize = 256 << 20;

/// Interval between requests for the lengths of the queues.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The collector of a run.
#[derive(Debug)]
pub(crate) struct Collector {
    pub endpoint: Endpoint,
    /// The request and its packing.
    pub manifest: Arc<Manifest>,
    pub journal: Journal,
    /// The units of the run.
    pub units: SharedUnits,
    pub status: Arc<Status>,
    /// Arithmetic kernel that consumers are expected to use.
    pub kernel: Kernel,
    /// Detects lost units and answers.
    pub loss_detector: LossDetector,
    /// Receiver of the answers.
    pub sink: std::sync::mpsc::Sender<SinkInput>,
    /// Answers that the sink has written to disk.
    pub settled: UnboundedReceiver<Vec<Acker>>,
    /// Receiver of the events.
    pub events: UnboundedSender<Event>,
    /// Signal to stop; its value is whether every job has ended, in which case the run's queue is
    /// deleted.
    pub stop: oneshot::Receiver<bool>,
}

impl Collector {
    /// Collects until the stop signal; `connection` is the first one to use. Reconnects without
    /// limit.
    pub(crate) async fn run(mut self, mut connection: Connection) {
        let mut backoff = Backoff::new();
        loop {
            let mut error = match self.session(&connection, &mut backoff).await {
                Ok(run_is_over) => return self.close(connection, run_is_over).await,
                Err(error) => error,
            };
            connection = loop {
                tokio::select! {
                    () = backoff.pause("collecting", &error) => {}
                    stop = &mut self.stop => {
                        if stop.unwrap_or(false) {
                            delete(&self.endpoint, &self.manifest.run, None).await;
                        }
                        return;
                    }
                }
                match open(&self.endpoint, &self.manifest.run, &self.journal).await {
                    Ok((connection, was_lost)) => {
                        if was_lost {
                            let _ = self.sink.send(SinkInput::QueueLost);
                        } else {
                            self.loss_detector.raise();
                        }
                        break connection;
                    }
                    Err(OpenError::Broker(next)) => error = next,
                    Err(OpenError::Journal(error)) => {
                        let _ = self.events.send(Event::Failed(error.to_string()));
                        return;
                    }
                }
            };
        }
    }

    /// Collects on one connection. Returns the value of the stop signal: whether every job has
    /// ended.
    async fn session(
        &mut self,
        connection: &Connection,
        backoff: &mut Backoff,
    ) -> Result<bool, BrokerError> {
        let channel = connection.create_channel().await?;
        // Any client can publish to the results exchange; prefetched answers must not exhaust the
        // memory.
        let largest = self.manifest.largest_answer();
        let prefetch = (PREFETCH_BYTES / largest).clamp(1, PREFETCH);
        channel
            .basic_qos(prefetch as u16, BasicQosOptions::default())
            .await?;
        let mut answers = channel
            .basic_consume(
                topology::results_queue(&self.manifest.run).into(),
                "collector".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let mut control = ControlReader::open_or_warn(connection).await;
        backoff.reset();
        let jobs_queue = topology::jobs_queue(self.manifest.request.kind());
        let management = self.endpoint.management();
        let figures = management.map(|api| api.follow(jobs_queue.clone()));
        let mut look = interval(LOOK_EVERY);
        let mut looks = 0;
        let mut last_answer = Instant::now();
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    Some(answer) => {
                        let mut delivery = answer?;
                        last_answer = Instant::now();
                        self.loss_detector.answered();
                        let body = std::mem::take(&mut delivery.data);
                        let arrival = Arrival {
                            body: if body.len() <= largest { Ok(body) } else { Err(body.len()) },
                            acker: delivery.acker.clone(),
                            at: last_answer,
                            at_ns: unix_ns(),
                        };
                        // The sink outlives the collector unless the run ends.
                        let _ = self.sink.send(SinkInput::Arrival(arrival));
                    }
                    None => return Err(BrokerError::Lost {
                        reason: "the subscription to the results ended".to_owned(),
                    }),
                },
                message = ControlReader::next_of(&mut control) => {
                    if message.cancels(&self.manifest.run) {
                        let _ = self.events.send(Event::Cancelled);
                    }
                }
                Some(ackers) = self.settled.recv() => in_time("acknowledgements", PATIENCE, acknowledge(ackers)).await?,
                stop = &mut self.stop => return Ok(stop.unwrap_or(false)),
                _ = look.tick() => {
                    let state = queue_state(connection, &jobs_queue);
                    if let Ok(state) = in_time(LOOK, PATIENCE, state).await? {
                        looks += 1;
                        // The first look happens before the first publication: it is a metric
                        // point, but not news.
                        if looks > 1 {
                            let _ = self.events.send(Event::Queue(state));
                        }
                        let figures = figures.as_ref().and_then(|latest| *latest.borrow());
                        let _ = self.sink.send(SinkInput::Queue(state, figures));
                        let silence = last_answer.elapsed();
                        let asked = self.request_republication_of_lost(connection, state, silence);
                        in_time(LOOK, PATIENCE, asked).await?;
                    }
                }
            }
        }
    }

    /// Requests that units without a result are published again, if units or answers were lost.
    async fn request_republication_of_lost(
        &mut self,
        connection: &Connection,
        jobs: QueueState,
        silence: Duration,
    ) {
        let expected = self
            .manifest
            .packing
            .unit_time(&self.manifest.request, self.kernel);
        let observation = {
            let units = self.units.lock();
            PoolObservation {
                jobs,
                consumer_load: self.status.consumer_load(),
                now: Instant::now(),
                outstanding: units.outstanding(),
                silence,
                mean_unit_time: units.mean_time().unwrap_or(expected).max(expected),
                longest_unit_time: units.longest_time().max(expected),
                announcement_interval: Announcer::every(jobs.consumers),
            }
        };
        let Some(loss) = self.loss_detector.detect(&observation) else {
            return;
        };
        let queue = topology::results_queue(&self.manifest.run);
        let results = queue_state(connection, &queue).await;
        // Answers in the queue will still be delivered.
        if results.is_ok_and(|results| results.ready == 0) {
            self.loss_detector.settle(&observation);
            let input = match loss {
                Loss::Answers => SinkInput::Overdue,
                Loss::Units => {
                    let dead = queue_state(connection, topology::DEAD_QUEUE).await;
                    SinkInput::UnitsLost {
                        units: observation.outstanding,
                        dead: dead.map_or(0, |dead| dead.ready),
                    }
                }
            };
            let _ = self.sink.send(input);
        }
    }

    async fn close(&mut self, connection: Connection, run_is_over: bool) {
        while let Ok(ackers) = self.settled.try_recv() {
            acknowledge(ackers).await;
        }
        if run_is_over {
            delete(&self.endpoint, &self.manifest.run, Some(connection)).await;
        } else {
            let _ = connection.close(200, "collected".into()).await;
        }
    }
}

/// Acknowledges deliveries, given in the order of their arrival. One `basic.ack` with the flag
/// `multiple` covers those of the open channel; the broker redelivers those of closed ones.
pub(super) async fn acknowledge(mut ackers: Vec<Acker>) {
    ackers.retain(Acker::usable);
    // The remaining deliveries belong to the one open channel.
    if let Some(last) = ackers.pop() {
        let all_before = BasicAckOptions { multiple: true };
        if let Err(error) = last.ack(all_before).await {
            // The broker redelivers them, and they are dropped as duplicates.
            info!(%error, "cannot acknowledge results");
        }
    }
}
