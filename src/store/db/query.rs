//! One query for both databases: the same text, values bound in the order `$1`, `$2` …

use std::{borrow::Cow, rc::Rc};

use futures::future::BoxFuture;
use rusqlite::{Row, ToSql, params_from_iter, types::ToSqlOutput};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, FromRow, Postgres, postgres::PgRow};

use super::{Connection, DbError, dialect};

/// Longest text in an indexed column, bytes. PostgreSQL refuses index rows of more than 2 700; two such columns fit.
const MAX_KEY: usize = 1_000;

/// A statement with its values.
#[derive(Clone, Debug)]
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// It reads all of a table, or of the file.
    pub is_long: bool,
}

/// A value to bind; what is absent has a type too.
#[derive(Clone, Debug)]
pub enum Value {
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BYTEA.
    Bytes(Vec<u8>),
}

/// A statement in our SQL; see [`dialect`] for its words in braces.
pub fn query(sql: impl Into<Cow<'static, str>>) -> Query {
    Query { sql: sql.into(), values: vec![], is_long: false }
}

/// For PostgreSQL, with the values bound in order.
macro_rules! bound {
    ($start:expr, $query:expr) => {{
        let mut bound = $start(AssertSqlSafe(dialect::postgres(&$query.sql)));
        for value in &$query.values {
            bound = match value {
                Value::Int(value) => bound.bind(*value),
                Value::Text(value) => bound.bind(value.clone()),
                Value::Bytes(value) => bound.bind(value.clone()),
            };
        }
        bound
    }};
}

impl Query {
    /// What reads all of a table or of the file may take long: SQLite reads it aside, not on the thread that asks.
    pub fn at_length(mut self) -> Self {
        self.is_long = true;
        self
    }

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
    pub fn execute(self, db: &mut Connection) -> BoxFuture<'_, Result<u64, DbError>> {
        Box::pin(async move {
            Ok(match db {
                Connection::Sqlite(db) => {
                    let mut statement = db.prepare_cached(&self.for_sqlite())?;
                    let mut rows = statement.query(params_from_iter(&self.values))?;
                    while rows.next()?.is_some() {}
                    db.changes()
                }
                Connection::Postgres(db) => {
                    bound!(sqlx::query::<Postgres>, self).execute(db).await?.rows_affected()
                }
            })
        })
    }

    /// Runs it; its rows.
    pub async fn all<T>(&self, db: &mut Connection) -> Result<Vec<T>, DbError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin,
    {
        match db {
            Connection::Sqlite(db) => Ok(self.rows(db)?),
            Connection::Postgres(db) => {
                Ok(bound!(sqlx::query_as::<Postgres, T>, self).fetch_all(db).await?)
            }
        }
    }

    fn for_sqlite(&self) -> Rc<str> {
        match &self.sql {
            Cow::Borrowed(text) => dialect::sqlite_once(text),
            Cow::Owned(text) => dialect::sqlite(text).into(),
        }
    }

    /// Runs it in SQLite, at once; its rows.
    pub fn rows<T>(&self, db: &rusqlite::Connection) -> rusqlite::Result<Vec<T>>
    where
        T: for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
    {
        let mut statement = db.prepare_cached(&self.for_sqlite())?;
        statement.query_map(params_from_iter(&self.values), |row| T::try_from(row))?.collect()
    }

    /// Runs it; its first row, if there is one.
    pub async fn optional<T>(&self, db: &mut Connection) -> Result<Option<T>, DbError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin,
    {
        Ok(self.all(db).await?.into_iter().next())
    }

    /// Runs it; the row it always has.
    pub async fn one<T>(&self, db: &mut Connection) -> Result<T, DbError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin,
    {
        self.optional(db).await?.ok_or(sqlx::Error::RowNotFound.into())
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Int(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
            Self::Bytes(value) => value.to_sql(),
        }
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

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
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
