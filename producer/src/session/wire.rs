//! Creates and connects the parts of a session, and shuts them down at its end.

use std::{
    io::{IsTerminal, stdout},
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use primepool_common::{
    broker::Endpoint,
    cli::show_duration,
    exit::Exit,
    message::{JobKind, RunId},
    metrics::{LineProtocolFile, Source, Stats},
    shutdown::StopSignals,
};
use primepool_factor::{MAX_CURVE_BITS, MAX_SIEVE_BITS, spread};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{Instrument, Span, info, warn};

use super::{
    failure::{Failure, folder_failure},
    prepare::PreparedRun,
    report::{conclude, conclude_detached, show},
    watch::{End, note_cancelled, publish_only, watch},
};
use crate::{
    broker::{Collector, Membership, Publisher},
    cli::RunOptions,
    metrics::{self, Metrics},
    progress::{Progress, plural, print_beside_bar},
    request::{Print, Request},
    results::{Files, FinishedSink, Printer, Sink, SinkInput, Verifier},
    summary::{Period, ReadBack, Summary},
};

impl PreparedRun {
    pub(super) async fn run(
        self,
        endpoint: Endpoint,
        options: &RunOptions,
        mut signals: StopSignals,
    ) -> Result<Exit, Failure> {
        let Self {
            folder,
            journal,
            repackings,
            connection,
            units,
            status,
            done,
            ok_before,
            detach,
            consumers,
            to_sink,
            sink_input,
            factoring,
            loss_detector,
        } = self;
        let manifest = Arc::new(folder.manifest.clone());
        let status = Arc::new(status);
        status.set_consumers(consumers);
        let request = &manifest.request;
        let mut progress = Progress::new(
            &request.work.jobs().describe(),
            request.count(),
            status.jobs_done(),
        );
        progress.say(&format!(
            "run {}: {} {} in {}, {}",
            manifest.run,
            request.count(),
            request.work.jobs().describe(),
            plural(units.lock().count(), "unit"),
            folder.path().display()
        ));
        let verify = options.verify.for_run(request);
        if verify != options.verify {
            progress.say("every prime is verified: the run's consumers rely on that test");
        }
        if let Some(text) = beyond_sieve(request) {
            progress.say(&text);
        }
        if consumers == 0 {
            progress.say(&format!(
                "no consumer takes {} jobs yet: they wait for one (start `consumer` with the same broker)",
                request.kind()
            ));
        }
        let publisher = Publisher {
            endpoint: endpoint.clone(),
            manifest: Arc::clone(&manifest),
            integers: folder.integers.clone(),
            units: units.clone(),
            journal: journal.clone(),
            repackings,
            membership: Membership::new(
                Arc::clone(&manifest),
                Arc::clone(&status),
                options.kernel,
                options.share,
                options.is_anonymous,
            ),
            ends_when_idle: detach,
        };
        let publishing = tokio::spawn(publisher.run().in_current_span());
        if detach {
            progress.finish();
            let end = publish_only(publishing, &mut signals, &connection, &manifest.run).await;
            if matches!(end, End::Cancelled) {
                note_cancelled(options, &manifest.run);
            }
            let _ = connection.close(200, "published".into()).await;
            return conclude_detached(end, &manifest, &units);
        }

        let (events, mut what_happens) = mpsc::unbounded_channel();
        let (settled, to_settle) = mpsc::unbounded_channel();
        let (stop_collecting, stop) = oneshot::channel();
        let what = what_to_print(options, request);
        let mut printer = Printer::new(
            what,
            !options.is_unordered,
            what == Print::Factorizations && stdout().is_terminal(),
            &manifest.output,
            Box::new(print_beside_bar),
        );
        let results = folder.results(|line| printer.add_old(line));
        let results = results.map_err(folder_failure)?;
        printer.flush();
        // The producer has no node name; the run identifies it.
        let spool = options.runs_dir.join(".metrics-spool");
        let server = options
            .influx
            .writer(Source::Producer, manifest.run.as_str(), Some(spool))
            .map_err(|error| (Exit::Usage, error.into()))?;
        let metrics = LineProtocolFile::open(&folder.file("metrics.lp"))
            .inspect_err(|error| warn!(%error, "cannot write metrics.lp"))
            .ok();
        let sink = Sink::new(
            Arc::clone(&manifest),
            folder.integers.clone(),
            units.clone(),
            Arc::clone(&status),
            Verifier::new(verify, options.kernel).map_err(|error| (Exit::Usage, error.into()))?,
            Files {
                results,
                journal: journal.clone(),
                metrics: Metrics::new(metrics, server),
                printer,
            },
            factoring,
            done,
            to_sink.clone(),
            settled,
            events.clone(),
        );
        let span = Span::current();
        let sink = thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || span.in_scope(|| sink.run(&sink_input)))
            .map_err(|error| (Exit::Incomplete, error.into()))?;
        let collector = Collector {
            endpoint,
            manifest: Arc::clone(&manifest),
            journal,
            units: units.clone(),
            status: Arc::clone(&status),
            kernel: options.kernel,
            loss_detector,
            sink: to_sink.clone(),
            settled: to_settle,
            events,
            stop,
        };
        let collecting = tokio::spawn(collector.run(connection).in_current_span());

        let started = Instant::now();
        let end = watch(
            &units,
            &status,
            request.count(),
            options.timeout,
            &mut what_happens,
            publishing,
            &mut signals,
            &mut progress,
        )
        .await;
        let given_up = (!matches!(end, End::Complete)).then(Instant::now);
        tokio::spawn(async move {
            signals.next().await;
            // A second signal exits at once: no remaining state needs a destructor.
            process::exit(i32::from(Exit::Interrupted.code()));
        });
        // Answers that have arrived already are still written and acknowledged.
        let _ = to_sink.send(SinkInput::End);
        let FinishedSink {
            tally,
            done,
            mut metrics,
            printer,
        } = tokio::task::spawn_blocking(move || sink.join())
            .await
            .ok()
            .and_then(Result::ok)
            .context("the thread that writes the results panicked")
            .map_err(|error| (Exit::Incomplete, error))?;
        let complete = done.is_complete();
        let is_cancelled = matches!(end, End::Cancelled);
        if is_cancelled {
            note_cancelled(options, &manifest.run);
        }
        let _ = stop_collecting.send(complete || is_cancelled);
        if timeout(CLOSING, collecting).await.is_err() {
            info!("the broker did not answer in time: the run's results queue is left to expire");
        }
        progress.finish();
        let start = units.lock().first_published().unwrap_or(started);
        let mut summary = Summary::new(
            &manifest,
            units.lock().count(),
            tally,
            &done,
            ok_before,
            Period { start, given_up },
            verify,
        );
        metrics.write(&metrics::end_point(&manifest, &summary));
        let sent = tokio::task::spawn_blocking(move || metrics.close()).await;
        summary.influxdb = read_metrics(options, &manifest.run, sent.ok(), summary.jobs_ok).await;
        let written = folder.write_summary(&summary);
        let shown = printer.finish().and_then(|omitted| {
            let output = &manifest.output;
            show(&summary, options, omitted, output)
        });
        // Report the cause of an early end before its consequences.
        let exit = conclude(end, &summary, &manifest, &units)?;
        let results = manifest.output.display();
        let shown = shown.with_context(|| format!("the results are in {results}"));
        shown.map_err(|error| (Exit::Incomplete, error))?;
        written.map_err(folder_failure)?;
        Ok(exit)
    }
}

