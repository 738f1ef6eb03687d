//! Whoever runs a Spark application, in one form: the kubeflow operator, Apache's operator, Spark Connect servers of the
//! kubeflow operator, and plain `spark-submit`, of which only the pods tell.
//!
//! Which operators a cluster has is asked first (`/apis`, which every account may read): a role that grants nothing on a
//! group nobody installed would else look like a missing permission.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clients::{
    Error, Kind, Result,
    kube::{Client, Groups, Pod, PodQuery, Resource},
};

/// Who runs an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// A `SparkApplication` of the kubeflow operator (`sparkoperator.k8s.io`).
    #[default]
    Kubeflow,
    /// A `SparkApplication` of Apache's operator (`spark.apache.org`).
    Apache,
    /// A `SparkConnect` server of the kubeflow operator.
    Connect,
    /// Nobody: `spark-submit` made the pods.
    Submit,
}

/// What whoever runs an application says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Record {
    /// Who runs it.
    pub runner: Runner,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// In the operator's words: `RUNNING`, `FAILED`; `RunningHealthy`; `NotReady`. A pod's phase where nobody runs it. Empty
    /// while the operator has not seen it.
    pub state: String,
    /// Why it failed, in the operator's words.
    pub error_message: String,
    /// `spark.app.id`; empty when it does not say.
    pub app_id: String,
    /// The driver pod's name, or the Connect server's; empty when there is none.
    pub driver_pod: String,
    /// Label selector of its executors; empty when not known.
    pub executors: String,
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

const KUBEFLOW: &str = "sparkoperator.k8s.io";
const APACHE: &str = "spark.apache.org";

impl Runner {
    /// In the order they are looked for.
    const OPERATORS: [Self; 3] = [Self::Kubeflow, Self::Apache, Self::Connect];

    /// The label by which its pods name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kubeflow => "sparkoperator.k8s.io/app-name",
            Self::Apache => "spark.operator/spark-app-name",
            Self::Connect => "sparkoperator.k8s.io/connect-name",
            Self::Submit => "spark-app-name",
        }
    }

    /// Kind of its object, for messages.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kubeflow | Self::Apache => "SparkApplication",
            Self::Connect => "SparkConnect",
            Self::Submit => "driver pod of",
        }
    }

    /// Who runs the application a pod belongs to, and its name there.
    pub fn of(labels: &BTreeMap<String, String>) -> Option<(Self, String)> {
        let all = [Self::Kubeflow, Self::Connect, Self::Apache, Self::Submit];
        all.into_iter().find_map(|runner| Some((runner, labels.get(runner.label())?.clone())))
    }

    /// True for the role of a pod in which a driver runs.
    pub fn drives(role: &str) -> bool {
        matches!(role, "driver" | "connect-server")
    }

    /// Its resource in the version this cluster serves; `None` when the cluster has it not.
    fn resource(self, served: &Groups) -> Option<Resource> {
        let (resource, group, versions) = match self {
            Self::Kubeflow => (Resource::SPARK_APPLICATIONS, KUBEFLOW, ["v1beta2"].as_slice()),
            Self::Apache => {
                (Resource::APACHE_APPLICATIONS, APACHE, ["v1", "v1beta1", "v1alpha1"].as_slice())
            }
            Self::Connect => (Resource::SPARK_CONNECTS, KUBEFLOW, ["v1alpha1"].as_slice()),
            Self::Submit => return None,
        };
        let version = versions.iter().find(|version| served.has(group, version))?;
        Some(Resource { version, ..resource })
    }
}

