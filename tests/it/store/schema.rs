//! The two schemas are one: the same tables, columns, kinds of values, and indexes.

use std::collections::BTreeMap;

use paramedic::store::{Settings, inspect};
use sqlx::Connection as _;

use super::backend;

/// Table to column to (kind, may be NULL, is in the primary key); and indexes by name.
type Schema = (BTreeMap<String, BTreeMap<String, (String, bool, bool)>>, BTreeMap<String, String>);

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_indexes() {
    let (sqlite, postgres) = (of_sqlite().await, of_postgres().await);
    assert!(sqlite.0.len() > 10 && sqlite.1.len() > 8, "{sqlite:?}");
    assert_eq!(sqlite.0, postgres.0);
    assert_eq!(sqlite.1, postgres.1);
}

async fn of_sqlite() -> Schema {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", file.display()));
    inspect::migrate(&settings, false).await.unwrap();
    let db = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT m.name, c.name, c.type, c.\"notnull\" = 0, c.pk > 0 \
               FROM sqlite_master m JOIN pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations'";
    let mut tables: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (table, column, kind, may_be_null, is_key) in
        rows::<(String, String, String, bool, bool)>(&db, sql)
    {
        let kind = match kind.as_str() {
            "INTEGER" => "BIGINT".to_owned(),
            "BLOB" => "BYTEA".to_owned(),
            _ => kind,
        };
        // A column of a primary key may hold NULL in SQLite unless it says so; none of ours ever does.
        let column = (column, (kind, may_be_null && !is_key, is_key));
        tables.entry(table).or_default().extend([column]);
    }
    let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let indexes = rows::<(String, String)>(&db, sql);
    (tables, indexes.into_iter().map(|(name, sql)| (name, plain(&sql))).collect())
}

fn rows<T>(db: &rusqlite::Connection, sql: &str) -> Vec<T>
where
    T: for<'r> TryFrom<&'r rusqlite::Row<'r>, Error = rusqlite::Error>,
{
    let mut asked = db.prepare(sql).unwrap();
    asked.query_map([], |row| T::try_from(row)).unwrap().map(Result::unwrap).collect()
}

async fn of_postgres() -> Schema {
    let settings = Settings::at(backend::database());
    inspect::migrate(&settings, false).await.unwrap();
    let mut db = sqlx::PgConnection::connect(&settings.url).await.unwrap();
    let sql = "SELECT c.table_name::text, c.column_name::text, upper(c.data_type::text), c.is_nullable = 'YES', EXISTS ( \
                 SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
                 WHERE i.indisprimary AND i.indrelid = c.table_name::regclass AND a.attname = c.column_name) \
               FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations'";
    let rows: Vec<(String, String, String, bool, bool)> =
        sqlx::query_as(sql).fetch_all(&mut db).await.unwrap();
    let mut tables: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (table, column, kind, may_be_null, is_key) in rows {
        tables.entry(table).or_default().insert(column, (kind, may_be_null, is_key));
    }
    let sql = "SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public' \
               AND indexname !~ '_(pkey|key)$' OR indexname = 'incidents_key'";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut db).await.unwrap();
    (tables, rows.into_iter().map(|(name, sql)| (name, plain(&sql))).collect())
}

/// `CREATE INDEX …` as both would write it.
fn plain(sql: &str) -> String {
    let sql = sql.replace(" USING btree", "").replace("public.", "").replace("::text", "");
    match sql.split_once(" WHERE ") {
        Some((index, only)) => {
            format!("{index} WHERE {}", only.trim_start_matches('(').trim_end_matches(')'))
        }
        None => sql,
    }
}
