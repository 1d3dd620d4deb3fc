//! The results queue of a run: declared at its start, found or declared again after a lost
//! connection, deleted at its end.

use std::time::Duration;

use lapin::Connection;
use primepool_common::{
    broker::{BrokerError, Endpoint, declare, declare_results, delete_results, find_results},
    message::RunId,
};
use tokio::time::sleep;
use tracing::info;

use crate::run_dir::{FolderError, Journal};

/// Time between attempts to delete the run's queue.
const DELETE_EVERY: Duration = Duration::from_millis(300);

/// Why the run's queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The broker cannot be reached, or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The journal cannot be emptied.
    #[error(transparent)]
    Journal(#[from] FolderError),
}

/// Connects, and declares the topology except for the run's queue.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub(crate) async fn connect(endpoint: &Endpoint, run: &RunId) -> Result<Connection, BrokerError> {
    let name = format!("primepool producer {run} (collecting)");
    let connection = endpoint.connect(&name).await?;
    declare(&connection).await?;
    Ok(connection)
}

/// Connects, and restores the results queue of an existing run. Also returns whether the queue was
/// lost, so that all units without a result must be published again.
///
/// # Errors
/// The broker cannot be reached, or refuses; or the journal cannot be written.
pub(crate) async fn open(
    endpoint: &Endpoint,
    run: &RunId,
    journal: &Journal,
) -> Result<(Connection, bool), OpenError> {
    let connection = connect(endpoint, run).await?;
    let was_lost = restore(&OnBroker(&connection, run), journal).await?;
    Ok((connection, was_lost))
}

/// The results queue of a run.
trait ResultsQueue {
    /// Whether the queue exists.
    async fn find(&self) -> Result<bool, BrokerError>;
    /// Declares the queue.
    async fn declare(&self) -> Result<(), BrokerError>;
}

struct OnBroker<'a>(&'a Connection, &'a RunId);

impl ResultsQueue for OnBroker<'_> {
    async fn find(&self) -> Result<bool, BrokerError> {
        find_results(self.0, self.1).await
    }

    async fn declare(&self) -> Result<(), BrokerError> {
        declare_results(self.0, self.1).await
    }
}

/// Declares the queue again if it is missing; returns whether it was lost.
///
/// The journal is emptied before the queue is declared again, since a producer that finds the queue
/// must be able to rely on the journal. After an error, the next attempt continues from there, and
/// still reports that the queue was lost.
async fn restore(queue: &impl ResultsQueue, journal: &Journal) -> Result<bool, OpenError> {
    if !queue.find().await? {
        journal.forget()?;
        queue.declare().await?;
    }
    Ok(journal.reopen())
}

/// Deletes the queue; reconnects as often as necessary, unless the broker refuses in a way that
/// only an operator can fix.
pub(super) async fn delete(endpoint: &Endpoint, run: &RunId, mut connection: Option<Connection>) {
    loop {
        let deleted = match connection.take() {
            Some(connection) => {
                let deleted = delete_results(&connection, run).await;
                let _ = connection.close(200, "collected".into()).await;
                deleted
            }
            None => {
                let name = format!("primepool producer {run} (closing)");
                match endpoint.connect(&name).await {
                    Ok(next) => {
                        connection = Some(next);
                        continue;
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let Err(error) = deleted else { return };
        info!(%error, "the run's results queue was not deleted");
        if error.needs_operator() {
            return;
        }
        sleep(DELETE_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use primepool_common::message::{NoopJobs, Work};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        request::{Packing, Request},
        run_dir::Folder,
    };

    /// A broker that may have lost the queue, and that refuses the first declarations.
    struct Fake<'a> {
        is_there: Cell<bool>,
        refusals: Cell<u32>,
        folder: &'a Folder,
    }

    impl Fake<'_> {
        fn published(&self) -> String {
            std::fs::read_to_string(self.folder.file("published")).unwrap()
        }
    }

    impl ResultsQueue for Fake<'_> {
        async fn find(&self) -> Result<bool, BrokerError> {
            Ok(self.is_there.get())
        }

        async fn declare(&self) -> Result<(), BrokerError> {
            assert_eq!(self.published(), "", "the journal is emptied before");
            if self.refusals.get() > 0 {
                self.refusals.set(self.refusals.get() - 1);
                let reason = "a test".to_owned();
                return Err(BrokerError::Lost { reason });
            }
            self.is_there.set(true);
            Ok(())
        }
    }

    fn folder() -> (TempDir, Folder, Journal) {
        let runs = tempfile::tempdir().unwrap();
        let work = Work::Noop(NoopJobs { count: 9 });
        let packing = Packing {
            most: 1,
            least: 1,
            workers: 1,
            most_jobs: None,
        };
        let run = "r1".parse().unwrap();
        let request = Request::new(work);
        let folder = Folder::create(runs.path(), run, request, None, packing, 0, None).unwrap();
        let (journal, _) = folder.journal().unwrap();
        journal.add(&[journal.begin(0), journal.begin(1)]).unwrap();
        (runs, folder, journal)
    }

    #[tokio::test]
    async fn a_queue_that_is_there_changes_nothing() {
        let (_runs, folder, journal) = folder();
        let queue = Fake {
            is_there: true.into(),
            refusals: 0.into(),
            folder: &folder,
        };
        assert!(!restore(&queue, &journal).await.unwrap());
        assert_eq!(queue.published(), "0\n1\n");
    }

    #[tokio::test]
    async fn a_lost_queue_is_told_once_even_if_it_cannot_be_made_at_first() {
        let (_runs, folder, journal) = folder();
        let queue = Fake {
            is_there: false.into(),
            refusals: 2.into(),
            folder: &folder,
        };
        for _ in 0..2 {
            assert!(restore(&queue, &journal).await.is_err());
            // A confirm that arrives while the queue is missing does not count.
            journal.add(&[journal.begin(2)]).unwrap();
            assert_eq!(queue.published(), "");
        }
        assert!(restore(&queue, &journal).await.unwrap());
        assert!(!restore(&queue, &journal).await.unwrap());
        journal.add(&[journal.begin(3)]).unwrap();
        assert_eq!(queue.published(), "3\n");
    }

    /// The queue was declared again, but the connection was lost before the reply.
    #[tokio::test]
    async fn a_queue_that_was_made_unknown_to_us_counts_as_lost() {
        let (_runs, folder, journal) = folder();
        let queue = Fake {
            is_there: false.into(),
            refusals: 1.into(),
            folder: &folder,
        };
        assert!(restore(&queue, &journal).await.is_err());
        queue.is_there.set(true);
        assert!(restore(&queue, &journal).await.unwrap());
    }
}
