//! Kubernetes objects of the demo's job: driver, three executors, their events, the operator's record.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{APP_ID, APPLICATION, DRIVER, IMAGE, NAMESPACE, Times, UI_PORT, executor};
use crate::demo::apiserver::{Cluster, stamp};

pub(super) fn fill(cluster: &Cluster, times: Times) -> anyhow::Result<()> {
    cluster.put(
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
    )?;
    for node in ["node-a", "node-b"] {
        cluster.put(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": node },
            "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] },
        }))?;
    }
    cluster.put(application(times))?;
    cluster.put(driver(times))?;
    let killed = stamp(times.killed);
    let running = |at: Timestamp| json!({ "running": { "startedAt": stamp(at) } });
    let oom = json!({ "terminated": {
        "exitCode": 137, "reason": "OOMKilled", "startedAt": stamp(times.submitted), "finishedAt": killed,
    } });
    cluster.put(executor_pod(
        1,
        "node-a",
        times.submitted,
        "Running",
        &running(times.submitted),
    ))?;
    cluster.put(executor_pod(2, "node-b", times.submitted, "Failed", &oom))?;
    cluster.put(executor_pod(3, "node-b", times.killed, "Running", &running(times.killed)))?;
    for event in events(times) {
        cluster.put(event)?;
    }
    Ok(())
}

fn application(times: Times) -> Value {
    json!({
        "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication",
        "metadata": { "name": APPLICATION, "namespace": NAMESPACE, "creationTimestamp": stamp(times.submitted) },
        "spec": {
            "type": "Scala", "mode": "cluster", "image": IMAGE, "sparkVersion": "3.5.9",
            "mainClass": "org.example.etl.Daily", "mainApplicationFile": "local:///opt/app/etl.jar",
            "driver": { "cores": 1, "memory": "2g", "serviceAccount": "spark" },
            "executor": { "cores": 2, "instances": 2, "memory": "4g", "memoryOverhead": "384m" },
        },
        "status": {
            "applicationState": { "state": "RUNNING" },
            "sparkApplicationId": APP_ID,
            "submissionAttempts": 1, "executionAttempts": 1,
            "lastSubmissionAttemptTime": stamp(times.submitted),
            "terminationTime": null,
            "driverInfo": { "podName": DRIVER, "webUIServiceName": format!("{APPLICATION}-ui-svc"), "webUIPort": UI_PORT },
            "executorState": { executor(1): "RUNNING", executor(2): "FAILED", executor(3): "RUNNING" },
        },
    })
}

fn labels(role: &str) -> Value {
    json!({
        "spark-role": role,
        "spark-app-selector": APP_ID,
        "spark-app-name": APPLICATION,
        "spark-version": "3.5.9",
        "sparkoperator.k8s.io/app-name": APPLICATION,
        "sparkoperator.k8s.io/launched-by-spark-operator": "true",
        "team": "data-platform",
    })
}

fn driver(times: Times) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": DRIVER, "namespace": NAMESPACE, "labels": labels("driver"),
            "creationTimestamp": stamp(times.submitted),
        },
        "spec": {
            "nodeName": "node-a", "restartPolicy": "Never",
            "containers": [{
                "name": "spark-kubernetes-driver", "image": IMAGE,
                "args": ["driver", "--properties-file", "/opt/spark/conf/spark.properties", "--class", "org.example.etl.Daily", "local:///opt/app/etl.jar"],
                "ports": [
                    { "name": "driver-rpc-port", "containerPort": 7078 }, { "name": "blockmanager", "containerPort": 7079 },
                    { "name": "spark-ui", "containerPort": UI_PORT },
                ],
                "resources": { "limits": { "memory": "2432Mi" }, "requests": { "cpu": "1", "memory": "2432Mi" } },
            }],
        },
        "status": {
            "phase": "Running", "podIP": "10.42.0.17", "hostIP": "10.0.0.11", "startTime": stamp(times.submitted),
            "containerStatuses": [status("spark-kubernetes-driver", &json!({ "running": { "startedAt": stamp(times.submitted) } }))],
        },
    })
}

fn executor_pod(id: u8, node: &str, created: Timestamp, phase: &str, state: &Value) -> Value {
    let mut labels = labels("executor");
    labels["spark-exec-id"] = json!(id.to_string());
    labels["spark-exec-resourceprofile-id"] = json!("0");
    if phase == "Failed" {
        labels["spark-exec-inactive"] = json!("true");
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": executor(id), "namespace": NAMESPACE, "labels": labels, "creationTimestamp": stamp(created),
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": DRIVER, "controller": true,
                "uid": "00000000-0000-4000-8000-000000001005" }],
        },
        "spec": {
            "nodeName": node, "restartPolicy": "Never",
            "containers": [{
                "name": "spark-kubernetes-executor", "image": IMAGE, "args": ["executor"],
                "ports": [{ "name": "blockmanager", "containerPort": 7079 }],
                "resources": { "limits": { "memory": "4480Mi" }, "requests": { "cpu": "2", "memory": "4480Mi" } },
            }],
        },
        "status": {
            "phase": phase, "podIP": format!("10.42.1.{}", 20 + id), "startTime": stamp(created),
            "containerStatuses": [status("spark-kubernetes-executor", state)],
        },
    })
}

fn status(name: &str, state: &Value) -> Value {
    let running = state["running"].is_object();
    json!({
        "name": name, "image": IMAGE, "imageID": "", "ready": running, "started": running, "restartCount": 0,
        "state": state,
    })
}

fn events(times: Times) -> Vec<Value> {
    let event = |name: &str,
                 about: (&str, &str),
                 kind: &str,
                 reason: &str,
                 message: &str,
                 at: Timestamp,
                 by: &str| {
        let (object, object_name) = about;
        let api = if object == "Pod" { "v1" } else { "sparkoperator.k8s.io/v1beta2" };
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": format!("{object_name}.{name}"), "namespace": NAMESPACE, "creationTimestamp": stamp(at) },
            "involvedObject": { "apiVersion": api, "kind": object, "name": object_name, "namespace": NAMESPACE },
            "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": stamp(at), "lastTimestamp": stamp(at), "source": { "component": by },
        })
    };
    let dead = executor(2);
    let fresh = executor(3);
    let failed = format!("Executor {dead} failed with ExitCode: 137, Reason: OOMKilled");
    vec![
        event(
            "18f0a1",
            ("SparkApplication", APPLICATION),
            "Normal",
            "SparkApplicationSubmitted",
            &format!("SparkApplication {APPLICATION} was submitted successfully"),
            times.submitted,
            "spark-operator",
        ),
        event(
            "18f0a2",
            ("Pod", &dead),
            "Normal",
            "Scheduled",
            &format!("Successfully assigned {NAMESPACE}/{dead} to node-b"),
            times.submitted,
            "default-scheduler",
        ),
        event(
            "18f0a3",
            ("SparkApplication", APPLICATION),
            "Warning",
            "SparkExecutorFailed",
            &failed,
            times.killed,
            "spark-operator",
        ),
        event(
            "18f0a4",
            ("Pod", &fresh),
            "Normal",
            "Scheduled",
            &format!("Successfully assigned {NAMESPACE}/{fresh} to node-b"),
            times.killed,
            "default-scheduler",
        ),
        event(
            "18f0a5",
            ("Pod", &fresh),
            "Normal",
            "Started",
            "Started container spark-kubernetes-executor",
            times.killed,
            "kubelet",
        ),
    ]
}
