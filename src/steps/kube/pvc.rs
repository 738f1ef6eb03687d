//! `kube.pvc`: whether volumes are there: bound, large enough, and what kept them from it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    events,
    json::{conditions, list, part, text},
    which::Which,
};
use crate::{
    clients::kube::{Client, Event, ListQuery, Resource, one_line},
    domain::{
        evidence::{Origin, Passage},
        target::Target,
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Claims in the output, at most; those that are not bound come first.
const MAX_SHOWN: usize = 100;

/// Reads volume claims: phase, class, size, and the events about those that are not bound.
///
/// One by name, those that the run's pods mount, or without a target all of the namespace.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pvc {
    /// One claim by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// The claims.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Those that are not bound first; at most 100.
    pub claims: Vec<Claim>,
    /// Those that are not bound, or missing.
    pub troubled: Vec<Claim>,
    /// How many there are.
    pub total: usize,
    /// Events about troubled claims, newest last; at most 30.
    pub events: Vec<Event>,
    /// What could not be read, with the reason.
    pub missing: Vec<String>,
}

/// One claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Claim {
    /// Name.
    pub name: String,
    /// `Bound`, `Pending`, `Lost`; `Missing` when a pod mounts a claim that does not exist.
    pub phase: String,
    /// Its storage class.
    pub class: String,
    /// What it asks for: `100Gi`.
    pub requested: String,
    /// What it got.
    pub capacity: String,
    /// The volume.
    pub volume: String,
    /// What its conditions say: `condition FileSystemResizePending=True`.
    pub conditions: Vec<String>,
}

impl Step for Pvc {
    const KIND: &'static str = "kube.pvc";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "persistentvolumeclaims", verb: "list" },
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "", resource: "events", verb: "list" },
    ];
    const EXAMPLE: &'static str = "name: \"{{labels.persistentvolumeclaim}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let namespace = Which::of_namespace(self.namespace.as_ref()).namespace(context)?;
        let wanted = self.wanted(context, &namespace).await?;
        let fields = match (&self.name, &wanted) {
            (Some(_), Some(names)) => {
                names.first().map(|name| format!("metadata.name={name}")).unwrap_or_default()
            }
            _ => String::new(),
        };
        let asked = ListQuery { fields, ..ListQuery::of(&namespace) };
        let listed = kube.list(Resource::CLAIMS, &asked).await?;
        let mut claims: Vec<Claim> = listed.items.iter().map(Claim::of).collect();
        if let Some(names) = &wanted {
            claims.retain(|claim| names.contains(&claim.name));
            let gone = names.iter().filter(|name| !claims.iter().any(|c| c.name == **name));
            let gone = gone.map(|name| Claim {
                name: name.clone(),
                phase: "Missing".to_owned(),
                ..Claim::default()
            });
            claims.extend(gone.collect::<Vec<_>>());
        }
        claims.sort_by_key(|claim| (!claim.is_troubled(), claim.name.clone()));
        let total = claims.len();
        claims.truncate(MAX_SHOWN);
        let troubled: Vec<Claim> = claims.iter().filter(|c| c.is_troubled()).cloned().collect();
        let mut missing = vec![];
        let events = match about(kube, &namespace, &troubled).await {
            Ok(events) => events,
            Err(error) => {
                missing.push(format!("events: {}", error.reason));
                vec![]
            }
        };
        let mut passages: Vec<Passage> = claims.iter().flat_map(Claim::passages).collect();
        passages.extend(events.iter().map(events::passage));
        let summary = summary(&namespace, total, &troubled);
        let value = Output { claims, troubled, total, events, missing };
        Ok(Outcome { value, passages, summary })
    }
}

impl Pvc {
    /// The names that are meant; `None` for all of the namespace.
    async fn wanted(
        &self,
        context: &Context<'_>,
        namespace: &str,
    ) -> Result<Option<BTreeSet<String>>, Failure> {
        if let Some(name) = &self.name {
            return Ok(Some(BTreeSet::from([name.fill(context.scope)?.0])));
        }
        let kube = context.kube()?;
        let pods: Vec<Value> = match context.target {
            Some(Target::Pod(pod)) => {
                vec![kube.read(Resource::PODS, &pod.namespace, &pod.name).await?]
            }
            Some(Target::SparkApp(app)) if !app.app_id.is_empty() => {
                let labels = format!("spark-app-selector={}", app.app_id);
                let asked = ListQuery { labels, ..ListQuery::of(namespace) };
                kube.list(Resource::PODS, &asked).await?.items
            }
            Some(Target::SparkApp(_) | Target::Metastore(_)) | None => return Ok(None),
        };
        let volumes = pods.iter().flat_map(|pod| list(pod, "/spec/volumes"));
        let names = volumes.map(|v| text(v, "/persistentVolumeClaim/claimName"));
        Ok(Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect()))
    }
}

async fn about(
    kube: &Client,
    namespace: &str,
    troubled: &[Claim],
) -> crate::clients::Result<Vec<Event>> {
    if troubled.is_empty() {
        return Ok(vec![]);
    }
    let listed = kube.events(namespace, "").await?;
    let ours = listed.items.into_iter().filter(|event| {
        event.kind == "PersistentVolumeClaim" && troubled.iter().any(|c| c.name == event.name)
    });
    let mut events = events::merge(ours);
    events.drain(..events.len().saturating_sub(30));
    Ok(events)
}

impl Claim {
    fn of(object: &Value) -> Self {
        let of = |pointer: &str| one_line(text(object, pointer), 253);
        Self {
            name: of("/metadata/name"),
            phase: of("/status/phase"),
            class: of("/spec/storageClassName"),
            requested: of("/spec/resources/requests/storage"),
            capacity: of("/status/capacity/storage"),
            volume: of("/spec/volumeName"),
            conditions: conditions(object, |_, status| status == "True"),
        }
    }

    fn is_troubled(&self) -> bool {
        self.phase != "Bound"
    }

    fn passages(&self) -> Vec<Passage> {
        let Self { name, phase, class, requested, capacity, .. } = self;
        let label = format!("PersistentVolumeClaim/{name}");
        let mut lines = vec![];
        if phase == "Missing" {
            lines.push(format!("{label} does not exist"));
        } else if self.is_troubled() {
            lines.push(format!(
                "{label} phase={phase}{}{}",
                part("class", class),
                part("requested", requested)
            ));
        } else {
            lines.push(format!("{label} phase=Bound{}", part("capacity", capacity)));
        }
        lines.extend(self.conditions.iter().map(|condition| format!("{label} {condition}")));
        let source = format!("volume claim {name}");
        lines.into_iter().map(|line| Passage::new(Origin::Object, source.clone(), line)).collect()
    }
}

fn summary(namespace: &str, total: usize, troubled: &[Claim]) -> String {
    match (total, troubled) {
        (0, _) => format!("no volume claims in {namespace}"),
        (n, []) => format!("{n} volume claims of {namespace}, all bound"),
        (n, some) => {
            let first: Vec<_> =
                some.iter().take(3).map(|c| format!("{} {}", c.name, c.phase)).collect();
            format!("{} of {n} volume claims are not bound: {}", some.len(), first.join(", "))
        }
    }
}