/// Finds an application by the name of its operator's object, or by the `spark.app.name` of its driver pod. `NotFound` when
/// nobody knows it; an operator that could not be asked is an error only then.
pub async fn find(kube: &Client, namespace: &str, name: &str) -> Result<Record> {
    let mut refused = None;
    let served = served(kube).await;
    for runner in Runner::OPERATORS {
        let Some(resource) = runner.resource(&served) else { continue };
        match kube.read(resource, namespace, name).await {
            Ok(object) => return complete(kube, Record::of(runner, &object)).await,
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match by_pods(kube, namespace, name).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(refused.unwrap_or_else(|| unknown(namespace, name))),
        Err(error) => Err(refused.unwrap_or(error)),
    }
}

/// The record of an application whose runner is known; `NotFound` when the record is gone.
pub async fn of_runner(
    kube: &Client,
    runner: Runner,
    namespace: &str,
    name: &str,
) -> Result<Record> {
    if runner == Runner::Submit {
        let found = by_pods(kube, namespace, name).await?;
        return found.ok_or_else(|| unknown(namespace, name));
    }
    let resource = runner.resource(&served(kube).await).ok_or_else(|| unknown(namespace, name))?;
    Ok(Record::of(runner, &kube.read(resource, namespace, name).await?))
}

fn unknown(namespace: &str, name: &str) -> Error {
    let operation = format!("find Spark application {namespace}/{name}");
    Error::new(Kind::NotFound, operation, "no operator knows it, and no driver pod has its name")
}

/// What the cluster serves; when it does not say, the kubeflow operator is taken for granted, which is what there is most.
async fn served(kube: &Client) -> Groups {
    let usual = || Groups(BTreeSet::from([(KUBEFLOW.to_owned(), "v1beta2".to_owned())]));
    kube.groups().await.unwrap_or_else(|_| usual())
}

/// Adds what the pods know and the operator does not say.
async fn complete(kube: &Client, mut record: Record) -> Result<Record> {
    if !record.app_id.is_empty() || record.name.len() > 63 || record.runner == Runner::Kubeflow {
        return Ok(record.with_selector());
    }
    let labels = format!("{}={}", record.runner.label(), record.name);
    // Without its pods the record is still worth having.
    let pods = list(kube, &record.namespace, labels).await.unwrap_or_default();
    let newest = |pods: &[Pod], wanted: &dyn Fn(&&Pod) -> bool| {
        pods.iter().filter(wanted).max_by_key(|pod| pod.created).cloned()
    };
    if let Some(driver) = newest(&pods, &|pod| Runner::drives(&pod.role)) {
        record.app_id.clone_from(&driver.app_id);
        if record.driver_pod.is_empty() {
            record.driver_pod = driver.name;
        }
    }
    if let (true, Some(pod)) = (record.app_id.is_empty(), newest(&pods, &|p| !p.app_id.is_empty()))
    {
        record.app_id = pod.app_id;
    }
    Ok(record.with_selector())
}

async fn by_pods(kube: &Client, namespace: &str, name: &str) -> Result<Option<Record>> {
    if name.len() > 63 {
        return Ok(None);
    }
    // An operator's object may be gone while its pods are still there.
    for runner in [Runner::Kubeflow, Runner::Apache, Runner::Connect, Runner::Submit] {
        let role = if runner == Runner::Connect { "connect-server" } else { "driver" };
        let labels = format!("{}={name},spark-role={role}", runner.label());
        let newest = list(kube, namespace, labels).await?.into_iter().max_by_key(|pod| pod.created);
        if let Some(driver) = newest {
            return Ok(Some(Record::of_driver(runner, name, &driver)));
        }
    }
    Ok(None)
}

async fn list(kube: &Client, namespace: &str, labels: String) -> Result<Vec<Pod>> {
    let query = PodQuery { namespace: namespace.to_owned(), labels, ..PodQuery::default() };
    kube.pods(&query).await.map(|listed| listed.items)
}

impl Record {
    /// Reads an operator's object as the API server gives it; `None` for objects of no operator.
    pub fn of_object(object: &Value) -> Option<Self> {
        let group = object["apiVersion"].as_str().unwrap_or_default().split('/').next();
        let runner = match (object["kind"].as_str().unwrap_or_default(), group) {
            ("SparkApplication", Some(APACHE)) => Runner::Apache,
            ("SparkApplication", _) => Runner::Kubeflow,
            ("SparkConnect", _) => Runner::Connect,
            _ => return None,
        };
        Some(Self::of(runner, object))
    }

    fn of(runner: Runner, object: &Value) -> Self {
        let text = |pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let base = Self {
            runner,
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            ..Self::default()
        };
        match runner {
            Runner::Kubeflow => Self {
                state: text("/status/applicationState/state"),
                error_message: text("/status/applicationState/errorMessage"),
                app_id: text("/status/sparkApplicationId"),
                driver_pod: text("/status/driverInfo/podName"),
                execution_attempts: number("/status/executionAttempts").unwrap_or(0),
                submission_attempts: number("/status/submissionAttempts").unwrap_or(0),
                last_submission: text("/status/lastSubmissionAttemptTime"),
                terminated: text("/status/terminationTime"),
                ui_service: text("/status/driverInfo/webUIServiceName"),
                ui_port: number("/status/driverInfo/webUIPort").map_or(0, port),
                ..base
            },
            Runner::Apache => {
                let attempt = number("/status/currentAttemptSummary/attemptInfo/id");
                Self {
                    state: text("/status/currentState/currentStateSummary"),
                    error_message: text("/status/currentState/message"),
                    execution_attempts: attempt.map_or(0, |id| id.saturating_add(1)),
                    ..base
                }
            }
            Runner::Connect => Self {
                state: text("/status/state"),
                error_message: not_ready(object),
                driver_pod: text("/status/server/podName"),
                last_submission: text("/status/startTime"),
                ui_service: text("/status/server/serviceName"),
                ui_port: 4040,
                ..base
            },
            Runner::Submit => base,
        }
    }

    fn of_driver(runner: Runner, name: &str, driver: &Pod) -> Self {
        Self {
            runner,
            name: name.to_owned(),
            namespace: driver.namespace.clone(),
            state: driver.phase.clone(),
            error_message: driver.message.clone(),
            app_id: driver.app_id.clone(),
            driver_pod: driver.name.clone(),
            ..Self::default()
        }
        .with_selector()
    }

    fn with_selector(mut self) -> Self {
        self.executors = match (self.runner, self.app_id.as_str()) {
            (_, "") if self.name.is_empty() || self.name.len() > 63 => String::new(),
            (runner, "") => format!("{}={},spark-role=executor", runner.label(), self.name),
            (_, id) => format!("spark-app-selector={id},spark-role=executor"),
        };
        self
    }
}

fn port(number: i64) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

/// Why a Connect server is not ready, from its conditions.
fn not_ready(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let bad = conditions.into_iter().flatten().find(|condition| condition["status"] == "False");
    bad.and_then(|condition| condition["message"].as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_application_the_operator_has_not_seen_is_empty_not_an_error() {
        let object =
            json!({ "metadata": { "name": "etl" }, "status": { "executionAttempts": "x" } });
        for runner in Runner::OPERATORS {
            let record = Record::of(runner, &object);
            assert_eq!((record.name.as_str(), record.state.as_str()), ("etl", ""));
            assert_eq!(record.execution_attempts, 0);
        }
    }

    #[test]
    fn each_operator_s_words_become_the_same_fields() {
        let apache = json!({ "metadata": { "name": "pi", "namespace": "s" }, "status": {
            "currentState": { "currentStateSummary": "Failed", "message": "driver exited" },
            "currentAttemptSummary": { "attemptInfo": { "id": 2 } } } });
        let record = Record::of(Runner::Apache, &apache);
        assert_eq!(
            (record.state.as_str(), record.error_message.as_str(), record.execution_attempts),
            ("Failed", "driver exited", 3)
        );
        let connect = json!({ "metadata": { "name": "c" }, "status": { "state": "NotReady",
            "server": { "podName": "c-server", "serviceName": "c-server" },
            "conditions": [{ "type": "ServerPodReady", "status": "False", "message": "Server is not ready" }] } });
        let record = Record::of(Runner::Connect, &connect).with_selector();
        assert_eq!(
            (record.driver_pod.as_str(), record.error_message.as_str()),
            ("c-server", "Server is not ready")
        );
        assert_eq!(record.executors, "sparkoperator.k8s.io/connect-name=c,spark-role=executor");
    }

    #[test]
    fn an_operator_that_is_not_installed_is_not_asked() {
        let served = Groups(BTreeSet::from([(APACHE.to_owned(), "v1beta1".to_owned())]));
        assert_eq!(Runner::Kubeflow.resource(&served), None);
        assert_eq!(Runner::Apache.resource(&served).unwrap().version, "v1beta1");
    }
}
