//! The connection to the broker: follows the announcements and polls the queues.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use lapin::Connection;
use primepool_common::{
    broker::{Backoff, BrokerError, BrokerNode, Endpoint, Management, queue_state},
    jobs::JobKind,
    message::Subject,
    pool::{PoolView, PresenceReader},
    text::reason,
    topology::{DEAD_QUEUE, UNROUTED_QUEUE, jobs_queue},
};
use tokio::time::{Interval, timeout};

use crate::{
    alarms::alarms,
    dead::{DeadLetterPoll, MAX_READS, look_at_letters},
    report::{QueueLine, Report, RunLine, node_lines, run_line, run_lines},
};

/// Longest wait for the first announcement. The stream holds those of the last seconds, so that one
/// arrives at once unless the pool is empty.
const FIRST: Duration = Duration::from_secs(1);

/// Pause after which the announcements held by the stream count as read.
const QUIET: Duration = Duration::from_millis(200);

/// Longest time for reading them all: a flood of announcements has no pause.
const ALL: Duration = Duration::from_secs(3);

/// Most departed runs that are kept until `take_departed` is called.
const MOST_DEPARTED: usize = 100;

/// Most dead letters that are read to count their reasons.
const LOOKED_AT: usize = 100;

/// A connection to the broker, and the state of the pool as seen so far.
#[derive(Debug)]
pub(crate) struct Observer {
    endpoint: Endpoint,
    connection: Connection,
    reader: Option<PresenceReader>,
    view: PoolView,
    dead: DeadLetterPoll,
    /// Runs that announced their end, with their last figures.
    departed: VecDeque<RunLine>,
}

