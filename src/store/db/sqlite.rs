//! SQLite: one writer, readers, one process per file. Statements run on the thread that asks, without a wait of their own:
//! a switch of threads costs more than a short read. What may take long goes [`aside`].

use std::{
    fs::File,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{OpenFlags, Row, config::DbConfig};

use super::{Connection, DbError, Query, dialect::is_new, query, writer::Writer};
use crate::{
    ops::lifecycle::{Tasks, blocking},
    store::{Error, Migrated, Result, migrate},
};

/// Readers kept open.
const READERS: usize = 4;
/// Longest wait for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// Statements that each connection keeps prepared.
const PREPARED: usize = 256;

/// An open file.
pub struct Sqlite {
    path: PathBuf,
    /// Readers that nobody uses.
    idle: Mutex<Vec<rusqlite::Connection>>,
    /// All writes.
    pub writer: Writer,
    // Held for the life of the process: a second daemon is refused.
    _lock: Option<Lock>,
}

impl Sqlite {
    /// Opens, locks and migrates the file; starts the writer.
    pub async fn open(path: &Path, tasks: &Tasks) -> Result<Self> {
        let (lock, mut writer, _) = open_to_write(path).await?;
        mark(&mut writer, false).await?;
        Ok(Self::with(path, writer, Some(lock), tasks))
    }

    /// Opens a file that is there, as it is, beside a daemon that may have it open.
    pub fn open_as_it_is(path: &Path, tasks: &Tasks) -> Result<Self> {
        Ok(Self::with(path, open_file(path)?, None, tasks))
    }

    fn with(path: &Path, writer: Connection, lock: Option<Lock>, tasks: &Tasks) -> Self {
        let marks = lock.is_some();
        let (writer, work) = Writer::new(writer, marks, tasks.stop().stopped.clone());
        tasks.serve_apart("store.writer", work);
        Self { path: path.to_owned(), idle: Mutex::default(), writer, _lock: lock }
    }

    /// All rows of a query.
    pub async fn all<T>(&self, query: Query) -> Result<Vec<T>>
    where
        T: for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error> + Send + 'static,
    {
        // A reader that failed is closed.
        let mut db = self.reader()?;
        let rows = if query.is_long {
            let (back, rows) = aside(db, move |db| query.rows(db)).await?;
            db = back;
            rows
        } else {
            query.rows(&db).map_err(DbError::from)?
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(db);
        }
        Ok(rows)
    }

    fn reader(&self) -> Result<rusqlite::Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(db) => Ok(db),
            None => Ok(open(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY, WAL)?),
        }
    }
}

/// Works on a connection in a thread of the pool for what blocks.
async fn aside<T: Send + 'static>(
    db: rusqlite::Connection,
    work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<(rusqlite::Connection, T)> {
    let done = blocking(move || work(&db).map(|value| (db, value))).await;
    Ok(done.map_err(|error| Error::Failed(error.to_string()))?.map_err(DbError::from)?)
}

const WAL: &str = "PRAGMA journal_mode = WAL";

/// What a savepoint may have to undo stays in memory: beyond 64 KiB it would go through a file. A longer log holds pages that
/// are written again and again only once when it is moved into the file.
const WRITER: &str = "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000";

/// Opens a file, and sets the connection up. `journal` is a statement of its own because what is set stays in the file.
fn open(
    path: &Path,
    flags: OpenFlags,
    journal: &str,
) -> std::result::Result<rusqlite::Connection, DbError> {
    let db = rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(PREPARED);
    // Without it a statement is planned anew for each value of a bound LIMIT.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.execute_batch(journal)?;
    // A raw webhook may hold secrets: deleting it leaves nothing in the file.
    let settings = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
    db.execute_batch(settings)?;
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        db.execute_batch(WRITER)?;
    }
    Ok(db)
}

/// An empty database in memory.
pub fn memory() -> Result<Connection> {
    Ok(Connection::Sqlite(open(Path::new(":memory:"), OpenFlags::SQLITE_OPEN_READ_WRITE, "")?))
}

/// One connection to a file that is there.
pub fn open_file(path: &Path) -> Result<Connection> {
    Ok(Connection::Sqlite(open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WAL)?))
}

/// A file that nobody writes to, as it is; nothing is written beside it either.
pub fn look_into(path: &Path) -> Result<Connection> {
    let name = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let (address, flags) = (format!("file:{name}?immutable=1"), OpenFlags::SQLITE_OPEN_READ_ONLY);
    Ok(Connection::Sqlite(open(Path::new(&address), flags | OpenFlags::SQLITE_OPEN_URI, "")?))
}

/// A file that nobody else has, without a log beside it.
pub fn open_alone(path: &Path) -> Result<Connection> {
    let journal = "PRAGMA journal_mode = DELETE";
    Ok(Connection::Sqlite(open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, journal)?))
}

/// Copies a file, as of one instant, into one that is empty.
pub async fn copy_file(path: &Path, to: &Path) -> Result<()> {
    let to = to.display().to_string();
    let db = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WAL)?;
    aside(db, move |db| db.execute("VACUUM INTO ?1", [to])).await.map(drop)
}

/// Makes the file if there is none, keeps other daemons from it, and brings it up to our schema.
pub async fn open_to_write(path: &Path) -> Result<(Lock, Connection, Migrated)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| failed(path, &error))?;
    }
    let lock = lock(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let db = open(path, flags, WAL).map_err(|error| damaged(error.into(), path))?;
    let checked = check(Connection::Sqlite(db), path).await;
    let mut db = checked.map_err(|error| damaged(error, path))?;
    let migrated = migrate::run(&mut db).await?;
    Ok((lock, db, migrated))
}

/// After a stop that was not clean, looks at the whole file before anything is built on it.
async fn check(mut db: Connection, path: &Path) -> Result<Connection> {
    if is_new(&mut db).await? || is_clean(&mut db).await? {
        return Ok(db);
    }
    let file = path.display().to_string();
    tracing::info!(file, "the last stop was not clean; the store is checked");
    match quick_check(db).await? {
        (db, None) => Ok(db),
        (_, Some(found)) => Err(Error::Damaged { file, found }),
    }
}

/// The first thing that is wrong with the file's structure; gives the connection back.
pub async fn quick_check(db: Connection) -> Result<(Connection, Option<String>)> {
    let Connection::Sqlite(db) = db else { return Ok((db, None)) };
    let ask =
        |db: &rusqlite::Connection| db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let (db, found): (_, String) = aside(db, ask).await?;
    Ok((Connection::Sqlite(db), (found != "ok").then_some(found)))
}

async fn is_clean(db: &mut Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM meta WHERE name = 'clean_stop' AND value = 1";
    Ok(query(sql).one::<(i64,)>(db).await?.0 == 1)
}

/// Writes down whether the process that has the file ended in good order.
pub async fn mark(db: &mut Connection, clean: bool) -> Result<()> {
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
