//! Fields of Kubernetes objects as JSON, and the lines they become.

use serde_json::Value;

use crate::clients::kube::{Quantity, one_line};

/// Longest message kept in a line, characters.
const MAX_MESSAGE: usize = 1_000;

/// The text at a pointer; empty when there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a pointer; 0 when there is none.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a pointer; empty when there is none.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The amount at a pointer.
pub(super) fn quantity(object: &Value, pointer: &str) -> Option<Quantity> {
    Quantity::parse(text(object, pointer))
}

/// ` name=value` on one line; nothing when the value is empty.
pub(super) fn part(name: &str, value: &str) -> String {
    match one_line(value, MAX_MESSAGE) {
        value if value.is_empty() => String::new(),
        value => format!(" {name}={value}"),
    }
}

/// `condition Ready=False reason=… message=…` of every condition that `wanted` takes.
pub(super) fn conditions(object: &Value, wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let all = list(object, "/status/conditions").iter().take(50);
    all.filter_map(|condition| {
        let (kind, status) = (text(condition, "/type"), text(condition, "/status"));
        wanted(kind, status).then(|| {
            let reason = part("reason", text(condition, "/reason"));
            let message = part("message", text(condition, "/message"));
            format!("condition {}={}{reason}{message}", one_line(kind, 80), one_line(status, 20))
        })
    })
    .collect()
}

/// `k=v,k2=v2` of a map of labels, which is how an object selects others; empty when it selects nothing.
pub(super) fn selector(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    let pairs = pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}
