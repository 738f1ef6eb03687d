//! Durable state. One rule carries it: one transaction = state change + timeline events + jobs ([`changes::Changes`]).
//!
//! The SQL text is shared by the databases (`$1` placeholders, `RETURNING`, `ON CONFLICT`, BIGINT milliseconds). SQLite has
//! one writer connection, owned by one task with three queues: everything that pages and acks goes before intake, and intake
//! before what the recorder keeps.

pub mod changes;
pub mod deliveries;
pub mod incidents;
pub mod jobs;
pub mod members;
pub mod messages;
mod migrate;
pub mod pods;
pub mod runs;
mod sqlite;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::{
    changes::{Changes, IncidentChange},
    deliveries::{Delivery, NewDelivery, Progress},
    incidents::{Filter, Stored, Summary},
    jobs::{Again, Claim, Job, JobEnd, NewJob, Repeat},
    messages::Sent,
    pods::{PodRow, PodsOf},
    runs::{Run, RunState},
};
use crate::ops::{clock::Clock, lifecycle::Tasks};

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another writer changed the incident first: load and decide again.
    #[error("the incident was changed meanwhile")]
    Conflict,
    /// The job is not ours any more: drop everything.
    #[error("the lease on the job was lost")]
    LostJob,
    /// It is in use by another process.
    #[error("{0} is in use by another process; one daemon per SQLite file, or use PostgreSQL")]
    InUse(String),
    /// It was written by a newer version.
    #[error("the store has schema {found}, this binary knows {known}: run the newer binary")]
    Newer {
        /// The store's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It cannot be reached, is full, read-only or broken.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What every call returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Arc<sqlite::Sqlite>,
    clock: Clock,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Store {
    /// Opens and migrates the store at `url` (`sqlite:PATH`).
    pub async fn open(url: &str, clock: Clock, tasks: &Tasks) -> Result<Self> {
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Err(Error::Failed(format!(
                "`{url}` is not a store; write sqlite:PATH (PostgreSQL comes with a later version)"
            )));
        };
        let db = sqlite::Sqlite::open(std::path::Path::new(path), tasks).await?;
        let store = Self { db: Arc::new(db), clock, changed: tokio::sync::watch::Sender::new(0) };
        store.release_all().await?;
        Ok(store)
    }

    /// The store's time: one reading per transaction, in the milliseconds that rows keep, so that a state and the fold of
    /// its stored timeline are equal.
    pub fn now(&self) -> Timestamp {
        instant(millis(self.clock.now()))
    }

    /// Changes with every commit: a hint to look for work at once. Each loop holds its own.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn has_changed(&self) {
        self.changed.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// A round trip to the disk, for `/readyz` and the dead-man ping.
    pub async fn check(&self) -> Result<()> {
        let write = self.db.write(|db| {
            Box::pin(async move {
                sqlx::query("INSERT INTO meta (name, value) VALUES ('check', 1) ON CONFLICT (name) DO UPDATE SET value = meta.value + 1")
                    .execute(db)
                    .await?;
                Ok(())
            })
        });
        write.await
    }

    /// Leaves nothing of deleted rows in the store's files; raw webhooks may have held secrets.
    pub async fn forget(&self) -> Result<()> {
        self.db.empty_log().await
    }

    /// The next incident's number. A crash may leave a gap.
    pub async fn next_incident(&self) -> Result<crate::domain::ids::IncidentId> {
        let write = self.db.write(|db| {
            Box::pin(async move {
                let sql =
                    "UPDATE meta SET value = value + 1 WHERE name = 'incident' RETURNING value";
                Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
            })
        });
        write.await.map(crate::domain::ids::IncidentId)
    }

    /// A named cursor, such as Matrix's `next_batch`.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM cursors WHERE name = $1";
        Ok(sqlx::query_scalar(sql).bind(name).fetch_optional(self.db.read()).await?)
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
