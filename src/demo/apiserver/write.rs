//! Create, update and patch.

use axum::{Json, http::StatusCode, response::IntoResponse as _};
use serde_json::{Value, json};

use super::{
    Call, Parameters, admission, apply, convert, gc, only, parameter, patch, protobuf, quota,
    state::{Key, State},
    status::{Failure, Outcome},
};

const PARAMETERS: [&str; 6] =
    ["fieldManager", "fieldValidation", "dryRun", "force", "pretty", "timeout"];

/// `dryRun=All`: everything but the change itself.
pub(super) fn dry_run(parameters: &Parameters) -> Result<bool, Failure> {
    match parameter(parameters, "dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let why = format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\"");
            Err(Failure::new(422, "Invalid", why))
        }
    }
}

/// The body as JSON; YAML is taken too, as the real server takes it.
pub(super) fn body(call: &Call<'_>) -> Result<Value, Failure> {
    let bad =
        |why: String| Failure::new(400, "BadRequest", format!("error decoding the body: {why}"));
    if call.content_type.contains("yaml") && !call.body.starts_with(b"{") {
        let text = std::str::from_utf8(call.body).map_err(|error| bad(error.to_string()))?;
        return serde_saphyr::from_str(text).map_err(|error| bad(error.to_string()));
    }
    if call.content_type.contains("protobuf") {
        let why = "the body of the request was in an unknown format - accepted media types include: application/json, \
                   application/yaml";
        let refused = || Failure::unexpected(415, "UnsupportedMediaType", why);
        return protobuf::decode(call.body).ok_or_else(refused);
    }
    serde_json::from_slice(call.body).map_err(|error| bad(error.to_string()))
}

/// `POST` to a collection.
pub(super) fn create(call: &Call<'_>) -> Outcome {
    only(call.parameters, &PARAMETERS)?;
    let mut object = body(call)?;
    let dry = dry_run(call.parameters)?;
    admission::kind(call, &object)?;
    convert::input(call.address.resource, &mut object);
    call.cluster.transact(|state| {
        let created = insert(call, state, object, dry, &manager(call))?;
        let shown = convert::out(call.address.resource, &created);
        Ok((StatusCode::CREATED, Json(shown)).into_response())
    })
}

/// Puts a new object into the state, with everything the server owns.
fn insert(
    call: &Call<'_>,
    state: &mut State,
    mut object: Value,
    dry: bool,
    owner: &apply::Manager,
) -> Result<Value, Failure> {
    let (resource, namespace) = (call.address.resource, &call.address.namespace);
    admission::place(call, &mut object)?;
    let wanted = object["metadata"]["name"].as_str().unwrap_or_default();
    let name = match (wanted, object["metadata"]["generateName"].as_str()) {
        ("", Some(prefix)) => format!("{prefix}{}", suffix(state.version)),
        (name, _) => name.to_owned(),
    };
    admission::name(resource, &name)?;
    object["metadata"]["name"] = json!(name);
    admission::namespace(call, state, &name)?;
    let key: Key = (resource.store, namespace.clone(), name.clone());
    if state.objects.contains_key(&key) {
        let what = resource.full_name();
        let why = format!("{what} \"{name}\" already exists");
        return Err(Failure::new(409, "AlreadyExists", why));
    }
    if resource.has_status()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(state.next_uid());
    metadata["creationTimestamp"] = json!(call.cluster.stamp());
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"] {
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove(field);
        }
    }
    admission::defaults(resource, &mut object);
    admission::schema(call, &object)?;
    admission::check(resource, &object)?;
    quota::admit(resource, state, &object)?;
    let empty = json!({});
    apply::changed(&empty, &mut object, owner);
    if dry {
        object["metadata"]["resourceVersion"] = Value::Null;
        return Ok(object);
    }
    let created = state.write(key, object);
    gc::collect(state);
    Ok(created)
}

/// `PUT`.
pub(super) fn update(call: &Call<'_>) -> Outcome {
    only(call.parameters, &PARAMETERS)?;
    let mut object = body(call)?;
    let dry = dry_run(call.parameters)?;
    admission::kind(call, &object)?;
    convert::input(call.address.resource, &mut object);
    call.cluster.transact(|state| {
        let before = current(call, state)?;
        let after = replace(call, state, &before, object, dry, &manager(call))?;
        Ok(Json(convert::out(call.address.resource, &after)).into_response())
    })
}

/// `PATCH`, of all four kinds.
pub(super) fn patch(call: &Call<'_>) -> Outcome {
    only(call.parameters, &PARAMETERS)?;
    let change = body(call)?;
    let dry = dry_run(call.parameters)?;
    if call.address.resource.group == "events.k8s.io" {
        // A patch is in the shape of this group, the stored object is not.
        let why = "patches of events are modelled in v1 only";
        return Err(Failure::unexpected(415, "UnsupportedMediaType", why));
    }
    let kind = call.content_type.split(';').next().unwrap_or_default().trim();
    call.cluster.transact(|state| {
        if kind == "application/apply-patch+yaml" {
            return apply(call, state, change, dry);
        }
        let before = current(call, state)?;
        let after = match kind {
            "application/merge-patch+json" => patch::merge(before.clone(), &change),
            "application/json-patch+json" => patch::operations(before.clone(), change)?,
            "application/strategic-merge-patch+json" if !call.address.resource.custom() => {
                patch::strategic(before.clone(), change)?
            }
            _ => {
                let why = "the body of the request was in an unknown format - accepted media types include: \
                           application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Failure::new(415, "UnsupportedMediaType", why));
            }
        };
        Ok(Json(replace(call, state, &before, after, dry, &manager(call))?).into_response())
    })
}

