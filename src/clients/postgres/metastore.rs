//! The database of a Hive Metastore: its schema's version, how full its connections are, who waits for a lock, how much is
//! in it. Each look is a transaction of its own, so that one that is refused does not spoil the rest.
//!
//! Statements of other sessions are never read: they may hold anything.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::{Client, begin, bounded};
use crate::{
    clients::{Error, Kind, Result, one_line},
    ops::clock::Clock,
};

/// Longest look of one kind.
const LOOK: Duration = Duration::from_secs(2);
/// All looks together.
const WHOLE: Duration = Duration::from_secs(16);
/// Rows are counted up to here.
pub(super) const MAX_COUNT: i64 = 1_000_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// Each look with its outcome, in order.
    pub rungs: Vec<LookedRung>,
    /// `VERSION.SCHEMA_VERSION`; empty when it could not be read, or the metastore does not record it.
    pub schema_version: String,
    /// How full the server's connections are.
    pub connections: Option<Connections>,
    /// Sessions that wait for a lock, the longest first; at most 20.
    pub waiting: Vec<Waiting>,
    /// How much is in it.
    pub counts: Option<Counts>,
}

/// One look.
#[derive(Clone, Debug, PartialEq)]
pub struct LookedRung {
    /// `connect`, `schema_version`, `connections`, `locks` or `counts`.
    pub name: &'static str,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// Why it failed.
    pub failure: Option<Error>,
}

/// A server's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Connections {
    /// In use, in all databases of the server.
    pub used: i64,
    /// Those of this database.
    pub of_database: i64,
    /// How many ordinary users may have together.
    pub max: i64,
    /// Idle inside a transaction. 0 also when the user may not see it: grant it `pg_monitor`.
    pub idle_in_transaction: i64,
    /// Age of the oldest transaction, seconds. 0 also when the user may not see it.
    pub oldest_transaction_seconds: i64,
}

/// A session that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Waiting {
    /// Its process.
    pub pid: i64,
    /// For how long, seconds; 0 also when the user may not see it.
    pub seconds: i64,
    /// For which table; empty when it is not a table.
    pub relation: String,
    /// Which lock, such as `AccessExclusiveLock`.
    pub mode: String,
    /// Processes it waits for.
    pub blocked_by: Vec<i64>,
}

/// Rows of the metastore's tables, each counted up to 1 000 000.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// `DBS`.
    pub databases: i64,
    /// `TBLS`.
    pub tables: i64,
    /// `PARTITIONS`.
    pub partitions: i64,
    /// `SDS`.
    pub storage_descriptors: i64,
}

impl Client {
    /// Looks at the metastore's database. What it finds is the answer; it never fails.
    pub async fn metastore(&self, clock: &Clock) -> Looked {
        let mut looked = Looked::default();
        let operation = format!("look into the database {}", self.shown);
        let all = async {
            let opened = timed(clock, self.connect(&operation)).await;
            let Some(mut db) = looked.note("connect", opened) else { return Ok(()) };
            let version = timed(clock, self.look(&operation, version(&mut db))).await;
            looked.schema_version = looked.note("schema_version", version).unwrap_or_default();
            let connections = timed(clock, self.look(&operation, connections(&mut db))).await;
            looked.connections = looked.note("connections", connections);
            let waiting = timed(clock, self.look(&operation, waiting(&mut db))).await;
            looked.waiting = looked.note("locks", waiting).unwrap_or_default();
            if looked.failure("schema_version").is_none() {
                let counts = timed(clock, self.look(&operation, counts(&mut db))).await;
                looked.counts = looked.note("counts", counts);
            }
            drop(db.close().await);
            Ok(())
        };
        // Each look has a bound of its own; this one is for the sum of them.
        let late = Box::pin(bounded(WHOLE, &operation, all)).await.err();
        looked.rungs.extend(late.map(|failure| LookedRung {
            name: "connect",
            latency_ms: u64::try_from(WHOLE.as_millis()).unwrap_or(u64::MAX),
            failure: Some(failure),
        }));
        looked
    }

    async fn look<T>(
        &self,
        operation: &str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        let work = async { work.await.map_err(|error| self.failed(operation, &error)) };
        // The server ends the statement first, unless it is stuck.
        bounded(LOOK + Duration::from_secs(1), operation, work).await
    }
}

