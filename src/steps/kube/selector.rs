//! Label selectors whose values are templates.
//!
//! A selector is split into labels **before** its templates are filled, and every filled value must be a valid label
//! value: a hostile alert label can neither add a condition nor widen the selection.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};

use crate::domain::template::{FillError, Filled, Input, Scope};

/// Labels that must all have these values: a map, or `"k=v,k2=v2"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Selector(BTreeMap<String, Input<LabelValue>>);

/// A Kubernetes label value, never empty: at most 63 letters, digits, `-`, `_` and `.`, ends alphanumeric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelValue(pub String);

impl Filled for LabelValue {
    const WHAT: &'static str = "a Kubernetes label value";

    fn parse(text: &str) -> Result<Self, String> {
        if is_label_part(text) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(63).collect();
        Err(format!("`{}` is not a label value", shown.escape_debug()))
    }
}

impl Selector {
    /// Fills the templates: `k=v,k2=v2`.
    pub fn fill(&self, scope: &Scope) -> Result<String, FillError> {
        let mut parts = vec![];
        for (key, value) in &self.0 {
            parts.push(format!("{key}={}", value.fill(scope)?.0));
        }
        Ok(parts.join(","))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut labels = BTreeMap::new();
        for part in split(text) {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                format!(
                    "`{}` is not `label=value`; only equality selects here",
                    part.escape_debug()
                )
            })?;
            let value = value.strip_prefix('=').unwrap_or(value).trim();
            crate::domain::template::check(value)?;
            if !value.contains("{{") {
                LabelValue::parse(value)?;
            }
            labels.insert(check_key(key.trim())?.to_owned(), Input::from(value));
        }
        Self::not_empty(labels)
    }

    fn not_empty(labels: BTreeMap<String, Input<LabelValue>>) -> Result<Self, String> {
        if labels.is_empty() {
            return Err("this selector names no label, so it would select everything".to_owned());
        }
        Ok(Self(labels))
    }
}

/// Splits at commas outside `{{ }}`.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut open) = (vec![], 0, false);
    for (at, c) in text.char_indices() {
        if text[at..].starts_with("{{") {
            open = true;
        } else if text[at..].starts_with("}}") {
            open = false;
        } else if c == ',' && !open {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn check_key(key: &str) -> Result<&str, String> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("a", key));
    let prefix_fine = prefix.len() <= 253
        && !prefix.is_empty()
        && prefix
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if prefix_fine && is_label_part(name) {
        return Ok(key);
    }
    let shown: String = key.chars().take(63).collect();
    Err(format!("`{}` is not a label name", shown.escape_debug()))
}

fn is_label_part(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Selector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of labels to values, or \"k=v,k2=v2\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Selector, E> {
                Selector::from_text(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Selector, A::Error> {
                let mut labels = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    check_key(&key).map_err(de::Error::custom)?;
                    labels.insert(key, map.next_value()?);
                }
                Selector::not_empty(labels).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Selector".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "Labels that must all have these values; values are templates.",
            "anyOf": [
                { "type": "string", "description": "`k=v,k2=v2`" },
                { "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(yaml: &str) -> Result<Selector, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_select_the_same() {
        let scope = Scope::default().with("labels", json!({ "app": "etl" }));
        for yaml in [
            "{ spark-role: driver, spark-app-name: \"{{labels.app}}\" }",
            "\"spark-role=driver, spark-app-name={{labels.app}}\"",
        ] {
            let selector = read(yaml).unwrap();
            assert_eq!(selector.fill(&scope).unwrap(), "spark-app-name=etl,spark-role=driver");
        }
    }

    #[test]
    fn a_comma_inside_a_template_does_not_split() {
        assert_eq!(split("a={{default x \"p,q\"}}, b=c,"), ["a={{default x \"p,q\"}}", "b=c"]);
    }

    #[test]
    fn a_hostile_value_never_widens_the_selection() {
        let selector = read("\"app={{labels.app}}\"").unwrap();
        for bad in ["", "a,b=c", "a b", "a\n", "in (x)", "!a", "a\0", "é", &"a".repeat(64)] {
            let scope = Scope::default().with("labels", json!({ "app": bad }));
            assert!(selector.fill(&scope).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_or_malformed_selector_is_refused_when_it_is_loaded() {
        for bad in [
            "\"\"",
            "\" , \"",
            "{}",
            "\"app\"",
            "\"app!=x\"",
            "\"a b=c\"",
            "{ \"a b\": c }",
            "[a]",
            "\"a=b c\"",
            "3",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
