//! PostgreSQL: for several replicas. Every transaction is READ COMMITTED; what must not happen twice is guarded by a version,
//! a fence, a unique index or a row lock, never by what was read before.
//!
//! A lost connection or a failover is an error for whoever was using it and nothing for the next caller: transactions that
//! could not even begin on an old connection begin again on a new one, and reads are read again.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use rusqlite::Row;
use secrecy::ExposeSecret as _;
use sqlx::{
    FromRow,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Connection, Query, Work, dialect, end, finish, hint,
    intake::{self, BATCH, Incoming, Intake},
    is_clean,
    pool::{Options, Pool, Session},
};
use crate::{
    ops::lifecycle::Tasks,
    store::{Changed, Error, Result, Settings, migrate},
};

/// Longest wait for migrations, our own or those of another replica that starts too.
const MIGRATION: Duration = Duration::from_mins(15);

/// An open database.
pub struct Postgres {
    pool: Arc<Pool>,
    /// Deliveries.
    pub intake: Intake,
    statement: Duration,
}

impl Postgres {
    /// Connects, migrates, and starts intake and hints.
    pub async fn open(settings: &Settings, tasks: &Tasks, changed: &Changed) -> Result<Self> {
        migrate(settings).await?;
        let db = Self::open_as_it_is(settings, tasks)?;
        hint::start(&db.pool, options(settings)?, changed, tasks);
        Ok(db)
    }

    /// Opens a database as it is; nothing is asked yet.
    pub fn open_as_it_is(settings: &Settings, tasks: &Tasks) -> Result<Self> {
        let options = Options(options(settings)?, settings.statement);
        let pool = Arc::new(Pool::new(options, settings.connections, settings.acquire));
        let (intake, queue) = Intake::new();
        let (storing, stopped) = (Arc::clone(&pool), tasks.stop().stopped.clone());
        let bound = settings.statement.saturating_mul(2);
        tasks.serve("store.intake", async move {
            tokio::select! {
                () = store_all(&storing, queue, bound) => {}
                () = stopped.cancelled() => {}
            }
            Ok(())
        });
        Ok(Self { pool, intake, statement: settings.statement })
    }

    /// All rows of a query.
    pub async fn all<T>(&self, query: &Query) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin,
    {
        for _ in 0..2 {
            let mut session = self.pool.session().await?;
            let was_used = session.is_used;
            let bound = self.statement.saturating_mul(2);
            let rows = timeout(bound, query.all(session.connection())).await;
            end(session, matches!(rows, Ok(Ok(_))));
            match rows {
                Ok(Err(error)) if was_used && error.is_lost() => self.pool.clear(),
                Ok(rows) => return Ok(rows?),
                Err(_) => {
                    self.pool.clear();
                    return Err(late(bound));
                }
            }
        }
        Err(Error::Failed("the connection to the database was lost twice".to_owned()))
    }

    /// Runs `work` in one transaction.
    pub async fn write<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        let mut session = self.begun().await?;
        // A transaction holds locks: it ends, one way or the other, although each of its statements is in time.
        let bound = self.statement.saturating_mul(3);
        let outcome = bounded(bound, finish(session.connection(), work)).await;
        let clean = is_clean(&outcome);
        end(session, clean);
        if !clean {
            self.pool.clear();
        }
        outcome
    }

    /// A connection with an open transaction. One that died while nobody used it is replaced without a word.
    async fn begun(&self) -> Result<Session<'_>> {
        let mut session = self.pool.session().await?;
        let begin = async { Ok(dialect::begin(session.connection()).await?) };
        match bounded(self.statement, begin).await {
            Ok(()) => return Ok(session),
            Err(_) if session.is_used => self.pool.clear(),
            Err(error) => return Err(error),
        }
        drop(session);
        let mut session = self.pool.session().await?;
        bounded(self.statement, async { Ok(dialect::begin(session.connection()).await?) }).await?;
        Ok(session)
    }
}

async fn bounded<T>(bound: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(bound, work).await.unwrap_or_else(|_| Err(late(bound)))
}

fn late(bound: Duration) -> Error {
    Error::Failed(format!("the database did not answer within {} s", bound.as_secs()))
}

/// Applies migrations, one replica at a time.
pub async fn migrate(settings: &Settings) -> Result<migrate::Migrated> {
    let mut db = connect(settings, Duration::ZERO).await?;
    bounded(MIGRATION, migrate::run(&mut db)).await
}

/// One connection outside of any pool; statements may take `statement`, zero: for ever.
pub async fn connect(settings: &Settings, statement: Duration) -> Result<Connection> {
    let options = Options(options(settings)?, statement);
    bounded(settings.acquire, async { Ok(options.connect().await?) }).await
}

fn options(settings: &Settings) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|error| Error::Failed(format!("store.url: {error}")))?
        .application_name("paramedic")
        .statement_cache_capacity(256);
    Ok(match &settings.password {
        Some(password) => options.password(password.expose_secret()),
        None => options,
    })
}

/// What every session is set to. Durability is never less than the server's default, and never off.
pub fn settings(statement: Duration) -> [String; 6] {
    let limit = statement.as_millis();
    [
        format!("SET statement_timeout = {limit}"),
        format!("SET lock_timeout = {limit}"),
        // A replica that froze in the middle lets go of its locks.
        "SET idle_in_transaction_session_timeout = 5000".to_owned(),
        "SET TIME ZONE 'UTC'".to_owned(),
        "SET client_min_messages = warning".to_owned(),
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'".to_owned(),
    ]
}

async fn store_all(pool: &Pool, mut queue: mpsc::Receiver<Incoming>, bound: Duration) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        store(pool, std::mem::take(&mut batch), bound).await;
    }
}

async fn store(pool: &Pool, batch: Vec<Incoming>, bound: Duration) {
    let mut session = match usable(pool, bound).await {
        Ok(session) => session,
        Err(error) => {
            let waiting = batch.into_iter().map(|(_, done)| done).collect();
            return intake::answer(waiting, &Err(error));
        }
    };
    // Out of time, whoever waits finds the store closed and answers 503.
    let stored = timeout(bound, intake::store(session.connection(), batch)).await;
    let clean = stored.unwrap_or(false);
    end(session, clean);
    if !clean {
        pool.clear();
    }
}

/// A connection that answers: a webhook is stored at the first attempt although the server was restarted since the last.
async fn usable(pool: &Pool, bound: Duration) -> Result<Session<'_>> {
    let mut session = pool.session().await?;
    if session.is_used {
        let asked = super::query("SELECT 1").execute(session.connection());
        if !matches!(timeout(bound, asked).await, Ok(Ok(_))) {
            pool.clear();
            drop(session);
            session = pool.session().await?;
        }
    }
    Ok(session)
}
