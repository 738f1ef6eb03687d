//! Embedded, forward-only migrations. A store written by a newer binary is refused.

use sqlx::{
    AssertSqlSafe, SqlSafeStr as _, SqliteConnection,
    migrate::{Migrate as _, Migration, MigrationType, Migrator},
};

use super::{Error, Result};

const SQLITE: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("migrations/sqlite/0001_init.sql")),
    (2, "similar", include_str!("migrations/sqlite/0002_similar.sql")),
];

/// Brings the schema up to ours.
pub async fn run(db: &mut SqliteConnection) -> Result<()> {
    apply(db, SQLITE).await
}

async fn apply(db: &mut SqliteConnection, all: &[(i64, &'static str, &str)]) -> Result<()> {
    let migrations = all.iter().map(|(version, name, sql)| {
        let sql = AssertSqlSafe((*sql).to_owned()).into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let known = all.last().map_or(0, |(version, _, _)| *version);
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

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn runs_of_an_older_store_get_their_target_and_verdict() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        apply(&mut db, &SQLITE[..1]).await.unwrap();
        let sql = "INSERT INTO runs (id, incident_id, playbook, opening, state, started_at, run) VALUES ($1, $2, $3, 2, 'ended', 7, $4)";
        for (incident, target, run) in [
            (12, "pod/prod/spark-prod/etl-1", r#"{"verdicts":[{"id":"a/b"},{"id":"c"}]}"#),
            (13, "alert", r#"{"verdicts":[]}"#),
        ] {
            let id = format!("INC-{incident}/2/some-book/{target}");
            let row = sqlx::query(sql).bind(id).bind(incident).bind("some-book").bind(run);
            row.execute(&mut db).await.unwrap();
        }
        run(&mut db).await.unwrap();
        let sql = "SELECT target_key, verdict FROM runs ORDER BY incident_id";
        let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut db).await.unwrap();
        let told = |target: &str, verdict: &str| (target.to_owned(), verdict.to_owned());
        assert_eq!(rows, [told("pod/prod/spark-prod/etl-1", "a/b"), told("", "")]);
        run(&mut db).await.unwrap();
    }
}
