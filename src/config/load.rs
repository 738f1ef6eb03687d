//! File, then environment, then secrets, then checks.
//!
//! The `config` crate does the layering only. The lower layer is the typed file, serialised: untyped YAML would turn the
//! version `1.10` into the number 1.1. The upper layer is the environment; a value that starts with `[` or `{` is YAML.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use config::{ConfigError, Environment, Map, Source as _, Value, ValueKind};
use serde::{Deserialize, Deserializer, de};

use super::{
    Config, Error,
    error::{at_place, reword},
    files::relative_to,
};
/// Longest file, bytes.
const MAX_FILE: u64 = 1 << 20;
const PREFIX: &str = "PARAMEDIC";

pub(super) fn load(file: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Config, Error> {
    let named = env.get("PARAMEDIC_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = file.map(Path::to_path_buf).or(named);
    let below = file.as_deref().map_or_else(|| Ok(Config::default()), read)?;
    let mut config = overlay(below, env)?;
    config.store.locate(env.get("STATE_DIRECTORY").map(String::as_str));
    if let Some(folder) = file.as_deref().and_then(Path::parent) {
        relative_to(folder, &mut config.playbooks.dir);
        relative_to(folder, &mut config.oncall.dir);
    }
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    for (key, secret) in config.secrets() {
        let look_up = |name: &str| env.get(name).cloned();
        secret.read(&look_up).map_err(|source| Error::Secret { key, source })?;
    }
    Ok(config)
}

fn read(path: &Path) -> Result<Config, Error> {
    let unreadable = |source| Error::Read { path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(Error::TooLarge { path: path.to_path_buf() });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&path.display().to_string(), &text)
}

pub(super) fn parse(file: &str, text: &str) -> Result<Config, Error> {
    // Nothing but comments is a file that keeps all defaults.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Config::default());
    }
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| at_place(file, text, &error))
}

/// The typed file as a layer.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

fn overlay(below: Config, env: &BTreeMap<String, String>) -> Result<Config, Error> {
    let start = format!("{PREFIX}__");
    let variables: Map<String, String> = env
        .iter()
        .filter(|(name, _)| name.starts_with(&start))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    if variables.is_empty() {
        return Ok(below);
    }
    let names: Vec<String> = variables.keys().cloned().collect();
    if let Some(name) = names.iter().find(|name| variables.contains_key(above(name))) {
        let reason = format!("contradicts {}, which sets all of it; keep one", above(name));
        return Err(Error::Variable { name: name.clone(), reason });
    }
    let failed = |reason: String| blame(&names, "", reason);
    let lower = serde_json::to_value(&below).and_then(serde_json::from_value);
    let lower = lower.map_err(|error| failed(error.to_string()))?;
    let upper = Environment::with_prefix(PREFIX).separator("__").source(Some(variables));
    let mut upper = upper.collect().map_err(|error| failed(error.to_string()))?;
    for (key, value) in &mut upper {
        if let ValueKind::String(text) = &value.kind
            && text.starts_with(['[', '{'])
        {
            value.kind = flow(text).map_err(|reason| blame(&names, key, reason))?;
        }
    }
    let layers =
        config::Config::builder().add_source(Layer(lower)).add_source(Layer(upper)).build();
    let merged = layers.map_err(|error| failed(error.to_string()))?;
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let path = error.path().to_string();
        blame(&names, &path, reword(&reason(error.into_inner())))
    })
}

/// The variable of the map that holds this one's key.
fn above(name: &str) -> &str {
    name.rsplit_once("__").map_or("", |(above, _)| above)
}

/// The message without the path and the origin that `config` adds to it, and without the value: somebody may have put a
/// secret in the wrong place.
fn reason(error: ConfigError) -> String {
    let message = match error {
        ConfigError::At { error, .. } => return reason(*error),
        ConfigError::Type { expected, .. } => return format!("must be {expected}"),
        other => other.to_string(),
    };
    if let Some(("invalid type: string", rest)) = message.split_at_checked(20) {
        let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, e)| e);
        let expected = match expected {
            "a sequence" => "a list",
            other if other.starts_with("struct ") => "a map",
            other => other,
        };
        return format!("must be {expected}, written as YAML in brackets or braces");
    }
    match message.split_once(" does not have variant constructor ") {
        Some((_, word)) => format!("`{word}` is not one of its values"),
        None => message,
    }
}

/// Names the variable that set the key at fault: the unknown key itself, the path, or what lies above or below it.
fn blame(names: &[String], path: &str, reason: String) -> Error {
    let path = match path {
        "" | "." => PREFIX.to_owned(),
        path => format!("{PREFIX}__{}", path.replace('.', "__")).to_uppercase(),
    };
    let quoted = reason.split('`').nth(1).unwrap_or("").to_uppercase();
    let deeper = format!("{path}__{quoted}");
    let find = |test: &dyn Fn(&str) -> bool| {
        let longest =
            names.iter().filter(|name| test(&name.to_uppercase())).max_by_key(|n| n.len());
        longest.cloned()
    };
    let name = find(&|name| !quoted.is_empty() && name.starts_with(&deeper))
        .or_else(|| find(&|name| path.starts_with(name)))
        .or_else(|| find(&|name| name.starts_with(&path)));
    Error::Variable { name: name.unwrap_or(path), reason }
}

/// YAML from a variable. Words stay words: only whole numbers and true or false are anything else.
fn flow(text: &str) -> Result<ValueKind, String> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    let parsed = serde_saphyr::from_str_with_options::<Flow>(text, options);
    // The text is not repeated: it may be a secret in the wrong place.
    parsed.map(|flow| flow.0.kind).map_err(|error| {
        let error = error.without_snippet();
        match error.location() {
            Some(place) => format!(
                "is not YAML, or holds a fraction that needs quotes, at column {}",
                place.column()
            ),
            None => "is not YAML".to_owned(),
        }
    })
}

struct Flow(Value);

impl<'de> Deserialize<'de> for Flow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlowVisitor).map(|kind| Self(Value::new(None, kind)))
    }
}

struct FlowVisitor;

impl<'de> de::Visitor<'de> for FlowVisitor {
    type Value = ValueKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, a list or a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<ValueKind, E> {
        Ok(ValueKind::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ValueKind, E> {
        Ok(ValueKind::I64(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<ValueKind, E> {
        Ok(ValueKind::U64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<ValueKind, E> {
        Ok(ValueKind::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<ValueKind, E> {
        Ok(ValueKind::Nil)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<ValueKind, A::Error> {
        let mut list = Vec::new();
        while let Some(Flow(item)) = seq.next_element()? {
            list.push(item);
        }
        Ok(ValueKind::Array(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<ValueKind, A::Error> {
        let mut table = Map::new();
        while let Some((key, Flow(value))) = map.next_entry::<String, Flow>()? {
            table.insert(key, value);
        }
        Ok(ValueKind::Table(table))
    }
}
