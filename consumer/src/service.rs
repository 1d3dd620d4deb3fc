//! Connects the parts of the consumer, and drains them when asked to stop.

use std::{
    io, process,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use primepool_common::{
    broker::{BrokerError, Endpoint},
    exit::Exit,
    metrics::MetricsWriter,
    shutdown::StopSignals,
};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot, watch,
    },
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use crate::{
    answers::{Answers, Outgoing},
    cli::Settings,
    health::Health,
    intake::{Intake, Session},
    ledger::Ledger,
    metrics::{Queues, report_node, write_node},
    node::Node,
    prefetch::Prefetch,
    running::Running,
    tasks::Tasks,
    workers::{self, Finished},
};

/// Extra time after the drain timeout for requeueing units and closing connections.
const GRACE: Duration = Duration::from_secs(5);

/// Time limit for the last metrics at the end; metrics that the server does not accept by then stay
/// on disk.
const CLOSE_METRICS: Duration = Duration::from_secs(3);

/// Consumes until a signal asks the process to stop.
///
/// # Errors
/// The broker refuses the connection in a way that only the operator can fix, or the system cannot
/// provide threads or signal handlers.
pub(crate) async fn run(
    endpoint: Endpoint,
    settings: Settings,
    writer: MetricsWriter,
) -> Result<Exit, (Exit, anyhow::Error)> {
    let system = |error: io::Error| (Exit::Incomplete, error.into());
    let kernel = settings.kernel;
    let mut signals = StopSignals::listen().map_err(system)?;
    let node = Arc::new(Node::new(
        settings.node.clone(),
        settings.concurrency,
        kernel,
    ));
    let ledger = Ledger::default();
    let running = Running::new();
    let tasks = Tasks::new(settings.concurrency);
    let (finished, done) = mpsc::unbounded_channel();
    workers::start(
        &node,
        settings.concurrency,
        kernel,
        &tasks,
        &finished,
        &ledger,
        &running,
    )
    .map_err(system)?;
    drop(finished);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        concurrency = settings.concurrency,
        kernel = kernel.name(),
        pid = process::id(),
        "starting"
    );

    let (outgoing, to_send) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let answers = Answers::new(endpoint.clone(), Arc::clone(&node), ledger.clone(), to_send)
        .announcing(settings.kinds.clone(), settings.max_bits);
    let mut answers = tokio::spawn(answers.run());
    let forward = tokio::spawn(forward(done, outgoing.clone(), ledger.clone()));
    let writer = Arc::new(writer);
    let intake = Intake {
        queues: Queues::new(&endpoint, &settings.kinds, Arc::clone(&writer)),
        endpoint,
        settings: settings.clone(),
        node: Arc::clone(&node),
        tasks: tasks.clone(),
        prefetch: Prefetch::new(settings.concurrency, settings.prefetch),
        outgoing,
        ledger: ledger.clone(),
        running: running.clone(),
        stop: stopped,
    };
    let mut intake = tokio::spawn(intake.run());
    let health = tokio::spawn(report_health(Arc::clone(&node), settings.clone()));
    let every = settings.metrics_interval;
    let metrics = tokio::spawn(report_node(Arc::clone(&node), Arc::clone(&writer), every));

    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = end_of_stdin(), if settings.end_with_stdin => "standard input has ended",
        // The intake ends by itself only if the broker refuses the connection.
        ended = &mut intake => return Err(refused(ended)),
    };
    info!(
        signal,
        units = ledger.len(),
        "draining: no new units, those at hand are finished; a second signal ends this process"
    );
    tokio::spawn(async move {
        let signal = signals.next().await;
        warn!(
            signal,
            "ending at once: the broker hands the units at hand to other consumers"
        );
        // The process must end now: nothing that remains needs a destructor.
        process::exit(i32::from(Exit::Interrupted.code()));
    });

    let deadline = Instant::now() + settings.drain_timeout;
    let _ = stop.send(true);
    let session = timeout_at(deadline + GRACE, intake).await;
    drain(&ledger, &tasks, &running, deadline).await;
    tasks.close();
    forward.abort();
    let _ = forward.await;
    let confirmed = timeout(GRACE, &mut answers).await.is_ok();
    answers.abort();
    if let Ok(Ok(Ok(Some(session)))) = session {
        let _ = timeout(GRACE, session.close()).await;
    }
    health.abort();
    metrics.abort();
    close_metrics(&node, writer).await;
    if let Some(file) = &settings.health_file {
        let _ = std::fs::remove_file(file);
    }
    let left = ledger.len();
    if left == 0 && confirmed {
        info!("drained");
    } else {
        warn!(
            units = left,
            "ended with unconfirmed answers: the broker hands their units to other consumers"
        );
    }
    Ok(Exit::Ok)
}

