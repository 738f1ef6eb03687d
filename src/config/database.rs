//! `clusters.<name>.databases` and `.metastores`: connections that steps may look into.
//!
//! A metastore may be a plain `host:port`, as it was before its database could be named too. The union is read by hand:
//! an untagged type would say "did not match any variant" where a person needs to know what is wrong.

use std::{fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use super::{
    problem::{Problems, is_name},
    value::{HostPort, Secret},
};

/// A database, by its kind. Steps only read it: give it a user that may only read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// PostgreSQL 12 or newer.
    Postgresql(Postgresql),
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgresql {
    /// The server.
    pub address: HostPort,
    /// The database's name.
    pub database: String,
    /// The user; one that may only read.
    pub user: String,
    /// The password. None: the server asks for none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: DatabaseTls,
    /// Certificates of the authority that signed the server's, as PEM. None: the well-known ones.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// Encryption of a database connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseTls {
    /// Never.
    Disable,
    /// When the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always, and the certificate must be the server's.
    VerifyFull,
}

/// A Hive Metastore: `host:port`, or that with its database.
#[derive(Clone, Debug, PartialEq)]
pub struct Metastore {
    /// Its Thrift service.
    pub address: HostPort,
    /// The entry of `databases` that it keeps its tables in.
    pub database: Option<String>,
}

impl Database {
    pub(super) fn validate(&self, cluster: &str, name: &str, problems: &mut Problems) {
        if !is_name(name) {
            problems.name(format!("{cluster}.databases"), name);
        }
        let Self::Postgresql(settings) = self;
        let key = format!("{cluster}.databases.{name}.postgresql");
        for (field, text) in [("database", &settings.database), ("user", &settings.user)] {
            if text.is_empty() || text.contains('\0') {
                problems.add(format!("{key}.{field}"), "must not be empty");
            }
        }
    }

    /// Its password, when it has one.
    pub(super) fn password(&mut self) -> Option<&mut Secret> {
        let Self::Postgresql(settings) = self;
        settings.password.as_mut()
    }
}

impl Serialize for Metastore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(database) = &self.database else { return self.address.serialize(serializer) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("address", &self.address)?;
        map.serialize_entry("database", database)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metastore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    address: HostPort,
    #[serde(default)]
    database: Option<String>,
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Metastore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host:port, or { address: host:port, database: name }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Metastore, E> {
        let address = text.parse().map_err(E::custom)?;
        Ok(Metastore { address, database: None })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Metastore, A::Error> {
        let Long { address, database } =
            Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Metastore { address, database })
    }
}

impl JsonSchema for Metastore {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metastore".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "title": "host and port, or a map",
            "anyOf": [
                { "type": "string", "examples": ["hms:9083"] },
                {
                    "type": "object",
                    "properties": { "address": { "type": "string" }, "database": { "type": "string" } },
                    "required": ["address"],
                    "unevaluatedProperties": false,
                },
            ],
        })
    }
}
