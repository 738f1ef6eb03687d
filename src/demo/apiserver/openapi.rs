//! As much of OpenAPI v3 as kubectl looks at before it writes: which parameters a `PATCH` takes.

use serde_json::{Value, json};

use super::discovery::Resource;

/// The list of documents.
pub(super) fn index<'a>(resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut paths = json!({});
    for resource in resources {
        let path = base(resource);
        paths[&path] = json!({ "serverRelativeURL": format!("/openapi/v3/{path}") });
    }
    json!({ "paths": paths })
}

/// The document of one API.
pub(super) fn document<'a>(resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut paths = json!({});
    for resource in resources {
        let place = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{place}{}/{{name}}", base(resource), resource.plural);
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
            .collect();
        paths[path] = json!({ "patch": {
            "parameters": parameters,
            "responses": {},
            "x-kubernetes-group-version-kind":
                { "group": resource.group, "version": resource.version, "kind": resource.kind },
        } });
    }
    json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.34.0" }, "paths": paths,
        "components": { "schemas": {} },
    })
}

/// `api/v1`, `apis/apps/v1`.
fn base(resource: &Resource) -> String {
    let api = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{api}/{}", resource.api_version())
}
