//! Events, single objects of any kind, Spark applications, and the API server's proxy.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::api::ObjectList;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Access, Client, Listed, path, query};
use crate::clients::{Error, Kind, Result, http::Response};

/// Most events that are read for one question.
const MAX_EVENTS: usize = 2_000;
const EVENT_PAGE: usize = 500;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub severity: String,
    /// `BackOff`, `FailedScheduling`, `OOMKilling`.
    pub reason: String,
    /// Kind of the object it is about: `Pod`.
    pub kind: String,
    /// Name of the object it is about.
    pub name: String,
    /// What happened, in words.
    pub message: String,
    /// How often.
    pub count: u64,
    /// First time, RFC 3339.
    pub first: String,
    /// Last time, RFC 3339.
    pub last: String,
    /// Who reported it: `kubelet`.
    pub source: String,
    /// Last time.
    #[serde(skip)]
    pub at: Option<Timestamp>,
}

impl From<core::Event> for Event {
    fn from(event: core::Event) -> Self {
        let series = event.series.unwrap_or_default();
        let created = event.metadata.creation_timestamp.map(|t| t.0);
        let once = event.event_time.map(|t| t.0);
        let last = series.last_observed_time.map(|t| t.0).or(event.last_timestamp.map(|t| t.0));
        let (first, last) =
            (event.first_timestamp.map(|t| t.0).or(once).or(created), last.or(once).or(created));
        let count = series.count.or(event.count).unwrap_or(1);
        let source = event.source.and_then(|s| s.component).filter(|s| !s.is_empty());
        let text = |t: Option<Timestamp>| t.map(|t| t.to_string()).unwrap_or_default();
        Self {
            severity: event.type_.unwrap_or_default(),
            reason: event.reason.unwrap_or_default(),
            kind: event.involved_object.kind.unwrap_or_default(),
            name: event.involved_object.name.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
            count: u64::try_from(count).unwrap_or(1).max(1),
            first: text(first),
            last: text(last),
            source: source.or(event.reporting_component).unwrap_or_default(),
            at: last,
        }
    }
}

/// A `SparkApplication` of the kubeflow operator (`sparkoperator.k8s.io/v1beta2`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SparkApplication {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `RUNNING`, `FAILED`, `SUBMISSION_FAILED`; empty while the operator has not seen it.
    pub state: String,
    /// Why it failed, in the operator's words.
    pub error_message: String,
    /// `spark.app.id`.
    pub app_id: String,
    /// The driver pod's name.
    pub driver_pod: String,
    /// Runs so far.
    pub execution_attempts: i64,
    /// Submissions so far.
    pub submission_attempts: i64,
    /// Last submission, RFC 3339.
    pub last_submission: String,
    /// End of the last run, RFC 3339.
    pub terminated: String,
    /// Service in front of the Spark UI.
    #[serde(skip)]
    pub ui_service: String,
    /// Its port.
    #[serde(skip)]
    pub ui_port: u16,
}

