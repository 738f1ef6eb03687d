//! What is different between two pod templates, in the words of a person: `image of web: a → b`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    clients::kube::one_line,
    domain::redact::{MASK, is_secret_name, redact},
};

/// Differences kept.
const MAX_CHANGES: usize = 40;
/// Longest value kept, characters.
const MAX_VALUE: usize = 200;
/// Deepest field.
const MAX_DEPTH: usize = 12;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Which field: `containers.web.image`, `containers.web.env.MODE`.
    pub field: String,
    /// Its value before; empty when it is new.
    pub before: String,
    /// Its value now; empty when it is gone.
    pub after: String,
}

impl Change {
    /// `containers.web.image: a -> b`.
    pub(super) fn line(&self) -> String {
        let shown =
            |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
        format!("{}: {} -> {}", self.field, shown(&self.before), shown(&self.after))
    }
}

/// The differences of two pod templates; at most 40, images first.
pub(super) fn of(before: &Value, after: &Value) -> Vec<Change> {
    let (before, after) = (flat(before), flat(after));
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes: Vec<Change> = fields
        .into_iter()
        .filter(|field| before.get(*field) != after.get(*field))
        .map(|field| {
            let of = |all: &BTreeMap<String, String>| {
                let value = all.get(field).map_or("", String::as_str);
                let name = field.rsplit('.').next().unwrap_or_default();
                if !value.is_empty() && is_secret_name(name) {
                    return MASK.to_owned();
                }
                one_line(&redact(value), MAX_VALUE)
            };
            Change { before: of(&before), after: of(&after), field: field.clone() }
        })
        .collect();
    changes.sort_by_key(|change| change.field.rsplit('.').next() != Some("image"));
    changes.truncate(MAX_CHANGES);
    changes
}

fn flat(template: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // What the controller adds to every template by itself.
    let ours = |name: &str| name != "pod-template-hash" && name != "controller-revision-hash";
    for part in ["labels", "annotations"] {
        let all = template["metadata"][part].as_object().into_iter().flatten();
        for (name, value) in all.filter(|(name, _)| ours(name)) {
            walk(value, &format!("{part}.{name}"), 1, &mut found);
        }
    }
    for (name, value) in template["spec"].as_object().into_iter().flatten() {
        walk(value, name, 1, &mut found);
    }
    found
}

fn walk(value: &Value, field: &str, depth: usize, found: &mut BTreeMap<String, String>) {
    if depth > MAX_DEPTH || found.len() > 4_000 {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "name") {
                // `env.MODE.value` reads as `env.MODE`.
                let inner =
                    if name == "value" { field.to_owned() } else { format!("{field}.{name}") };
                walk(value, &inner, depth + 1, found);
            }
            if fields.keys().all(|name| name == "name") {
                found.insert(field.to_owned(), "set".to_owned());
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                let name = ["name", "mountPath", "containerPort", "key"]
                    .iter()
                    .find_map(|key| item.get(key))
                    .map_or_else(
                        || at.to_string(),
                        |key| key.as_str().map_or(key.to_string(), str::to_owned),
                    );
                walk(item, &format!("{field}.{name}"), depth + 1, found);
            }
        }
        Value::Array(items) => {
            let words: Vec<String> =
                items.iter().map(|i| i.as_str().map_or(i.to_string(), str::to_owned)).collect();
            found.insert(field.to_owned(), words.join(" "));
        }
        Value::String(text) => {
            found.insert(field.to_owned(), text.clone());
        }
        Value::Number(_) | Value::Bool(_) => {
            found.insert(field.to_owned(), value.to_string());
        }
        Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_come_first_lists_are_compared_by_name_and_secrets_are_masked() {
        let template = |image: &str, mode: &str, password: &str, args: Value| {
            json!({ "metadata": { "labels": { "pod-template-hash": image } }, "spec": { "containers": [
                { "name": "log", "image": "log:1" },
                { "name": "web", "image": image, "args": args, "resources": { "limits": { "memory": "1Gi" } },
                  "env": [{ "name": "MODE", "value": mode }, { "name": "DB_PASSWORD", "value": password }] } ] } })
        };
        let before = template("web:1", "fast", "hunter2", json!(["--a"]));
        let mut after = template("web:2", "", "hunter3", json!(["--a", "--b"]));
        after["spec"]["containers"].as_array_mut().unwrap().swap(0, 1);
        let lines: Vec<_> = of(&before, &after).iter().map(Change::line).collect();
        assert_eq!(
            lines,
            [
                "containers.web.image: web:1 -> web:2",
                "containers.web.args: --a -> --a --b",
                "containers.web.env.DB_PASSWORD: *** -> ***",
                "containers.web.env.MODE: fast -> (none)",
            ]
        );
        assert!(of(&before, &before).is_empty());
    }

    #[test]
    fn hostile_templates_are_bounded() {
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!({ "a": deep });
        }
        let many: Vec<Value> = (0..10_000)
            .map(|n| json!({ "name": n.to_string(), "value": "x".repeat(1_000) }))
            .collect();
        let changes = of(&json!({ "spec": deep }), &json!({ "spec": { "env": many } }));
        assert_eq!(changes.len(), MAX_CHANGES);
        assert!(changes.iter().all(|change| change.after.chars().count() <= MAX_VALUE + 1));
    }
}
