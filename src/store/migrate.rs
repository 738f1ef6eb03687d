//! Embedded, forward-only migrations, the same versions for both databases. A store written by a newer binary is refused.
//! Of several replicas that start at once, one migrates and the others wait.

use futures::FutureExt as _;
use sha2::{Digest as _, Sha384};

use super::{
    Connection, Error, Result,
    db::{is_new, script, transaction},
    query,
};

type File = (i64, &'static str, &'static str);

macro_rules! files {
    ($database:literal: $($version:literal $name:literal),*) => {
        &[$(($version, $name, include_str!(concat!("migrations/", $database, "/", $name, ".sql")))),*]
    };
}

const SQLITE: &[File] = files!("sqlite": 1 "0001_init", 2 "0002_replicas", 3 "0003_storms", 4 "0004_similar", 5 "0005_pods", 6 "0006_pods_version", 7 "0007_asked", 8 "0008_wake", 9 "0009_claims");
const POSTGRES: &[File] = files!("postgres": 1 "0001_init", 2 "0002_replicas", 3 "0003_storms", 4 "0004_similar", 5 "0005_pods", 6 "0006_pods_version", 7 "0007_asked", 8 "0008_wake", 9 "0009_claims");

/// The session lock under which one replica migrates.
const LOCK: i64 = 0x7061_7261_6d65_6402;

/// What a migration did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The schema before; 0: there was none.
    pub from: i64,
    /// The schema after.
    pub to: i64,
    /// The steps in between, by name.
    pub steps: Vec<&'static str>,
}

/// Where the versions stand that were applied. Name and columns are those of sqlx, which older binaries used.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                     installed_on {timestamp} NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
                     checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL)";

fn files(db: &Connection) -> &'static [File] {
    match db {
        Connection::Sqlite(_) => SQLITE,
        Connection::Postgres(_) => POSTGRES,
    }
}

/// What is to be done.
pub async fn plan(db: &mut Connection) -> Result<Migrated> {
    let files = files(db);
    let known = files.last().map_or(0, |(version, _, _)| *version);
    let found = if is_new(db).await? {
        0
    } else {
        let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        query(sql).one::<(i64,)>(db).await?.0
    };
    if found > known {
        return Err(Error::Newer { found, known });
    }
    if found > 0 {
        let sql = "SELECT version, checksum FROM _sqlx_migrations";
        let applied: Vec<(i64, Vec<u8>)> = query(sql).all(db).await?;
        let changed = files.iter().find(|(version, _, sql)| {
            applied.iter().any(|(other, sum)| other == version && *sum != checksum(sql))
        });
        if let Some((_, name, _)) = changed {
            return Err(Error::Failed(format!("migration {name} was applied with another text")));
        }
    }
    let pending = files.iter().filter(|(version, _, _)| *version > found);
    Ok(Migrated { from: found, to: known, steps: pending.map(|(_, name, _)| *name).collect() })
}

/// Brings the schema up to ours.
pub async fn run(db: &mut Connection) -> Result<Migrated> {
    let lock = match db {
        Connection::Sqlite(_) => None,
        Connection::Postgres(_) => Some(LOCK),
    };
    // The lock is the session's: should anything below fail, closing the connection lets go of it.
    if let Some(lock) = lock {
        query("SELECT pg_advisory_lock($1)").bind(lock).execute(db).await?;
    }
    let plan = plan(db).await?;
    for file in files(db).iter().filter(|(version, _, _)| *version > plan.from) {
        let step = transaction(db, Box::new(move |db| apply(db, file).boxed())).await;
        step.map_err(|error| Error::Failed(format!("migration {}: {error}", file.1)))?;
    }
    if let Some(lock) = lock {
        query("SELECT pg_advisory_unlock($1)").bind(lock).execute(db).await?;
    }
    Ok(plan)
}

async fn apply(db: &mut Connection, (version, name, text): &'static File) -> Result<()> {
    query(TABLE).execute(db).await?;
    script(db, text).await?;
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, -1)";
    query(sql).bind(*version).bind(*name).bind(checksum(text)).execute(db).await?;
    Ok(())
}

fn checksum(sql: &str) -> Vec<u8> {
    Sha384::digest(sql).to_vec()
}
