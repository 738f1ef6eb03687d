//! `kube.owners`: what a pod belongs to, up to what somebody wrote.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Role,
    json::{list, text},
    which::Which,
};
use crate::{
    clients::{
        Kind,
        kube::{Client, Resource, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Longest chain; a cycle ends here at the latest.
const MAX_DEPTH: usize = 8;

/// Follows a pod's owners: through `ReplicaSet` to `Deployment`, `Job` to `CronJob`, an executor through its driver to its
/// `SparkApplication` and the schedule behind it.
///
/// The chain ends at an object of an unknown kind, one that is gone, or one that may not be read; the output says which.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owners {
    /// The pod; default: the run's pod, or its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// The chain.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Output {
    /// The pod first; at most 8.
    pub chain: Vec<Owner>,
    /// Kind of the last one: `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why the chain ends before an object without an owner; empty otherwise.
    pub ends: String,
}

/// One of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Owner {
    /// `ReplicaSet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// `apps/v1`.
    pub api_version: String,
    /// How it stands: `replicas=3 ready=1`; empty when it says nothing or was not read.
    pub state: String,
}

/// The chain, and the last object that could be read.
pub(super) struct Chain {
    pub owners: Vec<Owner>,
    pub last: Value,
    pub ends: String,
}

impl Step for Owners {
    const KIND: &'static str = "kube.owners";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "apps", resource: "replicasets", verb: "get" },
        Need { group: "apps", resource: "deployments", verb: "get" },
        Need { group: "apps", resource: "statefulsets", verb: "get" },
        Need { group: "apps", resource: "daemonsets", verb: "get" },
        Need { group: "batch", resource: "jobs", verb: "get" },
        Need { group: "batch", resource: "cronjobs", verb: "get" },
        Need { group: "sparkoperator.k8s.io", resource: "sparkapplications", verb: "get" },
        Need { group: "sparkoperator.k8s.io", resource: "scheduledsparkapplications", verb: "get" },
        Need { group: "sparkoperator.k8s.io", resource: "sparkconnects", verb: "get" },
        Need { group: "spark.apache.org", resource: "sparkapplications", verb: "get" },
    ];
    const EXAMPLE: &'static str = "pod: \"{{labels.pod}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (namespace, pod) = start(context, self.pod.as_ref(), self.namespace.as_ref()).await?;
        let Chain { owners, ends, .. } = follow(context.kube()?, &namespace, &pod).await?;
        let label = |owner: &Owner| format!("{}/{}", owner.kind, owner.name);
        let line = owners.iter().map(label).collect::<Vec<_>>().join(" owned by ");
        let mut passages = vec![Passage::new(Origin::Object, format!("pod {pod}"), line.clone())];
        for owner in owners.iter().filter(|owner| !owner.state.is_empty()) {
            let source = format!("{} {}", owner.kind, owner.name);
            let text = format!("{} {}", label(owner), owner.state);
            passages.push(Passage::new(Origin::Object, source, text));
        }
        let state = owners.last().map(|o| o.state.clone()).filter(|s| !s.is_empty());
        let mut summary = line;
        if let Some(state) = state {
            summary = format!("{summary} ({state})");
        }
        if !ends.is_empty() {
            summary = format!("{summary}; {ends}");
        }
        let last = owners.last().cloned().unwrap_or_default();
        let value = Output { kind: last.kind, name: last.name, ends, chain: owners };
        Ok(Outcome { summary: one_line(&summary, 400), passages, value })
    }
}

/// The pod to begin with: by name, else the run's.
pub(super) async fn start(
    context: &Context<'_>,
    pod: Option<&Input<Name>>,
    namespace: Option<&Input<Name>>,
) -> Result<(String, String), Failure> {
    let which = Which { name: pod, selector: None, role: Some(Role::Driver), namespace };
    if let Some(pod) = pod {
        return Ok((which.namespace(context)?, pod.fill(context.scope)?.0));
    }
    let found = which.pods(context).await?;
    let newest = found.pods.into_iter().max_by_key(|pod| pod.created);
    let pod = newest.ok_or_else(|| Failure::Skipped(format!("{} do not exist", found.what)))?;
    Ok((pod.namespace, pod.name))
}

