//! A run from its start, or from where it was left, to its end.

use std::{
    pin::pin,
    process,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::future::OptionFuture;
use lapin::Connection;
use primepool_common::{
    broker::{BrokerError, ControlReader, Endpoint},
    exit::Exit,
    message::{JobKind, RunId},
    metrics::{LineProtocolFile, Source, Stats},
    output::{OutputError, notice, print},
    shutdown::StopSignals,
    topology,
};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    cli::{Order, What},
    collect::{self, Collector, OpenError},
    doubt::Doubt,
    factoring::Factoring,
    folder::{Folder, FolderError, Journal, Manifest, mark_cancelled},
    metrics::{self, Metrics},
    plan::{Ask, Packing, UnitSize},
    progress::{Progress, plural},
    publish::{PublishError, Publisher, Request},
    row::{factorizations, read_back},
    semiprime::Semiprimes,
    sink::{Ended, Files, Sink, SinkInput},
    state::{Event, Shared},
    summary::{ReadBack, Summary},
    verify::Verifier,
};

/// What went wrong, and the exit status that says so.
type Failure = (Exit, anyhow::Error);

/// Does what was ordered.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub async fn run(endpoint: Endpoint, order: Order) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, error.into()))?;
    // Until there is something to report, a signal just ends it.
    tokio::select! {
        prepared = prepare(&endpoint, &order) => prepared?.go(endpoint, &order, signals).await,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}

/// A run that is ready to go.
struct Ready {
    folder: Folder,
    journal: Journal,
    connection: Connection,
    shared: Arc<Shared>,
    /// Units to publish now.
    units: Vec<u64>,
    done: Vec<bool>,
    ok_before: u64,
    detach: bool,
    consumers: u32,
    to_sink: Sender<SinkInput>,
    sink_input: Receiver<SinkInput>,
    /// Integers at which the whole pool is at work.
    factoring: Factoring,
    /// Whether answers may have gone astray before.
    doubt: Doubt,
}

fn broker_failure(error: BrokerError) -> Failure {
    (Exit::Unreachable, error.into())
}

fn folder_failure(error: FolderError) -> Failure {
    let exit = match error {
        FolderError::File { .. } | FolderError::Damaged { .. } => Exit::Incomplete,
        FolderError::Unknown { .. }
        | FolderError::Busy(_)
        | FolderError::Cancelled { .. }
        | FolderError::OutputExists(_) => Exit::Usage,
    };
    (exit, error.into())
}

