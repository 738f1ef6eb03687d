//! Durable state. One rule carries it: one transaction = state change + timeline events + jobs ([`changes::Changes`]).
//!
//! SQLite for one process, PostgreSQL for several; the SQL text is one for both ([`db`]). Several processes never agree by
//! what they read: a version, a fence, a unique index or a row lock decides, and the loser loads and decides again.

mod ahead;
pub mod asked;
pub mod backup;
mod changed;
pub mod changes;
mod db;
pub mod deliveries;
mod generation;
pub mod incidents;
pub mod inspect;
pub mod jobs;
pub mod members;
pub mod messages;
mod migrate;
mod numbers;
pub mod pods;
mod retention;
pub mod runs;
pub mod similar;
mod size;
mod storms;
mod time;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;

#[cfg(feature = "simulation")]
pub use self::db::sim;
pub use self::{
    asked::FiringMember,
    changed::{DELIVERIES, News},
    changes::{Changes, IncidentChange},
    deliveries::{Delivery, NewDelivery, Progress},
    incidents::{Filter, Stored, Summary},
    jobs::{Again, Claim, Job, JobEnd, NewJob, Repeat},
    messages::Sent,
    migrate::Migrated,
    pods::{PodRow, PodsOf},
    runs::{Run, RunState},
    similar::{Alike, Common},
};
use self::{
    changed::Changed,
    db::{Connection, Db, DbError, Postgres, Sqlite, query},
    time::Time,
};
use crate::ops::{clock::Clock, lifecycle::Tasks};

/// A claim's lease in a store of one process: what it left is released at its next start.
const LEASE: Duration = Duration::from_secs(30);
/// A claim's lease where another replica takes over: a dead replica's page goes out within 5 s.
const SHARED_LEASE: Duration = Duration::from_secs(4);

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another writer changed the incident first: load and decide again.
    #[error("the incident was changed meanwhile")]
    Conflict,
    /// The job is not ours any more: drop everything.
    #[error("the lease on the job was lost")]
    LostJob,
    /// Another replica applied this part of the delivery first: go on with the next.
    #[error("another replica applied this delivery")]
    LostDelivery,
    /// Two transactions waited for each other, and this one gave way: nothing of it happened.
    #[error("another transaction was in the way; nothing was changed")]
    InTheWay,
    /// It is in use by another process.
    #[error("{0} is in use by another process; one daemon per SQLite file, or use PostgreSQL")]
    InUse(String),
    /// There is no such file.
    #[error(
        "there is no store at {0}; the daemon makes it when it starts, or run `paramedic store migrate`"
    )]
    Missing(String),
    /// It was written by a newer version.
    #[error("the store has schema {found}, this binary knows {known}: run the newer binary")]
    Newer {
        /// The store's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An incident was written by a newer version in a form that this one cannot read.
    #[error(
        "{0} was written by a newer version, in a form that this one cannot read: a newer replica goes on with it; without one, run the newer binary"
    )]
    NewerIncident(crate::domain::ids::IncidentId),
    /// It was written by an older version, and was opened only to look at it.
    #[error(
        "the store has schema {found}, this binary needs {known}: start the daemon or run `paramedic store migrate`"
    )]
    Older {
        /// The store's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is broken.
    #[error(
        "{file} is damaged ({found}); keep it, and put the newest backup in its place: `paramedic store restore FILE`"
    )]
    Damaged {
        /// Where it is.
        file: String,
        /// What the database found.
        found: String,
    },
    /// It cannot be reached, is full, or read-only.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        if error.is_in_the_way() { Self::InTheWay } else { Self::Failed(error.to_string()) }
    }
}

/// What every call returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Where a store is, and how it is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite:PATH` or `postgres://user@host:port/database`.
    pub url: String,
    /// Of the PostgreSQL user.
    pub password: Option<SecretString>,
    /// Connections to PostgreSQL, at most.
    pub connections: u32,
    /// Longest wait for one of them.
    pub acquire: Duration,
    /// Longest statement; a transaction may take three times as long.
    pub statement: Duration,
}

