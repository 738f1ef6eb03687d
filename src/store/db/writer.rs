//! The one writer of a SQLite database: three queues, everything that pages and acks before intake, and what may be late
//! behind both.
//!
//! It is one piece of work that never waits but for its queues. A file's has a thread of its own: a transaction costs one switch
//! of threads there and one back, and while its commit waits for the disk the runtime goes on. A simulation's is a task of
//! its runtime, so that a run can be replayed.

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Work,
    intake::{self, BATCH, Incoming, Intake, QUEUE, gone},
    query, sqlite, transaction,
};
use crate::store::Result;

/// Moves the write-ahead log into the file.
const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

type Job = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, ()> + Send>;

/// Where writes are put.
pub struct Writer {
    urgent: mpsc::Sender<Job>,
    last: mpsc::Sender<Job>,
    /// Deliveries.
    pub intake: Intake,
}

struct Queues {
    urgent: mpsc::Receiver<Job>,
    intake: mpsc::Receiver<Incoming>,
    last: mpsc::Receiver<Job>,
}

impl Writer {
    /// With the work of the writer that owns `db`, to be run as a service; it ends by marking a clean stop, or not.
    pub fn new(
        db: Connection,
        marks: bool,
        stopped: CancellationToken,
    ) -> (Self, impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let (urgent, urgent_queue) = mpsc::channel(QUEUE);
        let (last, last_queue) = mpsc::channel(QUEUE);
        let (intake, intake_queue) = Intake::new();
        let queues = Queues { urgent: urgent_queue, intake: intake_queue, last: last_queue };
        (Self { urgent, last, intake }, write_all(db, queues, marks, stopped))
    }

    /// Runs `work` in one write transaction.
    pub async fn write<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        self.run(|db| Box::pin(transaction(db, work))).await
    }

    /// The same, when nothing else waits.
    pub async fn write_last<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        self.run_last(|db| Box::pin(transaction(db, work))).await
    }

    /// Runs `work` on the connection when nothing else waits, outside of any transaction.
    pub async fn run_last<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        queued(&self.last, work).await
    }

    /// Moves the write-ahead log into the file and empties it: rows deleted since are in neither any more.
    pub async fn empty_log(&self) -> Result<()> {
        self.run(|db| Box::pin(async { Ok(query(EMPTY_LOG).execute(db).await.map(drop)?) })).await
    }

    /// Runs `work` on the connection, outside of any transaction.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        queued(&self.urgent, work).await
    }
}

async fn queued<T: Send + 'static>(
    queue: &mpsc::Sender<Job>,
    work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    let job: Job = Box::new(move |db| {
        Box::pin(async move {
            // Nobody waits any more when the caller was cancelled; the commit stands all the same.
            drop(done.send(work(db).await));
        })
    });
    queue.send(job).await.map_err(|_| gone())?;
    result.await.map_err(|_| gone())?
}

async fn write_all(
    mut db: Connection,
    mut queues: Queues,
    marks: bool,
    stopped: CancellationToken,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        // Told to stop, it ends between two jobs: none is left half done.
        tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            job = queues.urgent.recv() => match job {
                Some(job) => job(&mut db).await,
                None => break,
            },
            count = queues.intake.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    break;
                }
                // A file has no connection to lose: the next batch simply tries again.
                let _: bool = intake::store(&mut db, std::mem::take(&mut batch)).await;
            }
            job = queues.last.recv() => match job {
                Some(job) => job(&mut db).await,
                None => break,
            },
        }
    }
    if marks && let Err(error) = sqlite::mark(&mut db, true).await {
        tracing::warn!(%error, "the stop is not marked as clean: the next start checks the store");
    }
    // Readers may be open for longer, and then closing leaves the log as it is.
    drop(query(EMPTY_LOG).execute(&mut db).await);
    super::close(db).await;
    Ok(())
}
