//! `kube.quota`: what a namespace may use, and how much of it is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    json::{list, text},
    which::Which,
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
    steps::{Context, Effect, Failure, Need, Outcome, Step, counted},
};

/// Lines of quotas, at most; the fullest come first.
const MAX_SHOWN: usize = 100;

/// Reads the quotas of a namespace with how much of each is used, and the limits its `LimitRange`s put on every pod.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// Quotas and limits.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// The namespace.
    pub namespace: String,
    /// The fullest first; at most 100.
    pub used: Vec<Used>,
    /// Those that are used up.
    pub full: Vec<Used>,
    /// What every pod or container must keep to; at most 100.
    pub limits: Vec<Limit>,
    /// What could not be read, with the reason.
    pub missing: Vec<String>,
}

/// One resource of one quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Used {
    /// Name of the `ResourceQuota`.
    pub quota: String,
    /// `requests.memory`, `pods`.
    pub resource: String,
    /// As Kubernetes writes it: `30Gi`.
    pub used: String,
    /// The most there may be.
    pub hard: String,
    /// Per cent; none when the quota is 0.
    pub percent: Option<i64>,
}

/// One limit of a `LimitRange`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Limit {
    /// Name of the `LimitRange`.
    pub name: String,
    /// `Container`, `Pod`, `PersistentVolumeClaim`.
    pub of: String,
    /// `max`, `min`, `default`, `defaultRequest`.
    pub what: String,
    /// `memory`.
    pub resource: String,
    /// `4Gi`.
    pub value: String,
}

impl Step for Quota {
    const KIND: &'static str = "kube.quota";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "resourcequotas", verb: "list" },
        Need { group: "", resource: "limitranges", verb: "list" },
    ];
    const EXAMPLE: &'static str = "namespace: \"{{labels.namespace}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let namespace = Which::of_namespace(self.namespace.as_ref()).namespace(context)?;
        let asked = ListQuery::of(&namespace);
        let (quotas, ranges) =
            tokio::join!(kube.list(Resource::QUOTAS, &asked), kube.list(Resource::LIMITS, &asked));
        let mut missing = vec![];
        let limits = match ranges {
            Ok(listed) => listed.items.iter().flat_map(limits).take(MAX_SHOWN).collect(),
            // The quota alone is worth telling.
            Err(error) if quotas.is_ok() && error.kind == Kind::Denied => {
                missing.push(format!("limits: {}", error.reason));
                vec![]
            }
            Err(error) => return Err(error.into()),
        };
        let mut used: Vec<Used> = quotas?.items.iter().flat_map(used).collect();
        used.sort_by_key(|u| std::cmp::Reverse(u.percent.unwrap_or(100)));
        used.truncate(MAX_SHOWN);
        let full: Vec<Used> = used.iter().filter(|u| u.is_full()).cloned().collect();
        let mut passages: Vec<Passage> = used.iter().map(Used::passage).collect();
        passages.extend(limits.iter().map(|limit: &Limit| {
            let Limit { name, of, what, resource, value } = limit;
            let text = format!("LimitRange/{name} {of} {what} {resource}={value}");
            Passage::new(Origin::Object, format!("LimitRange {name}"), text)
        }));
        let summary = summary(&namespace, &used, &full, limits.len());
        let value = Output { namespace, used, full, limits, missing };
        Ok(Outcome { value, passages, summary })
    }
}

impl Used {
    fn is_full(&self) -> bool {
        self.percent.is_none_or(|percent| percent >= 100)
    }

    fn share(&self) -> String {
        self.percent.map_or_else(|| "quota is 0".to_owned(), |percent| format!("{percent} %"))
    }

    fn passage(&self) -> Passage {
        let Self { quota, resource, used, hard, .. } = self;
        let full = if self.is_full() { ", used up" } else { "" };
        let text = format!(
            "ResourceQuota/{quota} {resource} used={used} hard={hard} ({}{full})",
            self.share()
        );
        Passage::new(Origin::Object, format!("ResourceQuota {quota}"), text)
    }
}

fn used(quota: &Value) -> Vec<Used> {
    let name = one_line(text(quota, "/metadata/name"), 253);
    let hard = quota.pointer("/status/hard").or(quota.pointer("/spec/hard"));
    let hard = hard.and_then(Value::as_object).into_iter().flatten();
    let of = |(resource, hard): (&String, &Value)| {
        let hard = hard.as_str()?;
        let used = quota.pointer("/status/used").and_then(|used| used.get(resource)?.as_str());
        let used = used.unwrap_or("0");
        let percent = Quantity::parse(used)?.percent_of(Quantity::parse(hard)?);
        Some(Used {
            quota: name.clone(),
            resource: one_line(resource, 120),
            used: one_line(used, 40),
            hard: one_line(hard, 40),
            percent,
        })
    };
    hard.filter_map(of).collect()
}

fn limits(range: &Value) -> Vec<Limit> {
    let name = one_line(text(range, "/metadata/name"), 253);
    let mut found = vec![];
    for item in list(range, "/spec/limits") {
        for what in ["max", "min", "default", "defaultRequest"] {
            let values = item.get(what).and_then(Value::as_object).into_iter().flatten();
            found.extend(values.filter_map(|(resource, value)| {
                Some(Limit {
                    name: name.clone(),
                    of: one_line(text(item, "/type"), 60),
                    what: what.to_owned(),
                    resource: one_line(resource, 120),
                    value: one_line(value.as_str()?, 40),
                })
            }));
        }
    }
    found
}

fn summary(namespace: &str, used: &[Used], full: &[Used], limits: usize) -> String {
    let limits =
        if limits > 0 { format!("; {} per pod", counted(limits, "limit")) } else { String::new() };
    let Some(fullest) = used.first() else {
        return format!("namespace {namespace} has no quota{limits}");
    };
    let label = |u: &Used| format!("{} {} {} of {}", u.quota, u.resource, u.used, u.hard);
    if full.is_empty() {
        let share = fullest.share();
        return format!(
            "no quota of {namespace} is used up; fullest: {} ({share}){limits}",
            label(fullest)
        );
    }
    let all: Vec<String> = full.iter().take(3).map(label).collect();
    format!("{} of {namespace} used up: {}{limits}", counted(full.len(), "quota"), all.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_is_read_in_its_own_units_and_an_unreadable_one_is_left_out() {
        let quota = json!({ "metadata": { "name": "compute" }, "status": {
            "hard": { "requests.memory": "32Gi", "requests.cpu": "8", "pods": "0", "x": "soon" },
            "used": { "requests.memory": "33554432Ki", "requests.cpu": "7500m" } } });
        let lines: Vec<_> = used(&quota).iter().map(|u| u.passage().text).collect();
        assert_eq!(
            lines,
            [
                "ResourceQuota/compute pods used=0 hard=0 (quota is 0, used up)",
                "ResourceQuota/compute requests.cpu used=7500m hard=8 (93 %)",
                "ResourceQuota/compute requests.memory used=33554432Ki hard=32Gi (100 %, used up)",
            ]
        );
        assert!(used(&json!({ "status": { "hard": [] } })).is_empty());
    }
}
