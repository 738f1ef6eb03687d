//! The databases behind the store: SQLite in one process, PostgreSQL for several, and SQLite in memory with faults for
//! simulations. Everything above speaks to them in one SQL ([`query()`]); what they do differently is in [`dialect`].
//!
//! Every call ends: it waits a bounded time for a connection and a bounded time for its answer. A connection that did not
//! end cleanly is closed, never used again, so a half-done transaction cannot leak into the next one.

mod dialect;
mod error;
mod hint;
mod intake;
mod pool;
mod postgres;
mod query;
#[cfg(feature = "simulation")]
pub mod sim;
mod sqlite;
mod writer;

use futures::future::BoxFuture;
use rusqlite::Row;
use sqlx::{FromRow, PgConnection, postgres::PgRow};

use self::pool::Session;
pub use self::{
    dialect::{give_way, is_new, lock_incidents, script, server_time},
    error::DbError,
    postgres::Postgres,
    query::{Query, query},
    sqlite::{
        Sqlite, copy_file, damaged, lock as lock_file, look_into, memory, open_alone, open_file,
        quick_check,
    },
};
use super::{Error, Migrated, NewDelivery, Result, Settings};
use crate::ops::clock::Clock;

/// A connection to either database.
pub enum Connection {
    /// To a file, or to memory.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(PgConnection),
}

/// What runs inside one write transaction.
pub type Work<T> = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send>;

/// An open database.
pub enum Db {
    /// One file, one process.
    Sqlite(Box<Sqlite>),
    /// A server, many processes.
    Postgres(Postgres),
    /// Memory, faults on request.
    #[cfg(feature = "simulation")]
    Sim(std::sync::Arc<sim::World>),
}

impl Db {
    /// True when other processes may work on it at the same time.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(_) => true,
            #[cfg(feature = "simulation")]
            Self::Sim(world) => world.is_shared(),
        }
    }

    /// The server's clock where a simulation plays it.
    pub fn played_clock(&self) -> Option<Clock> {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => None,
            #[cfg(feature = "simulation")]
            Self::Sim(world) => world.clock(),
        }
    }

    /// All rows of a query.
    pub async fn all<T>(&self, query: Query) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin + 'static,
    {
        match self {
            // Boxed: the engine's futures hold many of these.
            Self::Sqlite(db) => Box::pin(db.all(query)).await,
            Self::Postgres(db) => Box::pin(db.all(&query)).await,
            #[cfg(feature = "simulation")]
            Self::Sim(world) => Box::pin(world.all(query)).await,
        }
    }

    /// The first row of a query, if there is one.
    pub async fn optional<T>(&self, query: Query) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin + 'static,
    {
        Ok(self.all(query).await?.into_iter().next())
    }

    /// The row of a query that always has one.
    pub async fn one<T>(&self, query: Query) -> Result<T>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin + 'static,
    {
        let row = self.optional(query).await?;
        row.ok_or_else(|| DbError::from(sqlx::Error::RowNotFound).into())
    }

    /// Runs `work` in one write transaction: all of it happens, or nothing.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let work: Work<T> = Box::new(work);
        match self {
            Self::Sqlite(db) => Box::pin(db.writer.write(work)).await,
            Self::Postgres(db) => Box::pin(db.write(work)).await,
            #[cfg(feature = "simulation")]
            Self::Sim(world) => Box::pin(world.write(work)).await,
        }
    }

    /// The same for what may be late: behind all other writes where they stand in line.
    pub async fn write_last<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Sqlite(db) => Box::pin(db.writer.write_last(Box::new(work))).await,
            Self::Postgres(_) => self.write(work).await,
            #[cfg(feature = "simulation")]
            Self::Sim(_) => self.write(work).await,
        }
    }

    /// Stores a delivery, sharing the commit with whatever waits.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        match self {
            Self::Sqlite(db) => db.writer.intake.deliver(delivery).await,
            Self::Postgres(db) => db.intake.deliver(delivery).await,
            #[cfg(feature = "simulation")]
            Self::Sim(world) => Box::pin(world.deliver(delivery)).await,
        }
    }

    /// Damage that the database finds in its own files; PostgreSQL has no such question.
    pub async fn damage(&self) -> Result<Vec<String>> {
        let Self::Sqlite(db) = self else { return Ok(vec![]) };
        let found: Vec<(String,)> = db.all(query("PRAGMA integrity_check(20)").at_length()).await?;
        Ok(found.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect())
    }

    /// Bytes that the rows take; see [`super::Store::size`].
    pub async fn size(&self, enough: i64) -> Result<i64> {
        let ask = async |sql: &'static str| Ok(self.one::<(i64,)>(query(sql)).await?.0);
        match self {
            Self::Postgres(_) => match ask(dialect::SIZE_OF_FILES).await? {
                files if files <= enough => Ok(files),
                _ => ask(dialect::SIZE_OF_ROWS).await,
            },
            Self::Sqlite(_) => ask(dialect::SIZE_OF_PAGES).await,
            #[cfg(feature = "simulation")]
            Self::Sim(_) => ask(dialect::SIZE_OF_PAGES).await,
        }
    }

    /// Leaves nothing of deleted rows in the files, where the database can.
    pub async fn forget(&self) -> Result<()> {
        match self {
            Self::Sqlite(db) => db.writer.empty_log().await,
            // VACUUM is the server's own business.
            Self::Postgres(_) => Ok(()),
            #[cfg(feature = "simulation")]
            Self::Sim(_) => Ok(()),
        }
    }
}

