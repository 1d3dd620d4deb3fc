//! Makes a run ready: new, or from its folder.

use std::sync::{
    Arc,
    atomic::Ordering::Relaxed,
    mpsc::{Receiver, Sender, channel},
};

use lapin::Connection;
use primepool_common::{
    broker::{Endpoint, declare_results, queue_state},
    exit::Exit,
    message::RunId,
    output::notice,
    topology,
};
use tracing::warn;

use super::failure::{Failure, broker_failure, folder_failure};
use crate::{
    broker::{self, LostAnswers, OpenError},
    cli::{Order, What},
    factoring::Factoring,
    request::{Ask, Packing, Semiprimes, UnitSize},
    results::SinkInput,
    run_dir::{Folder, FolderError, Journal, read_back},
    state::Shared,
};

/// A run that is ready to go.
pub(super) struct Ready {
    pub(super) folder: Folder,
    pub(super) journal: Journal,
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    /// Units to publish now.
    pub(super) units: Vec<u64>,
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
            let connection = broker::connect(endpoint, &run)
                .await
                .map_err(broker_failure)?;
            declare_results(&connection, &run)
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
                lost_answers: LostAnswers::new(false),
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
                broker::open(endpoint, run, &journal)
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
                lost_answers: LostAnswers::new(!confirmed.is_empty()),
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
    let state = queue_state(connection, &queue).await;
    Ok(state.map_err(broker_failure)?.consumers)
}
