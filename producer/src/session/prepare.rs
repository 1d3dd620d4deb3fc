//! Makes a run ready: new, or from its folder.

use std::{
    collections::HashSet,
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
    message::{RunId, Work},
    output::notice,
    topology,
};
use primepool_engine::Kernel;
use tracing::warn;

use super::failure::{Failure, broker_failure, folder_failure};
use crate::{
    broker::{self, LostAnswers, OpenError},
    cli::{Order, What},
    factoring::Factoring,
    request::{Packing, Request, Semiprimes, UnitSize},
    results::SinkInput,
    run_dir::{Folder, FolderError, Journal, Repacking, Repackings, read_back},
    status::Status,
    units::{SharedUnits, Units},
};

/// A run that is ready to go.
pub(super) struct Ready {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    pub(super) repackings: Repackings,
    pub(super) connection: Connection,
    pub(super) units: SharedUnits,
    pub(super) status: Status,
    pub(super) done: Vec<bool>,
    pub(super) ok_before: u64,
    pub(super) detach: bool,
    pub(super) consumers: u32,
    pub(super) to_sink: Sender<SinkInput>,
    pub(super) sink_input: Receiver<SinkInput>,
    /// Integers at which the whole pool is at work.
    pub(super) factoring: Factoring,
    /// Whether answers may have gone astray before.
    pub(super) lost_answers: LostAnswers,
}

pub(super) async fn prepare(endpoint: &Endpoint, order: &Order) -> Result<Ready, Failure> {
    match &order.what {
        What::New {
            request,
            semiprimes,
            unit_size,
            priority,
            output,
            detach,
        } => {
            let run = RunId::generate().map_err(|e| (Exit::Incomplete, e.into()))?;
            let request = &with_semiprimes(request.clone(), *semiprimes).await?;
            // A wrong size is found before the broker is asked.
            choose(request, *unit_size, 0, order.kernel)?;
            let connection = broker::connect(endpoint, &run)
                .await
                .map_err(broker_failure)?;
            let consumers = consumers(&connection, request).await?;
            let workers = workers_for(&connection, request, consumers).await?;
            let packing = choose(request, *unit_size, workers, order.kernel)?;
            declare_results(&connection, &run)
                .await
                .map_err(broker_failure)?;
            let folder = Folder::create(
                &order.runs_dir,
                run,
                request.clone(),
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
            let mut done = vec![false; request.count() as usize];
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            Ok(Ready {
                units: units(&folder, &repacked, HashSet::new(), &done),
                status: Status::default(),
                done,
                to_sink,
                sink_input,
                factoring,
                ok_before: 0,
                detach: *detach,
                consumers,
                lost_answers: LostAnswers::new(false),
                folder,
                journal,
                repackings,
                connection,
            })
        }
        What::Resume { run, republish } => {
            let folder = Folder::open(&order.runs_dir, run).map_err(folder_failure)?;
            let request = &folder.manifest.request;
            let (_, text) = folder.results().map_err(folder_failure)?;
            let (mut done, ok_before) = read_back(&text, request.count()).map_err(|reason| {
                let path = folder.manifest.output.clone();
                folder_failure(FolderError::Damaged { path, reason })
            })?;
            let (journal, mut confirmed) = folder.journal().map_err(folder_failure)?;
            let (repackings, repacked) = folder.repackings().map_err(folder_failure)?;
            let (connection, was_lost) =
                broker::open(endpoint, run, &journal)
                    .await
                    .map_err(|error| match error {
                        OpenError::Broker(error) => broker_failure(error),
                        OpenError::Journal(error) => folder_failure(error),
                    })?;
            if was_lost && !confirmed.is_empty() && !done.iter().all(|done| *done) {
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
            let ended = done.iter().filter(|done| **done).count() as u64;
            let (to_sink, sink_input) = channel();
            let factoring = Factoring::open(&folder, &mut done).map_err(folder_failure)?;
            Ok(Ready {
                consumers: consumers(&connection, request).await?,
                // Nobody knows what has happened since its units were published.
                lost_answers: LostAnswers::new(!confirmed.is_empty()),
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

/// Adds the semiprimes that are to be factored. Large ones take a while.
async fn with_semiprimes(
    mut request: Request,
    made: Option<Semiprimes>,
) -> Result<Request, Failure> {
    let Some(semiprimes) = made else {
        return Ok(request);
    };
    let Semiprimes { count, bits, .. } = semiprimes;
    if f64::from(bits).powi(3) * count as f64 > TOLD_WORK {
        notice(&format!("generating {count} semiprimes of {bits} bits"));
    }
    let products = tokio::task::spawn_blocking(move || semiprimes.make()).await;
    let products = products.map_err(|panic| (Exit::Incomplete, panic.into()))?;
    let products = products.map_err(|error| (Exit::Incomplete, anyhow::Error::msg(error)))?;
    if let Work::Factor(jobs) = &mut request.work {
        jobs.numbers.extend(products);
    }
    Ok(request)
}

/// Sum of the cubed bits of all semiprimes above which the user is told: some seconds of work.
const TOLD_WORK: f64 = 1e11;

fn units(
    folder: &Folder,
    repacked: &[Repacking],
    confirmed: HashSet<u64>,
    done: &[bool],
) -> SharedUnits {
    let manifest = Arc::new(folder.manifest.clone());
    SharedUnits::new(Units::new(manifest, repacked, confirmed, done))
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

/// Number of workers that are there for the jobs of a run.
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
