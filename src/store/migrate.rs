//! Embedded, forward-only migrations. A store written by a newer binary is refused.

use sqlx::{
    AssertSqlSafe, SqlSafeStr as _, SqliteConnection,
    migrate::{Migrate as _, Migration, MigrationType, Migrator},
};

use super::{Error, Result};

const SQLITE: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("migrations/sqlite/0001_init.sql")),
    (2, "pods", include_str!("migrations/sqlite/0002_pods.sql")),
];

/// Brings the schema up to ours.
pub async fn run(db: &mut SqliteConnection) -> Result<()> {
    let migrations = SQLITE.iter().map(|(version, name, sql)| {
        let sql = AssertSqlSafe((*sql).to_owned()).into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let known = SQLITE.last().map_or(0, |(version, _, _)| *version);
    let migrator = Migrator::with_migrations(migrations.collect());
    db.ensure_migrations_table(&migrator.table_name).await.map_err(|error| failed(&error))?;
    let applied =
        db.list_applied_migrations(&migrator.table_name).await.map_err(|error| failed(&error))?;
    let found = applied.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    migrator.run_direct(None, db, false).await.map_err(|error| failed(&error))
}

fn failed(error: &sqlx::migrate::MigrateError) -> Error {
    Error::Failed(format!("migration: {error}"))
}
