//! Server-side apply: who owns which field (`managedFields`), conflicts, and the removal of what an owner lets go.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Call, patch, status::Failure};

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    pub name: String,
    pub operation: &'static str,
    pub api_version: String,
    pub sub: String,
    /// Lists of kinds that a CRD brings are one value.
    pub custom: bool,
    pub now: String,
}

impl Manager {
    pub(super) fn new(call: &Call<'_>, name: &str) -> Self {
        let agent = call.agent.split('/').next().unwrap_or_default();
        Self {
            name: if name.is_empty() { agent } else { name }.to_owned(),
            operation: "Update",
            api_version: call.address.resource.api_version(),
            sub: call.address.sub.first().cloned().unwrap_or_default(),
            custom: call.address.resource.custom(),
            now: call.cluster.stamp(),
        }
    }

    fn is(&self, entry: &Value) -> bool {
        entry["manager"] == self.name
            && entry["operation"] == self.operation
            && entry["subresource"].as_str().unwrap_or_default() == self.sub
    }
}

type Path = Vec<String>;
type Paths = BTreeSet<Path>;

/// Fields of `metadata` that belong to the server.
const SERVER: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// Merges what an owner wants into the object: 409 when another owner has a field with another value, unless forced.
pub(super) fn apply(
    before: &Value,
    wanted: &Value,
    owner: &Manager,
    force: bool,
) -> Result<Value, Failure> {
    let new = paths(wanted, owner.custom);
    let mut entries = entries(before);
    let mut conflicts = vec![];
    for (entry, set) in entries.iter_mut().filter(|(entry, _)| !owner.is(entry)) {
        let taken: Vec<Path> = set
            .intersection(&new)
            .filter(|path| at(before, path) != at(wanted, path) && !is_item(path))
            .cloned()
            .collect();
        for path in taken {
            if force {
                set.remove(&path);
            } else {
                let (name, version) = (&entry["manager"], &entry["apiVersion"]);
                let version = version.as_str().unwrap_or_default();
                conflicts.push(format!("conflict with {name} using {version}: {}", dotted(&path)));
            }
        }
    }
    if !conflicts.is_empty() {
        let (count, s) = (conflicts.len(), if conflicts.len() == 1 { "" } else { "s" });
        let why = format!("Apply failed with {count} conflict{s}: {}", conflicts.join("\n"));
        return Err(Failure::new(409, "Conflict", why));
    }
    let old = entries.iter().find(|(entry, _)| owner.is(entry)).map(|(_, set)| set.clone());
    let mut after = before.clone();
    let mut let_go: Vec<Path> = old.unwrap_or_default().difference(&new).cloned().collect();
    let_go.retain(|path| !entries.iter().any(|(e, set)| !owner.is(e) && set.contains(path)));
    // The deepest first, so that an item is empty before it goes.
    let_go.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in let_go {
        remove(&mut after, &path);
    }
    overlay(&mut after, wanted, "", owner.custom);
    entries.retain(|(entry, set)| !owner.is(entry) && !set.is_empty());
    entries.push((entry(owner), new));
    store(&mut after, entries);
    Ok(after)
}

/// Notes that `owner` changed the fields in which the two differ.
pub(super) fn changed(before: &Value, after: &mut Value, owner: &Manager) {
    let (old, new) = (paths(before, owner.custom), paths(after, owner.custom));
    let touched: Paths =
        new.iter().filter(|path| at(before, path) != at(after, path)).cloned().collect();
    let gone: Paths = old.difference(&new).cloned().collect();
    if touched.is_empty() && gone.is_empty() {
        return;
    }
    let mut entries = entries(before);
    let mut mine = touched.clone();
    for (entry, set) in &mut entries {
        if owner.is(entry) {
            mine.extend(set.difference(&gone).cloned());
        } else {
            set.retain(|path| (!touched.contains(path) || is_item(path)) && !gone.contains(path));
        }
    }
    entries.retain(|(entry, set)| !owner.is(entry) && !set.is_empty());
    if !mine.is_empty() {
        entries.push((entry(owner), mine));
    }
    store(after, entries);
}

/// Whether two forms differ in nothing but the times of their owners' entries.
pub(super) fn same(before: &Value, after: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        object
    };
    timeless(before) == timeless(after)
}

fn entry(owner: &Manager) -> Value {
    let mut entry = json!({
        "manager": owner.name, "operation": owner.operation, "apiVersion": owner.api_version, "time": owner.now,
        "fieldsType": "FieldsV1",
    });
    if !owner.sub.is_empty() {
        entry["subresource"] = json!(owner.sub);
    }
    entry
}

fn entries(object: &Value) -> Vec<(Value, Paths)> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            let mut set = Paths::new();
            decode(&entry["fieldsV1"], &mut vec![], &mut set);
            (entry.clone(), set)
        })
        .collect()
}

fn store(object: &mut Value, entries: Vec<(Value, Paths)>) {
    let list: Vec<Value> = entries
        .into_iter()
        .map(|(mut entry, set)| {
            let mut fields = json!({});
            for path in set {
                let mut place = &mut fields;
                for segment in path {
                    place = &mut place[segment];
                    if place.is_null() {
                        *place = json!({});
                    }
                }
            }
            entry["fieldsV1"] = fields;
            entry
        })
        .collect();
    object["metadata"]["managedFields"] = Value::Array(list);
}

