//! Which resources there are, and how clients find out.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

/// One resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
}

macro_rules! resource {
    ($group:literal $version:literal $plural:literal $singular:literal $kind:literal $short:expr, $namespaced:literal) => {
        Resource {
            group: $group,
            version: $version,
            plural: $plural,
            singular: $singular,
            kind: $kind,
            short: &$short,
            namespaced: $namespaced,
        }
    };
}

static TABLE: [Resource; 8] = [
    resource!("" "v1" "pods" "pod" "Pod" ["po"], true),
    resource!("" "v1" "events" "event" "Event" ["ev"], true),
    resource!("" "v1" "services" "service" "Service" ["svc"], true),
    resource!("" "v1" "configmaps" "configmap" "ConfigMap" ["cm"], true),
    resource!("" "v1" "secrets" "secret" "Secret" [], true),
    resource!("" "v1" "nodes" "node" "Node" ["no"], false),
    resource!("" "v1" "namespaces" "namespace" "Namespace" ["ns"], false),
    resource!("sparkoperator.k8s.io" "v1beta2" "sparkapplications" "sparkapplication" "SparkApplication" ["sparkapp"], true),
];

impl Resource {
    /// `v1`, `sparkoperator.k8s.io/v1beta2`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

pub(super) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.kind == kind && r.api_version() == api_version)
}

/// Answers discovery paths; `None` for everything else.
pub(super) fn answer(segments: &[&str]) -> Option<Response> {
    let body = match segments {
        ["healthz" | "readyz" | "livez"] => return Some("ok".into_response()),
        ["version"] => {
            json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64" })
        }
        ["api"] => {
            json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
        }
        ["apis"] => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups() }),
        ["api", "v1"] => resources("", "v1"),
        ["apis", group, version]
            if TABLE.iter().any(|r| r.group == *group && r.version == *version) =>
        {
            resources(group, version)
        }
        _ => return None,
    };
    Some(Json(body).into_response())
}

fn groups() -> Vec<Value> {
    let named = TABLE.iter().filter(|r| !r.group.is_empty());
    named
        .map(|r| {
            let version = json!({ "groupVersion": r.api_version(), "version": r.version });
            json!({ "name": r.group, "versions": [version.clone()], "preferredVersion": version })
        })
        .collect()
}

fn resources(group: &str, version: &str) -> Value {
    let mut list = vec![];
    for r in TABLE.iter().filter(|r| r.group == group && r.version == version) {
        // Only the resource itself has short names, else kubectl finds them ambiguous.
        let entry = |name: &str, verbs: &[&str]| {
            let main = name == r.plural;
            json!({
                "name": name, "singularName": if main { r.singular } else { "" }, "kind": r.kind, "namespaced": r.namespaced,
                "verbs": verbs, "shortNames": if main { r.short } else { &[] },
            })
        };
        list.push(entry(r.plural, &["get", "list", "watch"]));
        if r.plural == "pods" {
            list.push(entry("pods/log", &["get"]));
            list.push(entry("pods/proxy", &["get"]));
        }
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list })
}
