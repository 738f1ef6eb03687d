//! `kube.rollout`: what was changed lately in what a pod comes from.
//!
//! Kubernetes keeps the earlier pod templates: `ReplicaSet`s of a Deployment, `ControllerRevision`s of stateful and daemon
//! sets. The two newest are compared field by field. A `SparkApplication` keeps none; there only who changed its spec
//! last, and when, is known (`managedFields`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Since, diff, events,
    json::{conditions, list, number, part, selector, text},
    owners,
    which::Which,
};
use crate::{
    clients::{
        Kind,
        kube::{Client, Event, ListQuery, Resource, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Finds what changed lately in a workload: image, arguments, environment, resources, scale.
///
/// The workload is named by `kind` and `name`, or found from the run's pod or driver through its owners. The values of
/// environment variables whose name suggests a secret are masked. A change of a `ConfigMap` or Secret is not seen unless
/// the pod template carries its checksum.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Kind of the workload; only with `name`. Default: a Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Workload>,
    /// Its name; default: what the run's pod or driver belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
    /// What counts as lately; default 24h. Older changes are in the output, not in what signatures search.
    #[serde(default = "a_day")]
    pub since: Since,
}

fn a_day() -> Since {
    Since(std::time::Duration::from_hours(24))
}

/// Kinds with earlier versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A Deployment.
    Deployment,
    /// A `StatefulSet`.
    StatefulSet,
    /// A `DaemonSet`.
    DaemonSet,
    /// A `SparkApplication` of the kubeflow operator.
    SparkApplication,
}

/// What changed.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Output {
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its newest revision; 0 when it keeps none.
    pub revision: i64,
    /// When that came, or when the spec was changed last, RFC 3339; empty when not known.
    pub changed: String,
    /// Who changed the spec last: the client's name (`kubectl`, `helm`, `argocd-controller`); empty when not known.
    pub changed_by: String,
    /// It changed within `since`.
    pub lately: bool,
    /// Differences of the two newest revisions; at most 40.
    pub changes: Vec<diff::Change>,
    /// How it stands: `replicas=3 ready=1`.
    pub state: String,
    /// Events about its scale, newest last; at most 20.
    pub events: Vec<Event>,
    /// What could not be read, with the reason.
    pub missing: Vec<String>,
}

/// A pod template that was in force once.
struct Revision {
    number: i64,
    created: String,
    template: Value,
}

impl Step for Rollout {
    const KIND: &'static str = "kube.rollout";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "", resource: "events", verb: "list" },
        Need { group: "apps", resource: "deployments", verb: "get" },
        Need { group: "apps", resource: "statefulsets", verb: "get" },
        Need { group: "apps", resource: "daemonsets", verb: "get" },
        Need { group: "apps", resource: "replicasets", verb: "get" },
        Need { group: "apps", resource: "replicasets", verb: "list" },
        Need { group: "apps", resource: "controllerrevisions", verb: "list" },
        Need { group: "sparkoperator.k8s.io", resource: "sparkapplications", verb: "get" },
    ];
    const EXAMPLE: &'static str = "kind: deployment\nname: \"{{labels.deployment}}\"\nsince: 6h";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let (namespace, workload) = self.workload(context).await?;
        let (kind, name) = (text(&workload, "/kind"), text(&workload, "/metadata/name"));
        let (revisions, told) =
            tokio::join!(revisions(kube, &namespace, &workload), kube.events(&namespace, name));
        let mut output = Output {
            kind: kind.to_owned(),
            name: name.to_owned(),
            state: owners::state(&workload),
            ..Output::default()
        };
        match revisions {
            Ok(revisions) => output.compare(&revisions),
            Err(error) => output.missing.push(format!("revisions: {}", error.reason)),
        }
        match told {
            Ok(listed) => {
                let mut events =
                    events::merge(listed.items.into_iter().filter(|event| event.kind == kind));
                events.drain(..events.len().saturating_sub(20));
                output.events = events;
            }
            Err(error) => output.missing.push(format!("events: {}", error.reason)),
        }
        output.managers(&workload);
        let age =
            output.changed.parse::<Timestamp>().ok().map(|t| context.clock.now().duration_since(t));
        let span = SignedDuration::try_from(self.since.0).unwrap_or(SignedDuration::MAX);
        output.lately = age.is_some_and(|age| age <= span);
        let passages = output.passages(&workload);
        Ok(Outcome { summary: output.summary(), passages, value: output })
    }
}

impl Rollout {
    async fn workload(&self, context: &Context<'_>) -> Result<(String, Value), Failure> {
        let kube = context.kube()?;
        if let Some(name) = &self.name {
            let namespace = Which::of_namespace(self.namespace.as_ref()).namespace(context)?;
            let resource = match self.kind.unwrap_or(Workload::Deployment) {
                Workload::Deployment => Resource::DEPLOYMENTS,
                Workload::StatefulSet => Resource::STATEFUL_SETS,
                Workload::DaemonSet => Resource::DAEMON_SETS,
                Workload::SparkApplication => Resource::SPARK_APPLICATIONS,
            };
            let mut object = kube.read(resource, &namespace, &name.fill(context.scope)?.0).await?;
            object["kind"] = resource.kind.into();
            return Ok((namespace, object));
        }
        if self.kind.is_some() {
            return Err(Failure::Skipped(
                "`kind` says nothing without `name`; set both".to_owned(),
            ));
        }
        let (namespace, pod) = owners::start(context, None, self.namespace.as_ref()).await?;
        let chain = owners::follow(kube, &namespace, &pod).await?;
        let last = chain.owners.last().cloned().unwrap_or_default();
        match last.kind.as_str() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "SparkApplication"
                if chain.ends.is_empty() =>
            {
                let mut object = chain.last;
                object["kind"] = last.kind.into();
                Ok((namespace, object))
            }
            kind => {
                let why = if chain.ends.is_empty() {
                    format!("it belongs to {kind}/{}, which keeps no revisions", last.name)
                } else {
                    chain.ends
                };
                Err(Failure::Skipped(format!("pod {namespace}/{pod}: {why}")))
            }
        }
    }
}

