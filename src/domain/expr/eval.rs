//! Running a checked expression: bounded fuel, strict names, and evidence that is missing raises its own reason exactly
//! when the expression needs it (`labels.x == "a" or steps.pods.failed` is "yes" without the pods when the label decides).

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use minijinja::{
    Environment, Error, ErrorKind, Expression, State, UndefinedBehavior, Value,
    value::{Enumerator, Object, Serde},
};
use serde_json::{Map, Value as Json};

use super::{ExprError, lint::build_regex};
use crate::domain::template::{Reference, Scope};

/// Instructions an evaluation may take.
const FUEL: u64 = 50_000;

pub(super) struct Compiled(Expression<'static, 'static>);

pub(super) fn compile(source: &str) -> Result<Compiled, ExprError> {
    environment().compile_expression_owned(source.to_owned()).map(Compiled).map_err(|error| {
        ExprError::new(
            error.detail().unwrap_or("this is not an expression"),
            error.range().map_or(0, |range| range.start),
        )
    })
}

impl Compiled {
    pub(super) fn eval(&self, references: &[Reference], scope: &Scope) -> Result<Value, String> {
        let names: BTreeMap<String, Value> = scope
            .names()
            .iter()
            .map(|(name, value)| (name.clone(), root(name, value, scope)))
            .collect();
        self.0.eval(Value::from(names)).map_err(|error| reason(&error, references, scope))
    }
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_debug(true);
        environment.remove_global("range");
        environment.remove_global("dict");
        environment.add_test("matches", matches);
        environment.add_function("duration", duration);
        environment.add_function("timestamp", timestamp);
        environment
    })
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Every byte of the text costs fuel: a regex may look at each with thousands of states.
fn matches(state: &State<'_, '_>, text: &str, pattern: &str) -> Result<bool, Error> {
    state.consume_fuel(text.len() as u64)?;
    build_regex(pattern).map(|regex| regex.is_match(text)).map_err(invalid)
}

/// Seconds of `10m`, `1h 30m`.
fn duration(text: &str) -> Result<f64, Error> {
    text.parse::<jiff::SignedDuration>()
        .map(|duration| duration.as_secs_f64())
        .map_err(|_| invalid(format!("`{text}` is not a duration; write 30s, 10m or 1h 30m")))
}

/// Seconds since 1970 of an RFC 3339 instant.
fn timestamp(text: &str) -> Result<f64, Error> {
    text.parse::<jiff::Timestamp>()
        .map(|instant| instant.as_duration().as_secs_f64())
        .map_err(|_| invalid(format!("`{text}` is not a time; write 2026-01-31T12:00:00Z")))
}

fn root(name: &str, value: &Json, scope: &Scope) -> Value {
    match (name, value) {
        ("labels" | "annotations", Json::Object(map)) => lenient(map),
        ("alerts", Json::Array(alerts)) => alerts.iter().map(alert).collect(),
        ("steps", Json::Object(map)) => Value::from_object(Steps {
            values: map.iter().map(|(id, v)| (id.clone(), plain(v))).collect(),
            missing: scope.missing().clone(),
        }),
        (_, value) => plain(value),
    }
}

fn alert(value: &Json) -> Value {
    let Json::Object(map) = value else { return plain(value) };
    let fields = map.iter().map(|(name, value)| match (name.as_str(), value) {
        ("labels" | "annotations", Json::Object(map)) => (name.clone(), lenient(map)),
        (_, value) => (name.clone(), plain(value)),
    });
    Value::from_pairs(fields)
}

fn plain(value: &Json) -> Value {
    Value::from(Serde(value))
}

fn lenient(map: &Map<String, Json>) -> Value {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    Value::from_object(Labels(map.iter().map(|(name, v)| (name.clone(), text(v))).collect()))
}

/// Labels or annotations: an absent one is "".
#[derive(Debug)]
struct Labels(BTreeMap<String, String>);

impl Object for Labels {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from(self.0.get(key.as_str()?).map_or("", String::as_str)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(Value::from).collect())
    }
}

/// Steps' values; one that failed, was skipped or has not run raises why.
#[derive(Debug)]
struct Steps {
    values: BTreeMap<String, Value>,
    missing: BTreeMap<String, String>,
}

impl Object for Steps {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let id = key.as_str()?;
        if let Some(reason) = self.missing.get(id) {
            return Some(Value::from(invalid(format!("step `{id}` brought nothing: {reason}"))));
        }
        let value = self.values.get(id).cloned();
        Some(value.unwrap_or_else(|| Value::from(invalid(format!("step `{id}` has not run")))))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.values.keys().map(Value::from).collect())
    }
}

/// The cause, in our words where minijinja's would puzzle a reader.
fn reason(error: &Error, references: &[Reference], scope: &Scope) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "it takes too long to compute".to_owned(),
        ErrorKind::UndefinedError => {
            let missing = references.iter().find(|reference| !exists(&reference.path, scope));
            missing.map_or_else(
                || "something in it has no value here".to_owned(),
                |reference| format!("`{}` has no value here", reference.path.join(".")),
            )
        }
        kind => error.detail().map_or_else(|| kind.to_string(), ToOwned::to_owned),
    }
}

fn exists(path: &[String], scope: &Scope) -> bool {
    let Some((root, rest)) = path.split_first() else { return true };
    let Some(mut value) = scope.names().get(root) else { return false };
    for part in rest {
        if matches!(root.as_str(), "labels" | "annotations") {
            return true;
        }
        let next = match value {
            Json::Object(map) => map.get(part),
            Json::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
        let Some(next) = next else { return false };
        value = next;
    }
    true
}
