//! Everything the two databases do differently, in one place. All other SQL is one text for both: `$1` places, `RETURNING`,
//! `ON CONFLICT`, BIGINT milliseconds.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use rusqlite::TransactionBehavior;

use super::{Connection, DbError, query, query::without_nul};
use crate::store::{NewDelivery, millis};

type Result<T> = std::result::Result<T, DbError>;

/// Serialises intake across processes, so that deliveries get their numbers in the order in which they become visible.
const INTAKE: i64 = 0x7061_7261_6d65_6401;

/// Bytes of SQLite's pages in use.
pub const SIZE_OF_PAGES: &str = "SELECT (p.page_count - f.freelist_count) * s.page_size \
    FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_page_size AS s";
/// Bytes of PostgreSQL's files of our tables.
pub const SIZE_OF_FILES: &str = "SELECT CAST(coalesce(sum(pg_total_relation_size(oid)), 0) AS BIGINT) FROM pg_class \
    WHERE relkind = 'r' AND relnamespace = CAST(CAST(current_schema() AS text) AS regnamespace)";
/// Bytes of PostgreSQL's rows, about: the columns that grow, and 100 for the rest of each row.
pub const SIZE_OF_ROWS: &str = "SELECT CAST(sum(100 + bytes) AS BIGINT) FROM (\
    SELECT pg_column_size(evidence) AS bytes FROM steps UNION ALL SELECT pg_column_size(run) FROM runs \
    UNION ALL SELECT pg_column_size(event) FROM timeline UNION ALL SELECT pg_column_size(state) FROM incidents \
    UNION ALL SELECT pg_column_size(member) FROM members UNION ALL SELECT pg_column_size(body) FROM deliveries \
    UNION ALL SELECT pg_column_size(record) FROM pods UNION ALL SELECT pg_column_size(payload) FROM jobs \
    UNION ALL SELECT 0 FROM messages UNION ALL SELECT 0) AS rows";

// Words in braces: rows that another process is about to change are left alone (`{skip locked}`; SQLite has one writer), the
// texts of the JSON array in `$4` as a table (`{texts of $4}`), and two types (`{bytes}`, `{timestamp}`).

thread_local! {
    /// Texts of the program as SQLite takes them, by where they are: some are long, and asked for all the time.
    static TEXTS: RefCell<HashMap<(usize, usize), Rc<str>>> = RefCell::default();
}

/// A text of the program as SQLite takes it.
pub fn sqlite_once(sql: &'static str) -> Rc<str> {
    TEXTS.with_borrow_mut(|texts| {
        let place = (sql.as_ptr().addr(), sql.len());
        Rc::clone(texts.entry(place).or_insert_with(|| sqlite(sql).into()))
    })
}

/// Our SQL as SQLite takes it: to it `$1` is a name, and `?1` a place. A `$` of a JSON path stays.
pub fn sqlite(sql: &str) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    let sql = parts.fold(first, |sql, part| {
        let place = part.starts_with(|c: char| c.is_ascii_digit());
        sql + if place { "?" } else { "$" } + part
    });
    if !sql.contains('{') {
        return sql;
    }
    let sql = sql.replace("{skip locked}", "");
    let sql = sql.replace("{bytes}", "BLOB").replace("{timestamp}", "TIMESTAMP");
    sql.replace("{texts of ", "SELECT value FROM json_each(").replace('}', ")")
}

/// Our SQL as PostgreSQL takes it.
pub fn postgres(sql: &str) -> String {
    if !sql.contains('{') {
        return sql.to_owned();
    }
    let sql = sql.replace("{skip locked}", "FOR UPDATE SKIP LOCKED");
    let sql = sql.replace("{bytes}", "BYTEA").replace("{timestamp}", "TIMESTAMPTZ");
    sql.replace("{texts of ", "SELECT value FROM json_array_elements_text(").replace('}', "::json)")
}

/// Runs a text of several statements, without values.
pub async fn script(db: &mut Connection, sql: &'static str) -> Result<()> {
    match db {
        Connection::Sqlite(db) => Ok(db.execute_batch(sql)?),
        Connection::Postgres(db) => Ok(sqlx::raw_sql(sql).execute(db).await.map(drop)?),
    }
}