/// Waits until standard input is closed.
async fn end_of_stdin() {
    let (ended, end) = oneshot::channel();
    // It needs its own thread, because a blocked read would delay the end of the runtime.
    let reader = move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    };
    if thread::Builder::new().spawn(reader).is_err() || end.await.is_err() {
        std::future::pending().await
    }
}

/// Writes a last point, which covers all work of this process, and closes the writer.
async fn close_metrics(node: &Node, writer: Arc<MetricsWriter>) {
    write_node(node, &writer);
    let _ = tokio::task::spawn_blocking(move || writer.close(CLOSE_METRICS)).await;
}

fn refused(
    ended: Result<Result<Option<Session>, BrokerError>, tokio::task::JoinError>,
) -> (Exit, anyhow::Error) {
    match ended {
        Ok(Err(error)) => (Exit::Unreachable, error.into()),
        Ok(Ok(_)) => (
            Exit::Incomplete,
            anyhow::anyhow!("the intake ended unasked"),
        ),
        Err(panic) => (Exit::Incomplete, panic.into()),
    }
}

/// Passes on the results of the workers.
async fn forward(
    mut done: UnboundedReceiver<Finished>,
    outgoing: UnboundedSender<Outgoing>,
    ledger: Ledger,
) {
    while let Some(finished) = done.recv().await {
        match finished {
            Finished::Answered(answer) => {
                let _ = outgoing.send(Outgoing::Answer(Box::new(answer)));
            }
            Finished::Requeue(key) => ledger.requeue(&key).await,
            Finished::Discard(key) => ledger.discard(&key).await,
        }
    }
}

/// Requeues the units that no worker has begun, waits for the others until the deadline, then
/// cancels them.
async fn drain(ledger: &Ledger, tasks: &Tasks, running: &Running, deadline: Instant) {
    let mut returned = 0;
    while let Some(task) = tasks.take_back() {
        ledger.requeue(&task.key()).await;
        returned += 1;
    }
    if returned > 0 {
        info!(units = returned, "gave back units that were not begun");
    }
    if timeout_at(deadline, ledger.settled()).await.is_err() {
        warn!(
            units = ledger.len(),
            "the drain timeout is over: giving back unfinished units"
        );
        running.stop_all();
        let _ = timeout(GRACE, ledger.settled()).await;
    }
}

/// Refreshes the machine's figures every second, and writes the health file every second and
/// whenever the connection changes.
async fn report_health(node: Arc<Node>, settings: Settings) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut complained = false;
    loop {
        tokio::select! {
            _ = second.tick() => node.refresh_machine(),
            () = node.connection_changed.notified() => {}
        }
        let Some(file) = &settings.health_file else {
            continue;
        };
        let health = Health {
            pid: process::id(),
            connected: node.is_connected(),
            at: SystemTime::now(),
        };
        if let Err(error) = health.write(file)
            && !complained
        {
            complained = true;
            warn!(file = %file.display(), %error, "cannot write --health-file");
        }
    }
}
