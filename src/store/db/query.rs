//! One query for both databases: the same text, values bound in the order `$1`, `$2` …

use std::borrow::Cow;

use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, FromRow, Postgres, Sqlite, postgres::PgRow, sqlite::SqliteRow};

use super::{Connection, dialect};

/// Longest text in an indexed column, bytes. PostgreSQL refuses index rows of more than 2 700; two such columns fit.
const MAX_KEY: usize = 1_000;

/// A statement with its values.
#[derive(Clone, Debug)]
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// A value to bind; what is absent has a type too.
#[derive(Clone, Debug)]
pub enum Value {
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
}

/// A statement in our SQL; see [`dialect`] for its two words in braces.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: vec![] }
}

/// Binds the values in order.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(*value),
                Value::Text(value) => query.bind(value.clone()),
            };
        }
        query
    }};
}

impl Query {
    /// Binds the next value.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Binds the next value as an indexed text, which has a longest length: a longer one keeps its beginning and the hash of
    /// all of it. Doing that twice changes nothing.
    pub fn bind_key(self, key: &str) -> Self {
        if key.len() <= MAX_KEY {
            return self.bind(key);
        }
        let hash =
            Sha256::digest(key).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        self.bind(format!("{}%{hash}", &key[..key.floor_char_boundary(MAX_KEY - 65)]))
    }

    /// Runs it; the number of rows it changed.
    pub fn execute(self, db: &mut Connection) -> BoxFuture<'_, sqlx::Result<u64>> {
        Box::pin(async move {
            let sql = AssertSqlSafe(dialect::translate(&self.sql, db).into_owned());
            Ok(match db {
                Connection::Sqlite(db) => {
                    let query = bound!(sqlx::query::<Sqlite>(sql), &self.values);
                    query.execute(db).await?.rows_affected()
                }
                Connection::Postgres(db) => {
                    let query = bound!(sqlx::query::<Postgres>(sql), &self.values);
                    query.execute(db).await?.rows_affected()
                }
            })
        })
    }

    /// Runs it; its rows.
    pub async fn all<T>(&self, db: &mut Connection) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let sql = AssertSqlSafe(dialect::translate(&self.sql, db).into_owned());
        match db {
            Connection::Sqlite(db) => {
                bound!(sqlx::query_as::<Sqlite, T>(sql), &self.values).fetch_all(db).await
            }
            Connection::Postgres(db) => {
                bound!(sqlx::query_as::<Postgres, T>(sql), &self.values).fetch_all(db).await
            }
        }
    }

    /// Runs it; its first row, if there is one.
    pub async fn optional<T>(&self, db: &mut Connection) -> sqlx::Result<Option<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.all(db).await?.into_iter().next())
    }

    /// Runs it; the row it always has.
    pub async fn one<T>(&self, db: &mut Connection) -> sqlx::Result<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.optional(db).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// PostgreSQL takes no NUL in text.
pub fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(without_nul(value)))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        value.clone().into()
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(without_nul))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_keeps_its_beginning_and_its_difference() {
        let key = |text: &str| format!("{:?}", query("").bind_key(text).values);
        let (long, other) = ("é".repeat(600), format!("{}e", "é".repeat(600)));
        assert_ne!(key(&long), key(&other));
        let Value::Text(Some(kept)) = &query("").bind_key(&long).values[0] else { panic!() };
        assert!(kept.len() <= MAX_KEY && kept.starts_with('é'), "{kept}");
        assert_eq!(key(kept), format!("{:?}", [Value::Text(Some(kept.clone()))]), "twice is once");
        assert_eq!(key("a\0b"), "[Text(Some(\"a\u{fffd}b\"))]");
    }
}
