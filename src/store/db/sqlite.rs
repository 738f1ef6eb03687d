//! SQLite: one writer connection in its own task, readers in a pool, one process per file.

use std::{fs::File, path::Path, time::Duration};

use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};

use super::{
    Connection, Query, Work,
    dialect::is_new,
    end,
    intake::{self, BATCH, Incoming, Intake, QUEUE, gone},
    pool::{Options, Pool},
    query, transaction,
};
use crate::{
    ops::lifecycle::Tasks,
    store::{Error, Migrated, Result, migrate},
};

/// Readers at once.
const READERS: u32 = 4;
/// Longest wait for a reader, and for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);

type Job = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, ()> + Send>;

/// An open file.
pub struct Sqlite {
    readers: Pool,
    /// All writes.
    pub writer: Writer,
    // Held for the life of the process: a second daemon is refused.
    _lock: Option<Lock>,
}

/// The one writer: a task with three queues, everything that pages and acks before intake, and what may be late behind both.
pub struct Writer {
    urgent: mpsc::Sender<Job>,
    last: mpsc::Sender<Job>,
    /// Deliveries.
    pub intake: Intake,
}

impl Sqlite {
    /// Opens, locks and migrates the file; starts the writer.
    pub async fn open(path: &Path, tasks: &Tasks) -> Result<Self> {
        let (lock, mut writer, _) = open_to_write(path).await?;
        mark(&mut writer, false).await?;
        Ok(Self::with(path, writer, Some(lock), tasks))
    }

    /// Opens a file that is there, as it is, beside a daemon that may have it open.
    pub async fn open_as_it_is(path: &Path, tasks: &Tasks) -> Result<Self> {
        let writer = Options::Sqlite(options(path)).connect().await?;
        Ok(Self::with(path, writer, None, tasks))
    }

    fn with(path: &Path, writer: Connection, lock: Option<Lock>, tasks: &Tasks) -> Self {
        let readers = Options::Sqlite(options(path).read_only(true));
        let readers = Pool::new(readers, READERS, PATIENCE);
        let marks = lock.is_some();
        Self { readers, writer: Writer::start(writer, marks, tasks), _lock: lock }
    }

    /// All rows of a query.
    pub async fn all<T>(&self, query: &Query) -> Result<Vec<T>>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + Send
            + Unpin,
    {
        let mut session = self.readers.session().await?;
        let rows = query.all(session.connection()).await;
        end(session, rows.is_ok());
        Ok(rows?)
    }
}

/// Makes the file if there is none, keeps other daemons from it, and brings it up to our schema.
pub async fn open_to_write(path: &Path) -> Result<(Lock, Connection, Migrated)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| failed(path, &error))?;
    }
    let lock = lock(path)?;
    let opened = Options::Sqlite(options(path).create_if_missing(true)).connect().await;
    let mut db = opened.map_err(|error| damaged(error.into(), path))?;
    let checked = check(&mut db, path).await;
    checked.map_err(|error| damaged(error, path))?;
    let migrated = migrate::run(&mut db).await?;
    Ok((lock, db, migrated))
}

/// After a stop that was not clean, looks at the whole file before anything is built on it.
async fn check(db: &mut Connection, path: &Path) -> Result<()> {
    if is_new(db).await? || is_clean(db).await? {
        return Ok(());
    }
    let file = path.display().to_string();
    tracing::info!(file, "the last stop was not clean; the store is checked");
    match quick_check(db).await? {
        None => Ok(()),
        Some(found) => Err(Error::Damaged { file, found }),
    }
}

/// The first thing that is wrong with the file's structure.
pub async fn quick_check(db: &mut Connection) -> Result<Option<String>> {
    let (found,): (String,) = query("PRAGMA quick_check(1)").one(db).await?;
    Ok((found != "ok").then_some(found))
}

async fn is_clean(db: &mut Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM meta WHERE name = 'clean_stop' AND value = 1";
    Ok(query(sql).one::<(i64,)>(db).await?.0 == 1)
}

async fn mark(db: &mut Connection, clean: bool) -> Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES ('clean_stop', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    Ok(query(sql).bind(i64::from(clean)).execute(db).await.map(drop)?)
}

/// Says what to do where the database only says that it cannot read its file.
pub fn damaged(error: Error, path: &Path) -> Error {
    match error {
        // SQLITE_CORRUPT, SQLITE_NOTADB.
        Error::Failed(found)
            if found.contains("database disk image is malformed")
                || found.contains("file is not a database") =>
        {
            Error::Damaged { file: path.display().to_string(), found }
        }
        other => other,
    }
}

/// Keeps other daemons from a file, until it is dropped.
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is being started has the file open too, until it becomes its program.
        drop(self.0.unlock());
    }
}

/// Keeps other daemons from the file.
pub fn lock(path: &Path) -> Result<Lock> {
    let lock = File::create(path.with_extension("lock")).map_err(|error| failed(path, &error))?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => Error::InUse(path.display().to_string()),
        std::fs::TryLockError::Error(error) => failed(path, &error),
    })?;
    Ok(Lock(lock))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Failed(format!("{}: {error}", path.display()))
}

/// How every connection to the file is set up.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(256)
        // A raw webhook may hold secrets: deleting it leaves nothing in the file.
        .pragma("secure_delete", "ON")
}

impl Writer {
    /// Starts the task that owns `db`; it marks a clean stop, or not.
    pub fn start(mut db: Connection, marks: bool, tasks: &Tasks) -> Self {
        let (urgent, urgent_queue) = mpsc::channel(QUEUE);
        let (last, last_queue) = mpsc::channel(QUEUE);
        let (intake, intake_queue) = Intake::new();
        let stopped = tasks.stop().stopped.clone();
        tasks.serve("store.writer", async move {
            tokio::select! {
                () = write_all(&mut db, urgent_queue, intake_queue, last_queue) => {}
                () = stopped.cancelled() => {}
            }
            // Nothing is open any more, or it is given up here.
            drop(query("ROLLBACK").execute(&mut db).await);
            if marks && let Err(error) = mark(&mut db, true).await {
                tracing::warn!(%error, "the stop is not marked as clean: the next start checks the store");
            }
            super::close(db).await;
            Ok(())
        });
        Self { urgent, last, intake }
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
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.run(move |db| Box::pin(async move { Ok(query(sql).execute(db).await.map(drop)?) }))
            .await
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
    db: &mut Connection,
    mut urgent: mpsc::Receiver<Job>,
    mut deliveries: mpsc::Receiver<Incoming>,
    mut last: mpsc::Receiver<Job>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            job = urgent.recv() => match job {
                Some(job) => job(db).await,
                None => break,
            },
            count = deliveries.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    break;
                }
                // A file has no connection to lose: the next batch simply tries again.
                let _: bool = intake::store(db, std::mem::take(&mut batch)).await;
            }
            job = last.recv() => match job {
                Some(job) => job(db).await,
                None => break,
            },
        }
    }
}
