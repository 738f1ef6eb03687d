//! `kube.top`: what pods use now, and how near that is to their limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Role, Selector,
    json::{list, quantity, text},
    which::{self, Which},
};
use crate::{
    clients::{
        Kind,
        kube::{ListQuery, Quantity, Resource, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Containers in the output, at most; those nearest to their memory limit come first.
const MAX_SHOWN: usize = 200;

/// Reads what the containers of pods use now, from `metrics.k8s.io` (metrics-server), with their limits.
///
/// Skipped when the cluster serves no such API. Values are up to a minute old, and a pod that ended has none: for the past
/// ask Prometheus.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Top {
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
}

/// The containers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Nearest to their memory limit first; at most 200.
    pub containers: Vec<Usage>,
    /// How many there are.
    pub total: usize,
    /// Pods for which there are no values.
    pub without: Vec<String>,
}

/// What one container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Its limit; none when it has none.
    pub cpu_limit_milli: Option<i64>,
    /// Working set, bytes.
    pub memory_bytes: i64,
    /// Its limit; none when it has none.
    pub memory_limit_bytes: Option<i64>,
    /// Memory used of its limit, per cent.
    pub memory_percent: Option<i64>,
    /// CPU used of its limit, per cent.
    pub cpu_percent: Option<i64>,
}

impl Step for Top {
    const KIND: &'static str = "kube.top";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "metrics.k8s.io", resource: "pods", verb: "list" },
    ];
    const EXAMPLE: &'static str = "role: executor";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self { role, selector, name, namespace } = self;
        let kube = context.kube()?;
        let which = Which {
            name: name.as_ref(),
            selector: selector.as_ref(),
            role: *role,
            namespace: namespace.as_ref(),
        };
        let which::Listing { namespace, labels, fields, what } = which.listing(context)?;
        let asked = ListQuery { labels, fields, ..ListQuery::of(&namespace) };
        // The metrics API selects by labels only, and its objects carry those of their pods.
        let metrics = ListQuery { fields: String::new(), ..asked.clone() };
        let (pods, metrics) = tokio::join!(
            kube.list(Resource::PODS, &asked),
            kube.list(Resource::POD_METRICS, &metrics)
        );
        let metrics = metrics.map_err(|error| match error.kind {
            Kind::NotFound => Failure::Skipped(
                "the cluster serves no metrics.k8s.io: install metrics-server, or ask Prometheus"
                    .to_owned(),
            ),
            _ => Failure::Client(error),
        })?;
        let pods = pods?.items;
        let mut containers: Vec<Usage> =
            pods.iter().flat_map(|pod| usage(pod, &metrics.items)).collect();
        containers.sort_by_key(|u| std::cmp::Reverse((u.memory_percent, u.memory_bytes)));
        let total = containers.len();
        containers.truncate(MAX_SHOWN);
        let name = |pod: &Value| text(pod, "/metadata/name").to_owned();
        let known = |pod: &&Value| !metrics.items.iter().any(|m| name(m) == name(pod));
        let without = pods.iter().filter(known).take(MAX_SHOWN).map(name).collect();
        let passages = containers.iter().map(Usage::passage).collect();
        let summary = match containers.first() {
            None => format!("no values for {what}"),
            Some(first) => {
                format!("{total} containers of {what}; {}", one_line(&first.passage().text, 160))
            }
        };
        Ok(Outcome { value: Output { containers, total, without }, passages, summary })
    }
}

fn usage(pod: &Value, metrics: &[Value]) -> Vec<Usage> {
    let name = text(pod, "/metadata/name");
    let Some(measured) = metrics.iter().find(|m| text(m, "/metadata/name") == name) else {
        return vec![];
    };
    let used = list(measured, "/containers").iter().map(|container| {
        let container_name = text(container, "/name");
        let declared =
            list(pod, "/spec/containers").iter().find(|c| text(c, "/name") == container_name);
        let limit = |resource: &str| {
            let limit = quantity(declared?, &format!("/resources/limits/{resource}"))?;
            (limit.0 > 0).then_some(limit)
        };
        let of =
            |resource: &str| quantity(container, &format!("/usage/{resource}")).unwrap_or_default();
        let percent = |used: Quantity, limit: Option<Quantity>| used.percent_of(limit?);
        Usage {
            pod: name.to_owned(),
            container: one_line(container_name, 100),
            cpu_milli: of("cpu").0,
            cpu_limit_milli: limit("cpu").map(|limit| limit.0),
            memory_bytes: of("memory").whole(),
            memory_limit_bytes: limit("memory").map(Quantity::whole),
            memory_percent: percent(of("memory"), limit("memory")),
            cpu_percent: percent(of("cpu"), limit("cpu")),
        }
    });
    used.collect()
}

impl Usage {
    fn passage(&self) -> Passage {
        let Self { pod, container, .. } = self;
        let bytes = crate::steps::spark::bytes;
        let memory = match (self.memory_limit_bytes, self.memory_percent) {
            (Some(limit), Some(percent)) => {
                format!("{} of {} ({percent} %)", bytes(self.memory_bytes), bytes(limit))
            }
            _ => format!("{} without a limit", bytes(self.memory_bytes)),
        };
        let cpu = match self.cpu_limit_milli {
            Some(limit) => format!("{}m of {limit}m", self.cpu_milli),
            None => format!("{}m without a limit", self.cpu_milli),
        };
        let text = format!("pod {pod} container {container} uses memory {memory}, cpu {cpu}");
        Passage::new(Origin::Metric, format!("pod {pod}"), text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_without_a_limit_has_no_share() {
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [
            { "name": "a", "resources": { "limits": { "memory": "1Gi", "cpu": "2" } } }, { "name": "b" } ] } });
        let of = |name: &str| json!({ "name": name, "usage": { "cpu": "1900123456n", "memory": "1015022Ki" } });
        let metrics =
            [json!({ "metadata": { "name": "p" }, "containers": [of("a"), of("b"), of("gone")] })];
        let lines: Vec<_> = usage(&pod, &metrics).iter().map(|u| u.passage().text).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        pod p container a uses memory 991.2 MiB of 1 GiB (96 %), cpu 1900m of 2000m
        pod p container b uses memory 991.2 MiB without a limit, cpu 1900m without a limit
        pod p container gone uses memory 991.2 MiB without a limit, cpu 1900m without a limit
        "#);
    }
}
