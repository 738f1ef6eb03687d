//! Deletion: at once, with grace, held by finalizers, and of whole collections.

use axum::{Json, response::IntoResponse as _};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Call, gc,
    selector::Selector,
    state::{Key, State, stamp},
    status::{Failure, Outcome},
    write::{body, dry_run},
};

/// What the caller asks for.
#[derive(Debug, Default)]
struct Options {
    grace: Option<i64>,
    orphan: bool,
    uid: String,
    version: String,
    dry: bool,
}

const PARAMETERS: [&str; 5] =
    ["gracePeriodSeconds", "propagationPolicy", "orphanDependents", "dryRun", "pretty"];

impl Options {
    fn read(call: &Call<'_>, more: &[&str]) -> Result<Self, Failure> {
        let known: Vec<&str> = PARAMETERS.iter().chain(more).copied().collect();
        super::only(call.parameters, &known)?;
        let sent = if call.body.is_empty() { json!({}) } else { body(call)? };
        let text = |name: &str| match super::parameter(call.parameters, name) {
            "" => sent[name].as_str().unwrap_or_default().to_owned(),
            value => value.to_owned(),
        };
        let grace = match super::number(call.parameters, "gracePeriodSeconds")? {
            Some(seconds) => i64::try_from(seconds).ok(),
            None => sent["gracePeriodSeconds"].as_i64(),
        };
        let orphan = match text("propagationPolicy").as_str() {
            "" => sent["orphanDependents"] == true,
            "Background" | "Foreground" => false,
            "Orphan" => true,
            other => {
                let why = format!("propagationPolicy: Unsupported value: \"{other}\"");
                return Err(Failure::new(422, "Invalid", why));
            }
        };
        let precondition =
            |name: &str| sent["preconditions"][name].as_str().unwrap_or_default().to_owned();
        let dry = dry_run(call.parameters)? || sent["dryRun"] == json!(["All"]);
        Ok(Self {
            grace,
            orphan,
            uid: precondition("uid"),
            version: precondition("resourceVersion"),
            dry,
        })
    }

    fn check(&self, call: &Call<'_>, metadata: &Value) -> Result<(), Failure> {
        for (field, wanted) in [("uid", &self.uid), ("resourceVersion", &self.version)] {
            let have = metadata[field].as_str().unwrap_or_default();
            if !wanted.is_empty() && wanted != have {
                let (what, name) = (call.address.resource.full_name(), &call.address.name);
                let message = format!(
                    "Operation cannot be fulfilled on {what} \"{name}\": the {field} in the precondition ({wanted}) does \
                     not match the {field} in record ({have}). The object might have been deleted and then recreated"
                );
                return Err(Failure::new(409, "Conflict", message));
            }
        }
        Ok(())
    }
}

/// `DELETE` of one object.
pub(super) fn one(call: &Call<'_>) -> Outcome {
    let options = Options::read(call, &[])?;
    let resource = call.address.resource;
    let key: Key = (resource.store, call.address.namespace.clone(), call.address.name.clone());
    call.cluster.transact(|state| {
        let before = state.objects.get(&key).cloned();
        let before = before.ok_or_else(|| Failure::not_found(resource, &call.address.name))?;
        options.check(call, &before["metadata"])?;
        let uid = before["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if options.dry {
            return Ok(Json(before).into_response());
        }
        if options.orphan {
            gc::release(state, &uid);
        }
        if let Some(marked) = terminate(state, &key, options.grace) {
            return Ok(Json(marked).into_response());
        }
        let returns = matches!(
            resource.plural,
            "pods" | "services" | "serviceaccounts" | "persistentvolumeclaims" | "resourcequotas"
        );
        let answer = if returns {
            before
        } else {
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": { "name": call.address.name, "group": resource.group, "kind": resource.plural, "uid": uid },
            })
        };
        Ok(Json(answer).into_response())
    })
}

/// `DELETE` of a collection, or of what a selector finds in it. Answers with the list of what it found.
pub(super) fn collection(call: &Call<'_>) -> Outcome {
    let selectors = ["labelSelector", "fieldSelector", "limit", "resourceVersion", "timeout"];
    let options = Options::read(call, &selectors)?;
    let (resource, parameters) = (call.address.resource, call.parameters);
    let selector = Selector::parse(
        resource.plural,
        super::parameter(parameters, "labelSelector"),
        super::parameter(parameters, "fieldSelector"),
    )?;
    call.cluster.transact(|state| {
        let found: Vec<(Key, Value)> = state
            .objects
            .iter()
            .filter(|(key, object)| {
                key.0 == resource.store
                    && key.1 == call.address.namespace
                    && selector.matches(object)
            })
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        let mut items = vec![];
        for (key, object) in found {
            if options.dry {
                items.push(object);
                continue;
            }
            if options.orphan {
                gc::release(state, object["metadata"]["uid"].as_str().unwrap_or_default());
            }
            items.push(terminate(state, &key, options.grace).unwrap_or(object));
        }
        let list = json!({
            "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": { "resourceVersion": state.version.to_string() }, "items": items,
        });
        Ok(Json(list).into_response())
    })
}

/// Deletes one object. As it is marked when it stays for a while; `None` when it is gone.
pub(super) fn terminate(state: &mut State, key: &Key, grace: Option<i64>) -> Option<Value> {
    let mut object = state.objects.get(key)?.clone();
    let held = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    let grace = period(key.0, &object, grace);
    if grace == 0 && !held {
        if key.0 == "namespaces" {
            empty(state, &key.2);
        }
        state.remove(key);
        return None;
    }
    // A second delete may only shorten the grace.
    let shorter =
        object["metadata"]["deletionGracePeriodSeconds"].as_i64().is_none_or(|old| grace < old);
    if object["metadata"]["deletionTimestamp"].is_null() || shorter {
        let at = state.now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(state.now);
        object["metadata"]["deletionTimestamp"] = json!(stamp(at));
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        return Some(state.write(key.clone(), object));
    }
    Some(object)
}

/// Only a pod that a kubelet has, and that has not ended, is given time.
fn period(store: &str, object: &Value, asked: Option<i64>) -> i64 {
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let placed = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    if store != "pods" || ended || !placed {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    asked.unwrap_or(own).max(0)
}

/// A namespace takes everything in it along.
fn empty(state: &mut State, namespace: &str) {
    let inside: Vec<Key> =
        state.objects.keys().filter(|(_, ns, _)| ns == namespace).cloned().collect();
    for key in inside {
        state.remove(&key);
    }
}
