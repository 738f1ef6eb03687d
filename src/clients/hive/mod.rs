//! A Hive Metastore, asked just enough to know how it is: a few read-only Thrift calls over plain TCP.
//!
//! Why a ladder and not one ping: `getStatus` is a constant in the server, so it says ALIVE while the database behind it
//! is dead and every query hangs; a TCP connect succeeds even when the process is stopped. Each rung of [`Client::ladder`]
//! proves one more layer, and the first that fails names the layer.
//!
//! Not spoken: SASL and Kerberos, TLS, the compact protocol and HTTP mode. Such servers close the connection, or answer
//! something else, and the ladder says `wrong_protocol`.

mod connection;
mod ladder;
pub mod thrift;

use std::fmt;

pub use ladder::{Deadlines, FailureKind, Ladder, Rung, RungName, RungState, Verdict};

use super::{Error, Kind, Result};
use crate::domain::template::Filled;

/// One configured metastore; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    host: String,
    port: u16,
}

/// A table by name, used as the canary: `database.table`. Letters, digits, `_` and what else Hive allows, without dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    database: String,
    table: String,
}

impl Client {
    /// A client of the metastore at `host:port`. Nothing is contacted yet; a text that is no such address is refused.
    pub fn new(address: &str) -> Result<Self> {
        let bad = || {
            let shown: String = address.chars().take(80).collect();
            let why = format!("`{}` is not host:port, such as hms:9083", shown.escape_debug());
            Error::new(Kind::Malformed, "use a metastore", why)
        };
        let address = address.strip_prefix("thrift://").unwrap_or(address);
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > 253 || port == 0 || !host.chars().all(usable) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Longest database or table name Hive stores, bytes.
const MAX_NAME: usize = 128;

impl Filled for TableName {
    const WHAT: &'static str = "a table, as database.table";

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let part = |part: &str| {
            let usable = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
            !part.is_empty() && part.len() <= MAX_NAME && part.chars().all(usable)
        };
        match text.split_once('.') {
            Some((database, table)) if part(database) && part(table) => {
                Ok(Self { database: database.to_owned(), table: table.to_owned() })
            }
            _ => {
                let shown: String = text.chars().take(80).collect();
                Err(format!("`{}` is not database.table", shown.escape_debug()))
            }
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for (text, shown) in [
            ("hms:9083", "hms:9083"),
            ("thrift://hms.data.svc:9083", "hms.data.svc:9083"),
            ("[::1]:9083", "[::1]:9083"),
        ] {
            assert_eq!(Client::new(text).unwrap().to_string(), shown);
        }
        let long = format!("{}:9083", "h".repeat(65_536));
        for bad in
            ["", "hms", ":9083", "hms:", "hms:0", "hms:99999", "h\0:1", "a b:1", "u@h:1", &long]
        {
            let error = Client::new(bad).unwrap_err();
            assert!(error.to_string().len() < 200, "{error}");
        }
    }

    #[test]
    fn a_canary_is_database_and_table() {
        assert_eq!(TableName::parse("ops.canary").unwrap().to_string(), "ops.canary");
        let long = format!("a.{}", "b".repeat(129));
        for bad in ["", "canary", ".", "a.", ".b", "a.b.c", "a.b\0", "a.b c", "a.b;--", &long] {
            assert!(TableName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