fn apply(call: &Call<'_>, state: &mut State, wanted: Value, dry: bool) -> Outcome {
    admission::kind(call, &wanted)?;
    let owner = match parameter(call.parameters, "fieldManager") {
        "" => {
            let why = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return Err(Failure::new(422, "Invalid", why));
        }
        name => apply::Manager { operation: "Apply", ..apply::Manager::new(call, name) },
    };
    if !wanted["metadata"]["managedFields"].is_null() {
        let why = "metadata.managedFields must be nil";
        return Err(Failure::new(400, "BadRequest", why));
    }
    let Ok(before) = current(call, state) else {
        let mut object = wanted;
        object["metadata"]["name"] = json!(call.address.name);
        let created = insert(call, state, object, dry, &owner)?;
        return Ok((StatusCode::CREATED, Json(created)).into_response());
    };
    let force = parameter(call.parameters, "force") == "true";
    let after = apply::apply(&before, &wanted, &owner, force)?;
    Ok(Json(replace(call, state, &before, after, dry, &owner)?).into_response())
}

fn current(call: &Call<'_>, state: &State) -> Result<Value, Failure> {
    let (resource, name) = (call.address.resource, &call.address.name);
    let key: Key = (resource.store, call.address.namespace.clone(), name.clone());
    state.objects.get(&key).cloned().ok_or_else(|| Failure::not_found(resource, name))
}

/// Stores the new form of an object, with what the server owns kept from the old one.
fn replace(
    call: &Call<'_>,
    state: &mut State,
    before: &Value,
    mut after: Value,
    dry: bool,
    owner: &apply::Manager,
) -> Result<Value, Failure> {
    let resource = call.address.resource;
    admission::place(call, &mut after)?;
    same_object(call, before, &after)?;
    if call.address.sub.first().is_some_and(|sub| sub == "status") {
        let status = after["status"].take();
        after = before.clone();
        after["status"] = status;
    } else if resource.has_status() {
        match &before["status"] {
            Value::Null => drop(after.as_object_mut().map(|fields| fields.remove("status"))),
            status => after["status"] = status.clone(),
        }
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        keep(&before["metadata"], &mut after["metadata"], field);
    }
    if owner.operation != "Apply" {
        keep(&before["metadata"], &mut after["metadata"], "managedFields");
    }
    admission::defaults(resource, &mut after);
    admission::schema(call, &after)?;
    admission::check(resource, &after)?;
    admission::immutable(resource, before, &after)?;
    if owner.operation != "Apply" {
        apply::changed(before, &mut after, owner);
    }
    if before["spec"] != after["spec"]
        && let Some(generation) = before["metadata"]["generation"].as_i64()
    {
        after["metadata"]["generation"] = json!(generation + 1);
    }
    if dry || apply::same(before, &after) {
        return Ok(if dry { after } else { before.clone() });
    }
    Ok(store(call, state, before, after))
}

/// Writes the new form; one whose last finalizer is taken away goes, unless a pod's kubelet still has to let go.
fn store(call: &Call<'_>, state: &mut State, before: &Value, after: Value) -> Value {
    let (namespace, name) = (&call.address.namespace, &call.address.name);
    let key: Key = (call.address.resource.store, namespace.clone(), name.clone());
    let held =
        |object: &Value| !object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    let gone = !after["metadata"]["deletionTimestamp"].is_null() && held(before) && !held(&after);
    let stored = state.write(key.clone(), after);
    if gone && stored["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0 {
        state.remove(&key);
    }
    stored
}

/// The version and id that are sent, if any, are those of the stored object.
fn same_object(call: &Call<'_>, before: &Value, after: &Value) -> Result<(), Failure> {
    let (resource, name) = (call.address.resource, &call.address.name);
    let sent = after["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !sent.is_empty() && before["metadata"]["resourceVersion"] != sent {
        let why = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to \
             the latest version and try again",
            resource.full_name()
        );
        return Err(Failure::new(409, "Conflict", why));
    }
    let uid = after["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && before["metadata"]["uid"] != uid {
        let why = format!(
            "Operation cannot be fulfilled on {} \"{name}\": Precondition failed: UID in precondition: {uid}, UID in \
             object meta: {}",
            resource.full_name(),
            before["metadata"]["uid"].as_str().unwrap_or_default()
        );
        return Err(Failure::new(409, "Conflict", why));
    }
    Ok(())
}

fn keep(from: &Value, to: &mut Value, field: &str) {
    match &from[field] {
        Value::Null => drop(to.as_object_mut().map(|fields| fields.remove(field))),
        value => to[field] = value.clone(),
    }
}

fn manager(call: &Call<'_>) -> apply::Manager {
    apply::Manager::new(call, parameter(call.parameters, "fieldManager"))
}

/// Five letters that make a generated name unique, in the alphabet of the real server.
fn suffix(version: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut number = version.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut text = String::new();
    for _ in 0..5 {
        let letter = LETTERS[usize::try_from(number % 27).unwrap_or_default()];
        text.push(char::from(letter));
        number /= 27;
    }
    text
}
