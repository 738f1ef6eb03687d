//! Which resources there are, and how clients find out.

use std::collections::BTreeSet;

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

static TABLE: [Resource; 25] = [
    resource!("" "v1" "pods" "pod" "Pod" ["po"], true),
    resource!("" "v1" "events" "event" "Event" ["ev"], true),
    resource!("" "v1" "services" "service" "Service" ["svc"], true),
    resource!("" "v1" "configmaps" "configmap" "ConfigMap" ["cm"], true),
    resource!("" "v1" "secrets" "secret" "Secret" [], true),
    resource!("" "v1" "nodes" "node" "Node" ["no"], false),
    resource!("" "v1" "namespaces" "namespace" "Namespace" ["ns"], false),
    resource!("sparkoperator.k8s.io" "v1beta2" "sparkapplications" "sparkapplication" "SparkApplication" ["sparkapp"], true),
    resource!("" "v1" "persistentvolumeclaims" "persistentvolumeclaim" "PersistentVolumeClaim" ["pvc"], true),
    resource!("" "v1" "resourcequotas" "resourcequota" "ResourceQuota" ["quota"], true),
    resource!("" "v1" "limitranges" "limitrange" "LimitRange" ["limits"], true),
    resource!("discovery.k8s.io" "v1" "endpointslices" "endpointslice" "EndpointSlice" [], true),
    resource!("apps" "v1" "deployments" "deployment" "Deployment" ["deploy"], true),
    resource!("apps" "v1" "replicasets" "replicaset" "ReplicaSet" ["rs"], true),
    resource!("apps" "v1" "statefulsets" "statefulset" "StatefulSet" ["sts"], true),
    resource!("apps" "v1" "daemonsets" "daemonset" "DaemonSet" ["ds"], true),
    resource!("apps" "v1" "controllerrevisions" "controllerrevision" "ControllerRevision" [], true),
    resource!("batch" "v1" "jobs" "job" "Job" [], true),
    resource!("batch" "v1" "cronjobs" "cronjob" "CronJob" ["cj"], true),
    resource!("sparkoperator.k8s.io" "v1beta2" "scheduledsparkapplications" "scheduledsparkapplication" "ScheduledSparkApplication" ["scheduledsparkapp"], true),
    resource!("sparkoperator.k8s.io" "v1alpha1" "sparkconnects" "sparkconnect" "SparkConnect" ["sparkconn"], true),
    resource!("spark.apache.org" "v1" "sparkapplications" "sparkapplication" "SparkApplication" ["sparkapp"], true),
    resource!("metrics.k8s.io" "v1beta1" "pods" "pod" "PodMetrics" [], true),
    resource!("authorization.k8s.io" "v1" "selfsubjectaccessreviews" "selfsubjectaccessreview" "SelfSubjectAccessReview" [], false),
    resource!("authorization.k8s.io" "v1" "localsubjectaccessreviews" "localsubjectaccessreview" "LocalSubjectAccessReview" [], true),
];

/// Groups another server answers for: they are there only after [`super::Cluster::serve_metrics`].
const AGGREGATED: [&str; 1] = ["metrics.k8s.io"];

impl Resource {
    /// Under which name its objects are kept: the plural, unless another group has the same.
    pub(super) fn key(&self) -> &'static str {
        match (self.group, self.plural) {
            ("metrics.k8s.io", "pods") => "pods.metrics.k8s.io",
            ("spark.apache.org", "sparkapplications") => "sparkapplications.spark.apache.org",
            _ => self.plural,
        }
    }

    /// True when another server answers for it.
    pub(super) fn is_aggregated(&self) -> bool {
        AGGREGATED.contains(&self.group)
    }

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
    let groups: BTreeSet<&str> = named.map(|r| r.group).collect();
    let versions = |group: &str| {
        let all = TABLE.iter().filter(|r| r.group == group);
        let all: BTreeSet<(&str, String)> = all.map(|r| (r.version, r.api_version())).collect();
        let entry =
            |(version, full): (&str, String)| json!({ "groupVersion": full, "version": version });
        all.into_iter().map(entry).collect::<Vec<_>>()
    };
    let entry = |group: &str| {
        let all = versions(group);
        json!({ "name": group, "versions": all, "preferredVersion": all.last() })
    };
    groups.into_iter().map(entry).collect()
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
