//! A small pool of connections to a server. Unlike the one of the driver it never waits for a connection to come back in good
//! order: one that did not end cleanly is closed. So a server that vanished without a word costs each caller its timeout, and
//! no connection is lost for longer. It also asks no connection how it is before and after each use.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{Connection, DbError, postgres, query};
use crate::store::Error;

type Result<T, E = Error> = std::result::Result<T, E>;

/// How to connect, and how long a statement may take.
pub struct Options(pub PgConnectOptions, pub Duration);

/// Connections that are open, at most a given number.
pub struct Pool {
    options: Options,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    acquire: Duration,
}

/// A connection in use. Dropped without [`Session::give_back`], it is closed.
pub struct Session<'p> {
    pool: &'p Pool,
    connection: Connection,
    /// It was used before, so it may have died meanwhile.
    pub is_used: bool,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    /// At most `size` connections; a caller waits for one at most `acquire`.
    pub fn new(options: Options, size: u32, acquire: Duration) -> Self {
        let permits = Semaphore::new(usize::try_from(size).unwrap_or(1).max(1));
        Self { options, permits, idle: Mutex::default(), acquire }
    }

    /// A connection of one's own.
    pub async fn session(&self) -> Result<Session<'_>> {
        let open = async {
            let permit = self.permits.acquire().await.map_err(|_| super::intake::gone())?;
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (connection, is_used) = match idle {
                Some(connection) => (connection, true),
                None => (self.options.connect().await?, false),
            };
            Ok(Session { pool: self, connection, is_used, _permit: permit })
        };
        timeout(self.acquire, open).await.unwrap_or_else(|_| {
            let seconds = self.acquire.as_secs();
            Err(Error::Failed(format!("no connection to the database within {seconds} s")))
        })
    }

    /// Closes what is idle: where one connection died, the others did too.
    pub fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Options {
    /// One more connection.
    pub async fn connect(&self) -> Result<Connection, DbError> {
        let Self(options, statement) = self;
        let mut db = Connection::Postgres(PgConnection::connect_with(options).await?);
        for sql in postgres::settings(*statement) {
            query(sql).execute(&mut db).await?;
        }
        Ok(db)
    }
}

impl Session<'_> {
    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// It ended cleanly: the next caller may have it.
    pub fn give_back(self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.connection);
    }
}
