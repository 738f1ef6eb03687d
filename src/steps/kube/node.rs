//! `kube.node`: whether a node is well, what it has left, and what Kubernetes said about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    events,
    json::{conditions, list, quantity, text},
    which::Which,
};
use crate::{
    clients::{
        self, Kind,
        kube::{Client, Event, ListQuery, Quantity, Resource, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Events kept, the newest.
const MAX_EVENTS: usize = 30;
/// Share of a resource from which a line says that it is nearly used up, per cent.
const NEARLY: i64 = 90;

/// Reads a node: conditions, taints, what its pods request of what it can give, and its events.
///
/// A node that does not exist is a finding, not a failure: spot nodes go. Requests of all pods need `list` on pods in the
/// whole cluster; without it those of the run's namespace are counted, and the output says so. Events of nodes lie in
/// the namespace `default`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name; default: the node of the run's pod or driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
}

/// The node.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// False when there is no such node (any more).
    pub exists: bool,
    /// Its kubelet reports, and says that pods can run.
    pub ready: bool,
    /// Cordoned: no new pods are put there.
    pub cordoned: bool,
    /// `MemoryPressure`, `DiskPressure`, `PIDPressure`, `NetworkUnavailable` that hold now.
    pub pressure: Vec<String>,
    /// `key=value:Effect`.
    pub taints: Vec<String>,
    /// What it gives to pods.
    pub allocatable: Amounts,
    /// What pods that have not ended ask of it; none when they could not be listed.
    pub requested: Option<Amounts>,
    /// Whose requests were counted: `all namespaces`, or `namespace spark-prod` when no more may be listed.
    pub requested_of: String,
    /// Newest last; at most the newest 30.
    pub events: Vec<Event>,
    /// What could not be read, with the reason.
    pub missing: Vec<String>,
}

/// Amounts of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Bytes of local disk.
    pub ephemeral_bytes: i64,
    /// Pods.
    pub pods: i64,
}

impl Step for Node {
    const KIND: &'static str = "kube.node";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "nodes", verb: "get" },
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "", resource: "events", verb: "list" },
    ];
    const EXAMPLE: &'static str = "name: \"{{labels.node}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let name = self.name(context).await?;
        let node = match kube.read(Resource::NODES, "", &name).await {
            Ok(node) => node,
            Err(error) if error.kind == Kind::NotFound => return Ok(gone(name)),
            Err(error) => return Err(error.into()),
        };
        let namespace = Which::target(None).namespace(context).ok();
        let (requested, events) =
            tokio::join!(requested(kube, &name, namespace), kube.events("default", &name));
        let mut output = Output::of(name, &node);
        match requested {
            Ok((amounts, of)) => (output.requested, output.requested_of) = (Some(amounts), of),
            Err(error) => output.missing.push(format!("requests: {}", error.reason)),
        }
        match events {
            Ok(listed) => {
                let mut events =
                    events::merge(listed.items.into_iter().filter(|e| e.kind == "Node"));
                events.drain(..events.len().saturating_sub(MAX_EVENTS));
                output.events = events;
            }
            Err(error) => output.missing.push(format!("events: {}", error.reason)),
        }
        let source = format!("node {}", output.name);
        let lines = output.lines(&node);
        let mut passages: Vec<Passage> =
            lines.into_iter().map(|l| Passage::new(Origin::Object, source.clone(), l)).collect();
        passages.extend(output.events.iter().map(events::passage));
        Ok(Outcome { summary: output.summary(), passages, value: output })
    }
}

impl Node {
    async fn name(&self, context: &Context<'_>) -> Result<String, Failure> {
        if let Some(input) = &self.name {
            return Ok(input.fill(context.scope)?.0);
        }
        let found = Which::target(Some(super::Role::Driver)).pods(context).await?;
        let node = found.pods.iter().map(|pod| &pod.node).find(|node| !node.is_empty());
        node.cloned()
            .ok_or_else(|| Failure::Skipped(format!("{} is on no node; set `name`", found.what)))
    }
}

fn gone(name: String) -> Outcome<Output> {
    let text = format!("Node/{name} does not exist");
    let summary = format!("node {name} does not exist (any more)");
    let passage = Passage::new(Origin::Object, format!("node {name}"), text);
    Outcome { value: Output { name, ..Output::default() }, passages: vec![passage], summary }
}

/// What pods ask of the node, and whose.
async fn requested(
    kube: &Client,
    node: &str,
    namespace: Option<String>,
) -> clients::Result<(Amounts, String)> {
    let fields = format!("spec.nodeName={node}");
    let all = ListQuery { fields, ..ListQuery::default() };
    match (kube.list(Resource::PODS, &all).await, namespace) {
        (Ok(listed), _) => Ok((sum(&listed.items), "all namespaces".to_owned())),
        (Err(error), Some(namespace)) if error.kind == Kind::Denied => {
            let of = format!("namespace {namespace}");
            let listed = kube.list(Resource::PODS, &ListQuery { namespace, ..all }).await?;
            Ok((sum(&listed.items), of))
        }
        (Err(error), _) => Err(error),
    }
}

