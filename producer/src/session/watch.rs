//! Waits for the end of a session.

use std::{pin::pin, time::Duration};

use futures_util::future::OptionFuture;
use lapin::Connection;
use primepool_common::{
    broker::ControlReader, exit::Exit, message::RunId, run_folder::mark_cancelled,
    shutdown::StopSignals,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::warn;

use super::failure::{Failure, broker_failure, folder_failure};
use crate::{
    broker::PublishError,
    cli::RunOptions,
    progress::{Progress, plural},
    status::{Event, Status},
    units::{SharedUnits, Units},
};

/// Why a run stopped.
pub(super) enum End {
    Complete,
    Interrupted(&'static str),
    TimedOut(Duration),
    Cancelled,
    Failed(Failure),
}

/// Waits for the end of a run and shows its progress.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, used once")]
pub(super) async fn watch(
    units: &SharedUnits,
    status: &Status,
    count: u64,
    give_up_after: Option<Duration>,
    what_happens: &mut UnboundedReceiver<Event>,
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
        let done = status.jobs_done();
        if done == count {
            break End::Complete;
        }
        tokio::select! {
            Some(event) = what_happens.recv() => match event {
                Event::Complete => break End::Complete,
                Event::Failed(reason) => {
                    break End::Failed((Exit::Incomplete, anyhow::Error::msg(reason)));
                }
                Event::QueueLost => progress.say(
                    "the run's results queue was gone: publishing the units without a result again",
                ),
                Event::Overdue => progress.say(
                    "answers may have gone astray while their queue was out of reach: \
                     publishing the units without a result again",
                ),
                Event::UnitsLost { units, dead } => progress.say(&units_lost(units, dead)),
                Event::NoOtherNode(nodes) => progress.say(&format!(
                    "results of {nodes} were wrong, and no other node is there: start another consumer",
                )),
                Event::LeftToOthers { node, reason } => progress.say(&format!(
                    "{node} leaves units of this run to others: {reason}"
                )),
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
                status.jobs_not_ok(),
                queue,
                units.lock().first_published(),
                status.stage().as_deref(),
            ),
        }
    };
    // Let the publisher announce that the run leaves the pool.
    units.update(Units::close);
    if !publishing.is_finished() && timeout(FAREWELL, &mut publishing).await.is_err() {
        publishing.abort();
    }
    end
}

fn units_lost(units: usize, dead: u32) -> String {
    let letters = match dead {
        0 => String::new(),
        dead => format!("; primepool.dead has {}", plural(dead.into(), "message")),
    };
    format!(
        "{} without a result neither in the queue nor with a consumer{letters}: publishing again",
        plural(units as u64, "unit"),
    )
}

/// Time limit for the publisher's last announcement.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) fn note_cancelled(options: &RunOptions, run: &RunId) {
    if let Err(error) = mark_cancelled(&options.runs_dir, run) {
        warn!(%error, "cannot mark the run as cancelled");
    }
}

/// For `--detach`: waits until everything is published. A cancellation is received only while the
/// first connection is open; a later one reaches the consumers, and `resume`.
pub(super) async fn publish_only(
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
        PublishError::Folder(error) => folder_failure(error),
    }
}
