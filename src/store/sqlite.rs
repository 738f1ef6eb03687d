//! The SQLite connections: one writer in its own task, readers in a pool, one process per file.

use std::{fs::File, path::Path, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::{Error, NewDelivery, Result, deliveries, migrate};
use crate::ops::lifecycle::Tasks;

/// Writes waiting at most; beyond that, callers wait and intake answers 503.
const QUEUE: usize = 1024;
/// Deliveries that share one commit at most.
const BATCH: usize = 256;

type Work = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, bool> + Send>;
type Incoming = (NewDelivery, oneshot::Sender<Result<()>>);

/// An open database.
pub struct Sqlite {
    readers: SqlitePool,
    urgent: mpsc::Sender<Work>,
    intake: mpsc::Sender<Incoming>,
    last: mpsc::Sender<Work>,
    // Held for the life of the process: a second process is refused.
    _lock: File,
}

impl Sqlite {
    /// Opens, locks and migrates the file; starts the writer.
    pub async fn open(path: &Path, tasks: &Tasks) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Failed(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock = File::create(path.with_extension("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse(path.display().to_string()),
            std::fs::TryLockError::Error(error) => failed(error),
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256);
        // A raw webhook may hold secrets: deleting it leaves nothing in the file.
        let secure = options.clone().pragma("secure_delete", "ON");
        let mut writer = SqliteConnection::connect_with(&secure).await?;
        migrate::run(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options.read_only(true))
            .await?;
        let (urgent, urgent_queue) = mpsc::channel(QUEUE);
        let (intake, intake_queue) = mpsc::channel(QUEUE);
        let (last, last_queue) = mpsc::channel(QUEUE);
        let stopped = tasks.stop().stopped.clone();
        tasks.spawn("store.writer", async move {
            tokio::select! {
                () = write_all(writer, urgent_queue, intake_queue, last_queue) => {}
                () = stopped.cancelled() => {}
            }
            Ok(())
        });
        Ok(Self { readers, urgent, intake, last, _lock: lock })
    }

    /// For reads.
    pub fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs `work` in one write transaction.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        queued(&self.urgent, work).await
    }

    /// The same, when nothing else waits: for what may be late.
    pub async fn write_last<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        queued(&self.last, work).await
    }

    /// Moves the write-ahead log into the file and empties it: rows deleted since are in neither any more.
    pub async fn empty_log(&self) -> Result<()> {
        let (done, result) = oneshot::channel();
        let work: Work = Box::new(move |db| {
            Box::pin(async move {
                let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(db).await;
                let ok = emptied.is_ok();
                drop(done.send(emptied.map(drop).map_err(super::Error::from)));
                ok
            })
        });
        self.urgent.send(work).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    /// Stores a delivery, sharing the commit with whatever waits.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        let (done, result) = oneshot::channel();
        let full = |_| Error::Failed("too many deliveries wait to be stored".to_owned());
        self.intake.try_send((delivery, done)).map_err(full)?;
        result.await.map_err(|_| gone())?
    }
}

async fn queued<T: Send + 'static>(
    queue: &mpsc::Sender<Work>,
    work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    let work: Work = Box::new(move |db| {
        Box::pin(async move {
            let outcome = transaction(db, work).await;
            let ok = outcome.is_ok();
            // Nobody waits any more when the caller was cancelled; the commit stands all the same.
            drop(done.send(outcome));
            ok
        })
    });
    queue.send(work).await.map_err(|_| gone())?;
    result.await.map_err(|_| gone())?
}

fn gone() -> Error {
    Error::Failed("the store is closed".to_owned())
}

async fn write_all(
    mut db: SqliteConnection,
    mut urgent: mpsc::Receiver<Work>,
    mut intake: mpsc::Receiver<Incoming>,
    mut last: mpsc::Receiver<Work>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            work = urgent.recv() => match work {
                Some(work) => drop(work(&mut db).await),
                None => break,
            },
            count = intake.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    break;
                }
                store_batch(&mut db, std::mem::take(&mut batch)).await;
            }
            work = last.recv() => match work {
                Some(work) => drop(work(&mut db).await),
                None => break,
            },
        }
    }
    drop(db.close().await);
}

/// One commit for all; if it fails, one by one, so that a single bad row harms only itself.
async fn store_batch(db: &mut SqliteConnection, batch: Vec<Incoming>) {
    let (rows, waiting): (Vec<NewDelivery>, Vec<_>) = batch.into_iter().unzip();
    if rows.len() > 1 && deliveries::insert(db, &rows).await.is_ok() {
        for done in waiting {
            drop(done.send(Ok(())));
        }
        return;
    }
    for (row, done) in rows.iter().zip(waiting) {
        drop(done.send(deliveries::insert(db, std::slice::from_ref(row)).await));
    }
}

async fn transaction<T>(
    db: &mut SqliteConnection,
    work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>>,
) -> Result<T> {
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    let value = work(&mut tx).await?;
    tx.commit().await?;
    Ok(value)
}
