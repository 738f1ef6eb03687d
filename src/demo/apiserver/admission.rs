//! What the server checks and fills in before it stores an object.
//!
//! Only what clients come to feel: names, namespaces, labels, the fields they read back.

use serde_json::{Value, json};

use super::{Call, discovery::Resource, parameter, schema, state::State, status::Failure};

/// The object is of the kind that the path says.
pub(super) fn kind(call: &Call<'_>, object: &Value) -> Result<(), Failure> {
    let resource = call.address.resource;
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    if !object.is_object() {
        return Err(Failure::new(400, "BadRequest", "the body is not an object"));
    }
    if text("kind") != resource.kind || text("apiVersion") != resource.api_version() {
        let why = format!(
            "{} in version \"{}\" cannot be handled as a {}: no kind \"{}\" is registered for version \"{}\"",
            resource.kind,
            resource.version,
            resource.kind,
            text("kind"),
            text("apiVersion")
        );
        return Err(Failure::new(400, "BadRequest", why));
    }
    Ok(())
}

/// Every field is one of the kind's and of its type; fields too many count with `fieldValidation=Strict` only.
pub(super) fn schema(call: &Call<'_>, object: &Value) -> Result<(), Failure> {
    let strict = match parameter(call.parameters, "fieldValidation") {
        "" | "Ignore" | "Warn" => false,
        "Strict" => true,
        other => {
            let why = format!("fieldValidation: Unsupported value: \"{other}\"");
            return Err(Failure::new(422, "Invalid", why));
        }
    };
    schema::check(call.address.resource, object, strict)
}

/// Amounts may be written as numbers; they are stored as text.
pub(super) fn amounts(value: &mut Value) {
    for field in ["limits", "requests", "hard"] {
        for amount in value[field].as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            if amount.is_number() {
                *amount = json!(amount.to_string());
            }
        }
    }
}

/// Namespace and name of the object are those of the path.
pub(super) fn place(call: &Call<'_>, object: &mut Value) -> Result<(), Failure> {
    let (resource, namespace) = (call.address.resource, &call.address.namespace);
    let bad = |why: &str| Err(Failure::new(400, "BadRequest", why));
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    if !text("namespace").is_empty() && text("namespace") != namespace {
        return bad(
            "the namespace of the provided object does not match the namespace sent on the request",
        );
    }
    if !call.address.name.is_empty()
        && !text("name").is_empty()
        && text("name") != call.address.name
    {
        return bad("the name of the object does not match the name on the URL");
    }
    if resource.namespaced {
        object["metadata"]["namespace"] = json!(namespace);
    }
    Ok(())
}

/// A new object needs its namespace.
pub(super) fn namespace(call: &Call<'_>, state: &State, name: &str) -> Result<(), Failure> {
    let (resource, namespace) = (call.address.resource, &call.address.namespace);
    if !resource.namespaced {
        return Ok(());
    }
    if namespace.is_empty() {
        let why = "an empty namespace may not be set during creation";
        return Err(Failure::new(400, "BadRequest", why));
    }
    let key = ("namespaces", String::new(), namespace.clone());
    match state.objects.get(&key) {
        None => Err(Failure::new(404, "NotFound", format!("namespaces \"{namespace}\" not found"))),
        Some(found) if !found["metadata"]["deletionTimestamp"].is_null() => {
            let what = resource.full_name();
            let why = format!(
                "{what} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is \
                 being terminated"
            );
            Err(Failure::new(403, "Forbidden", why))
        }
        Some(_) => Ok(()),
    }
}

