//! One object, or a bounded list, of a resource that is known when we are compiled.
//!
//! Objects stay JSON here: the steps that read them want a handful of fields each, and an object of another version is
//! then read as far as it goes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Access, Client, Listed, failure, path, query};
use crate::clients::Result;

/// Objects per page of a list.
const PAGE: usize = 250;

/// A resource with its place in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; "" is the core group.
    pub group: &'static str,
    /// Version: `v1`.
    pub version: &'static str,
    /// Plural: `nodes`.
    pub plural: &'static str,
    /// Kind, for messages: `Node`.
    pub kind: &'static str,
    /// False for what belongs to the whole cluster.
    pub namespaced: bool,
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        impl Resource {
            $(#[doc = concat!("`", $kind, "`.")]
            pub const $name: Self = Self {
                group: $group, version: $version, plural: $plural, kind: $kind, namespaced: $namespaced,
            };)*

            /// Every resource the steps read by name.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

resources! {
    PODS = "" "v1" "pods" "Pod" true;
    NODES = "" "v1" "nodes" "Node" false;
    NAMESPACES = "" "v1" "namespaces" "Namespace" false;
    SERVICES = "" "v1" "services" "Service" true;
    CLAIMS = "" "v1" "persistentvolumeclaims" "PersistentVolumeClaim" true;
    QUOTAS = "" "v1" "resourcequotas" "ResourceQuota" true;
    LIMITS = "" "v1" "limitranges" "LimitRange" true;
    SLICES = "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
    DEPLOYMENTS = "apps" "v1" "deployments" "Deployment" true;
    REPLICA_SETS = "apps" "v1" "replicasets" "ReplicaSet" true;
    STATEFUL_SETS = "apps" "v1" "statefulsets" "StatefulSet" true;
    DAEMON_SETS = "apps" "v1" "daemonsets" "DaemonSet" true;
    REVISIONS = "apps" "v1" "controllerrevisions" "ControllerRevision" true;
    JOBS = "batch" "v1" "jobs" "Job" true;
    CRON_JOBS = "batch" "v1" "cronjobs" "CronJob" true;
    POD_METRICS = "metrics.k8s.io" "v1beta1" "pods" "PodMetrics" true;
    SPARK_APPLICATIONS = "sparkoperator.k8s.io" "v1beta2" "sparkapplications" "SparkApplication" true;
    APACHE_APPLICATIONS = "spark.apache.org" "v1" "sparkapplications" "SparkApplication" true;
    SCHEDULED_APPLICATIONS = "sparkoperator.k8s.io" "v1beta2" "scheduledsparkapplications" "ScheduledSparkApplication" true;
    SPARK_CONNECTS = "sparkoperator.k8s.io" "v1alpha1" "sparkconnects" "SparkConnect" true;
}

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Namespace; empty for all.
    pub namespace: String,
    /// Label selector; empty for all.
    pub labels: String,
    /// Field selector; empty for all.
    pub fields: String,
    /// At most this many; 0 means 1 000.
    pub limit: usize,
}

impl ListQuery {
    /// Everything of one namespace.
    pub fn of(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }
}

/// What the API server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// `v1.34.0`.
    pub version: String,
    /// Its clock, from the header `Date`.
    pub date: Option<Timestamp>,
}

/// API groups a cluster serves, with their versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(pub BTreeSet<(String, String)>);

impl Groups {
    /// True when this version of the group is served.
    pub fn has(&self, group: &str, version: &str) -> bool {
        self.0.iter().any(|(g, v)| g == group && v == version)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Option<Vec<Value>>,
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(rename = "continue")]
    token: Option<String>,
}

impl Resource {
    /// The resource of an object's `apiVersion` and `kind`, when it is one of ours; any version of its group will do.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::ALL.iter().find(|r| r.group == group && r.kind == kind).copied()
    }

    fn root(&self, operation: &str) -> Result<String> {
        match self.group {
            "" => path(&["api", self.version], operation),
            group => path(&["apis", group, self.version], operation),
        }
    }
}

