//! A playbook as it is written, with the place of everything a mistake could be in. [`super::lint`] makes the model of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use super::step::RawStep;
use crate::{
    domain::{duration, expr::Expr, severity::Severity},
    steps::target::TargetSpec,
};

/// A playbook: which alerts it answers, what it looks at, and which verdicts it may reach.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Paramedic playbook")]
pub struct RawPlaybook {
    /// Unique: `[a-z][a-z0-9-]*`.
    #[schemars(with = "String", regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: Spanned<String>,
    /// One line for people.
    pub title: String,
    /// What it finds out.
    #[serde(default)]
    pub summary: String,
    /// Who keeps it true: `team:data-platform` or `person:ana`.
    #[schemars(with = "String", regex(pattern = "^(team|person):.+$"))]
    pub owner: Spanned<String>,
    /// When a person last checked it, `2026-01-31`; `check` warns after 180 days.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub reviewed: Option<Spanned<String>>,
    /// All must hold, per alert. Alertmanager matchers: `alertname=~"Spark.*"`; a missing label is "".
    #[serde(rename = "match")]
    pub matches: Vec<RawMatch>,
    /// Must hold too, per alert, after `match`.
    #[serde(default, rename = "if")]
    pub condition: Option<Expr>,
    /// How an alert leads to the object the steps look at; tried in order.
    #[serde(default)]
    pub target: Option<TargetSpec>,
    /// What this playbook says of severity.
    #[serde(default)]
    pub severity: Option<RawSeverity>,
    /// Bounds of its runs.
    #[serde(default)]
    pub limits: RawLimits,
    /// What to look at; run in parallel where nothing refers to another.
    pub steps: Vec<RawStep>,
    /// Signature ids or globs (`*` one segment, `**` any) that may become verdicts; omitted: all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub verdicts: Vec<Spanned<String>>,
    /// Actions a person may approve. Not supported yet: their form is checked, and the playbook is refused.
    #[serde(default)]
    pub remedies: Vec<RawRemedy>,
    /// Channels that get the card besides the team's own.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub post_to: Vec<Spanned<String>>,
}

/// One entry of `match:`: a matcher, or `any:` of several.
#[derive(Debug)]
pub enum RawMatch {
    /// One matcher.
    One(Spanned<String>),
    /// One of these.
    Any(Vec<Spanned<String>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyOf {
    any: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for RawMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Spanned::<TextOr<AnyOf>>::deserialize(deserializer)?;
        Ok(match entry.value {
            TextOr::Text(text) => Self::One(Spanned { value: text, ..entry_at(&entry.referenced) }),
            TextOr::Map(AnyOf { any }) => Self::Any(any),
        })
    }
}

fn entry_at(at: &serde_saphyr::Location) -> Spanned<String> {
    Spanned { value: String::new(), referenced: *at, defined: *at }
}

impl JsonSchema for RawMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Match".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "oneOf": [
                { "type": "string", "description": "An Alertmanager matcher: namespace=~\"spark-.*\"." },
                {
                    "type": "object",
                    "properties": { "any": { "type": "array", "items": { "type": "string" }, "minItems": 1 } },
                    "required": ["any"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// A text, or a map of `T`: serde's `untagged` would lose the places inside.
enum TextOr<T> {
    Text(String),
    Map(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a map")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(TextOr::Map)
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// `P1`, or `{ from: labels.severity, map: { critical: P1 } }`.
#[derive(Debug)]
pub enum RawSeverity {
    /// Always this.
    Fixed(Spanned<String>),
    /// By a label.
    Map(SeverityMap),
}

/// Severity by the value of a label.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeverityMap {
    /// `labels.<name>`.
    #[schemars(with = "String", regex(pattern = "^labels\\..+$"))]
    pub from: Spanned<String>,
    /// The label's value to a severity; other values say nothing.
    pub map: BTreeMap<String, Severity>,
}

impl<'de> Deserialize<'de> for RawSeverity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Spanned::<TextOr<SeverityMap>>::deserialize(deserializer)?;
        Ok(match entry.value {
            TextOr::Text(text) => {
                Self::Fixed(Spanned { value: text, ..entry_at(&entry.referenced) })
            }
            TextOr::Map(map) => Self::Map(map),
        })
    }
}

impl JsonSchema for RawSeverity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SeverityRule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (fixed, map) =
            (generator.subschema_for::<Severity>(), generator.subschema_for::<SeverityMap>());
        schemars::json_schema!({ "oneOf": [fixed, map] })
    }
}

/// Bounds of a playbook's runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// A run ends by then; 1s to 30m, default 90s.
    #[schemars(with = "Option<Span>")]
    pub deadline: Option<Spanned<Span>>,
    /// A re-fire starts a new run only after this; 0s to 24h, default 10m.
    #[schemars(with = "Option<Span>")]
    pub cooldown: Option<Spanned<Span>>,
    /// The first page waits at most this for a verdict; 0s to 60s, default 0s.
    #[schemars(with = "Option<Span>")]
    pub hold_page: Option<Spanned<Span>>,
    /// Targets per incident; 1 to 20, default 5.
    #[schemars(with = "Option<usize>", range(min = 1, max = 20))]
    pub max_targets: Option<Spanned<usize>>,
}

/// A span of time: `30s`, `10m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": "A duration: 30s, 10m, 2h, 1h 30m." })
    }
}

/// An action a person may approve.
#[derive(Debug)]
pub struct RawRemedy {
    /// The key that names the action.
    pub action: Spanned<String>,
}

impl<'de> Deserialize<'de> for RawRemedy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawRemedy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a remedy: id, title, if, approval and one action")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RawRemedy, A::Error> {
                let (mut id, mut title, mut action) = (false, false, None);
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    match key.value.as_str() {
                        "id" => id = !map.next_value::<String>()?.is_empty(),
                        "title" => title = !map.next_value::<String>()?.is_empty(),
                        "if" => drop(map.next_value::<Expr>()?),
                        "approval" => drop(map.next_value::<Approval>()?),
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                            if action.replace(key).is_some() {
                                return Err(de::Error::custom("a remedy has exactly one action"));
                            }
                        }
                    }
                }
                if !id {
                    return Err(de::Error::missing_field("id"));
                }
                if !title {
                    return Err(de::Error::missing_field("title"));
                }
                let action =
                    action.ok_or_else(|| de::Error::custom("this remedy has no action"))?;
                Ok(RawRemedy { action })
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Who may say yes, and until when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "its form is checked; nothing executes remedies yet")]
struct Approval {
    /// `team:`, `person:` or `oncall:` references.
    from: Vec<String>,
    /// Persons that must agree, default 1.
    #[serde(default)]
    quorum: Option<u8>,
    /// The question is withdrawn after this.
    #[serde(default)]
    expires: Option<Span>,
}

impl JsonSchema for RawRemedy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Remedy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (condition, approval) =
            (generator.subschema_for::<Expr>(), generator.subschema_for::<Approval>());
        schemars::json_schema!({
            "type": "object",
            "description": "Not supported yet.",
            "properties": {
                "id": { "type": "string" },
                "title": { "type": "string" },
                "if": condition,
                "approval": approval,
            },
            "required": ["id", "title"],
        })
    }
}