/// A name is a DNS subdomain, a service's a DNS label.
pub(super) fn name(resource: &'static Resource, name: &str) -> Result<(), Failure> {
    // Roles and their bindings may hold anything that fits into a path.
    if resource.group == "rbac.authorization.k8s.io" && !name.contains('/') && !name.is_empty() {
        return Ok(());
    }
    let most = if resource.plural == "services" { 63 } else { 253 };
    let fine = |part: &str| {
        let bytes = part.as_bytes();
        let end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        end(bytes.first())
            && end(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    let dots = resource.plural != "services";
    let parts = if dots { name.split('.').all(fine) } else { fine(name) };
    if name.is_empty() {
        let why = "metadata.name: Required value: name or generateName is required";
        return Err(Failure::invalid(resource, name, why));
    }
    if !parts || name.len() > most {
        let why = format!(
            "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        );
        return Err(Failure::invalid(resource, name, why));
    }
    Ok(())
}

/// Rules that hold for every stored form.
pub(super) fn check(resource: &'static Resource, object: &Value) -> Result<(), Failure> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let invalid = |why: String| Err(Failure::invalid(resource, name, why));
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        let Some(value) = value.as_str() else {
            let why = format!("json: cannot unmarshal into labels[\"{key}\"] of type string");
            return Err(Failure::new(400, "BadRequest", why));
        };
        let end = |b: Option<char>| b.is_none_or(|c| c.is_ascii_alphanumeric());
        let fine = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if value.len() > 63 {
            return invalid(format!(
                "metadata.labels: Invalid value: \"{value}\": must be no more than 63 characters"
            ));
        }
        if !fine || !end(value.chars().next()) || !end(value.chars().last()) {
            return invalid(format!(
                "metadata.labels: Invalid value: \"{value}\": a valid label must be an empty string or consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            ));
        }
    }
    if resource.plural == "pods" {
        let containers = object["spec"]["containers"].as_array();
        let Some(containers) = containers.filter(|list| !list.is_empty()) else {
            return invalid("spec.containers: Required value".to_owned());
        };
        for (at, container) in containers.iter().enumerate() {
            for field in ["name", "image"] {
                if container[field].as_str().is_none_or(str::is_empty) {
                    return invalid(format!("spec.containers[{at}].{field}: Required value"));
                }
            }
        }
    }
    Ok(())
}

/// What may not change any more.
pub(super) fn immutable(
    resource: &'static Resource,
    before: &Value,
    after: &Value,
) -> Result<(), Failure> {
    if resource.plural != "pods" {
        return Ok(());
    }
    // Images, the deadline and new tolerations may change; a fake need not know more of it.
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            spec[field] = Value::Null;
        }
        spec
    };
    if fixed(before) == fixed(after) {
        return Ok(());
    }
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    let why = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
               `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
               tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    Err(Failure::invalid(resource, name, why))
}

/// Fills what the server fills. A field of nothing is no field, in the kinds of Kubernetes itself.
pub(super) fn defaults(resource: &'static Resource, object: &mut Value) {
    fill(resource, object);
    if !resource.custom() {
        prune(object);
    }
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn fill(resource: &'static Resource, object: &mut Value) {
    let fill = |place: &mut Value, field: &str, value: Value| {
        if place[field].is_null() {
            place[field] = value;
        }
    };
    match resource.plural {
        "pods" => {
            pod(object);
            fill(object, "status", json!({ "phase": "Pending", "qosClass": quality(object) }));
        }
        "resourcequotas" => amounts(&mut object["spec"]),
        "services" => {
            for (field, value) in [("type", json!("ClusterIP")), ("sessionAffinity", json!("None"))]
            {
                fill(&mut object["spec"], field, value);
            }
            for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
                fill(port, "protocol", json!("TCP"));
                let target = port["port"].clone();
                fill(port, "targetPort", target);
            }
            fill(object, "status", json!({ "loadBalancer": {} }));
        }
        "namespaces" => {
            fill(&mut object["spec"], "finalizers", json!(["kubernetes"]));
            fill(object, "status", json!({ "phase": "Active" }));
        }
        "persistentvolumeclaims" => fill(object, "status", json!({ "phase": "Pending" })),
        "secrets" => {
            fill(object, "type", json!("Opaque"));
            encode(object);
        }
        "deployments" | "replicasets" | "statefulsets" => {
            fill(&mut object["spec"], "replicas", json!(1));
            fill(&mut object["metadata"], "generation", json!(1));
        }
        _ if resource.custom() => fill(&mut object["metadata"], "generation", json!(1)),
        _ => {}
    }
}

/// `stringData` of a secret becomes `data`.
fn encode(secret: &mut Value) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Value::Object(plain) = secret["stringData"].take() else { return };
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        secret["data"][key] = json!(STANDARD.encode(text));
    }
    drop(secret.as_object_mut().map(|fields| fields.remove("stringData")));
}

fn pod(object: &mut Value) {
    let spec = &mut object["spec"];
    let account = spec["serviceAccountName"].as_str().unwrap_or("default").to_owned();
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("serviceAccountName", json!(account)),
        ("serviceAccount", json!(account)),
        ("enableServiceLinks", json!(true)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if container["resources"].is_object() {
                amounts(&mut container["resources"]);
            }
            let latest = container["image"].as_str().is_some_and(|image| {
                let name = image.rsplit('/').next().unwrap_or_default();
                !name.contains(':') || name.ends_with(":latest")
            });
            for (field, value) in [
                ("imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" })),
                ("terminationMessagePath", json!("/dev/termination-log")),
                ("terminationMessagePolicy", json!("File")),
                ("resources", json!({})),
            ] {
                if container[field].is_null() {
                    container[field] = value;
                }
            }
            for port in container["ports"].as_array_mut().into_iter().flatten() {
                if port["protocol"].is_null() {
                    port["protocol"] = json!("TCP");
                }
            }
        }
    }
}

/// The quality-of-service class, from requests and limits.
fn quality(object: &Value) -> &'static str {
    let containers = object["spec"]["containers"].as_array();
    let (mut any, mut guaranteed) = (false, true);
    for container in containers.into_iter().flatten() {
        let (limits, requests) =
            (&container["resources"]["limits"], &container["resources"]["requests"]);
        any |= limits.is_object() || requests.is_object();
        for resource in ["cpu", "memory"] {
            let equal = requests[resource].is_null() || requests[resource] == limits[resource];
            guaranteed &= !limits[resource].is_null() && equal;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
