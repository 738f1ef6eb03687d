//! `incidents:` and `storm:` which alerts belong together.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    problem::{Problems, is_label},
    value::{Duration, Rate},
};
use crate::domain::incident::storm::{self, Cause};

/// Which alerts are one incident, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Incidents {
    /// Alerts of one source and cluster with equal values of these labels are one incident. Or the word `alertmanager`: as
    /// Alertmanager groups them.
    pub group_by: GroupBy,
    /// An incident resolves this long after its last alert.
    pub settle: Duration,
    /// An alert that fires again within this reopens its incident; later it opens a new one.
    pub reopen_within: Duration,
}

/// Many incidents at once: when to look for one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storm {
    /// More new incidents than this make a storm.
    pub above: Rate,
    /// What members of a storm must share: `node`, `metastore`, `bucket`, `registry`, `app`, `namespace`.
    pub by: Vec<Cause>,
}

/// What makes alerts one incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Alertmanager's own group labels.
    Alertmanager,
    /// These labels; a missing one is "".
    Labels(Vec<String>),
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            group_by: GroupBy::Labels(vec!["alertname".to_owned(), "namespace".to_owned()]),
            settle: Duration::from_mins(2),
            reopen_within: Duration::from_mins(30),
        }
    }
}

impl Default for Storm {
    fn default() -> Self {
        Self { above: Rate::per_minute(20), by: storm::Settings::default().by }
    }
}

impl Incidents {
    pub(super) fn validate(&self, problems: &mut Problems) {
        match &self.group_by {
            GroupBy::Alertmanager => {}
            GroupBy::Labels(labels) => {
                if labels.is_empty() {
                    problems.add(
                        "incidents.group_by",
                        "needs at least one label, or the word alertmanager",
                    );
                }
                for label in labels.iter().filter(|label| !is_label(label)) {
                    let label = label.escape_debug();
                    problems.add("incidents.group_by", format!("`{label}` is not a label name"));
                }
            }
        }
    }
}

impl Serialize for GroupBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Alertmanager => serializer.serialize_str("alertmanager"),
            Self::Labels(labels) => labels.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GroupBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = GroupBy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of labels, or the word alertmanager")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<GroupBy, E> {
                match word {
                    "alertmanager" => Ok(GroupBy::Alertmanager),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<GroupBy, A::Error> {
                let mut labels = Vec::new();
                while let Some(label) = list.next_element()? {
                    labels.push(label);
                }
                Ok(GroupBy::Labels(labels))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for GroupBy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GroupBy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "list of labels, or `alertmanager`",
            "anyOf": [{ "const": "alertmanager" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}