impl Looked {
    fn note<T>(
        &mut self,
        name: &'static str,
        (outcome, latency_ms): (Result<T>, u64),
    ) -> Option<T> {
        let (value, failure) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        self.rungs.push(LookedRung { name, latency_ms, failure });
        value
    }

    /// The failure of a look, if it failed.
    pub fn failure(&self, name: &str) -> Option<&Error> {
        self.rungs.iter().find(|rung| rung.name == name)?.failure.as_ref()
    }

    /// True when something answers, but without the tables of a metastore.
    pub fn is_no_metastore(&self) -> bool {
        self.failure("schema_version").is_some_and(|error| error.kind == Kind::NotFound)
    }
}

async fn timed<T>(clock: &Clock, work: impl Future<Output = T>) -> (T, u64) {
    let start = clock.monotonic();
    let value = work.await;
    let took = clock.monotonic().saturating_sub(start);
    (value, u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

async fn rollback(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("ROLLBACK").execute(db).await.map(drop)
}

async fn version(db: &mut PgConnection) -> sqlx::Result<String> {
    begin(db, LOOK).await?;
    let sql = r#"SELECT left("SCHEMA_VERSION"::text, 100) FROM "VERSION" LIMIT 1"#;
    let found: sqlx::Result<Option<String>> =
        sqlx::query_scalar(sql).persistent(false).fetch_optional(&mut *db).await;
    rollback(db).await?;
    Ok(one_line(&found?.unwrap_or_default(), 100))
}

async fn connections(db: &mut PgConnection) -> sqlx::Result<Connections> {
    begin(db, LOOK).await?;
    let sql = "SELECT count(*) FILTER (WHERE datid IS NOT NULL), \
               count(*) FILTER (WHERE datname = current_database()), \
               current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8, \
               count(*) FILTER (WHERE datname = current_database() AND state LIKE 'idle in transaction%'), \
               coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) \
                 FILTER (WHERE datname = current_database() AND pid <> pg_backend_pid()), 0)::int8 \
               FROM pg_stat_activity";
    let found = sqlx::query_as(sql).persistent(false).fetch_one(&mut *db).await;
    rollback(db).await?;
    let (used, of_database, max, idle_in_transaction, oldest_transaction_seconds) = found?;
    Ok(Connections { used, of_database, max, idle_in_transaction, oldest_transaction_seconds })
}

async fn waiting(db: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
    type Row = (i64, i64, String, String, Vec<i64>);
    begin(db, LOOK).await?;
    let sql = "SELECT l.pid::int8, coalesce(extract(epoch FROM clock_timestamp() - a.query_start), 0)::int8 AS seconds, \
               coalesce(left(l.relation::regclass::text, 200), ''), coalesce(l.mode, ''), \
               ARRAY(SELECT unnest(pg_blocking_pids(l.pid))::int8) \
               FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
               WHERE NOT l.granted AND a.datname = current_database() ORDER BY seconds DESC LIMIT 20";
    let found: sqlx::Result<Vec<Row>> =
        sqlx::query_as(sql).persistent(false).fetch_all(&mut *db).await;
    rollback(db).await?;
    let waiting = found?.into_iter().map(|(pid, seconds, relation, mode, blocked_by)| Waiting {
        pid,
        seconds,
        relation: one_line(&relation, 200),
        mode,
        blocked_by,
    });
    Ok(waiting.collect())
}

async fn counts(db: &mut PgConnection) -> sqlx::Result<Counts> {
    begin(db, LOOK).await?;
    // A bounded count: a metastore may have many millions of partitions.
    let sql = r#"SELECT (SELECT count(*) FROM (SELECT 1 FROM "DBS" LIMIT $1) a),
                        (SELECT count(*) FROM (SELECT 1 FROM "TBLS" LIMIT $1) b),
                        (SELECT count(*) FROM (SELECT 1 FROM "PARTITIONS" LIMIT $1) c),
                        (SELECT count(*) FROM (SELECT 1 FROM "SDS" LIMIT $1) d)"#;
    let found = sqlx::query_as(sql).bind(MAX_COUNT).persistent(false).fetch_one(&mut *db).await;
    rollback(db).await?;
    let (databases, tables, partitions, storage_descriptors) = found?;
    Ok(Counts { databases, tables, partitions, storage_descriptors })
}
