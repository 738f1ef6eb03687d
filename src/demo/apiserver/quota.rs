//! Resource quotas: what a namespace uses, and the refusal of what would be too much.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    discovery::Resource,
    quantity::{quantity, show},
    state::{Key, State},
    status::Failure,
};

/// Refuses a new object that a quota of its namespace has no room for.
pub(super) fn admit(
    resource: &'static Resource,
    state: &State,
    object: &Value,
) -> Result<(), Failure> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let forbidden = |why: String| {
        let what = resource.full_name();
        Err(Failure::new(403, "Forbidden", format!("{what} \"{name}\" is forbidden: {why}")))
    };
    for (key, quota) in quotas(state).filter(|(key, _)| key.1 == namespace) {
        let hard = limits(quota);
        if resource.plural == "pods" {
            let missing = unspecified(object, &hard);
            if !missing.is_empty() {
                let missing = missing.join("; ");
                return forbidden(format!("failed quota: {}: must specify {missing}", key.2));
            }
        }
        let (mut asked, mut used, mut limited) = (vec![], vec![], vec![]);
        for (item, limit) in hard {
            let wants = amount(resource.store, &resource.full_name(), object, &item);
            let have = usage(state, namespace, &item);
            if wants > 0 && have.saturating_add(wants) > limit {
                let bytes = item.contains("memory") || item.contains("storage");
                asked.push(format!("{item}={}", show(wants, bytes)));
                used.push(format!("{item}={}", show(have, bytes)));
                limited.push(format!("{item}={}", show(limit, bytes)));
            }
        }
        if !asked.is_empty() {
            return forbidden(format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                key.2,
                asked.join(","),
                used.join(","),
                limited.join(",")
            ));
        }
    }
    Ok(())
}

/// Brings the status of every quota up to date.
pub(super) fn refresh(state: &mut State) {
    let mut new: Vec<(Key, Value)> = vec![];
    for (key, quota) in quotas(state) {
        let mut used = json!({});
        for item in limits(quota).keys() {
            let bytes = item.contains("memory") || item.contains("storage");
            used[item] = json!(show(usage(state, &key.1, item), bytes));
        }
        let status = json!({ "hard": quota["spec"]["hard"], "used": used });
        if quota["status"] != status {
            let mut quota = quota.clone();
            quota["status"] = status;
            new.push((key.clone(), quota));
        }
    }
    for (key, quota) in new {
        state.write(key, quota);
    }
}

fn quotas(state: &State) -> impl Iterator<Item = (&Key, &Value)> {
    let first: Key = ("resourcequotas", String::new(), String::new());
    state.objects.range(first..).take_while(|(key, _)| key.0 == "resourcequotas")
}

/// What a quota limits; anything that is no quantity counts as nothing allowed.
fn limits(quota: &Value) -> BTreeMap<String, i64> {
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    hard.map(|(item, limit)| (item.clone(), limit.as_str().and_then(quantity).unwrap_or(0)))
        .collect()
}

/// Containers that do not say what the quota counts.
fn unspecified(pod: &Value, hard: &BTreeMap<String, i64>) -> Vec<String> {
    let mut missing = vec![];
    for item in hard.keys() {
        let Some((kind, field)) = compute(item) else { continue };
        let silent: Vec<&str> = containers(pod)
            .filter(|container| of(container, kind, field).is_none())
            .filter_map(|container| container["name"].as_str())
            .collect();
        if !silent.is_empty() {
            missing.push(format!("{item} for: {}", silent.join(",")));
        }
    }
    missing
}

/// Thousandths of an item that the namespace's objects use.
fn usage(state: &State, namespace: &str, item: &str) -> i64 {
    let here = state.objects.iter().filter(|(key, _)| key.1 == namespace);
    here.filter(|(_, object)| {
        !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
    })
    .map(|(key, object)| {
        let group = object["apiVersion"].as_str().and_then(|v| v.split_once('/'));
        let full =
            group.map_or_else(|| key.0.to_owned(), |(group, _)| format!("{}.{group}", key.0));
        amount(key.0, &full, object, item)
    })
    .fold(0, i64::saturating_add)
}

/// Thousandths of an item that one object uses.
fn amount(store: &str, full_name: &str, object: &Value, item: &str) -> i64 {
    let counted = item.strip_prefix("count/").unwrap_or(item);
    if counted == store || counted == full_name {
        return 1_000;
    }
    match compute(item) {
        Some((kind, field)) if store == "pods" => containers(object)
            .filter_map(|container| of(container, kind, field))
            .fold(0, i64::saturating_add),
        _ => 0,
    }
}

/// `limits.memory` is the field `memory` of `limits`; `memory` alone means requests.
fn compute(item: &str) -> Option<(&'static str, &'static str)> {
    match item {
        "cpu" | "requests.cpu" => Some(("requests", "cpu")),
        "memory" | "requests.memory" => Some(("requests", "memory")),
        "limits.cpu" => Some(("limits", "cpu")),
        "limits.memory" => Some(("limits", "memory")),
        _ => None,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["containers"].as_array().into_iter().flatten()
}

/// A limit without a request is a request too.
fn of(container: &Value, kind: &str, field: &str) -> Option<i64> {
    let resources = &container["resources"];
    let value = match &resources[kind][field] {
        Value::Null if kind == "requests" => &resources["limits"][field],
        value => value,
    };
    value.as_str().and_then(quantity)
}