/// The pod templates a workload has had, newest first.
async fn revisions(
    kube: &Client,
    namespace: &str,
    workload: &Value,
) -> crate::clients::Result<Vec<Revision>> {
    let resource = match text(workload, "/kind") {
        "Deployment" => Resource::REPLICA_SETS,
        "StatefulSet" | "DaemonSet" => Resource::REVISIONS,
        _ => return Ok(vec![]),
    };
    let labels = selector(workload.pointer("/spec/selector/matchLabels"));
    let asked = ListQuery { labels, ..ListQuery::of(namespace) };
    let listed = match kube.list(resource, &asked).await {
        Ok(listed) => listed,
        Err(error) if error.kind == Kind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let uid = text(workload, "/metadata/uid");
    let ours = |object: &&Value| {
        list(object, "/metadata/ownerReferences")
            .iter()
            .any(|o| !uid.is_empty() && text(o, "/uid") == uid)
    };
    let mut found: Vec<Revision> = listed.items.iter().filter(ours).map(revision).collect();
    found.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    Ok(found)
}

fn revision(object: &Value) -> Revision {
    let annotation = object.pointer("/metadata/annotations/deployment.kubernetes.io~1revision");
    let number = match annotation.and_then(Value::as_str) {
        Some(annotated) => annotated.parse().unwrap_or(0),
        None => number(object, "/revision"),
    };
    let template = object.pointer("/spec/template").or(object.pointer("/data/spec/template"));
    Revision {
        number,
        created: text(object, "/metadata/creationTimestamp").to_owned(),
        template: template.cloned().unwrap_or_default(),
    }
}

impl Output {
    fn compare(&mut self, revisions: &[Revision]) {
        let Some(newest) = revisions.first() else { return };
        self.revision = newest.number;
        self.changed.clone_from(&newest.created);
        if let Some(before) = revisions.get(1) {
            self.changes = diff::of(&before.template, &newest.template);
        }
    }

    /// Who wrote the spec last. A roll-back reuses an old revision, so the newer of the two times counts.
    fn managers(&mut self, workload: &Value) {
        let mut times: BTreeMap<&str, &str> = BTreeMap::new();
        for entry in list(workload, "/metadata/managedFields") {
            let of_spec = entry.pointer("/fieldsV1/f:spec").is_some();
            // A subresource is a controller's: the status, or a scale.
            if of_spec && matches!(text(entry, "/subresource"), "" | "scale") {
                times.insert(text(entry, "/time"), text(entry, "/manager"));
            }
        }
        let Some((at, manager)) = times.last_key_value() else { return };
        self.changed_by = one_line(manager, 120);
        if self.changed.is_empty() || *at > self.changed.as_str() {
            (*at).clone_into(&mut self.changed);
        }
    }

    fn passages(&self, workload: &Value) -> Vec<Passage> {
        let label = format!("{}/{}", self.kind, self.name);
        let mut lines = vec![];
        if self.lately {
            let revision = if self.revision > 0 {
                format!(" revision={}", self.revision)
            } else {
                String::new()
            };
            let by = part("by", &self.changed_by);
            lines.push(format!("{label} changed at {}{revision}{by}", self.changed));
            lines.extend(
                self.changes.iter().map(|change| format!("{label} changed {}", change.line())),
            );
        }
        let bad = |kind: &str, status: &str| match kind {
            "ReplicaFailure" => status == "True",
            "Available" | "Progressing" => status == "False",
            _ => false,
        };
        lines.extend(conditions(workload, bad).iter().map(|line| format!("{label} {line}")));
        if workload.pointer("/spec/replicas") == Some(&Value::from(0)) {
            lines.push(format!("{label} is scaled to 0"));
        }
        let source = format!("{} {}", self.kind, self.name);
        let mut passages: Vec<Passage> = lines
            .into_iter()
            .map(|line| Passage::new(Origin::Object, source.clone(), line))
            .collect();
        passages.extend(self.events.iter().map(events::passage));
        passages
    }

    fn summary(&self) -> String {
        let label = format!("{} {}", self.kind, self.name);
        let mut parts = vec![];
        match (self.changed.as_str(), self.lately) {
            ("", _) => parts.push("nothing says when it changed".to_owned()),
            (at, true) => parts.push(format!("changed at {at}{}", part("by", &self.changed_by))),
            (at, false) => parts.push(format!("last changed at {at}")),
        }
        parts.extend(self.changes.iter().take(3).map(|change| one_line(&change.line(), 120)));
        if self.changes.len() > 3 {
            parts.push(format!("{} more changes", self.changes.len() - 3));
        }
        if !self.state.is_empty() {
            parts.push(self.state.clone());
        }
        if let Some(missing) = self.missing.first() {
            parts.push(format!("not read: {}", one_line(missing, 160)));
        }
        format!("{label}: {}", parts.join("; "))
    }
}