fn decode(fields: &Value, path: &mut Path, set: &mut Paths) {
    let inner = fields.as_object().filter(|inner| !inner.is_empty());
    let Some(inner) = inner else {
        if !path.is_empty() {
            set.insert(path.clone());
        }
        return;
    };
    for (segment, below) in inner {
        path.push(segment.clone());
        decode(below, path, set);
        path.pop();
    }
}

/// The leaves of an object that can be owned, and each item of a keyed list (ending in `.`).
fn paths(object: &Value, custom: bool) -> Paths {
    let mut set = Paths::new();
    let top = object.as_object().into_iter().flatten();
    for (field, value) in top.filter(|(field, _)| !matches!(field.as_str(), "kind" | "apiVersion"))
    {
        if field != "metadata" {
            walk(field, value, &mut vec![format!("f:{field}")], &mut set, custom);
            continue;
        }
        let metadata = value.as_object().into_iter().flatten();
        for (field, value) in metadata.filter(|(field, _)| !SERVER.contains(&field.as_str())) {
            let mut path = vec!["f:metadata".to_owned(), format!("f:{field}")];
            walk(field, value, &mut path, &mut set, false);
        }
    }
    set
}

fn walk(field: &str, value: &Value, path: &mut Path, set: &mut Paths, custom: bool) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(format!("f:{name}"));
                walk(name, value, path, set, custom);
                path.pop();
            }
        }
        Value::Array(items) => match patch::keys(field, items).filter(|_| !custom) {
            Some(keys) if !items.is_empty() => {
                for item in items {
                    path.push(item_segment(item, keys));
                    path.push(".".to_owned());
                    set.insert(path.clone());
                    path.pop();
                    for (name, value) in item.as_object().into_iter().flatten() {
                        path.push(format!("f:{name}"));
                        walk(name, value, path, set, custom);
                        path.pop();
                    }
                    path.pop();
                }
            }
            _ => drop(set.insert(path.clone())),
        },
        _ => drop(set.insert(path.clone())),
    }
}

fn item_segment(item: &Value, keys: &[&str]) -> String {
    let pairs: Map<String, Value> = keys
        .iter()
        .filter(|key| !item[**key].is_null())
        .map(|key| ((*key).to_owned(), item[*key].clone()))
        .collect();
    format!("k:{}", Value::Object(pairs))
}

fn is_item(path: &Path) -> bool {
    path.last().is_some_and(|last| last == ".")
}

fn position(list: &[Value], segment: &str) -> Option<usize> {
    let keys: Map<String, Value> = serde_json::from_str(segment.strip_prefix("k:")?).ok()?;
    list.iter().position(|item| keys.iter().all(|(key, value)| item[key] == *value))
}

fn at<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().filter(|segment| *segment != ".").try_fold(object, |place, segment| {
        match segment.strip_prefix("f:") {
            Some(field) => place.get(field),
            None => place.as_array().and_then(|list| list.get(position(list, segment)?)),
        }
    })
}

fn remove(object: &mut Value, path: &[String]) {
    let [segment, rest @ ..] = path else { return };
    let last = rest.is_empty() || rest == ["."];
    if let Some(field) = segment.strip_prefix("f:") {
        let Some(fields) = object.as_object_mut() else { return };
        if last {
            fields.remove(field);
        } else if let Some(below) = fields.get_mut(field) {
            remove(below, rest);
        }
    } else if let Some(list) = object.as_array_mut()
        && let Some(at) = position(list, segment)
    {
        if last {
            list.remove(at);
        } else {
            remove(&mut list[at], rest);
        }
    }
}

/// Lays what is wanted over the object, lists by their keys.
fn overlay(object: &mut Value, wanted: &Value, field: &str, custom: bool) {
    match (object, wanted) {
        (Value::Object(have), Value::Object(wanted)) => {
            for (name, value) in wanted {
                let custom = custom && name != "metadata";
                overlay(have.entry(name).or_insert(Value::Null), value, name, custom);
            }
        }
        (Value::Array(have), Value::Array(wanted)) => {
            let Some(keys) = patch::keys(field, wanted).filter(|_| !custom) else {
                have.clone_from(wanted);
                return;
            };
            for item in wanted {
                match position(have, &item_segment(item, keys)) {
                    Some(at) => overlay(&mut have[at], item, "", custom),
                    None => have.push(item.clone()),
                }
            }
        }
        (object, wanted) => *object = wanted.clone(),
    }
}

/// `.spec.containers[name="main"].image`, as the real server names a field.
fn dotted(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        if let Some(field) = segment.strip_prefix("f:") {
            text.push('.');
            text.push_str(field);
        } else if let Some(keys) = segment.strip_prefix("k:{") {
            let keys = keys.trim_end_matches('}').replace("\":", "=").replace('"', "");
            text = format!("{text}[{keys}]");
        }
    }
    text
}
