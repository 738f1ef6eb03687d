//! Whether an object of Kubernetes' own kinds has the fields of its kind, with values of their types.

use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, coordination::v1 as coordination};
use k8s_openapi::api::{core::v1 as core, rbac::v1 as rbac};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{discovery::Resource, status::Failure};

/// Refuses values of a wrong type, and with `strict` fields that the kind does not have. Kinds of a CRD may hold anything.
pub(super) fn check(resource: &Resource, object: &Value, strict: bool) -> Result<(), Failure> {
    let unknown = match resource.kind {
        "Pod" => unknown::<core::Pod>(object),
        "Service" => unknown::<core::Service>(object),
        "Endpoints" => unknown::<core::Endpoints>(object),
        "ConfigMap" => unknown::<core::ConfigMap>(object),
        "Secret" => unknown::<core::Secret>(object),
        "ServiceAccount" => unknown::<core::ServiceAccount>(object),
        "PersistentVolumeClaim" => unknown::<core::PersistentVolumeClaim>(object),
        "ResourceQuota" => unknown::<core::ResourceQuota>(object),
        "Node" => unknown::<core::Node>(object),
        "Namespace" => unknown::<core::Namespace>(object),
        "Event" => unknown::<core::Event>(object),
        "Deployment" => unknown::<apps::Deployment>(object),
        "ReplicaSet" => unknown::<apps::ReplicaSet>(object),
        "StatefulSet" => unknown::<apps::StatefulSet>(object),
        "Job" => unknown::<batch::Job>(object),
        "Lease" => unknown::<coordination::Lease>(object),
        "Role" => unknown::<rbac::Role>(object),
        "RoleBinding" => unknown::<rbac::RoleBinding>(object),
        "ClusterRole" => unknown::<rbac::ClusterRole>(object),
        "ClusterRoleBinding" => unknown::<rbac::ClusterRoleBinding>(object),
        _ => return Ok(()),
    };
    let bad = |why: String| Err(Failure::new(400, "BadRequest", why));
    let (kind, version) = (resource.kind, resource.version);
    match unknown {
        Err(error) => bad(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: json: {error}"
        )),
        Ok(fields) if strict && !fields.is_empty() => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("unknown field \"{field}\"")).collect();
            bad(format!("strict decoding error: {}", fields.join(", ")))
        }
        Ok(_) => Ok(()),
    }
}

/// The fields that do not survive the way through the kind's type.
fn unknown<T: DeserializeOwned + Serialize>(object: &Value) -> serde_json::Result<Vec<String>> {
    let typed = serde_json::to_value(serde_json::from_value::<T>(object.clone())?)?;
    let mut lost = vec![];
    compare(object, &typed, "", &mut lost);
    Ok(lost)
}

fn compare(sent: &Value, kept: &Value, path: &str, lost: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (name, value) in sent.iter().filter(|(_, value)| !value.is_null()) {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                match kept.get(name) {
                    Some(kept) => compare(value, kept, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(sent), Value::Array(kept)) => {
            for (at, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                compare(sent, kept, &format!("{path}[{at}]"), lost);
            }
        }
        _ => {}
    }
}
