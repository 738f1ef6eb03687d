//! Merge patches, JSON patches and strategic merge patches; and which lists are merged by which key.

use serde_json::{Map, Value, json};

use super::status::Failure;

/// RFC 7386.
pub(super) fn merge(mut object: Value, change: &Value) -> Value {
    json_patch::merge(&mut object, change);
    object
}

/// RFC 6902.
pub(super) fn operations(mut object: Value, change: Value) -> Result<Value, Failure> {
    let patch: json_patch::Patch = serde_json::from_value(change).map_err(|error| {
        Failure::new(400, "BadRequest", format!("error decoding patch: {error}"))
    })?;
    json_patch::patch(&mut object, &patch).map_err(|error| {
        let why =
            format!("the server rejected our request due to an error in our request: {error}");
        Failure::new(422, "Invalid", why)
    })?;
    Ok(object)
}

/// The patch that kubectl and client-go compute for kinds of Kubernetes itself.
pub(super) fn strategic(mut object: Value, change: Value) -> Result<Value, Failure> {
    match (&mut object, change) {
        (Value::Object(target), Value::Object(change)) => maps(target, change)?,
        (_, _) => return Err(Failure::new(400, "BadRequest", "a patch is an object")),
    }
    Ok(object)
}

/// The keys that tell the items of a list apart; `None` when the list is one value. The first one alone is the key of
/// strategic merge, all of them that of server-side apply.
pub(super) fn keys(field: &str, items: &[Value]) -> Option<&'static [&'static str]> {
    let found: &[&str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" if items.iter().any(|item| !item["containerPort"].is_null()) => {
            &["containerPort", "protocol"]
        }
        "ports" => &["port", "protocol"],
        "conditions" => &["type"],
        "ownerReferences" => &["uid"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        _ => return None,
    };
    let named =
        |item: &Value| item.is_object() && (!item[found[0]].is_null() || is_directive(item));
    items.iter().all(named).then_some(found)
}

fn is_directive(item: &Value) -> bool {
    item["$patch"].is_string()
}

fn maps(target: &mut Map<String, Value>, mut change: Map<String, Value>) -> Result<(), Failure> {
    match change.remove("$patch").as_ref().and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = change;
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some(other) => {
            let why = format!("unknown patch type found: {other}");
            return Err(Failure::unexpected(400, "BadRequest", why));
        }
    }
    if let Some(Value::Array(kept)) = change.remove("$retainKeys") {
        target.retain(|key, _| kept.iter().any(|k| k == key));
    }
    let mut orders = vec![];
    for (key, value) in change {
        if let Some(field) = key.strip_prefix("$setElementOrder/") {
            orders.push((field.to_owned(), value));
        } else if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (target.get_mut(field), value) {
                list.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            let why = format!("the patch directive {key} is not modelled");
            return Err(Failure::unexpected(400, "BadRequest", why));
        } else {
            field(target, key, value)?;
        }
    }
    for (field, order) in orders {
        if let (Some(Value::Array(list)), Value::Array(order)) = (target.get_mut(&field), order) {
            sort(&field, list, &order);
        }
    }
    Ok(())
}

fn field(target: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Failure> {
    match value {
        Value::Null => {
            target.remove(&key);
        }
        Value::Object(change) => {
            let place = target.entry(key).or_insert_with(|| json!({}));
            if !place.is_object() {
                *place = json!({});
            }
            if let Value::Object(place) = place {
                maps(place, change)?;
            }
        }
        Value::Array(change) => {
            let Some(keys) = keys(&key, &change) else {
                let union = key == "finalizers";
                match target.get_mut(&key) {
                    Some(Value::Array(list)) if union => {
                        let new: Vec<Value> =
                            change.into_iter().filter(|item| !list.contains(item)).collect();
                        list.extend(new);
                    }
                    _ => {
                        target.insert(key, Value::Array(change));
                    }
                }
                return Ok(());
            };
            let place = target.entry(key).or_insert_with(|| json!([]));
            if !place.is_array() {
                *place = json!([]);
            }
            if let Value::Array(list) = place {
                lists(list, change, keys[0])?;
            }
        }
        plain => {
            target.insert(key, plain);
        }
    }
    Ok(())
}

fn lists(list: &mut Vec<Value>, change: Vec<Value>, key: &str) -> Result<(), Failure> {
    if change.iter().any(|item| item["$patch"] == "replace" && item[key].is_null()) {
        *list = change.into_iter().filter(|item| !is_directive(item)).collect();
        return Ok(());
    }
    for item in change {
        let at = list.iter().position(|old| old[key] == item[key]);
        if item["$patch"] == "delete" {
            if let Some(at) = at {
                list.remove(at);
            }
            continue;
        }
        let Value::Object(item) = item else { continue };
        let at = at.unwrap_or_else(|| {
            list.push(json!({}));
            list.len() - 1
        });
        if let Value::Object(old) = &mut list[at] {
            maps(old, item)?;
        }
    }
    Ok(())
}

/// Brings the items into the patch's order; those it does not name stay behind them.
fn sort(field: &str, list: &mut [Value], order: &[Value]) {
    let key = keys(field, order).map(|keys| keys[0]);
    list.sort_by_key(|item| {
        let same = |wanted: &&Value| match key {
            Some(key) => wanted[key] == item[key],
            None => *wanted == item,
        };
        order.iter().position(|wanted| same(&wanted)).unwrap_or(order.len())
    });
}