impl Client {
    /// Reads one object. `namespace` is ignored for what belongs to the whole cluster.
    pub async fn read(&self, resource: Resource, namespace: &str, name: &str) -> Result<Value> {
        let Resource { group, plural, kind, namespaced, .. } = resource;
        let place = if namespaced { format!("{namespace}/{name}") } else { name.to_owned() };
        let operation = format!("read {kind} {place}");
        let root = resource.root(&operation)?;
        let (rest, namespace) = if namespaced {
            (path(&["namespaces", namespace, plural, name], &operation)?, namespace)
        } else {
            (path(&[plural, name], &operation)?, "")
        };
        let access = Access { verb: "get", group, resource: plural, namespace };
        self.get_json(&format!("{root}{rest}"), &operation, &access).await
    }

    /// Lists objects, page by page.
    pub async fn list(&self, resource: Resource, asked: &ListQuery) -> Result<Listed<Value>> {
        let place = match asked.namespace.as_str() {
            "" => String::new(),
            namespace => format!(" of namespace {namespace}"),
        };
        let operation = format!("list the {}{place}", resource.plural);
        // A page token expires with the server's history (410); one fresh start is always possible.
        match self.list_pages(resource, asked, &operation).await {
            Err(error) if error.reason.ends_with(failure::EXPIRED) => {
                self.list_pages(resource, asked, &operation).await
            }
            other => other,
        }
    }

    async fn list_pages(
        &self,
        resource: Resource,
        asked: &ListQuery,
        operation: &str,
    ) -> Result<Listed<Value>> {
        let most = if asked.limit == 0 { 1_000 } else { asked.limit };
        let Resource { group, plural, namespaced, .. } = resource;
        let root = resource.root(operation)?;
        let namespace = if namespaced { asked.namespace.as_str() } else { "" };
        let rest = match namespace {
            "" => path(&[plural], operation)?,
            namespace => path(&["namespaces", namespace, plural], operation)?,
        };
        let access = Access { verb: "list", group, resource: plural, namespace };
        let (mut items, mut token) = (vec![], String::new());
        loop {
            let page = PAGE.min(most - items.len()).to_string();
            let query = query(&[
                ("labelSelector", &asked.labels),
                ("fieldSelector", &asked.fields),
                ("limit", &page),
                ("continue", &token),
            ]);
            let list: Page =
                self.get_json(&format!("{root}{rest}{query}"), operation, &access).await?;
            items.extend(list.items.unwrap_or_default());
            token = list.metadata.token.unwrap_or_default();
            if token.is_empty() || items.len() >= most {
                let cut = !token.is_empty() || items.len() > most;
                items.truncate(most);
                return Ok(Listed { items, cut });
            }
        }
    }

    /// The API groups it serves; every account may ask.
    pub async fn groups(&self) -> Result<Groups> {
        let operation = "ask the API server for its groups";
        let access = Access { verb: "get", group: "", resource: "nonresourceurls", namespace: "" };
        let said: Value = self.get_json("/apis", operation, &access).await?;
        let mut found = BTreeSet::new();
        for group in said["groups"].as_array().into_iter().flatten() {
            for version in group["versions"].as_array().into_iter().flatten() {
                if let (Some(group), Some(version)) =
                    (group["name"].as_str(), version["version"].as_str())
                {
                    found.insert((group.to_owned(), version.to_owned()));
                }
            }
        }
        Ok(Groups(found))
    }

    /// Asks the server which version it is.
    pub async fn version(&self) -> Result<ServerVersion> {
        let operation = "ask the API server for its version";
        let access = Access { verb: "get", group: "", resource: "nonresourceurls", namespace: "" };
        let answer = self.get("/version", operation, &access, super::MAX_BYTES).await?;
        let date = answer.date();
        let said: Value = answer.json(operation)?;
        let version = said["gitVersion"].as_str().unwrap_or_default();
        Ok(ServerVersion { version: super::one_line(version, 60), date })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_s_kind_leads_to_its_resource_in_any_version_of_its_group() {
        assert_eq!(Resource::of("apps/v1", "ReplicaSet"), Some(Resource::REPLICA_SETS));
        assert_eq!(Resource::of("batch/v1beta1", "CronJob"), Some(Resource::CRON_JOBS));
        assert_eq!(Resource::of("v1", "Pod"), Some(Resource::PODS));
        assert_eq!(Resource::of("apps/v1", "Pod"), None);
        assert_eq!(Resource::of("argoproj.io/v1alpha1", "Workflow"), None);
    }
}
