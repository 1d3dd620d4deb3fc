//! Prepares a run: a new one, or one from its folder.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Instant,
};

use lapin::Connection;
use primepool_common::{
    broker::{Endpoint, declare_results, queue_state},
    exit::Exit,
    message::{Integers, RunId},
    output::notice,
    topology,
};
use primepool_engine::Kernel;
use rangemap::RangeSet;
use tracing::warn;

use super::failure::{Failure, broker_failure, folder_failure};
use crate::{
    broker::{self, LossDetector, OpenError},
    cli::{RunOptions, RunSource},
    factoring::Factoring,
    request::{IntegerSource, MAX_UNITS, Packing, Request, Semiprimes, UnitSize},
    results::SinkInput,
    run_dir::{
        EndedJobs, Folder, FolderError, IntegersWriter, JobSet, Journal, NewIntegers, Repacking,
        Repackings,
    },
    status::Status,
    units::{SharedUnits, Units},
};

/// A run that is ready to start.
pub(super) struct PreparedRun {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    pub(super) repackings: Repackings,
    pub(super) connection: Connection,
    pub(super) units: SharedUnits,
    pub(super) status: Status,
    pub(super) done: JobSet,
    pub(super) ok_before: u64,
    pub(super) detach: bool,
    pub(super) consumers: u32,
    pub(super) to_sink: Sender<SinkInput>,
    pub(super) sink_input: Receiver<SinkInput>,
    /// Campaigns of integers that the whole pool factors.
    pub(super) factoring: Factoring,
    /// Detector of lost answers, including those of earlier sessions.
    pub(super) loss_detector: LossDetector,
}

pub(super) async fn prepare(
    endpoint: &Endpoint,
    options: &RunOptions,
) -> Result<PreparedRun, Failure> {
    match &options.source {
        RunSource::New {
            request,
            integers,
            unit_size,
            priority,
            output,
            detach,
        } => {
            let run = RunId::generate().map_err(|e| (Exit::Incomplete, e.into()))?;
            let mut request = request.clone();
            let new_integers = NewIntegers::beside(&options.runs_dir.join(run.as_str()));
            if let Some(source) = integers {
                gather(source, &new_integers, &mut request).await?;
            }
            let request = &request;
            // Detect a wrong unit size before connecting to the broker.
            choose(request, *unit_size, 0, options.kernel)?;
            let connection = broker::connect(endpoint, &run)
                .await
                .map_err(broker_failure)?;
            let consumers = consumers(&connection, request).await?;
            let workers = workers_for(&connection, request, consumers).await?;
            let packing = choose(request, *unit_size, workers, options.kernel)?;
            declare_results(&connection, &run)
                .await
                .map_err(broker_failure)?;
            let folder = Folder::create(
                &options.runs_dir,
                run,
                request.clone(),
                integers.is_some().then_some(&new_integers),
                packing,
                *priority,
                output.as_deref(),
            );
            let folder = match folder {
                Ok(folder) => folder,
                Err(error) => return Err(folder_failure(error)),
            };
            let (journal, _) = folder.journal().map_err(folder_failure)?;
            let (repackings, repacked) = folder.repackings().map_err(folder_failure)?;
            let mut done = JobSet::none_of(request.count());
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            Ok(PreparedRun {
                units: units(&folder, &repacked, RangeSet::new(), &done),
                status: Status::default(),
                done,
                to_sink,
                sink_input,
                factoring,
                ok_before: 0,
                detach: *detach,
                consumers,
                loss_detector: LossDetector::new(false),
                folder,
                journal,
                repackings,
                connection,
            })
        }
        RunSource::Resume { run, republish } => {
            let folder = Folder::open(&options.runs_dir, run).map_err(folder_failure)?;
            let request = &folder.manifest.request;
            let mut ended = EndedJobs::new(request.count());
            let mut damage = None;
            let each = |line: &[u8]| {
                if damage.is_none() {
                    damage = ended.add(line).err();
                }
            };
            folder.results(each).map_err(folder_failure)?;
            if let Some(reason) = damage {
                let path = folder.manifest.output.clone();
                return Err(folder_failure(FolderError::Damaged { path, reason }));
            }
            let EndedJobs {
                mut done,
                ok: ok_before,
                ..
            } = ended;
            let (journal, mut confirmed) = folder.journal().map_err(folder_failure)?;
            let (repackings, repacked) = folder.repackings().map_err(folder_failure)?;
            let (connection, was_lost) =
                broker::open(endpoint, run, &journal)
                    .await
                    .map_err(|error| match error {
                        OpenError::Broker(error) => broker_failure(error),
                        OpenError::Journal(error) => folder_failure(error),
                    })?;
            if was_lost && !confirmed.is_empty() && !done.is_complete() {
                warn!(
                    "the broker has lost the results queue of this run: publishing the units \
                     without a result again"
                );
            }
            if *republish {
                journal.forget().map_err(folder_failure)?;
                let _ = journal.reopen();
            }
            if was_lost || *republish {
                confirmed.clear();
            }
            let ended = done.len();
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            Ok(PreparedRun {
                consumers: consumers(&connection, request).await?,
                // Answers may have been lost since the units were published.
                loss_detector: LossDetector::new(!confirmed.is_empty()),
                units: units(&folder, &repacked, confirmed, &done),
                status: Status::new(ended, ended - ok_before),
                done,
                to_sink,
                sink_input,
                factoring,
                ok_before,
                detach: false,
                folder,
                journal,
                repackings,
                connection,
            })
        }
    }
}