async fn prepare(endpoint: &Endpoint, order: &Order) -> Result<Ready, Failure> {
    match &order.what {
        What::New {
            ask,
            semiprimes,
            unit_size,
            priority,
            output,
            detach,
        } => {
            let run = RunId::generate().map_err(|e| (Exit::Incomplete, e.into()))?;
            let ask = &with_semiprimes(ask.clone(), *semiprimes).await?;
            // A wrong size is found before the broker is asked.
            choose(ask, *unit_size, 0)?;
            let connection = collect::connect(endpoint, &run)
                .await
                .map_err(broker_failure)?;
            topology::declare_results(&connection, &run)
                .await
                .map_err(broker_failure)?;
            let consumers = consumers(&connection, ask).await?;
            let packing = choose(ask, *unit_size, consumers)?;
            let folder = Folder::create(
                &order.runs_dir,
                run,
                ask.clone(),
                packing,
                *priority,
                output.as_deref(),
            );
            let folder = match folder {
                Ok(folder) => folder,
                Err(error) => return Err(folder_failure(error)),
            };
            let (journal, _) = folder.journal().map_err(folder_failure)?;
            let shared = Shared::new(packing.bounds(ask.count));
            let mut done = vec![false; ask.count as usize];
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            Ok(Ready {
                units: (0..shared.units()).collect(),
                done,
                to_sink,
                sink_input,
                factoring,
                ok_before: 0,
                detach: *detach,
                consumers,
                doubt: Doubt::new(false),
                folder,
                journal,
                connection,
                shared: Arc::new(shared),
            })
        }
        What::Resume { run, republish } => {
            let folder = Folder::open(&order.runs_dir, run).map_err(folder_failure)?;
            let ask = &folder.manifest.ask;
            let (_, text) = folder.results().map_err(folder_failure)?;
            let (mut done, ok_before) = read_back(&text, ask.count).map_err(|reason| {
                let path = folder.manifest.output.clone();
                folder_failure(FolderError::Damaged { path, reason })
            })?;
            let (journal, mut confirmed) = folder.journal().map_err(folder_failure)?;
            let (connection, was_lost) =
                collect::open(endpoint, run, &journal)
                    .await
                    .map_err(|error| match error {
                        OpenError::Broker(error) => broker_failure(error),
                        OpenError::Journal(error) => folder_failure(error),
                    })?;
            if was_lost && !confirmed.is_empty() && !done.iter().all(|done| *done) {
                warn!(
                    "the broker no longer has the results queue of this run: publishes everything again that has no result"
                );
            }
            if *republish {
                journal.forget().map_err(folder_failure)?;
                let _ = journal.reopen();
            }
            if was_lost || *republish {
                confirmed.clear();
            }
            let shared = Shared::new(folder.manifest.packing.bounds(ask.count));
            let ended = done.iter().filter(|done| **done).count() as u64;
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            let mut units = shared.unanswered(&done);
            // A damaged journal may name others.
            confirmed.retain(|unit| *unit < shared.units());
            units.retain(|unit| !confirmed.contains(unit));
            shared
                .units_published
                .store(confirmed.len() as u64, Relaxed);
            shared.jobs_done.store(ended, Relaxed);
            shared.jobs_not_ok.store(ended - ok_before, Relaxed);
            Ok(Ready {
                consumers: consumers(&connection, ask).await?,
                // Nobody knows what has happened since its units were published.
                doubt: Doubt::new(!confirmed.is_empty()),
                units,
                done,
                to_sink,
                sink_input,
                factoring,
                ok_before,
                detach: false,
                folder,
                journal,
                connection,
                shared: Arc::new(shared),
            })
        }
    }
}

/// Adds the products that are to be factored. Large ones take a while.
async fn with_semiprimes(mut ask: Ask, made: Option<Semiprimes>) -> Result<Ask, Failure> {
    let Some(semiprimes) = made else {
        return Ok(ask);
    };
    let Semiprimes { count, bits, .. } = semiprimes;
    if f64::from(bits).powi(3) * count as f64 > TOLD_WORK {
        notice(&format!("makes {count} products of {bits} bits to factor"));
    }
    let products = tokio::task::spawn_blocking(move || semiprimes.make()).await;
    let products = products.map_err(|panic| (Exit::Incomplete, panic.into()))?;
    ask.numbers
        .extend(products.map_err(|error| (Exit::Incomplete, anyhow::Error::msg(error)))?);
    ask.count = ask.numbers.len() as u64;
    Ok(ask)
}

/// Cubed bits of all products from which on somebody may wonder what takes so long: some seconds.
const TOLD_WORK: f64 = 1e11;

fn choose(ask: &Ask, size: UnitSize, consumers: u32) -> Result<Packing, Failure> {
    Packing::choose(ask, size, consumers).map_err(|e| (Exit::Usage, anyhow::Error::msg(e)))
}

async fn consumers(connection: &Connection, ask: &Ask) -> Result<u32, Failure> {
    let queue = topology::jobs_queue(ask.kind);
    let state = topology::queue_state(connection, &queue).await;
    Ok(state.map_err(broker_failure)?.consumers)
}

