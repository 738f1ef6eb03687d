//! A secret is never written in the configuration: it names a file or an environment variable, read when the
//! configuration is loaded. It cannot be printed.

use std::{fmt, fs, path::PathBuf};

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest secret, bytes.
const MAX: usize = 64 * 1024;

/// `{ file: /run/secrets/token }` or `{ env: TOKEN }`.
#[derive(Clone)]
pub struct Secret {
    from: From,
    value: Option<SecretString>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Secret", description = "A secret, by reference: never written here.")]
enum From {
    /// The content of this file, without the line end.
    File(PathBuf),
    /// The value of this environment variable.
    Env(String),
}

/// Why a secret could not be read. Never holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the file {path}; mount it, or correct the path")]
    File {
        /// As written.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// It is no usable secret.
    #[error("{from} {problem}")]
    Unusable {
        /// Which file or variable.
        from: String,
        /// `is empty`.
        problem: &'static str,
    },
}

impl Secret {
    /// Reads it. `env` looks up a variable.
    pub(in crate::config) fn read(
        &mut self,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), SecretError> {
        let text = match &self.from {
            From::File(path) => fs::read(path)
                .map_err(|source| SecretError::File { path: path.clone(), source })
                .map(|bytes| String::from_utf8(bytes).unwrap_or_else(|_| "\0".to_owned()))?,
            From::Env(name) => env(name).ok_or_else(|| SecretError::Unset(name.clone()))?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        let problem = match text {
            "" => "is empty",
            long if long.len() > MAX => "is longer than 64 KiB",
            odd if odd.chars().any(char::is_control) => {
                "holds control characters or more than one line; it must be one line of text"
            }
            fine => {
                self.value = Some(SecretString::from(fine));
                return Ok(());
            }
        };
        Err(SecretError::Unusable { from: self.from.to_string(), problem })
    }

    /// The secret. Empty before it was read, which [`crate::config::Config::load`] does for all of them.
    pub fn expose(&self) -> &str {
        self.value.as_ref().map_or("", |value| value.expose_secret())
    }

    /// The secret, still wrapped.
    pub fn get(&self) -> SecretString {
        self.value.clone().unwrap_or_default()
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.from)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.from == other.from
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.from.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference).map(|from| Self { from, value: None })
    }
}

/// Reads the reference; what is written in its place is never repeated, because it may be the secret.
struct Reference;

impl<'de> de::Visitor<'de> for Reference {
    type Value = From;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ file: /run/secrets/name } or { env: NAME }")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<From, A::Error> {
        let mut from = None;
        while let Some(key) = map.next_key::<String>()? {
            let next = match key.as_str() {
                "file" => From::File(map.next_value()?),
                "env" => From::Env(map.next_value()?),
                _ => return Err(refused()),
            };
            if from.replace(next).is_some() {
                return Err(de::Error::custom(
                    "a secret has one source: `file` or `env`, not both",
                ));
            }
        }
        from.ok_or_else(refused)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<From, E> {
        Err(refused())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<From, E> {
        Err(refused())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<From, E> {
        Err(refused())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<From, E> {
        Err(refused())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<From, E> {
        Err(refused())
    }
}

fn refused<E: de::Error>() -> E {
    E::custom("a secret is never written here; write { file: /run/secrets/name } or { env: NAME }")
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        From::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn secret(yaml: &str) -> Secret {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn it_is_read_from_a_file_or_a_variable_without_its_line_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hunter2\r\n").unwrap();
        let mut from_file = secret(&format!("{{ file: {:?} }}", file.path()));
        from_file.read(&|_| None).unwrap();
        assert_eq!(from_file.expose(), "hunter2");
        let mut from_env = secret("{ env: TOKEN }");
        from_env.read(&|name| (name == "TOKEN").then(|| "xoxb-1".to_owned())).unwrap();
        assert_eq!(from_env.expose(), "xoxb-1");
        assert_eq!(format!("{from_env:?}"), "Secret(the environment variable TOKEN)");
    }

    #[test]
    fn an_unusable_secret_is_refused_without_showing_it() {
        let mut missing = secret("{ file: /does/not/exist }");
        insta::assert_snapshot!(missing.read(&|_| None).unwrap_err(), @"cannot read the file /does/not/exist; mount it, or correct the path");
        for value in ["", "\n", "two\nlines", "nul\0", &"x".repeat(MAX + 1)] {
            let error = secret("{ env: T }").read(&|_| Some(value.to_owned())).unwrap_err();
            assert!(error.to_string().starts_with("the environment variable T "), "{error}");
            assert!(error.to_string().len() < 200, "{error}");
        }
    }

    #[test]
    fn a_secret_written_in_its_place_is_refused_and_not_repeated() {
        for yaml in [
            "xoxb-secret",
            "12345678",
            "{ value: xoxb-secret }",
            "{ file: /a, env: B }",
            "{}",
            "true",
        ] {
            let error = serde_saphyr::from_str::<Secret>(yaml).unwrap_err();
            assert!(!error.without_snippet().to_string().contains("xoxb-secret"), "{error}");
        }
    }
}