/// Writes the integers of the jobs to their file. This takes a while for many integers or for large
/// semiprimes.
async fn gather(
    source: &IntegerSource,
    new: &NewIntegers,
    request: &mut Request,
) -> Result<(), Failure> {
    if let Some(Semiprimes { count, bits, .. }) = source.semiprimes
        && f64::from(bits).powi(3) * count as f64 > TOLD_WORK
    {
        notice(&format!("generating {count} semiprimes of {bits} bits"));
    }
    let (source, path) = (source.clone(), new.path().to_owned());
    let gathered = tokio::task::spawn_blocking(move || write_integers(&source, &path)).await;
    let (count, bits) = gathered.map_err(|panic| (Exit::Incomplete, panic.into()))??;
    request.set_integers(Integers::InFile { count, bits });
    Ok(())
}

/// Writes the integers to a file; returns their number and the bits of the largest.
fn write_integers(source: &IntegerSource, path: &Path) -> Result<(u64, u32), Failure> {
    // Create the file with the first integer, so that an unreadable source leaves no file behind.
    let mut writer = None;
    let mut failed = None;
    let read = source.read(|integer| {
        let added = match &mut writer {
            Some(writer) => IntegersWriter::add(writer, &integer),
            None => IntegersWriter::create(path).and_then(|new| writer.insert(new).add(&integer)),
        };
        match added {
            Ok(count) if count > MAX_UNITS => Err(format!("more than {MAX_UNITS} integers")),
            Ok(_) => Ok(()),
            Err(error) => {
                failed = Some(error);
                Err(String::new())
            }
        }
    });
    if let Some(error) = failed {
        return Err(folder_failure(error));
    }
    read.map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))?;
    let written = writer.map_or(Ok((0, 0)), IntegersWriter::finish);
    written.map_err(folder_failure)
}

/// Sum of the cubed bits of all semiprimes above which a notice is printed: some seconds of work.
const TOLD_WORK: f64 = 1e11;

fn units(
    folder: &Folder,
    repacked: &[Repacking],
    confirmed: RangeSet<u64>,
    done: &JobSet,
) -> SharedUnits {
    let manifest = Arc::new(folder.manifest.clone());
    let weights = folder.weights();
    SharedUnits::new(Units::new(manifest, weights, repacked, confirmed, done))
}

fn choose(
    request: &Request,
    size: UnitSize,
    workers: u32,
    kernel: Kernel,
) -> Result<Packing, Failure> {
    Packing::choose(request, size, workers, kernel)
        .map_err(|e| (Exit::Usage, anyhow::Error::msg(e)))
}

/// Number of workers that take the jobs of a run.
async fn workers_for(
    connection: &Connection,
    request: &Request,
    consumers: u32,
) -> Result<u32, Failure> {
    let kind = request.kind();
    let bits = request.work.bits();
    let view = broker::look_around(connection, kind, bits, consumers).await;
    let now = Instant::now();
    let most = view.max_bits(kind, now);
    let all_known = consumers > 0 && view.consumers(kind, now) >= consumers;
    if all_known && bits > most {
        let error = anyhow::anyhow!(
            "no consumer takes {kind} jobs of {bits} bits: the most is {most} bits (--max-bits of the consumers)"
        );
        return Err((Exit::Usage, error));
    }
    Ok(broker::workers(&view, kind, consumers, now))
}

async fn consumers(connection: &Connection, request: &Request) -> Result<u32, Failure> {
    let queue = topology::jobs_queue(request.kind());
    let state = queue_state(connection, &queue).await;
    Ok(state.map_err(broker_failure)?.consumers)
}
