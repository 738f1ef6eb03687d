//! Embedded, forward-only migrations, the same versions for both databases. A store written by a newer binary is refused.
//! Of several replicas that start at once, one migrates and the others wait.

use sqlx::{
    AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{Connection, Error, Result, db::is_new, query};

type File = (i64, &'static str, &'static str);

macro_rules! files {
    ($database:literal: $($version:literal $name:literal),*) => {
        &[$(($version, $name, include_str!(concat!("migrations/", $database, "/", $name, ".sql")))),*]
    };
}

const SQLITE: &[File] = files!("sqlite": 1 "0001_init", 2 "0002_replicas", 3 "0003_storms", 4 "0004_similar", 5 "0005_pods", 6 "0006_pods_version", 7 "0007_asked", 8 "0008_wake");
const POSTGRES: &[File] = files!("postgres": 1 "0001_init", 2 "0002_replicas", 3 "0003_storms", 4 "0004_similar", 5 "0005_pods", 6 "0006_pods_version", 7 "0007_asked", 8 "0008_wake");

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

/// What is to be done.
pub async fn plan(db: &mut Connection) -> Result<Migrated> {
    let files = match db {
        Connection::Sqlite(_) => SQLITE,
        Connection::Postgres(_) => POSTGRES,
    };
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
    match db {
        Connection::Sqlite(db) => apply(db, SQLITE).await?,
        Connection::Postgres(db) => apply(db, POSTGRES).await?,
    }
    if let Some(lock) = lock {
        query("SELECT pg_advisory_unlock($1)").bind(lock).execute(db).await?;
    }
    Ok(plan)
}

async fn apply<C: sqlx::migrate::Migrate>(db: &mut C, files: &[File]) -> Result<()> {
    let migrations = files.iter().map(|(version, name, sql)| {
        let sql = AssertSqlSafe((*sql).to_owned()).into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    let applied = migrator.run_direct(None, db, false).await;
    applied.map_err(|error| Error::Failed(format!("migration: {error}")))
}
