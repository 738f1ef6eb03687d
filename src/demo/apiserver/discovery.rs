//! Which resources there are, and how clients find out.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{Cluster, openapi};

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
    /// What its objects are stored under. Two groups may share a plural, and two resources may show the same objects.
    pub store: &'static str,
    /// Subresources; `status` means that the status is written only through it.
    pub subs: &'static [&'static str],
}

macro_rules! resources {
    ($($group:literal $version:literal $plural:literal $singular:literal $kind:literal $short:expr,
       $namespaced:literal, $store:literal, $subs:expr;)*) => {
        &[$(Resource {
            group: $group, version: $version, plural: $plural, singular: $singular, kind: $kind, short: &$short,
            namespaced: $namespaced, store: $store, subs: &$subs,
        }),*]
    };
}

static TABLE: &[Resource] = resources! {
    "" "v1" "pods" "pod" "Pod" ["po"], true, "pods", ["status", "log", "proxy"];
    "" "v1" "events" "event" "Event" ["ev"], true, "events", [];
    "" "v1" "services" "service" "Service" ["svc"], true, "services", ["status"];
    "" "v1" "endpoints" "endpoints" "Endpoints" ["ep"], true, "endpoints", [];
    "" "v1" "configmaps" "configmap" "ConfigMap" ["cm"], true, "configmaps", [];
    "" "v1" "secrets" "secret" "Secret" [], true, "secrets", [];
    "" "v1" "serviceaccounts" "serviceaccount" "ServiceAccount" ["sa"], true, "serviceaccounts", [];
    "" "v1" "persistentvolumeclaims" "persistentvolumeclaim" "PersistentVolumeClaim" ["pvc"], true, "persistentvolumeclaims", ["status"];
    "" "v1" "resourcequotas" "resourcequota" "ResourceQuota" ["quota"], true, "resourcequotas", ["status"];
    "" "v1" "nodes" "node" "Node" ["no"], false, "nodes", ["status"];
    "" "v1" "namespaces" "namespace" "Namespace" ["ns"], false, "namespaces", ["status"];
    "" "v1" "limitranges" "limitrange" "LimitRange" ["limits"], true, "limitranges", [];
    "apps" "v1" "controllerrevisions" "controllerrevision" "ControllerRevision" [], true, "controllerrevisions", [];
    "apps" "v1" "daemonsets" "daemonset" "DaemonSet" ["ds"], true, "daemonsets", ["status"];
    "apps" "v1" "deployments" "deployment" "Deployment" ["deploy"], true, "deployments", ["status"];
    "apps" "v1" "replicasets" "replicaset" "ReplicaSet" ["rs"], true, "replicasets", ["status"];
    "apps" "v1" "statefulsets" "statefulset" "StatefulSet" ["sts"], true, "statefulsets", ["status"];
    // Nothing is stored of these: they are answered.
    "authorization.k8s.io" "v1" "selfsubjectaccessreviews" "selfsubjectaccessreview" "SelfSubjectAccessReview" [], false, "", [];
    "authorization.k8s.io" "v1" "selfsubjectrulesreviews" "selfsubjectrulesreview" "SelfSubjectRulesReview" [], false, "", [];
    "authorization.k8s.io" "v1" "localsubjectaccessreviews" "localsubjectaccessreview" "LocalSubjectAccessReview" [], true, "", [];
    "batch" "v1" "cronjobs" "cronjob" "CronJob" ["cj"], true, "cronjobs", ["status"];
    "batch" "v1" "jobs" "job" "Job" [], true, "jobs", ["status"];
    "coordination.k8s.io" "v1" "leases" "lease" "Lease" [], true, "leases", [];
    "discovery.k8s.io" "v1" "endpointslices" "endpointslice" "EndpointSlice" [], true, "endpointslices", [];
    "events.k8s.io" "v1" "events" "event" "Event" ["ev"], true, "events", [];
    "metrics.k8s.io" "v1beta1" "pods" "pod" "PodMetrics" [], true, "pods.metrics.k8s.io", [];
    "rbac.authorization.k8s.io" "v1" "roles" "role" "Role" [], true, "roles", [];
    "rbac.authorization.k8s.io" "v1" "rolebindings" "rolebinding" "RoleBinding" [], true, "rolebindings", [];
    "rbac.authorization.k8s.io" "v1" "clusterroles" "clusterrole" "ClusterRole" [], false, "clusterroles", [];
    "rbac.authorization.k8s.io" "v1" "clusterrolebindings" "clusterrolebinding" "ClusterRoleBinding" [], false, "clusterrolebindings", [];
    "sparkoperator.k8s.io" "v1beta2" "sparkapplications" "sparkapplication" "SparkApplication" ["sparkapp"], true, "sparkapplications", ["status"];
    "sparkoperator.k8s.io" "v1beta2" "scheduledsparkapplications" "scheduledsparkapplication" "ScheduledSparkApplication" ["scheduledsparkapp"], true, "scheduledsparkapplications", ["status"];
    "sparkoperator.k8s.io" "v1alpha1" "sparkconnects" "sparkconnect" "SparkConnect" ["sparkconn"], true, "sparkconnects", ["status"];
    "spark.apache.org" "v1" "sparkapplications" "sparkapplication" "SparkApplication" [], true, "sparkapplications.spark.apache.org", ["status"];
    "spark.apache.org" "v1" "sparkclusters" "sparkcluster" "SparkCluster" [], true, "sparkclusters.spark.apache.org", ["status"];
};