/// A message about integers that are too large for the sieve: how they are treated, and how long
/// that takes.
fn beyond_sieve(request: &Request) -> Option<String> {
    let (bits, effort) = (request.work.bits(), request.aims.effort);
    if request.kind() != JobKind::Factor || bits <= MAX_SIEVE_BITS {
        return None;
    }
    let why = format!("a composite of more than {MAX_SIEVE_BITS} bits is too large for the sieve");
    if bits > MAX_CURVE_BITS {
        return Some(format!(
            "{why}, and one of more than {MAX_CURVE_BITS} bits for curves: only small factors are found"
        ));
    }
    // A long estimate is rounded up to whole minutes.
    let seconds = spread::levels_seconds(bits, effort).ceil() as u64;
    let seconds = if seconds > 600 {
        seconds.next_multiple_of(60)
    } else {
        seconds
    };
    let time = show_duration(Duration::from_secs(seconds));
    Some(format!(
        "{why}: curves look for factors of up to {effort} digits (--effort), at {bits} bits for about \
         {time} of one worker"
    ))
}

fn what_to_print(options: &RunOptions, request: &Request) -> Print {
    match request.kind() {
        _ if options.prints_rows => Print::Rows,
        JobKind::Factor if !options.json => Print::Factorizations,
        _ => Print::Nothing,
    }
}

/// Figures of the run as stored on the metrics server; `None` without a server, or while points
/// wait in the spool. Warns if the server has fewer results than the `jobs_ok` that this session
/// has sent.
async fn read_metrics(
    options: &RunOptions,
    run: &RunId,
    sent: Option<Stats>,
    jobs_ok: u64,
) -> Option<ReadBack> {
    let target = options.influx.target().ok()??;
    let server = target.to_string();
    let waiting = sent.map_or(0, |sent| sent.spooled);
    if waiting > 0 {
        warn!(
            points = waiting, influxdb = %server,
            "metrics wait in the spool: the next producer with the same --runs-dir sends them"
        );
        return None;
    }
    let read = metrics::read_back(target, run)
        .await
        .inspect_err(|error| warn!(%error, "cannot read metrics back"))
        .ok()?;
    if read.jobs_ok < jobs_ok {
        warn!(
            influxdb = %server, held = read.jobs_ok, done = jobs_ok,
            "InfluxDB lacks jobs of this run: check --influx-host and --influx-bucket; all points \
             are in metrics.lp of the run's folder too"
        );
    }
    Some(read)
}

/// Time limit for closing the connection to the broker.
const CLOSING: Duration = Duration::from_secs(5);
