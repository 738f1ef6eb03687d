//! A PostgreSQL database, only ever read: one connection per look, everything inside read-only transactions with a
//! statement timeout that are never committed, and bounds on rows and bytes that the server itself applies.
//!
//! A statement of a playbook becomes a sub-select of ours. So it can be nothing but one query, whatever is written in it,
//! its rows come back as JSON whatever their types are, and the bounds hold.

mod metastore;

use std::{fmt, path::PathBuf, time::Duration};

use futures::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError, PgSslMode},
};

pub use self::metastore::{Connections, Counts, Looked, LookedRung, Waiting};
use super::{Error, Kind, Result, one_line};

/// Longest wait for a connection, and for the end of it.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest reason kept, characters.
const MAX_REASON: usize = 300;
/// Longest row read, characters of JSON; the server cuts it.
const MAX_ROW: usize = 16 * 1024;
/// Most bytes of rows read together.
const MAX_BYTES: usize = 256 * 1024;

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Disable,
    /// When offered, unchecked.
    Prefer,
    /// Always, unchecked.
    Require,
    /// Always, and checked.
    VerifyFull,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`.
    pub address: String,
    /// Its name.
    pub database: String,
    /// The user.
    pub user: String,
    /// The password, if one is asked for.
    pub password: Option<SecretString>,
    /// Encryption.
    pub tls: Tls,
    /// PEM file of the authority.
    pub ca: Option<PathBuf>,
}

/// One database; cheap to clone.
#[derive(Clone)]
pub struct Client {
    options: PgConnectOptions,
    password: SecretString,
    shown: String,
}

/// Rows of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Each a JSON object; a row that was too long is the start of its text.
    pub rows: Vec<Value>,
    /// There were more rows, or a row was too long.
    pub cut: bool,
}

impl Client {
    /// A client of the database. Nothing is contacted yet; fails when the address is none.
    pub fn new(settings: Settings) -> Result<Self> {
        let Settings { address, database, user, password, tls, ca } = settings;
        let bad = || {
            let why = format!("`{}` is not host:port", one_line(&address, 80));
            Error::new(Kind::Malformed, "use a database", why)
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let password = password.unwrap_or_default();
        // Each is set, because what is not set is taken from this process's PG… variables.
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port)
            .username(&user)
            .password(password.expose_secret())
            .database(&database)
            .application_name("paramedic")
            // A pooler between us and the server refuses settings it does not know, and gives each transaction another
            // session, where a statement of an earlier one does not exist.
            .extra_float_digits(None)
            .statement_cache_capacity(0)
            .ssl_mode(match tls {
                Tls::Disable => PgSslMode::Disable,
                Tls::Prefer => PgSslMode::Prefer,
                Tls::Require => PgSslMode::Require,
                Tls::VerifyFull => PgSslMode::VerifyFull,
            })
            .disable_statement_logging();
        if let Some(ca) = ca {
            options = options.ssl_root_cert(ca);
        }
        Ok(Self { options, password, shown: format!("{database} at {host}:{port}") })
    }

    /// Reads at most `rows` rows of one query. `binds` are `$1`, `$2` and so on, all of type text. The server stops the
    /// query after `timeout`.
    pub async fn query(
        &self,
        sql: &str,
        binds: &[String],
        rows: usize,
        timeout: Duration,
    ) -> Result<Rows> {
        let operation = format!("query the database {}", self.shown);
        let work = async {
            let mut connection = self.connect(&operation).await?;
            let read = self.rows(&mut connection, sql, binds, rows, timeout).await;
            let read = read.map_err(|error| self.failed(&operation, &error));
            drop(connection.close().await);
            read
        };
        bounded(CONNECT + timeout + Duration::from_secs(1), &operation, work).await
    }

    async fn rows(
        &self,
        connection: &mut PgConnection,
        sql: &str,
        binds: &[String],
        limit: usize,
        timeout: Duration,
    ) -> sqlx::Result<Rows> {
        begin(connection, timeout).await?;
        // The query ends on its own line, so that a comment in its last one ends there too.
        let wrapped = format!(
            "SELECT left(row_to_json(looked)::text, {MAX_ROW}) FROM (\n{sql}\n) AS looked LIMIT {}",
            limit + 1
        );
        let mut query = sqlx::query_scalar(AssertSqlSafe(wrapped)).persistent(false);
        for bind in binds {
            query = query.bind(bind);
        }
        let mut found = Rows::default();
        let mut bytes = 0;
        {
            let mut stream = query.fetch(&mut *connection);
            while let Some(row) = stream.try_next().await? {
                let text: String = row;
                if found.rows.len() == limit || bytes + text.len() > MAX_BYTES {
                    found.cut = true;
                    break;
                }
                bytes += text.len();
                found.rows.push(serde_json::from_str(&text).unwrap_or_else(|_| {
                    found.cut = true;
                    Value::String(text)
                }));
            }
        }
        Ok(found)
    }

    async fn connect(&self, operation: &str) -> Result<PgConnection> {
        let connecting = async {
            let made = PgConnection::connect_with(&self.options).await;
            made.map_err(|error| self.failed(operation, &error))
        };
        let mut late = bounded(CONNECT, operation, connecting).await;
        if let Err(error) = &mut late
            && error.kind == Kind::Timeout
        {
            "no connection in time".clone_into(&mut error.reason);
        }
        late
    }

    /// A failure in the server's words, without our password.
    fn failed(&self, operation: &str, error: &sqlx::Error) -> Error {
        let (kind, reason) = match error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let told = database.try_downcast_ref::<PgDatabaseError>();
                let message = told.map_or_else(String::new, |told| told.message().to_owned());
                (kind(&code), format!("{message} (SQLSTATE {code})"))
            }
            sqlx::Error::Io(error) => (Kind::Unreachable, error.to_string()),
            sqlx::Error::Tls(error) => (Kind::Unreachable, format!("TLS: {error}")),
            sqlx::Error::Configuration(error) => (Kind::Refused, error.to_string()),
            other => (Kind::Malformed, other.to_string()),
        };
        let mut reason = one_line(&reason, MAX_REASON);
        let password = self.password.expose_secret();
        if !password.is_empty() {
            reason = reason.replace(password, "***");
        }
        Error::new(kind, operation, reason)
    }
}

/// What an SQLSTATE means for the caller.
fn kind(code: &str) -> Kind {
    match code {
        // Wrong password, no such user, no entry for this host; no right on the object.
        "28P01" | "28000" | "42501" => Kind::Denied,
        // No such database; no such table, or function.
        "3D000" | "42P01" | "42883" => Kind::NotFound,
        // Too many connections.
        "53300" => Kind::Throttled { after: None },
        // It starts, stops or recovers.
        "57P03" | "57P01" | "57P02" => Kind::Unreachable,
        // Statement timeout, lock timeout.
        "57014" | "55P03" => Kind::Timeout,
        _ => Kind::Refused,
    }
}

/// Begins a transaction in which nothing can be changed and no statement runs longer than `timeout`.
async fn begin(connection: &mut PgConnection, timeout: Duration) -> sqlx::Result<()> {
    let limit = timeout.as_millis();
    let sql = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        limit + 1_000
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// The work, or a timeout.
async fn bounded<T>(
    limit: Duration,
    operation: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", limit.as_secs());
        Err(Error::new(Kind::Timeout, operation, why))
    })
}

/// `database at host:port`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Never with the password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("database", &self.shown).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlstate_becomes_the_kind_that_decides_the_retry() {
        for (code, expected) in [
            ("28P01", Kind::Denied),
            ("42501", Kind::Denied),
            ("3D000", Kind::NotFound),
            ("53300", Kind::Throttled { after: None }),
            ("57P03", Kind::Unreachable),
            ("57014", Kind::Timeout),
            ("25006", Kind::Refused),
            ("", Kind::Refused),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }

    #[test]
    fn a_client_never_shows_its_password() {
        let settings = Settings {
            address: "pg:5432".to_owned(),
            database: "hms".to_owned(),
            user: "reader".to_owned(),
            password: Some("hunter2".into()),
            tls: Tls::Prefer,
            ca: None,
        };
        let client = Client::new(settings.clone()).unwrap();
        assert_eq!(client.to_string(), "hms at pg:5432");
        assert!(!format!("{client:?}").contains("hunter2"));
        let echoed = sqlx::Error::Protocol("hunter2 is wrong".to_owned());
        assert_eq!(client.failed("x", &echoed).reason.matches("hunter2").count(), 0);
        for bad in ["", "pg", "pg:x", "pg:99999"] {
            let settings = Settings { address: bad.to_owned(), ..settings.clone() };
            assert!(Client::new(settings).is_err(), "{bad}");
        }
    }
}
