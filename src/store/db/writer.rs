//! The one writer of a SQLite database: three queues, everything that pages and acks in turns with intake, and what may be late
//! behind both. What waits in a queue shares a transaction: one wait for the disk, and a page that many rows are in is written once.
//!
//! It is one piece of work that never waits but for its queues. A file's has a thread of its own: a transaction costs one switch
//! of threads there and one back, and while its commit waits for the disk the runtime goes on. A simulation's is a task of
//! its runtime, so that a run can be replayed.

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, Work, dialect,
    intake::{self, BATCH, Incoming, Intake, QUEUE, gone},
    query, sqlite, transaction, undone,
};
use crate::store::{Error, Result};

/// Moves the write-ahead log into the file.
const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Writes that share one commit at most.
const SHARED: usize = 64;
/// The same while deliveries wait for their turn.
const HURRIED: usize = 8;

/// What runs on the connection by itself.
type Alone = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, ()> + Send>;
/// One write of several in a transaction; where that could not begin it gets the error.
type Part = Box<dyn for<'c> FnOnce(Result<&'c mut Connection>) -> BoxFuture<'c, Done> + Send>;

enum Job {
    Alone(Alone),
    Part(Part),
}

/// A part that has run, and waits for the commit.
struct Done {
    /// Why nothing of it may stay.
    failed: Option<Error>,
    /// Tells the caller; with the error of the commit, if that failed.
    tell: Box<dyn FnOnce(Result<()>) + Send>,
}

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

    /// Runs `work` in a write transaction: all of it happens, or nothing. What waits at the same moment shares the commit.
    pub async fn write<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        let (done, result) = oneshot::channel();
        self.urgent.send(Job::Part(shared(work, done))).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
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
    let job: Alone = Box::new(move |db| {
        Box::pin(async move {
            // Nobody waits any more when the caller was cancelled; the commit stands all the same.
            drop(done.send(work(db).await));
        })
    });
    queue.send(Job::Alone(job)).await.map_err(|_| gone())?;
    result.await.map_err(|_| gone())?
}

/// The part that does `work` and tells `done`.
fn shared<T: Send + 'static>(work: Work<T>, done: oneshot::Sender<Result<T>>) -> Part {
    Box::new(move |db| {
        Box::pin(async move {
            let outcome = match db {
                Ok(db) => work(db).await,
                Err(error) => Err(error),
            };
            let failed = outcome.as_ref().err().cloned();
            // Nobody waits any more when the caller was cancelled; the commit stands all the same.
            let tell = |committed: Result<()>| {
                drop(done.send(outcome.and_then(|value| committed.map(|()| value))));
            };
            Done { failed, tell: Box::new(tell) }
        })
    })
}

async fn write_all(
    mut db: Connection,
    mut queues: Queues,
    marks: bool,
    stopped: CancellationToken,
) -> anyhow::Result<()> {
    let (mut jobs, mut deliveries) = (Vec::with_capacity(SHARED), Vec::with_capacity(BATCH));
    loop {
        let most = if queues.intake.is_empty() { SHARED } else { HURRIED };
        // Told to stop, it ends between two commits: nothing is left half done.
        tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            count = queues.urgent.recv_many(&mut jobs, most) => {
                if count == 0 {
                    break;
                }
                run_all(&mut db, std::mem::take(&mut jobs)).await;
                // Work that never ends must not keep deliveries out: they take turns.
                while deliveries.len() < BATCH && let Ok(delivery) = queues.intake.try_recv() {
                    deliveries.push(delivery);
                }
            }
            count = queues.intake.recv_many(&mut deliveries, BATCH) => {
                if count == 0 {
                    break;
                }
            }
            job = queues.last.recv() => match job {
                Some(job) => run_all(&mut db, vec![job]).await,
                None => break,
            },
        }
        if !deliveries.is_empty() {
            // A file has no connection to lose: the next batch simply tries again.
            let _: bool = intake::store(&mut db, std::mem::take(&mut deliveries)).await;
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

/// In their order; parts that follow each other share a transaction.
async fn run_all(db: &mut Connection, jobs: Vec<Job>) {
    let mut parts = vec![];
    for job in jobs {
        match job {
            Job::Part(part) => parts.push(part),
            Job::Alone(alone) => {
                together(db, std::mem::take(&mut parts)).await;
                alone(db).await;
            }
        }
    }
    together(db, parts).await;
}

/// One transaction for all; a part that fails is undone by itself. Each is told after the commit.
async fn together(db: &mut Connection, parts: Vec<Part>) {
    let mut done: Vec<Done> = Vec::with_capacity(parts.len());
    let is_only = parts.len() == 1;
    for part in parts {
        // The first one begins; so does the next after the database ended the transaction by itself.
        let begun = if is_open(db) { Ok(()) } else { dialect::begin(db).await };
        let ended = match begun {
            Ok(()) if is_only => only(db, part).await,
            Ok(()) => one_of(db, part).await,
            Err(error) => part(Err(error.into())).await,
        };
        if is_open(db) {
            done.push(ended);
            continue;
        }
        // A full disk ends the transaction: what was done before this part is undone with it.
        tell(std::mem::take(&mut done), &Err(said_to_others(ended.failed.as_ref())));
        (ended.tell)(Err(said_to_others(None)));
    }
    if is_open(db) {
        let committed = match query("COMMIT").execute(db).await {
            Ok(_) => Ok(()),
            Err(error) => Err(undone(db, error.into()).await),
        };
        tell(done, &committed);
    }
}

/// Runs a part that has the transaction for itself.
async fn only(db: &mut Connection, part: Part) -> Done {
    let mut done = part(Ok(&mut *db)).await;
    if let Some(error) = done.failed.take() {
        done.failed = Some(undone(db, error).await);
    }
    done
}

/// Runs a part beside others, and undoes what it did when it fails.
async fn one_of(db: &mut Connection, part: Part) -> Done {
    if let Err(error) = query("SAVEPOINT part").execute(db).await {
        return part(Err(error.into())).await;
    }
    let done = part(Ok(&mut *db)).await;
    if done.failed.is_some()
        && let Err(error) = query("ROLLBACK TO part").execute(db).await
    {
        // What it did cannot be told from the others' any more, and must not be committed with it.
        undone(db, error.into()).await;
        return done;
    }
    // COMMIT releases what is left.
    drop(query("RELEASE part").execute(db).await);
    done
}

/// Why the transaction is over. That a part lost its job or its race is of that part only.
fn said_to_others(failed: Option<&Error>) -> Error {
    match failed {
        Some(error @ Error::Failed(_)) => error.clone(),
        Some(_) | None => Error::Failed("the database ended the transaction".to_owned()),
    }
}

fn tell(parts: Vec<Done>, committed: &Result<()>) {
    for part in parts {
        (part.tell)(committed.clone());
    }
}

/// Whether a transaction goes on.
fn is_open(db: &Connection) -> bool {
    match db {
        Connection::Sqlite(db) => !db.is_autocommit(),
        // A server's connections have no writer.
        Connection::Postgres(_) => false,
    }
}

#[cfg(test)]
mod tests;