/// Follows the controlling owners of a pod. The pod itself must be readable.
pub(super) async fn follow(kube: &Client, namespace: &str, pod: &str) -> Result<Chain, Failure> {
    let mut object = kube.read(Resource::PODS, namespace, pod).await?;
    let first = Owner {
        kind: "Pod".to_owned(),
        name: pod.to_owned(),
        api_version: "v1".to_owned(),
        state: String::new(),
    };
    let mut chain = Chain { owners: vec![first], last: Value::Null, ends: String::new() };
    while let Some(owner) = controller(&object) {
        if chain.owners.len() >= MAX_DEPTH {
            chain.ends = format!("only the first {MAX_DEPTH} owners were followed");
            break;
        }
        let label = format!("{}/{}", owner.kind, owner.name);
        let resource = Resource::of(&owner.api_version, &owner.kind);
        let name = owner.name.clone();
        chain.owners.push(owner);
        if resource == Some(Resource::NODES) {
            "it is a static pod: a file on its node defines it".clone_into(&mut chain.ends);
            break;
        }
        let Some(resource) = resource else {
            chain.ends = format!("{label} is of a kind that is not followed");
            break;
        };
        let next = match kube.read(resource, namespace, &name).await {
            Ok(next) => next,
            Err(error) if error.kind == Kind::NotFound => {
                chain.ends = format!("{label} does not exist (any more)");
                break;
            }
            Err(error) => {
                chain.ends = format!("{label} was not read: {}", one_line(&error.reason, 300));
                break;
            }
        };
        if let Some(last) = chain.owners.last_mut() {
            last.state = state(&next);
        }
        chain.last = std::mem::replace(&mut object, next);
    }
    chain.last = object;
    Ok(chain)
}

fn controller(object: &Value) -> Option<Owner> {
    let owners = list(object, "/metadata/ownerReferences");
    let ours = owners.iter().find(|o| o["controller"] == Value::Bool(true)).or(owners.first())?;
    let of = |name: &str| one_line(text(ours, name), 253);
    let owner = Owner {
        kind: of("/kind"),
        name: of("/name"),
        api_version: of("/apiVersion"),
        state: String::new(),
    };
    (!owner.name.is_empty()).then_some(owner)
}

/// How a workload stands, in a few words.
pub(super) fn state(object: &Value) -> String {
    let mut parts = vec![];
    let mut add = |name: &str, pointer: &str| match object.pointer(pointer) {
        Some(Value::String(value)) if !value.is_empty() => {
            parts.push(format!("{name}={}", one_line(value, 200)));
        }
        Some(value @ (Value::Number(_) | Value::Bool(_))) => parts.push(format!("{name}={value}")),
        Some(_) | None => {}
    };
    add("replicas", "/spec/replicas");
    add("ready", "/status/readyReplicas");
    add("updated", "/status/updatedReplicas");
    add("unavailable", "/status/unavailableReplicas");
    add("active", "/status/active");
    add("failed", "/status/failed");
    add("suspend", "/spec/suspend");
    add("schedule", "/spec/schedule");
    add("state", "/status/applicationState/state");
    add("state", "/status/state");
    add("state", "/status/currentState/currentStateSummary");
    add("errorMessage", "/status/applicationState/errorMessage");
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_controller_is_the_owner_and_a_nameless_one_is_none() {
        let refs = json!({ "metadata": { "ownerReferences": [
            { "kind": "Node", "name": "n", "apiVersion": "v1" },
            { "kind": "Job", "name": "j", "apiVersion": "batch/v1", "controller": true } ] } });
        assert_eq!(controller(&refs).unwrap().kind, "Job");
        assert_eq!(
            controller(&json!({ "metadata": { "ownerReferences": [{ "kind": "Job" }] } })),
            None
        );
        assert_eq!(controller(&json!({})), None);
    }

    #[test]
    fn a_state_is_what_the_object_says() {
        let deployment = json!({ "spec": { "replicas": 3 }, "status": { "readyReplicas": 1, "updatedReplicas": 2, "unavailableReplicas": 2 } });
        assert_eq!(state(&deployment), "replicas=3 ready=1 updated=2 unavailable=2");
        assert_eq!(state(&json!([])), "");
    }
}
