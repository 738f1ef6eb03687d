//! The nodes there are, and which of them takes a pod.

use paramedic::demo::apiserver::Cluster;
use serde_json::{Value, json};

/// The names of the nodes.
const NODES: [&str; 2] = ["node-a", "node-b"];

/// Each with room for four cores and 8 GiB.
pub fn nodes() -> impl Iterator<Item = Value> {
    NODES.into_iter().map(|name| {
        let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": {},
            "status": {
                "capacity": room, "allocatable": room,
                "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
                "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            },
        })
    })
}

pub(super) enum Verdict {
    Fits(String),
    /// Why no node takes it, in the scheduler's words.
    No(String),
}

/// The first node with room that the pod's selector fits; the emptier one first.
pub(super) fn choose(cluster: &Cluster, pod: &Value) -> Verdict {
    let (nodes, pods) = (cluster.list("nodes"), cluster.list("pods"));
    let (mut cpu, mut memory, mut elsewhere, mut cordoned) = (0, 0, 0, 0);
    let mut fitting = vec![];
    for node in &nodes {
        let name = node["metadata"]["name"].as_str().unwrap();
        let here = pods.iter().filter(|other| {
            let ended = matches!(other["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            other["spec"]["nodeName"] == name && !ended
        });
        let used: Vec<(i64, i64)> = here.map(requests).collect();
        let (used_cpu, used_memory) = used.iter().fold((0, 0), |(c, m), (dc, dm)| (c + dc, m + dm));
        let (wants_cpu, wants_memory) = requests(pod);
        let room = &node["status"]["allocatable"];
        let selector = pod["spec"]["nodeSelector"].as_object();
        let selected = selector
            .into_iter()
            .flatten()
            .all(|(key, value)| node["metadata"]["labels"][key] == *value);
        if node["spec"]["unschedulable"] == true {
            cordoned += 1;
        } else if !selected {
            elsewhere += 1;
        } else if used_cpu + wants_cpu > milli(&room["cpu"]) {
            cpu += 1;
        } else if used_memory + wants_memory > milli(&room["memory"]) {
            memory += 1;
        } else {
            fitting.push((used.len(), name.to_owned()));
        }
    }
    if let Some((_, name)) = fitting.into_iter().min() {
        return Verdict::Fits(name);
    }
    let reasons: Vec<String> = [
        (cpu, "Insufficient cpu"),
        (memory, "Insufficient memory"),
        (elsewhere, "node(s) didn't match Pod's node affinity/selector"),
        (cordoned, "node(s) were unschedulable"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, why)| format!("{count} {why}"))
    .collect();
    let total = nodes.len();
    Verdict::No(format!(
        "0/{total} nodes are available: {}. preemption: 0/{total} nodes are available: {total} No preemption victims found for incoming pod.",
        reasons.join(", ")
    ))
}

/// What a pod asks for: thousandths of a core, thousandths of a byte.
fn requests(pod: &Value) -> (i64, i64) {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.fold((0, 0), |(cpu, memory), container| {
        let asked = &container["resources"]["requests"];
        (cpu + milli(&asked["cpu"]), memory + milli(&asked["memory"]))
    })
}

/// A quantity in thousandths; nothing is 0.
fn milli(quantity: &Value) -> i64 {
    let Some(text) = quantity.as_str() else { return 0 };
    paramedic::demo::apiserver::quantity(text).unwrap_or_else(|| panic!("`{text}` is no quantity"))
}