impl Settings {
    /// The defaults, at this address.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            connections: 10,
            acquire: Duration::from_secs(5),
            statement: Duration::from_secs(10),
        }
    }

    fn place(&self) -> Result<Place<'_>> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            return Ok(Place::File(std::path::Path::new(path)));
        }
        if ["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Ok(Place::Server);
        }
        #[cfg(feature = "simulation")]
        if let Some(name) = self.url.strip_prefix("sim:") {
            return Ok(Place::World(name));
        }
        Err(Error::Failed(format!(
            "`{}` is not a store; write sqlite:PATH or postgres://user@host/database",
            crate::domain::redact::redact(&self.url)
        )))
    }
}

/// What an address names.
enum Place<'a> {
    File(&'a std::path::Path),
    Server,
    #[cfg(feature = "simulation")]
    World(&'a str),
}

/// The store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Arc<Db>,
    time: Time,
    changed: Changed,
    turns: deliveries::Turns,
    numbers: numbers::Numbers,
}

impl Store {
    /// Opens and migrates the store.
    pub async fn open(settings: &Settings, clock: Clock, tasks: &Tasks) -> Result<Self> {
        let changed = Changed::new(clock.clone())?;
        let db = match settings.place()? {
            Place::File(path) => Db::Sqlite(Box::new(Sqlite::open(path, tasks).await?)),
            Place::Server => Db::Postgres(Postgres::open(settings, tasks, &changed).await?),
            #[cfg(feature = "simulation")]
            Place::World(name) => Db::Sim(sim::World::named(name)?),
        };
        let store = Self::with(db, clock, changed);
        if store.db.is_shared() {
            store.ask_the_time().await?;
        } else {
            store.release_all().await?;
        }
        Ok(store)
    }

    fn with(db: Db, clock: Clock, changed: Changed) -> Self {
        let (turns, numbers) = (deliveries::Turns::default(), numbers::Numbers::default());
        let time = Time::new(clock, db.played_clock());
        Self { db: Arc::new(db), time, changed, turns, numbers }
    }

    /// The store's time: one reading per transaction, in the milliseconds that rows keep, so that a state and the fold of
    /// its stored timeline are equal. With PostgreSQL it is the server's time, so that all replicas have the same.
    pub fn now(&self) -> Timestamp {
        instant(millis(self.time.now()))
    }

    /// How long a claim lasts without renewal.
    pub fn lease(&self) -> Duration {
        if self.db.is_shared() { SHARED_LEASE } else { LEASE }
    }

    /// True when other replicas may work on it.
    pub fn is_shared(&self) -> bool {
        self.db.is_shared()
    }

    /// A hint to look for work at once: commits of [`DELIVERIES`], or of jobs of these kinds. Each loop holds its own.
    pub fn news(&self, topics: &'static [&'static str]) -> News {
        self.changed.news(topics)
    }

    /// A round trip to the disk, for `/readyz` and the dead-man ping.
    pub async fn check(&self) -> Result<()> {
        let write = self.db.write(|db| {
            Box::pin(async move {
                query("INSERT INTO meta (name, value) VALUES ('check', 1) ON CONFLICT (name) DO UPDATE SET value = meta.value + 1")
                    .execute(db)
                    .await?;
                Ok(())
            })
        });
        write.await
    }

    /// Leaves nothing of deleted rows in the store's files; raw webhooks may have held secrets. PostgreSQL does that in its
    /// own time.
    pub async fn forget(&self) -> Result<()> {
        self.db.forget().await
    }

    /// A named cursor, such as Matrix's `next_batch`.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM cursors WHERE name = $1";
        let row: Option<(String,)> = self.db.optional(query(sql).bind_key(name)).await?;
        Ok(row.map(|(value,)| value))
    }

    /// Learns the server's time, where the server's time counts.
    async fn ask_the_time(&self) -> Result<()> {
        let time = self.time.clone();
        let ask = self.db.write(move |db| Box::pin(async move { Ok(time.ask(db).await?) }));
        ask.await
    }
}

/// A time as the store keeps it.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A time as the store kept it.
pub(crate) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN)
}

/// JSON as the store keeps it.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))
}

/// JSON as the store kept it.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::Failed(format!("a stored row is not readable: {error}")))
}
