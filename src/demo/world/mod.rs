//! The Spark job of the demo: `etl-daily` in namespace `spark-prod`, whose executor 2 was OOM-killed a minute ago.
//!
//! Everything a diagnosis can find is there and agrees with itself: pod statuses, events, the driver's log, Spark's REST
//! answers, the operator's record. The dead executor's pod is there until [`World::delete_dead_executor`], as Spark deletes
//! it a moment later; nothing else changes, so the demo finds the same whenever it looks. Times are relative to the clock
//! at the start; the shapes are those of real Spark 3.5 runs.

mod logs;
mod objects;
mod rest;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apiserver::{ApiServer, Cluster};
use crate::{
    clients::http::Url,
    ops::{clock::Clock, lifecycle::Tasks},
};

/// The cluster's name: the alert's label `cluster`.
pub const CLUSTER: &str = "demo";
/// The job's namespace.
pub const NAMESPACE: &str = "spark-prod";
/// The job's `SparkApplication` and `spark.app.name`.
pub const APPLICATION: &str = "etl-daily";
/// Its `spark.app.id`.
pub const APP_ID: &str = "spark-7c1e0b6f4a5d4f3e9b0a52d1c86e94aa";
/// Its driver pod.
pub const DRIVER: &str = "etl-daily-driver";
/// What its executor pods begin with.
const EXECUTORS: &str = "etl-daily-93c1a78b2f4d6e10-exec";
/// The container image.
const IMAGE: &str = "registry.example.org/spark:3.5.9";
/// Port of the driver's UI.
const UI_PORT: u16 = 4040;

/// The running world.
#[derive(Clone)]
pub struct World {
    /// Its Kubernetes API, plain HTTP on loopback.
    pub kube_url: Url,
    /// The webhook body Alertmanager would send about it (version 4).
    pub alert: Value,
    /// Handle to change it.
    pub cluster: Cluster,
}

impl World {
    /// What Spark does with a dead executor: its pod goes, and its log with it.
    pub fn delete_dead_executor(&self) -> bool {
        self.cluster.delete("pods", NAMESPACE, &executor(2))
    }
}

/// When things happened.
#[derive(Clone, Copy)]
struct Times {
    now: Timestamp,
    submitted: Timestamp,
    stage: Timestamp,
    killed: Timestamp,
}

impl Times {
    fn new(now: Timestamp) -> Self {
        // A clock before 1970 plus fifteen minutes is nobody's.
        let ago = |seconds| {
            now.checked_sub(Duration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH)
        };
        Self { now, submitted: ago(840), stage: ago(300), killed: ago(60) }
    }
}

/// Builds the world and serves its API until the process drains.
pub async fn start(tasks: &Tasks, clock: &Clock) -> anyhow::Result<World> {
    let times = Times::new(clock.now());
    let cluster = Cluster::new(clock);
    objects::fill(&cluster, times)?;
    logs::fill(&cluster, times);
    rest::fill(&cluster, times);
    let server = ApiServer::start(tasks, cluster.clone()).await?;
    Ok(World { kube_url: server.url, alert: alert(times), cluster })
}

fn executor(id: u8) -> String {
    format!("{EXECUTORS}-{id}")
}

fn alert(times: Times) -> Value {
    let labels = json!({
        "alertname": "SparkExecutorOOMKilled",
        "application_id": APP_ID,
        "cluster": CLUSTER,
        "container": "spark-kubernetes-executor",
        "job": "kube-state-metrics",
        "namespace": NAMESPACE,
        "pod": executor(2),
        "severity": "critical",
        "team": "data-platform",
    });
    let annotations = json!({
        "summary": format!("Executor {} of {APPLICATION} was OOM-killed", executor(2)),
        "description": "A Spark executor went over its memory limit; its tasks are retried on the others.",
        "runbook_url": "https://runbooks.example.org/spark/executor-oom",
    });
    let group = json!({ "alertname": "SparkExecutorOOMKilled", "namespace": NAMESPACE });
    json!({
        "receiver": "paramedic",
        "status": "firing",
        "alerts": [{
            "status": "firing",
            "labels": labels,
            "annotations": annotations,
            "startsAt": times.killed.to_string(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=kube_pod_container_status_last_terminated_reason&g0.tab=1",
            "fingerprint": "5ef77f1f8a3ecfc1",
        }],
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://alertmanager.example.org:9093",
        "version": "4",
        "groupKey": format!("{{}}:{{alertname=\"SparkExecutorOOMKilled\", namespace=\"{NAMESPACE}\"}}"),
        "truncatedAlerts": 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_has_the_shape_of_a_real_webhook() {
        let real: Value = serde_json::from_str(include_str!(
            "../../../tests/fixtures/alertmanager/firing-driver-oom.json"
        ))
        .unwrap();
        let ours = alert(Times::new("2026-11-23T03:15:00Z".parse().unwrap()));
        let keys = |value: &Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&ours), keys(&real));
        assert_eq!(keys(&ours["alerts"][0]), keys(&real["alerts"][0]));
        assert_eq!(ours["alerts"][0]["startsAt"], "2026-11-23T03:14:00Z");
    }
}
