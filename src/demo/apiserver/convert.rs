//! Events have two faces: `v1`, in which they are stored, and `events.k8s.io/v1`.

use serde_json::{Value, json};

use super::discovery::Resource;

/// Where the same thing stands: in `v1`, and in `events.k8s.io/v1`.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn newer(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

/// A stored object, as the resource shows it.
pub(super) fn out(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if newer(resource) {
        rename(&mut object, |(old, new)| (old, new));
        object["apiVersion"] = json!("events.k8s.io/v1");
    }
    object
}

/// A sent object, as it is stored.
pub(super) fn input(resource: &Resource, object: &mut Value) {
    if newer(resource) {
        rename(object, |(old, new)| (new, old));
        object["apiVersion"] = json!("v1");
    }
}

fn rename(
    object: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = object.as_object_mut() else { return };
    for pair in FIELDS {
        let (from, to) = direction(pair);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}