/// Begins a transaction that will write. SQLite takes its only lock at once: a later upgrade would fail.
pub async fn begin(db: &mut Connection) -> Result<()> {
    let sql = match db {
        Connection::Sqlite(_) => "BEGIN IMMEDIATE",
        Connection::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    };
    query(sql).execute(db).await.map(drop)
}

/// Locks incidents in the order of their numbers, until the transaction ends.
pub async fn lock_incidents(db: &mut Connection, ids: Vec<i64>) -> Result<()> {
    match db {
        Connection::Sqlite(_) => Ok(()),
        Connection::Postgres(db) => {
            let sql = "SELECT 1 FROM incidents WHERE id = ANY($1) ORDER BY id FOR UPDATE";
            Ok(sqlx::query(sql).bind(ids).execute(db).await.map(drop)?)
        }
    }
}

/// Lets the transaction that was in our way end first, before this one takes any lock. Never needed with one writer.
pub async fn give_way(db: &mut Connection, times: usize) -> Result<()> {
    match db {
        Connection::Sqlite(_) => Ok(()),
        Connection::Postgres(_) => {
            let millis = i64::try_from(times * 20).unwrap_or(1_000);
            query("SELECT 1 FROM pg_sleep($1 / 1000.0)").bind(millis).execute(db).await.map(drop)
        }
    }
}

/// The server's time, milliseconds; `None` where the process's own clock counts.
pub async fn server_time(db: &mut Connection) -> Result<Option<i64>> {
    match db {
        Connection::Sqlite(_) => Ok(None),
        Connection::Postgres(_) => {
            let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
            query(sql).one::<(i64,)>(db).await.map(|(now,)| Some(now))
        }
    }
}

/// Inserts all deliveries, in this order, in one transaction of its own.
pub async fn insert(db: &mut Connection, rows: &[NewDelivery]) -> Result<()> {
    let bodies = rows.iter().flat_map(|row| row.bodies.iter().map(move |body| (row, body)));
    let values = bodies.map(|(row, body)| {
        (without_nul(row.source.clone()), millis(row.received_at), body.as_slice())
    });
    match db {
        Connection::Sqlite(sqlite) => {
            // Dropped before its commit, it is rolled back.
            let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sql = "INSERT INTO deliveries (source, received_at, body) VALUES (?1, ?2, ?3)";
            let mut insert = transaction.prepare_cached(sql)?;
            for value in values {
                insert.execute(value)?;
            }
            drop(insert);
            Ok(transaction.commit()?)
        }
        Connection::Postgres(postgres) => {
            let (mut sources, mut times, mut bodies) = (vec![], vec![], vec![]);
            for (source, received_at, body) in values {
                sources.push(source);
                times.push(received_at);
                bodies.push(body);
            }
            let sql = "WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock($1)) \
                       INSERT INTO deliveries (source, received_at, body) \
                       SELECT d.source, d.received_at, d.body FROM turn \
                       CROSS JOIN unnest($2::text[], $3::bigint[], $4::bytea[]) WITH ORDINALITY AS d (source, received_at, body, place) \
                       ORDER BY d.place";
            let insert = sqlx::query(sql).bind(INTAKE).bind(sources).bind(times).bind(bodies);
            Ok(insert.execute(postgres).await.map(drop)?)
        }
    }
}

/// Whether this is a database where no migration ran yet.
pub async fn is_new(db: &mut Connection) -> Result<bool> {
    let sql = match db {
        Connection::Sqlite(_) => {
            "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'"
        }
        Connection::Postgres(_) => "SELECT count(to_regclass('_sqlx_migrations'))",
    };
    query(sql).one::<(i64,)>(db).await.map(|(count,)| count == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_place_is_written_as_each_database_takes_it_and_a_json_path_stays() {
        let ours = "SELECT json_extract(state, '$.id') FROM t WHERE a = $1 AND b IN ({texts of $12}) {skip locked}";
        let sqlite = "SELECT json_extract(state, '$.id') FROM t WHERE a = ?1 AND b IN (SELECT value FROM json_each(?12)) ";
        assert_eq!(super::sqlite(ours), sqlite);
        let postgres = "SELECT json_extract(state, '$.id') FROM t WHERE a = $1 AND b IN (SELECT value FROM json_array_elements_text($12::json)) FOR UPDATE SKIP LOCKED";
        assert_eq!(super::postgres(ours), postgres);
    }
}