/// Requests of pods that have not ended. An init container counts where it asks for more than all the others together.
fn sum(pods: &[Value]) -> Amounts {
    let mut total = Amounts::default();
    let live = |pod: &&Value| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    for pod in pods.iter().filter(live) {
        let of = |resource: &str| {
            let pointer = format!("/resources/requests/{resource}");
            let ask = |container: &Value| quantity(container, &pointer).unwrap_or_default();
            let all =
                list(pod, "/spec/containers").iter().map(ask).fold(Quantity(0), Quantity::plus);
            let first = list(pod, "/spec/initContainers").iter().map(ask).max().unwrap_or_default();
            let overhead = quantity(pod, &format!("/spec/overhead/{resource}")).unwrap_or_default();
            all.max(first).plus(overhead)
        };
        total.cpu_milli = total.cpu_milli.saturating_add(of("cpu").0);
        total.memory_bytes = total.memory_bytes.saturating_add(of("memory").whole());
        total.ephemeral_bytes =
            total.ephemeral_bytes.saturating_add(of("ephemeral-storage").whole());
        total.pods += 1;
    }
    total
}

impl Output {
    fn of(name: String, node: &Value) -> Self {
        let mut output = Self { name, exists: true, ..Self::default() };
        for condition in list(node, "/status/conditions").iter().take(50) {
            match (text(condition, "/type"), text(condition, "/status")) {
                ("Ready", status) => output.ready = status == "True",
                (kind, "True") => output.pressure.push(one_line(kind, 80)),
                (_, _) => {}
            }
        }
        output.cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        let taint = |taint: &Value| {
            let (key, value) = (text(taint, "/key"), text(taint, "/value"));
            let equals = if value.is_empty() { "" } else { "=" };
            one_line(&format!("{key}{equals}{value}:{}", text(taint, "/effect")), 400)
        };
        output.taints = list(node, "/spec/taints").iter().take(50).map(taint).collect();
        let of =
            |name: &str| quantity(node, &format!("/status/allocatable/{name}")).unwrap_or_default();
        output.allocatable = Amounts {
            cpu_milli: of("cpu").0,
            memory_bytes: of("memory").whole(),
            ephemeral_bytes: of("ephemeral-storage").whole(),
            pods: of("pods").whole(),
        };
        output
    }

    /// Shares that are nearly used up: name and per cent.
    fn full(&self) -> Vec<(&'static str, i64)> {
        let Some(asked) = self.requested else { return vec![] };
        let has = self.allocatable;
        let all = [
            ("cpu", asked.cpu_milli, has.cpu_milli),
            ("memory", asked.memory_bytes, has.memory_bytes),
            ("ephemeral-storage", asked.ephemeral_bytes, has.ephemeral_bytes),
            ("pods", asked.pods, has.pods),
        ];
        let share = |(name, asked, has)| {
            Some((name, Quantity(asked).percent_of(Quantity(has))?)).filter(|(_, p)| *p >= NEARLY)
        };
        all.into_iter().filter_map(share).collect()
    }

    fn lines(&self, node: &Value) -> Vec<String> {
        let name = &self.name;
        let troubled = |kind: &str, status: &str| (kind == "Ready") != (status == "True");
        let mut lines: Vec<String> =
            conditions(node, troubled).iter().map(|line| format!("Node/{name} {line}")).collect();
        if self.cordoned {
            lines.push(format!("Node/{name} is cordoned"));
        }
        lines.extend(self.taints.iter().map(|taint| format!("Node/{name} taint {taint}")));
        for (resource, percent) in self.full() {
            lines.push(format!(
                "Node/{name} {resource} requested {percent} % of allocatable by pods of {}",
                self.requested_of
            ));
        }
        lines
    }

    fn summary(&self) -> String {
        let mut parts = vec![if self.ready { "ready".to_owned() } else { "not ready".to_owned() }];
        if self.cordoned {
            parts.push("cordoned".to_owned());
        }
        parts.extend(self.pressure.iter().cloned());
        parts.extend(self.taints.iter().take(3).map(|taint| format!("taint {taint}")));
        parts.extend(
            self.full().into_iter().map(|(what, percent)| format!("{what} requested {percent} %")),
        );
        if let Some(last) = self.events.iter().rev().find(|event| event.severity == "Warning") {
            parts.push(format!("last warning: {} {}", last.reason, one_line(&last.message, 100)));
        }
        if let Some(missing) = self.missing.first() {
            parts.push(format!("not read: {}", one_line(missing, 160)));
        }
        format!("node {}: {}", self.name, parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_those_of_live_pods_and_the_larger_of_init_and_main() {
        let pod = |phase: &str, main: &str, init: &str| {
            json!({ "spec": {
                "containers": [{ "resources": { "requests": { "cpu": "500m", "memory": main } } }, {}],
                "initContainers": [{ "resources": { "requests": { "memory": init } } }],
                "overhead": { "memory": "1Mi" },
            }, "status": { "phase": phase } })
        };
        let pods = [
            pod("Running", "1Gi", "2Gi"),
            pod("Pending", "4Gi", "bad"),
            pod("Succeeded", "64Gi", "0"),
        ];
        let total = sum(&pods);
        assert_eq!((total.pods, total.cpu_milli), (2, 1_000));
        assert_eq!(total.memory_bytes, (6 << 30) + (2 << 20));
    }

    #[test]
    fn a_node_that_says_nothing_is_not_ready_and_not_full() {
        let output =
            Output::of("n".to_owned(), &json!({ "status": [], "spec": { "taints": "x" } }));
        assert!(!output.ready && output.full().is_empty() && output.taints.is_empty());
    }
}