/// Ends a connection in good order.
pub async fn close(db: Connection) {
    match db {
        Connection::Sqlite(db) => drop(db.close()),
        Connection::Postgres(db) => drop(sqlx::Connection::close(db).await),
    }
}

/// Migrates a file; refused while a daemon has it open.
pub async fn migrate_file(path: &std::path::Path) -> Result<Migrated> {
    sqlite::open_to_write(path).await.map(|(_lock, _db, done)| done)
}

/// One connection to a server.
pub async fn connect(settings: &Settings) -> Result<Connection> {
    postgres::connect(settings, settings.statement).await
}

/// Migrates a server's database.
pub async fn migrate_server(settings: &Settings) -> Result<Migrated> {
    postgres::migrate(settings).await
}

/// Runs `work` between BEGIN and COMMIT, or ROLLBACK when it fails.
pub async fn transaction<T>(db: &mut Connection, work: Work<T>) -> Result<T> {
    dialect::begin(db).await?;
    finish(db, work).await
}

/// The rest of a transaction that has begun.
async fn finish<T>(db: &mut Connection, work: Work<T>) -> Result<T> {
    match work(&mut *db).await {
        Ok(value) => match query("COMMIT").execute(db).await {
            Ok(_) => Ok(value),
            Err(error) => Err(undone(db, error.into()).await),
        },
        Err(error) => Err(undone(db, error).await),
    }
}

/// Rolls back. Without a transaction that fails, and that is fine.
async fn undone(db: &mut Connection, error: Error) -> Error {
    drop(query("ROLLBACK").execute(db).await);
    error
}

/// Whether the connection is as good as new after this.
fn is_clean<T>(outcome: &Result<T>) -> bool {
    match outcome {
        Ok(_)
        | Err(
            Error::Conflict
            | Error::LostJob
            | Error::LostDelivery
            | Error::InTheWay
            | Error::NewerIncident(_),
        ) => true,
        Err(
            Error::InUse(_)
            | Error::Missing(_)
            | Error::Newer { .. }
            | Error::Older { .. }
            | Error::Damaged { .. }
            | Error::Failed(_),
        ) => false,
    }
}

/// Gives a connection back, or closes it.
fn end(session: Session<'_>, clean: bool) {
    if clean {
        session.give_back();
    }
}