/// Groups another server answers for: they are there only after [`super::Cluster::serve_metrics`].
const AGGREGATED: [&str; 1] = ["metrics.k8s.io"];

impl Resource {
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

    /// Whether its status is written only through the subresource.
    pub(super) fn has_status(&self) -> bool {
        self.subs.contains(&"status")
    }

    /// A question, not an object.
    pub(super) fn reviews(&self) -> bool {
        self.store.is_empty()
    }

    /// A kind that a CRD brings, not Kubernetes.
    pub(super) fn custom(&self) -> bool {
        self.group.contains("spark")
    }

    /// `pods`, `deployments.apps`: how messages name it.
    pub(super) fn full_name(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.plural, self.group)
    }
}

pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

pub(super) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.kind == kind && r.api_version() == api_version)
}

/// Answers discovery paths; `None` for everything else.
pub(super) fn answer(cluster: &Cluster, segments: &[&str]) -> Option<Response> {
    let served: Vec<&Resource> = TABLE.iter().filter(|r| cluster.serves(r)).collect();
    let body = match segments {
        ["healthz" | "readyz" | "livez"] => return Some("ok".into_response()),
        ["version"] => {
            json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64" })
        }
        ["api"] => {
            json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
        }
        ["apis"] => {
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups(&served) })
        }
        ["api", "v1"] => resources("", "v1"),
        ["apis", group, version]
            if served.iter().any(|r| r.group == *group && r.version == *version) =>
        {
            resources(group, version)
        }
        ["openapi", "v3"] => openapi::index(served.into_iter()),
        ["openapi", "v3", "api", "v1"] => openapi::document(of("", "v1")),
        ["openapi", "v3", "apis", group, version] => openapi::document(of(group, version)),
        // Asked by kubectl where v3 is not enough for it; the real server has it, and nobody needs it.
        ["openapi", "v2"] => {
            return Some((StatusCode::NOT_FOUND, "404 page not found").into_response());
        }
        _ => return None,
    };
    Some(Json(body).into_response())
}

fn of(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    TABLE.iter().filter(move |r| r.group == group && r.version == version)
}

fn groups(served: &[&Resource]) -> Vec<Value> {
    let mut groups: Vec<Value> = vec![];
    for r in served.iter().filter(|r| !r.group.is_empty()) {
        let version = json!({ "groupVersion": r.api_version(), "version": r.version });
        match groups.iter_mut().find(|group| group["name"] == r.group) {
            None => groups.push(json!({
                "name": r.group, "versions": [version.clone()], "preferredVersion": version,
            })),
            Some(group) => {
                let versions = group["versions"].as_array_mut();
                if let Some(versions) = versions.filter(|known| !known.contains(&version)) {
                    versions.push(version);
                }
            }
        }
    }
    groups
}

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn resources(group: &str, version: &str) -> Value {
    let mut list = vec![];
    for r in of(group, version) {
        list.push(json!({
            "name": r.plural, "singularName": r.singular, "kind": r.kind, "namespaced": r.namespaced,
            "verbs": if r.reviews() { &VERBS[..1] } else { &VERBS[..] }, "shortNames": r.short,
        }));
        for sub in r.subs {
            let verbs: &[&str] =
                if *sub == "status" { &["get", "patch", "update"] } else { &["get"] };
            // Only the resource itself has short names, else kubectl finds them ambiguous.
            list.push(json!({
                "name": format!("{}/{sub}", r.plural), "singularName": "", "kind": r.kind,
                "namespaced": r.namespaced, "verbs": verbs,
            }));
        }
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list })
}
