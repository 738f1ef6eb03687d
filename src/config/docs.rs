//! The reference page and the JSON Schema, generated from the types so that they cannot drift.

use std::fmt;

use serde_json::Value;

use super::Config;

/// The JSON Schema of the configuration file.
pub fn json_schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// `docs/reference/config.md`.
pub fn reference() -> String {
    let schema = json_schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config by `cargo test`; change the doc comments there. -->\n\n\
         One YAML file: `paramedic serve --config paramedic.yaml`, or `$PARAMEDIC_CONFIG`. Every key has a default unless it\n\
         is marked *required*. Unknown keys are errors. A key is also set by an environment variable, upper case, with two\n\
         underscores between its parts: `PARAMEDIC__SERVER__LISTEN=127.0.0.1:9095`; a list or a map is replaced whole by a\n\
         YAML flow value: `PARAMEDIC__EGRESS__ALLOW=[10.0.0.0/8]`. The environment cannot address items of lists, nor names\n\
         with dots, dashes or capitals.\n\n\
         A *secret* is never written in the file: `{ file: /run/secrets/name }` or `{ env: NAME }`, read at start.\n\
         Durations are `30s`, `10m`, `2h`, `7d` or `1h 30m`; sizes are `64KiB`, `512MiB`, `2GiB`.\n",
    );
    let mut walk = Walk { schema: &schema, page: &mut page };
    for (key, section) in properties(&schema) {
        walk.section(key, section, &defaults[key]);
    }
    page
}

struct Walk<'a> {
    schema: &'a Value,
    page: &'a mut String,
}

impl<'a> Walk<'a> {
    fn say(&mut self, text: fmt::Arguments<'_>) {
        self.page.push_str(&text.to_string());
    }

    fn section(&mut self, key: &str, section: &'a Value, default: &Value) {
        let (target, is_map) = self.target(section);
        let name = if is_map { format!("{key}.\\<name\\>") } else { key.to_owned() };
        let text = describe(section);
        self.say(format_args!("\n## {name}\n\n{text}\n"));
        if is_map && target.get("description").is_some() {
            self.say(format_args!("\n{}\n", describe(target)));
        }
        if target.get("properties").is_none() {
            self.say(format_args!("\n{}.", self.kind(target)));
            self.say(format_args!(" Default: {}.\n", shown(default)));
            self.variants(target);
            return;
        }
        self.say(format_args!("\n| key | value | default | meaning |\n|---|---|---|---|\n"));
        let defaults = if is_map { &Value::Null } else { default };
        self.rows("", target, defaults);
    }

    fn rows(&mut self, prefix: &str, object: &'a Value, defaults: &Value) {
        let required = object["required"].as_array();
        for (key, property) in properties(object) {
            let (target, is_map) = self.target(property);
            let path = format!("{prefix}{key}{}", if is_map { ".<name>" } else { "" });
            let is_required = required.is_some_and(|r| r.iter().any(|name| name == key));
            let default = property.get("default").unwrap_or(&defaults[key]);
            let default = if is_required { "*required*".to_owned() } else { shown(default) };
            let text = describe(property).replace('\n', " ");
            let kind = self.kind(target);
            self.say(format_args!("| `{path}` | {kind} | {default} | {text} |\n"));
            if target.get("properties").is_some() {
                self.rows(&format!("{path}."), target, default_of(property, &defaults[key]));
            }
        }
    }

    /// What a property is in the end, through references, options and maps; true when it is a map by name.
    fn target(&self, property: &'a Value) -> (&'a Value, bool) {
        if let Some(reference) = property["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or("");
            return self.target(self.definition(name));
        }
        if let Some([one, null]) = property["anyOf"].as_array().map(Vec::as_slice)
            && null["type"] == "null"
        {
            return self.target(one);
        }
        match &property["additionalProperties"] {
            values if values.is_object() => (self.target(values).0, true),
            _ => (property, false),
        }
    }

    fn definition(&self, name: &str) -> &'a Value {
        &self.schema["$defs"][name]
    }

    fn kind(&self, target: &'a Value) -> String {
        if target["title"] == "Secret" || describe(target).starts_with("A secret") {
            return "secret".to_owned();
        }
        if let Some(title) = target["title"].as_str() {
            return title.to_owned();
        }
        if let Some(options) = target["oneOf"].as_array().or_else(|| target["enum"].as_array()) {
            let words: Vec<String> = options.iter().filter_map(variant).collect();
            return words.join(", ");
        }
        match target["type"].as_str().or_else(|| target["type"][0].as_str()) {
            Some("array") => format!("list of {}", self.kind(self.target(&target["items"]).0)),
            Some("object") => "map".to_owned(),
            Some("string") => "text".to_owned(),
            Some("integer") => "number".to_owned(),
            Some(other) => other.to_owned(),
            None => "value".to_owned(),
        }
    }

    fn variants(&mut self, target: &Value) {
        let options = target["oneOf"].as_array().into_iter().flatten();
        let described: Vec<_> = options.filter(|o| o.get("description").is_some()).collect();
        if !described.is_empty() {
            self.page.push('\n');
        }
        for option in described {
            let word = variant(option).unwrap_or_default();
            self.say(format_args!("- {word}: {}\n", describe(option)));
        }
    }
}

/// How one alternative is written: `` `in-cluster` `` or `` `slack: …` ``.
fn variant(option: &Value) -> Option<String> {
    let word = option["const"].as_str().or_else(|| option.as_str());
    let word = word.map(|word| format!("`{word}`"));
    word.or_else(|| option["required"][0].as_str().map(|key| format!("`{{ {key}: … }}`")))
}

fn default_of<'v>(property: &'v Value, inherited: &'v Value) -> &'v Value {
    property.get("default").unwrap_or(inherited)
}

fn properties(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object["properties"].as_object().into_iter().flatten()
}

fn describe(value: &Value) -> &str {
    value["description"].as_str().unwrap_or("")
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "see text".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        Value::Object(_) | Value::Array(_) => format!("`{}`", flow(default)),
        Value::Bool(_) | Value::Number(_) => format!("`{default}`"),
    }
}

/// As a YAML flow value.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(k, v)| format!("{k}: {}", flow(v))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
