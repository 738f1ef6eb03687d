//! What the kubelet writes: pod statuses and events, in the shapes of the real one.

use paramedic::{demo::apiserver::Cluster, ops::clock::Clock};
use serde_json::{Value, json};

use super::Pod;

/// How a container ended.
pub(super) struct Ended {
    pub code: i32,
    pub reason: &'static str,
    pub started: String,
    pub finished: String,
}

impl Ended {
    fn state(&self) -> Value {
        json!({ "terminated": {
            "exitCode": self.code, "reason": self.reason, "startedAt": self.started, "finishedAt": self.finished,
        } })
    }
}

/// The time, as Kubernetes writes it.
pub(super) fn now(clock: &Clock) -> String {
    clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// No node takes it. True when that is news.
pub(super) fn unplaced(cluster: &Cluster, pod: &Pod, why: &str) -> bool {
    let mut news = false;
    change(cluster, pod, |object| {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        });
        news = set(object, &condition);
    });
    news
}

pub(super) fn placed(cluster: &Cluster, pod: &Pod, node: &str) {
    change(cluster, pod, |object| {
        object["spec"]["nodeName"] = json!(node);
        set(object, &json!({ "type": "PodScheduled", "status": "True" }));
    });
}

pub(super) fn waiting(cluster: &Cluster, pod: &Pod, reason: &str, message: &str) {
    change(cluster, pod, |object| {
        let mut state = json!({ "waiting": { "reason": reason } });
        if !message.is_empty() {
            state["waiting"]["message"] = json!(message);
        }
        container(object, pod, false, &state);
        ready(object, false);
    });
}

pub(super) fn running(cluster: &Cluster, pod: &Pod, started: &str) {
    change(cluster, pod, |object| {
        let status = &mut object["status"];
        status["phase"] = json!("Running");
        status["podIP"] = json!(pod.ip);
        status["podIPs"] = json!([{ "ip": pod.ip }]);
        status["hostIP"] = json!("127.0.0.1");
        if status["startTime"].is_null() {
            status["startTime"] = json!(started);
        }
        container(object, pod, true, &json!({ "running": { "startedAt": started } }));
        ready(object, true);
    });
}

/// It ended and will start again.
pub(super) fn restarts(cluster: &Cluster, pod: &Pod, ended: &Ended) {
    change(cluster, pod, |object| {
        let message = format!(
            "back-off 10s restarting failed container={} pod={}_{}",
            pod.container, pod.name, pod.namespace
        );
        let state = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
        container(object, pod, false, &state);
        object["status"]["containerStatuses"][0]["lastState"] = ended.state();
        ready(object, false);
    });
}

/// It ended for good.
pub(super) fn ended(cluster: &Cluster, pod: &Pod, ended: &Ended) {
    change(cluster, pod, |object| {
        container(object, pod, false, &ended.state());
        let failed = ended.code != 0 || pod.evicted.is_some();
        object["status"]["phase"] = json!(if failed { "Failed" } else { "Succeeded" });
        if let Some(message) = &pod.evicted {
            object["status"]["reason"] = json!("Evicted");
            object["status"]["message"] = json!(message);
        }
        ready(object, false);
    });
}

/// Records what happened to a pod.
pub(super) fn event(
    cluster: &Cluster,
    clock: &Clock,
    pod: &Pod,
    kind: &str,
    reason: &str,
    message: &str,
) {
    let Some(object) = cluster.get("pods", &pod.namespace, &pod.name) else { return };
    let (at, id) = (now(clock), super::super::ports::serial());
    let component = if matches!(reason, "Scheduled" | "FailedScheduling") {
        "default-scheduler"
    } else {
        "kubelet"
    };
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": format!("{}.{id:016x}", pod.name), "namespace": pod.namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": pod.namespace,
            "uid": object["metadata"]["uid"],
        },
        "type": kind, "reason": reason, "message": message, "count": 1, "firstTimestamp": at, "lastTimestamp": at,
        "source": { "component": component, "host": object["spec"]["nodeName"] },
        "reportingComponent": component, "reportingInstance": "",
    });
    cluster.put(event).unwrap();
}

fn change(cluster: &Cluster, pod: &Pod, change: impl FnOnce(&mut Value)) {
    // It may have been deleted in between; the next look sees that.
    cluster.update("pods", &pod.namespace, &pod.name, change);
}

fn container(object: &mut Value, pod: &Pod, ready: bool, state: &Value) {
    let image = object["spec"]["containers"][0]["image"].clone();
    let last = object["status"]["containerStatuses"][0]["lastState"].clone();
    object["status"]["containerStatuses"] = json!([{
        "name": pod.container, "image": image, "imageID": "", "ready": ready, "started": ready,
        "restartCount": pod.restarts, "state": state, "lastState": if last.is_null() { json!({}) } else { last },
    }]);
}

fn ready(object: &mut Value, ready: bool) {
    let status = if ready { "True" } else { "False" };
    set(object, &json!({ "type": "Initialized", "status": "True" }));
    for kind in ["Ready", "ContainersReady"] {
        set(object, &json!({ "type": kind, "status": status }));
    }
}

/// Sets a condition; true when it changed.
fn set(object: &mut Value, condition: &Value) -> bool {
    let status = &mut object["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let list = status["conditions"].as_array_mut().unwrap();
    match list.iter_mut().find(|old| old["type"] == condition["type"]) {
        Some(old) if old == condition => false,
        Some(old) => {
            *old = condition.clone();
            true
        }
        None => {
            list.push(condition.clone());
            true
        }
    }
}
