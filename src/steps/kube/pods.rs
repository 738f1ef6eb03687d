//! `kube.pods`: how pods stand, and how their containers ended.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Role, Selector,
    passages::pod_passages,
    which::{Which, in_order},
};
use crate::{
    clients::kube::{Container, Pod, one_line},
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Pods in the output, at most; failed ones come first.
const MAX_SHOWN: usize = 200;
/// Passages, at most.
const MAX_PASSAGES: usize = 500;

/// Reads the status of pods: phase, node, and for each container its state, exit code, signal and reason.
///
/// Without `name` and `selector` these are the pods of the run's target. Executors are deleted soon after they fail
/// unless `spark.kubernetes.executor.deleteOnTermination=false`: `include_deleted` adds them as the recorder last saw them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pods {
    /// Only drivers, or only executors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Labels: a map, or `k=v,k2=v2`; values are templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// One pod by name; `role` and `selector` are then ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
    /// Also pods that exist no more, as the recorder last saw them; their field `gone` says since when.
    #[serde(default)]
    pub include_deleted: bool,
}

/// The pods.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Pods, failed ones first; at most 200.
    pub pods: Vec<Pod>,
    /// Those that failed, or have a container that ended with a non-zero code or cannot start; at most 200.
    pub failed: Vec<Pod>,
    /// Nodes that took pods with them (eviction, lost, shut down, tainted), without repeats.
    pub lost_nodes: Vec<String>,
    /// How many are running.
    pub running: usize,
    /// How many there are.
    pub total: usize,
    /// How many of them exist no more.
    pub gone: usize,
    /// What the card says beside the findings: why pods that exist no more may be missing.
    pub remarks: Vec<String>,
}

impl Step for Pods {
    const KIND: &'static str = "kube.pods";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
    ];
    const EXAMPLE: &'static str = "role: executor\ninclude_deleted: true";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self { role, selector, name, namespace, include_deleted } = self;
        let which = Which {
            name: name.as_ref(),
            selector: selector.as_ref(),
            role: *role,
            namespace: namespace.as_ref(),
        };
        let mut found = which.pods(context).await?;
        let mut remarks = vec![];
        if *include_deleted {
            let recorded = which.recorded(context, false).await?;
            remarks.extend(recorded.trouble.map(|why| {
                format!(
                    "pods that exist no more may be missing: the recorder {}",
                    one_line(&why, 300)
                )
            }));
            let gone = recorded.pods.into_iter().map(|known| known.pod).filter(|known| {
                !known.gone.is_empty() && !found.pods.iter().any(|pod| pod.uid == known.uid)
            });
            let gone: Vec<Pod> = gone.collect();
            found.pods.extend(gone);
            in_order(&mut found.pods);
        }
        found.pods.sort_by_key(|pod| !pod.has_failed());
        let mut passages: Vec<_> = found.pods.iter().flat_map(pod_passages).collect();
        passages.truncate(MAX_PASSAGES);
        if let (true, true) = (found.pods.is_empty(), name.is_some()) {
            let text = format!("{} does not exist", found.what);
            passages.push(Passage::new(Origin::PodStatus, found.what.clone(), text));
        }
        let summary = summary(&found.pods, found.cut, &found.what);
        let total = found.pods.len();
        let gone = found.pods.iter().filter(|pod| !pod.gone.is_empty()).count();
        let running = found.pods.iter().filter(|pod| runs(pod)).count();
        let lost: BTreeSet<String> = found
            .pods
            .iter()
            .filter(|pod| pod.lost_with_its_node() && !pod.node.is_empty())
            .map(|pod| pod.node.clone())
            .collect();
        found.pods.truncate(MAX_SHOWN);
        let failed = found.pods.iter().filter(|pod| pod.has_failed()).cloned().collect();
        let value = Output {
            failed,
            lost_nodes: lost.into_iter().collect(),
            running,
            total,
            gone,
            remarks,
            pods: found.pods,
        };
        Ok(Outcome { value, passages, summary })
    }
}

fn runs(pod: &Pod) -> bool {
    pod.phase == "Running" && pod.gone.is_empty()
}

fn summary(pods: &[Pod], cut: bool, what: &str) -> String {
    if pods.is_empty() {
        return format!("no {what}");
    }
    let there = |pod: &&Pod| pod.gone.is_empty();
    let count = |phase: &str| pods.iter().filter(there).filter(|pod| pod.phase == phase).count();
    let mut parts = vec![];
    for (phase, word) in
        [("Running", "running"), ("Pending", "pending"), ("Succeeded", "succeeded")]
    {
        match count(phase) {
            0 => {}
            n => parts.push(format!("{n} {word}")),
        }
    }
    let failed: Vec<&Pod> = pods.iter().filter(|pod| pod.has_failed()).collect();
    if let Some(first) = failed.first() {
        parts.push(format!("{} failed ({}: {})", failed.len(), first.name, why(first)));
    }
    match pods.iter().filter(|pod| !pod.gone.is_empty()).count() {
        0 => {}
        n => parts.push(format!("{n} deleted")),
    }
    let noun = if pods.len() == 1 { "pod" } else { "pods" };
    let more = if cut { " or more" } else { "" };
    format!("{}{more} {noun}: {}", pods.len(), parts.join(", "))
}

/// Why a pod failed, in a few words.
fn why(pod: &Pod) -> String {
    let bad = |c: &&Container| c.exit_code.or(c.last_exit_code).is_some_and(|code| code != 0);
    if let Some(c) = pod.containers.iter().find(bad) {
        let (code, reason) = match c.exit_code {
            Some(code) => (code, &c.reason),
            None => (c.last_exit_code.unwrap_or_default(), &c.last_reason),
        };
        return match reason.as_str() {
            "" | "Error" => format!("exit {code}"),
            reason => format!("{}, exit {code}", one_line(reason, 60)),
        };
    }
    let stuck = pod.containers.iter().map(|c| &c.reason).find(|reason| !reason.is_empty());
    let reason = if pod.reason.is_empty() { stuck.unwrap_or(&pod.phase) } else { &pod.reason };
    one_line(reason, 60)
}