/// Why a run stopped.
enum End {
    Complete,
    Interrupted(&'static str),
    TimedOut(Duration),
    Cancelled,
    Failed(Failure),
}

impl Ready {
    async fn go(
        self,
        endpoint: Endpoint,
        order: &Order,
        mut signals: StopSignals,
    ) -> Result<Exit, Failure> {
        let Self {
            folder,
            journal,
            connection,
            shared,
            units,
            done,
            ok_before,
            detach,
            consumers,
            to_sink,
            sink_input,
            factoring,
            doubt,
        } = self;
        let manifest = Arc::new(folder.manifest.clone());
        let ask = &manifest.ask;
        let mut progress =
            Progress::new(&ask.describe(), ask.count, shared.jobs_done.load(Relaxed));
        progress.say(&format!(
            "run {}: {} {} in {}, {}",
            manifest.run,
            ask.count,
            ask.describe(),
            plural(shared.units(), "unit"),
            folder.path().display()
        ));
        if consumers == 0 {
            progress.say(&format!(
                "no consumer takes {} jobs yet: they wait for one (start `consumer` with the same broker)",
                ask.kind
            ));
        }
        let (requests, to_publish) = mpsc::unbounded_channel();
        let publisher = Publisher::new(
            endpoint.clone(),
            Arc::clone(&manifest),
            Arc::clone(&shared),
            journal.clone(),
            to_publish,
            units,
        );
        let publishing = tokio::spawn(publisher.run());
        if detach {
            progress.finish();
            drop(requests);
            let end = publish_only(publishing, &mut signals, &connection, &manifest.run).await;
            if matches!(end, End::Cancelled) {
                note_cancelled(order, &manifest.run);
            }
            let _ = connection.close(200, "published".into()).await;
            return conclude_detached(end, &manifest, &shared);
        }

        let (events, mut what_happens) = mpsc::unbounded_channel();
        let (settled, to_settle) = mpsc::unbounded_channel();
        let (stop_collecting, stop) = oneshot::channel();
        let (results, _) = folder.results().map_err(folder_failure)?;
        // A run's name in place of a node's: producers have no other.
        let spool = order.runs_dir.join(".metrics-spool");
        let server = order
            .influx
            .writer(Source::Producer, manifest.run.as_str(), spool)
            .map_err(|error| (Exit::Usage, error.into()))?;
        let metrics = LineProtocolFile::open(&folder.file("metrics.lp"))
            .inspect_err(|error| warn!("no metrics are written: {error}"))
            .ok();
        let sink = Sink::new(
            Arc::clone(&manifest),
            Arc::clone(&shared),
            Verifier::new(order.verify),
            Files {
                results,
                journal: journal.clone(),
                metrics: Metrics::new(metrics, server),
            },
            factoring,
            done,
            to_sink.clone(),
            settled,
            events.clone(),
        );
        let sink = thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || sink.run(&sink_input))
            .map_err(|error| (Exit::Incomplete, error.into()))?;
        let collector = Collector {
            endpoint,
            manifest: Arc::clone(&manifest),
            journal,
            shared: Arc::clone(&shared),
            doubt,
            sink: to_sink.clone(),
            settled: to_settle,
            events,
            stop,
        };
        let collecting = tokio::spawn(collector.run(connection));

        let started = Instant::now();
        let end = watch(
            &shared,
            ask.count,
            order.timeout,
            &mut what_happens,
            &requests,
            publishing,
            &mut signals,
            &mut progress,
        )
        .await;
        tokio::spawn(async move {
            signals.next().await;
            // Asked twice: nothing that is left could need a destructor.
            process::exit(i32::from(Exit::Interrupted.code()));
        });
        // What has come in already is still written, and acknowledged.
        let _ = to_sink.send(SinkInput::End);
        let Ended {
            tally,
            done,
            mut metrics,
        } = tokio::task::spawn_blocking(move || sink.join())
            .await
            .ok()
            .and_then(Result::ok)
            .context("the thread that writes the results panicked")
            .map_err(|error| (Exit::Incomplete, error))?;
        let complete = done.iter().all(|done| *done);
        let is_cancelled = matches!(end, End::Cancelled);
        if is_cancelled {
            note_cancelled(order, &manifest.run);
        }
        let _ = stop_collecting.send(complete || is_cancelled);
        if timeout(CLOSING, collecting).await.is_err() {
            info!(
                "the broker did not answer the goodbye; the run's queue goes by itself when it expires"
            );
        }
        progress.finish();
        let start = shared.first_published().unwrap_or(started);
        let mut summary = Summary::new(
            &manifest,
            shared.units(),
            tally,
            &done,
            ok_before,
            start,
            order.verify,
        );
        metrics.write(&metrics::end_point(&manifest, &summary));
        let sent = tokio::task::spawn_blocking(move || metrics.close()).await;
        summary.influxdb = read_metrics(order, &manifest.run, sent.ok(), summary.jobs_ok).await;
        folder.write_summary(&summary).map_err(folder_failure)?;
        let shown = show(&summary, order.json, &folder);
        let exit = conclude(end, &summary, &manifest, &shared)?;
        let results = folder.manifest.output.display();
        let shown = shown.with_context(|| format!("the results are in {results}"));
        shown.map_err(|error| (Exit::Incomplete, error))?;
        Ok(exit)
    }
}