impl Observer {
    /// Connects to the broker.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub(crate) async fn connect(endpoint: Endpoint) -> Result<Self, BrokerError> {
        let connection = endpoint.connect("primepool").await?;
        Ok(Self {
            reader: None,
            view: PoolView::default(),
            dead: DeadLetterPoll::default(),
            departed: VecDeque::new(),
            endpoint,
            connection,
        })
    }

    /// Opens a new connection; the state of the pool seen so far is kept.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub(crate) async fn reconnect(&mut self) -> Result<(), BrokerError> {
        self.reader = None;
        self.connection = self.endpoint.connect("primepool").await?;
        Ok(())
    }

    /// Waits for the next tick, listens to announcements meanwhile, and polls the pool. Reconnects
    /// when the connection is lost; `tell` is called with each error.
    ///
    /// # Errors
    /// The broker refuses for a reason that no retry can change ([`BrokerError::needs_operator`]).
    pub(crate) async fn next_report(
        &mut self,
        tick: &mut Interval,
        tell: impl Fn(&BrokerError),
    ) -> Result<Report, BrokerError> {
        let mut backoff = Backoff::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.listen() => {}
            }
            match self.report().await {
                Ok(report) => return Ok(report),
                Err(error) => self.reconnect_until_up(error, &mut backoff, &tell).await?,
            }
        }
    }

    /// Reconnects, with back-off, until it succeeds or `error` needs the operator.
    async fn reconnect_until_up(
        &mut self,
        mut error: BrokerError,
        backoff: &mut Backoff,
        tell: impl Fn(&BrokerError),
    ) -> Result<(), BrokerError> {
        loop {
            if error.needs_operator() {
                return Err(error);
            }
            tell(&error);
            backoff.pause("watching", &error).await;
            match self.reconnect().await {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Reads the announcements that the stream holds, up to the first pause. Does nothing if they
    /// have been read on this connection.
    ///
    /// # Errors
    /// The stream of announcements cannot be read.
    pub(crate) async fn catch_up(&mut self) -> Result<(), BrokerError> {
        if self.reader.is_some() {
            return Ok(());
        }
        self.reader = Some(PresenceReader::open_presence(&self.connection).await?);
        let all = async {
            let mut wait = FIRST;
            while timeout(wait, self.listen_once()).await.is_ok() {
                wait = QUIET;
            }
        };
        let _ = timeout(ALL, all).await;
        Ok(())
    }

    /// Removes and returns the runs that ended since the last call, with their last figures.
    pub(crate) fn take_departed(&mut self) -> VecDeque<RunLine> {
        std::mem::take(&mut self.departed)
    }

    /// Reads announcements for ever. Cancel safe.
    pub(crate) async fn listen(&mut self) {
        loop {
            self.listen_once().await;
        }
    }

    async fn listen_once(&mut self) {
        let presence = PresenceReader::next_of(&mut self.reader).await;
        if let (true, Subject::Run(run)) = (presence.leaves, &presence.subject) {
            if self.departed.len() == MOST_DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back(run_line(run, None));
        }
        self.view.note(presence, Instant::now());
    }

    /// Polls the pool.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) async fn report(&mut self) -> Result<Report, BrokerError> {
        let mut unknown = Vec::new();
        let presence = self.catch_up().await;
        note_unknown(&mut unknown, "nodes and runs", presence)?;
        let (broker_nodes, figures) = self.ask_management(&mut unknown).await;
        let mut queues = Vec::new();
        for kind in JobKind::ALL {
            let line = self.queue(&jobs_queue(kind), Some(kind), figures).await?;
            queues.extend(line);
        }
        let has_pool = !queues.is_empty();
        queues.extend(self.queue(UNROUTED_QUEUE, None, figures).await?);
        let dead = self.queue(DEAD_QUEUE, None, figures).await?;
        let letters = dead.as_ref().map_or(0, |line| line.ready);
        queues.extend(dead);
        if self.dead.is_due(letters, Instant::now()) {
            let looked = look_at_letters(&self.connection, LOOKED_AT).await;
            let looked = looked.map(|shown| self.dead.note(letters, &shown, Instant::now()));
            note_unknown(&mut unknown, "reasons of dead letters", looked)?;
        }
        if self.dead.is_suspended() {
            unknown.push(format!(
                "reasons of dead letters that came later: one was looked at {MAX_READS} times, and \
                 RabbitMQ 4 deletes it at 20 without the policy primepool-kept of infra/rabbitmq; \
                 requeue or drop it"
            ));
        }
        let now = Instant::now();
        let mut report = Report {
            broker: self.endpoint.to_string(),
            nodes: node_lines(&self.view, now),
            runs: run_lines(&self.view, now),
            queues,
            dead: self.dead.known(letters),
            alarms: Vec::new(),
            unknown,
        };
        report.alarms = alarms(&report, &broker_nodes);
        if !has_pool {
            report.alarms.push(
                "no queue of the pool is in this virtual host: start a consumer or a producer with the \
                 same --amqp-url, or name another virtual host at its end"
                    .to_owned(),
            );
        }
        Ok(report)
    }

    /// State of the broker's nodes, and the management API if it answers.
    async fn ask_management(
        &self,
        unknown: &mut Vec<String>,
    ) -> (Vec<BrokerNode>, Option<&Management>) {
        const WHAT: &str = "alarms of the broker, rates and unacknowledged units";
        let Some(management) = self.endpoint.management() else {
            unknown.push(format!("{WHAT}: give --management-url http://HOST:15672"));
            return (Vec::new(), None);
        };
        match management.nodes().await {
            Ok(nodes) => (nodes, Some(management)),
            Err(error) => {
                unknown.push(format!("{WHAT}: {}", reason(&error.to_string())));
                (Vec::new(), None)
            }
        }
    }

    /// The figures of a queue; `None` if there is no such queue.
    async fn queue(
        &self,
        name: &str,
        kind: Option<JobKind>,
        management: Option<&Management>,
    ) -> Result<Option<QueueLine>, BrokerError> {
        let state = match queue_state(&self.connection, name).await {
            Err(BrokerError::NotFound { .. }) => return Ok(None),
            state => state?,
        };
        let figures = match management {
            Some(management) => management.queue(name).await.ok(),
            None => None,
        };
        Ok(Some(QueueLine {
            queue: name.to_owned(),
            kind,
            ready: state.ready.into(),
            consumers: state.consumers,
            unacked: figures.map(|figures| figures.unacked),
            publish_rate: figures.map(|figures| figures.publish_rate),
            deliver_rate: figures.map(|figures| figures.deliver_rate),
        }))
    }
}

/// Adds the cause of a missing part to `unknown`. A lost connection is returned as the error
/// instead.
fn note_unknown(
    unknown: &mut Vec<String>,
    what: &str,
    result: Result<(), BrokerError>,
) -> Result<(), BrokerError> {
    match result {
        Err(error @ BrokerError::Lost { .. }) => Err(error),
        Err(error) => {
            unknown.push(format!("{what}: {}", reason(&error.to_string())));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