impl SparkApplication {
    /// Reads the object as the API server gives it.
    pub fn from_object(object: &Value) -> Self {
        let text = |pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        Self {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            state: text("/status/applicationState/state"),
            error_message: text("/status/applicationState/errorMessage"),
            app_id: text("/status/sparkApplicationId"),
            driver_pod: text("/status/driverInfo/podName"),
            execution_attempts: number("/status/executionAttempts"),
            submission_attempts: number("/status/submissionAttempts"),
            last_submission: text("/status/lastSubmissionAttemptTime"),
            terminated: text("/status/terminationTime"),
            ui_service: text("/status/driverInfo/webUIServiceName"),
            ui_port: u16::try_from(number("/status/driverInfo/webUIPort")).unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
struct ResourceList {
    resources: Vec<ApiResource>,
}

#[derive(Deserialize)]
struct ApiResource {
    name: String,
    kind: String,
    namespaced: bool,
}

impl Client {
    /// Events of a namespace; of one object when `name` is not empty. Oldest first.
    pub async fn events(&self, namespace: &str, name: &str) -> Result<Listed<Event>> {
        let (operation, fields) = match name {
            "" => (format!("list the events of namespace {namespace}"), String::new()),
            name => (
                format!("list the events of {namespace}/{name}"),
                format!("involvedObject.name={name}"),
            ),
        };
        let base = path(&["api", "v1", "namespaces", namespace, "events"], &operation)?;
        let access = Access { verb: "list", group: "", resource: "events", namespace };
        let (mut items, mut token) = (vec![], String::new());
        loop {
            let page = EVENT_PAGE.to_string();
            let query =
                query(&[("fieldSelector", &fields), ("limit", &page), ("continue", &token)]);
            let list: ObjectList<core::Event> =
                self.get_json(&format!("{base}{query}"), &operation, &access).await?;
            items.extend(list.items.into_iter().map(Event::from));
            token = list.metadata.continue_.unwrap_or_default();
            if token.is_empty() || items.len() >= MAX_EVENTS {
                items.sort_by_key(|event: &Event| event.at);
                return Ok(Listed { items, cut: !token.is_empty() });
            }
        }
    }

    /// Any object. Secrets are refused: nothing here ever needs one.
    pub async fn object(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value> {
        let operation = format!("read {kind} {namespace}/{name}");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let root = match group {
            "" => path(&["api", version], &operation)?,
            group => path(&["apis", group, version], &operation)?,
        };
        let discovery =
            Access { verb: "get", group: "", resource: "nonresourceurls", namespace: "" };
        let known: ResourceList = self.get_json(&root, &operation, &discovery).await?;
        let found = known.resources.iter().find(|r| r.kind == kind && !r.name.contains('/'));
        let resource = found.ok_or_else(|| {
            let reason = format!("the cluster knows no kind `{kind}` in {api_version}");
            Error::new(Kind::NotFound, &operation, reason)
        })?;
        if resource.name == "secrets" {
            return Err(Error::new(Kind::Denied, &operation, "secrets are never read"));
        }
        let (path, namespace) = if resource.namespaced {
            (path(&["namespaces", namespace, &resource.name, name], &operation)?, namespace)
        } else {
            (path(&[&resource.name, name], &operation)?, "")
        };
        let access = Access { verb: "get", group, resource: &resource.name, namespace };
        self.get_json(&format!("{root}{path}"), &operation, &access).await
    }

    /// One `SparkApplication`.
    pub async fn spark_application(&self, namespace: &str, name: &str) -> Result<SparkApplication> {
        let group = "sparkoperator.k8s.io";
        let operation = format!("read SparkApplication {namespace}/{name}");
        let segments =
            ["apis", group, "v1beta2", "namespaces", namespace, "sparkapplications", name];
        let path = path(&segments, &operation)?;
        let access = Access { verb: "get", group, resource: "sparkapplications", namespace };
        let object: Value = self.get_json(&path, &operation, &access).await?;
        Ok(SparkApplication::from_object(&object))
    }

    /// A GET through the API server to a pod's port; `rest` is an absolute path with its query, already encoded.
    pub async fn proxy_pod(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        rest: &str,
        operation: &str,
    ) -> Result<Response> {
        let place = format!("{pod}:{port}");
        let base =
            path(&["api", "v1", "namespaces", namespace, "pods", &place, "proxy"], operation)?;
        let access = Access { verb: "get", group: "", resource: "pods/proxy", namespace };
        self.get(&format!("{base}{rest}"), operation, &access, super::MAX_BYTES).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_counts_and_dates_itself() {
        let event: core::Event = serde_json::from_str(
            r#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"etl-exec-1"},"reason":"BackOff","type":"Warning",
            "message":"Back-off pulling image","eventTime":"2026-11-23T05:00:00.000000Z","reportingComponent":"kubelet",
            "series":{"count":7,"lastObservedTime":"2026-11-23T05:09:00.000000Z"}}"#,
        )
        .unwrap();
        let event = Event::from(event);
        assert_eq!((event.count, event.last.as_str()), (7, "2026-11-23T05:09:00Z"));
        assert_eq!(
            (event.first.as_str(), event.source.as_str()),
            ("2026-11-23T05:00:00Z", "kubelet")
        );
    }

    #[test]
    fn an_application_the_operator_has_not_seen_is_empty_not_an_error() {
        let object = serde_json::json!({ "metadata": { "name": "etl" }, "status": { "executionAttempts": "x" } });
        let application = SparkApplication::from_object(&object);
        assert_eq!((application.name.as_str(), application.state.as_str()), ("etl", ""));
        assert_eq!(application.execution_attempts, 0);
    }
}