/// Figures of the run as the metrics server holds them; none without a server, or while points wait for it. Warns if it holds
/// fewer than the `jobs_ok` that this session has sent.
async fn read_metrics(
    order: &Order,
    run: &RunId,
    sent: Option<Stats>,
    jobs_ok: u64,
) -> Option<ReadBack> {
    let target = order.influx.target().ok()??;
    let server = target.to_string();
    let waiting = sent.map_or(0, |sent| sent.spooled);
    if waiting > 0 {
        warn!(
            "{waiting} points of metrics wait on disk for {server}: the next producer with the same --runs-dir sends them"
        );
        return None;
    }
    let read = metrics::read_back(target, run)
        .await
        .inspect_err(|error| warn!("the metrics were not read back: {error}"))
        .ok()?;
    if read.jobs_ok < jobs_ok {
        warn!(
            "{server} holds {} of the {jobs_ok} jobs of this run that are done: check --influx-host and --influx-bucket; all \
             points are in metrics.lp of the run's folder too",
            read.jobs_ok
        );
    }
    Some(read)
}

/// Longest time that saying goodbye to the broker may take.
const CLOSING: Duration = Duration::from_secs(5);

/// Waits for the end of a run and shows how it goes.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, used once")]
async fn watch(
    shared: &Shared,
    count: u64,
    give_up_after: Option<Duration>,
    what_happens: &mut UnboundedReceiver<Event>,
    requests: &UnboundedSender<Request>,
    mut publishing: JoinHandle<Result<(), PublishError>>,
    signals: &mut StopSignals,
    progress: &mut Progress,
) -> End {
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let too_late = give_up_after.map(sleep);
    let mut too_late = pin!(OptionFuture::from(too_late));
    let mut queue = None;
    let end = loop {
        let done = shared.jobs_done.load(Relaxed);
        if done == count {
            break End::Complete;
        }
        tokio::select! {
            Some(event) = what_happens.recv() => match event {
                Event::Complete => break End::Complete,
                Event::Failed(reason) => {
                    break End::Failed((Exit::Incomplete, anyhow::Error::msg(reason)));
                }
                Event::QueueLost(units) => {
                    progress.say("the run's results queue was gone: publishes again what has no result");
                    let _ = requests.send(Request::Units(units));
                }
                Event::Overdue(units) => {
                    progress.say("answers may have gone astray while their queue was out of reach: publishes again what has no result");
                    let _ = requests.send(Request::Units(units));
                }
                Event::Publish(units) => {
                    let _ = requests.send(Request::Units(units));
                }
                Event::CancelBatch(batch) => {
                    let _ = requests.send(Request::CancelBatch(batch));
                }
                Event::Cancelled => break End::Cancelled,
                Event::Queue(state) => queue = Some(state),
            },
            ended = &mut publishing => break match ended {
                Ok(Err(error)) => End::Failed(publish_failure(error)),
                Ok(Ok(())) => End::Failed((Exit::Incomplete, anyhow::anyhow!("publishing ended unasked"))),
                Err(panic) => End::Failed((Exit::Incomplete, panic.into())),
            },
            signal = signals.next() => break End::Interrupted(signal),
            Some(()) = &mut too_late => break End::TimedOut(give_up_after.unwrap_or_default()),
            _ = tick.tick() => progress.update(
                done,
                shared.jobs_not_ok.load(Relaxed),
                queue,
                shared.first_published(),
                shared.standing().as_deref(),
            ),
        }
    };
    publishing.abort();
    end
}

fn note_cancelled(order: &Order, run: &RunId) {
    if let Err(error) = mark_cancelled(&order.runs_dir, run) {
        warn!("{error}");
    }
}

