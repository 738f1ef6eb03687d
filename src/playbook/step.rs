//! One entry of `steps:`. The key that is not ours is the kind (externally tagged, so the places of its inputs survive).

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use super::raw::Span;
use crate::{
    domain::{expr::Expr, suggest::closest},
    steps::{self, Spec},
};

/// A step as it is written.
#[derive(Debug)]
pub struct RawStep {
    /// Its name in the playbook.
    pub id: Spanned<String>,
    /// Run only when this holds.
    pub condition: Option<Expr>,
    /// Run once per item.
    pub for_each: Option<RawForEach>,
    /// Ids of steps that must have ended first, besides those it refers to.
    pub needs: Vec<Spanned<String>>,
    /// Each attempt's limit.
    pub timeout: Option<Spanned<Span>>,
    /// Attempts after the first.
    pub retries: Option<Spanned<u32>>,
    /// The kind and its inputs; `None` when there is none, or not exactly one.
    pub spec: Option<Spec>,
    /// Keys that are no kind, and second kinds: each with what is wrong about it.
    pub strange: Vec<(Spanned<String>, String)>,
}

/// `{ pod: steps.pods.failed, max: 5 }`.
#[derive(Debug)]
pub struct RawForEach {
    /// The name each item is bound to.
    pub binding: Spanned<String>,
    /// The list.
    pub list: Expr,
    /// Items beyond are dropped.
    pub max: Option<Spanned<usize>>,
}

/// Our own keys of a step.
const KEYS: &[&str] = &["id", "if", "for_each", "needs", "timeout", "retries"];

impl<'de> Deserialize<'de> for RawStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawStep;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step: an id and one kind, such as `kube.pods: {}`")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RawStep, A::Error> {
                let mut step = Partial::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    step.entry(key, &mut map)?;
                }
                step.finish()
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(Default)]
struct Partial {
    id: Option<Spanned<String>>,
    condition: Option<Expr>,
    for_each: Option<RawForEach>,
    needs: Vec<Spanned<String>>,
    timeout: Option<Spanned<Span>>,
    retries: Option<Spanned<u32>>,
    spec: Option<Spec>,
    strange: Vec<(Spanned<String>, String)>,
}

impl Partial {
    fn entry<'de, A: de::MapAccess<'de>>(
        &mut self,
        key: Spanned<String>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key.value.as_str() {
            "id" => self.id = Some(map.next_value()?),
            "if" => self.condition = Some(map.next_value()?),
            "for_each" => self.for_each = Some(map.next_value()?),
            "needs" => self.needs = map.next_value()?,
            "timeout" => self.timeout = Some(map.next_value()?),
            "retries" => self.retries = Some(map.next_value()?),
            kind => {
                let Some(spec) = Spec::next_value(kind, map)? else {
                    map.next_value::<de::IgnoredAny>()?;
                    let message = unknown(kind);
                    self.strange.push((key, message));
                    return Ok(());
                };
                if let Some(first) = &self.spec {
                    let message = format!(
                        "a step has one kind, and this has `{}` already; make it a step of its own",
                        first.kind()
                    );
                    self.strange.push((key, message));
                } else {
                    self.spec = Some(spec);
                }
            }
        }
        Ok(())
    }

    fn finish<E: de::Error>(self) -> Result<RawStep, E> {
        let Self { id, condition, for_each, needs, timeout, retries, spec, strange } = self;
        let id = id.ok_or_else(|| E::missing_field("id"))?;
        Ok(RawStep { id, condition, for_each, needs, timeout, retries, spec, strange })
    }
}

fn unknown(kind: &str) -> String {
    let names: Vec<&str> = steps::KINDS.iter().chain(KEYS).copied().collect();
    let hint = closest(kind, &names).map_or_else(
        || format!("kinds are {}", steps::KINDS.join(", ")),
        |known| format!("did you mean `{known}`?"),
    );
    format!("there is no step kind or key `{kind}`; {hint}")
}

impl<'de> Deserialize<'de> for RawForEach {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawForEach;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name and a list, such as `{ pod: steps.pods.failed, max: 5 }`")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RawForEach, A::Error> {
                let (mut max, mut bound) = (None, None);
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    if key.value == "max" {
                        max = Some(map.next_value()?);
                    } else if bound.replace((key, map.next_value()?)).is_some() {
                        return Err(de::Error::custom("`for_each` binds exactly one name"));
                    }
                }
                let (binding, list) = bound.ok_or_else(|| {
                    de::Error::custom(
                        "`for_each` needs a name and a list: `pod: steps.pods.failed`",
                    )
                })?;
                Ok(RawForEach { binding, list, max })
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl JsonSchema for RawStep {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        let mut one_of = Vec::new();
        for entry in steps::catalogue(generator) {
            properties.insert(entry.kind.to_owned(), entry.inputs.to_value());
            one_of.push(serde_json::json!({ "required": [entry.kind] }));
        }
        let condition = generator.subschema_for::<Expr>();
        let span = generator.subschema_for::<Span>();
        let own = serde_json::json!({
            "id": { "type": "string", "pattern": "^[a-z][a-z0-9_]*$", "description": "Its name in `steps.<id>`." },
            "if": condition,
            "for_each": {
                "type": "object",
                "description": "Run once per item: a name to bind and a list, `{ pod: steps.pods.failed, max: 5 }`. The result is a list in the same order; an empty list skips the step.",
                "properties": { "max": { "type": "integer", "minimum": 1, "maximum": 50, "default": 5 } },
                "additionalProperties": { "type": "string" },
                "minProperties": 1,
                "maxProperties": 2,
            },
            "needs": { "type": "array", "items": { "type": "string" }, "description": "Steps that must have ended first, besides those it refers to." },
            "timeout": { "allOf": [span], "description": "Each attempt's limit; 1s to 5m, default 20s." },
            "retries": { "type": "integer", "minimum": 0, "maximum": 5, "default": 1, "description": "Attempts after the first, on transient failures." },
        });
        if let serde_json::Value::Object(own) = own {
            properties.extend(own);
        }
        schemars::json_schema!({
            "type": "object",
            "properties": properties,
            "required": ["id"],
            "oneOf": one_of,
            "additionalProperties": false,
        })
    }
}