/// `--detach`: waits until everything is published. A cancel is heard for as long as the first connection lives; later ones are
/// heard by the consumers, and by `resume`.
async fn publish_only(
    mut publishing: JoinHandle<Result<(), PublishError>>,
    signals: &mut StopSignals,
    connection: &Connection,
    run: &RunId,
) -> End {
    let mut control = ControlReader::open_or_warn(connection).await;
    let cancelled = async { while !ControlReader::next_of(&mut control).await.cancels(run) {} };
    tokio::select! {
        () = cancelled => {
            publishing.abort();
            End::Cancelled
        }
        ended = &mut publishing => match ended {
            Ok(Ok(())) => End::Complete,
            Ok(Err(error)) => End::Failed(publish_failure(error)),
            Err(panic) => End::Failed((Exit::Incomplete, panic.into())),
        },
        signal = signals.next() => {
            publishing.abort();
            End::Interrupted(signal)
        }
    }
}

fn publish_failure(error: PublishError) -> Failure {
    match error {
        PublishError::Broker(error) => broker_failure(error),
        PublishError::Journal(error) => folder_failure(error),
    }
}

/// Says how to go on with a run.
fn how_to_resume(manifest: &Manifest, shared: &Shared) -> String {
    // Whoever starts a broker for one run (`make run`) has a command of its own for it.
    let command = std::env::var("PRIMEPOOL_RESUME_COMMAND");
    let command = command.unwrap_or_else(|_| "producer resume {run}".to_owned());
    format!(
        "{} of {} units are published; nothing is lost. Go on with: {}",
        shared.units_published.load(Relaxed),
        shared.units(),
        command.replace("{run}", manifest.run.as_str())
    )
}

fn conclude(
    end: End,
    summary: &Summary,
    manifest: &Manifest,
    shared: &Shared,
) -> Result<Exit, Failure> {
    let resume = how_to_resume(manifest, shared);
    match end {
        End::Complete if summary.is_complete() => Ok(Exit::Ok),
        End::Complete => Ok(Exit::Incomplete),
        End::Interrupted(signal) => {
            notice(&format!("{signal}: {resume}"));
            Ok(Exit::Interrupted)
        }
        End::Cancelled => Ok(tell_cancelled(manifest)),
        End::TimedOut(after) => {
            let after = humane(after);
            notice(&format!("not done after {after} (--timeout): {resume}"));
            Ok(Exit::Incomplete)
        }
        End::Failed((exit, error)) => Err((exit, error.context(resume))),
    }
}

fn tell_cancelled(manifest: &Manifest) -> Exit {
    notice(&format!(
        "run {} was cancelled: its other jobs are no longer worked on",
        manifest.run
    ));
    Exit::Incomplete
}

fn conclude_detached(end: End, manifest: &Manifest, shared: &Shared) -> Result<Exit, Failure> {
    match end {
        End::Complete => {
            let collect = format!(
                "published; collect the results within seven days with: producer resume {}",
                manifest.run
            );
            notice(&collect);
            print(manifest.run.as_str())
                .map_err(|error| (Exit::Incomplete, anyhow::Error::new(error).context(collect)))?;
            Ok(Exit::Ok)
        }
        End::Interrupted(signal) => {
            notice(&format!("{signal}: {}", how_to_resume(manifest, shared)));
            Ok(Exit::Interrupted)
        }
        End::Cancelled => Ok(tell_cancelled(manifest)),
        End::TimedOut(_) => Ok(Exit::Incomplete),
        End::Failed((exit, error)) => Err((exit, error.context(how_to_resume(manifest, shared)))),
    }
}

fn humane(duration: Duration) -> String {
    primepool_common::cli::show_duration(duration)
}

/// Factorisations that are shown; who asks for more looks into the file.
const SHOWN: u64 = 100;

/// Writes what the run gave to standard output.
fn show(summary: &Summary, json: bool, folder: &Folder) -> Result<(), OutputError> {
    if json {
        // Plain data: it always has a JSON form.
        return print(&serde_json::to_string_pretty(summary).unwrap_or_default());
    }
    let Manifest { ask, output, .. } = &folder.manifest;
    if ask.kind == JobKind::Factor
        && ask.count <= SHOWN
        && let Ok((_, text)) = folder.results()
    {
        let lines = factorizations(&text);
        if !lines.is_empty() {
            print(&format!("{}\n", lines.join("\n")))?;
        }
    }
    print(&format!("{summary}\nresults  {}", output.display()))
}
