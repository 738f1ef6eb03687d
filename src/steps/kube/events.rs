//! `kube.events`: what Kubernetes said about objects lately.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Selector, Since, which::Which};
use crate::{
    clients::kube::{Event, Listed, Pod, one_line},
    domain::{
        evidence::{Origin, Passage},
        target::{SparkApp, Target},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, recorded::Recorded},
};

/// Events in the output, at most: the newest.
const MAX_SHOWN: usize = 100;
/// Longest message kept, characters.
const MAX_MESSAGE: usize = 1_000;

/// Reads Kubernetes events, newest last, repeats counted once.
///
/// Of one object by name, of pods by selector, or of the run's target: for a Spark application its pods and its
/// `SparkApplication`. Events outlive a pod for about an hour; what the recorder saw is added.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// One object by name, of any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
    /// Pods with these labels: a map, or `k=v,k2=v2`; values are templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
    /// Only events this young: `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Only these types; default both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<Type>,
}

/// An event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Type {
    /// Information.
    Normal,
    /// Trouble.
    Warning,
}

/// The events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Newest last; at most the newest 100.
    pub events: Vec<Event>,
    /// How many different ones there were.
    pub total: usize,
    /// How many of them are warnings.
    pub warnings: usize,
}

impl Step for Events {
    const KIND: &'static str = "kube.events";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "events", verb: "list" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "", resource: "pods", verb: "get" },
    ];
    const EXAMPLE: &'static str = "since: 1h\ntypes: [Warning]";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (Listed { items, cut }, what) = self.read(context).await?;
        let now = context.clock.now();
        let young = |event: &Event| match (self.since, event.at) {
            (Some(Since(span)), Some(at)) => {
                now.duration_since(at)
                    <= SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
            }
            (Some(_), None) | (None, _) => true,
        };
        let wanted = |event: &Event| {
            self.types.is_empty() || self.types.iter().any(|t| format!("{t:?}") == event.severity)
        };
        let mut events = merge(items.into_iter().filter(|e| young(e) && wanted(e)));
        let total = events.len();
        events.drain(..total.saturating_sub(MAX_SHOWN));
        let passages = events.iter().map(passage).collect();
        let warnings = events.iter().filter(|e| e.severity == "Warning").count();
        let more = if cut { " (the oldest of more than were read)" } else { "" };
        let last = events.last().map(|e| format!("; last: {} {}", e.reason, e.name));
        let summary = match total {
            0 => format!("no events of {what}"),
            n => format!(
                "{n} events of {what}, {warnings} warnings{}{more}",
                last.unwrap_or_default()
            ),
        };
        Ok(Outcome { value: Output { events, total, warnings }, passages, summary })
    }
}

impl Events {
    async fn read(&self, context: &Context<'_>) -> Result<(Listed<Event>, String), Failure> {
        let kube = context.kube()?;
        let which = Which {
            name: self.name.as_ref(),
            selector: self.selector.as_ref(),
            role: None,
            namespace: self.namespace.as_ref(),
        };
        let namespace = which.namespace(context)?;
        let one = match (&self.name, &self.selector, context.target) {
            (Some(name), _, _) => Some(name.fill(context.scope)?.0),
            (None, None, Some(Target::Pod(pod))) => Some(pod.name.clone()),
            _ => None,
        };
        if let Some(name) = one {
            let mut listed = kube.events(&namespace, &name).await?;
            add(&mut listed.items, which.recorded(context, false).await?);
            return Ok((listed, format!("{namespace}/{name}")));
        }
        let mut found = which.pods(context).await?;
        let recorded = which.recorded(context, false).await?;
        found.pods.extend(recorded.pods.iter().map(|known| known.pod.clone()));
        let mut listed = kube.events(&namespace, "").await?;
        let about = match (&self.selector, context.target) {
            (None, Some(Target::SparkApp(app))) => About::of_app(app, &found.pods),
            _ => About::of_pods(&found.pods),
        };
        listed.items.retain(|event| about.holds(event));
        add(&mut listed.items, recorded);
        Ok((listed, found.what))
    }
}

/// Adds what the recorder saw of events that are not in the list any more.
fn add(listed: &mut Vec<Event>, recorded: Recorded) {
    let known: BTreeSet<String> = listed.iter().map(|event| event.uid.clone()).collect();
    let seen = recorded.pods.into_iter().flat_map(|pod| pod.events);
    listed.extend(seen.filter(|event| !known.contains(&event.uid)));
}

/// Which events belong to a set of pods, including pods that are gone.
#[derive(Default)]
struct About {
    names: BTreeSet<String>,
    /// `etl-6e7d8ca206ebcca9-exec-`: what all executors of one application begin with.
    prefixes: BTreeSet<String>,
}

impl About {
    fn of_pods(pods: &[Pod]) -> Self {
        Self { names: pods.iter().map(|pod| pod.name.clone()).collect(), prefixes: BTreeSet::new() }
    }

    fn of_app(app: &SparkApp, pods: &[Pod]) -> Self {
        let mut about = Self::of_pods(pods);
        about.names.extend([app.driver_pod.clone(), app.name.clone()]);
        about.names.remove("");
        let executors = pods.iter().filter(|pod| pod.role == "executor");
        about.prefixes = executors.filter_map(|pod| prefix(&pod.name)).map(str::to_owned).collect();
        about
    }

    fn holds(&self, event: &Event) -> bool {
        self.names.contains(&event.name)
            || (event.kind == "Pod"
                && prefix(&event.name).is_some_and(|p| self.prefixes.contains(p)))
    }
}

fn prefix(name: &str) -> Option<&str> {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.get(..digits).filter(|head| head.ends_with("-exec-"))
}

/// Repeats of the same words about the same object become one, with the counts added; newest last.
pub(super) fn merge(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let mut merged: BTreeMap<(String, String, String, String), Event> = BTreeMap::new();
    for mut event in events {
        event.message = one_line(&event.message, MAX_MESSAGE);
        let key =
            (event.reason.clone(), event.kind.clone(), event.name.clone(), event.message.clone());
        match merged.get_mut(&key) {
            Some(known) => {
                known.count += event.count;
                if event.at >= known.at {
                    (known.at, known.last) = (event.at, event.last);
                } else {
                    known.first = event.first;
                }
            }
            None => {
                merged.insert(key, event);
            }
        }
    }
    let mut events: Vec<Event> = merged.into_values().collect();
    events.sort_by_key(|event| event.at);
    events
}

/// Events as passages, repeats counted once, newest last.
pub(crate) fn passages(events: Vec<Event>) -> Vec<Passage> {
    merge(events.into_iter()).iter().map(passage).collect()
}

pub(super) fn passage(event: &Event) -> Passage {
    let times = if event.count > 1 { format!(" ({} times)", event.count) } else { String::new() };
    let Event { reason, kind, name, message, .. } = event;
    let text = format!("{reason} {kind}/{name}: {message}{times}");
    Passage::new(Origin::Event, format!("events of {name}"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &str, count: u64, last: &str) -> Event {
        Event {
            severity: "Warning".to_owned(),
            reason: "BackOff".to_owned(),
            kind: "Pod".to_owned(),
            name: name.to_owned(),
            message: message.to_owned(),
            count,
            first: last.to_owned(),
            last: last.to_owned(),
            source: "kubelet".to_owned(),
            at: last.parse().ok(),
            ..Event::default()
        }
    }

    #[test]
    fn repeats_are_counted_and_the_newest_is_last() {
        let merged = merge(
            [
                event("a", "x", 2, "2026-11-23T05:10:00Z"),
                event("b", "x", 1, "2026-11-23T05:05:00Z"),
                event("a", "x", 3, "2026-11-23T05:01:00Z"),
            ]
            .into_iter(),
        );
        let names: Vec<_> = merged.iter().map(|e| (e.name.as_str(), e.count)).collect();
        assert_eq!(names, [("b", 1), ("a", 5)]);
        assert_eq!(merged[1].first, "2026-11-23T05:01:00Z");
        assert_eq!(passage(&merged[1]).text, "BackOff Pod/a: x (5 times)");
    }

    #[test]
    fn events_of_executors_that_are_gone_still_belong_to_the_application() {
        let live = Pod {
            name: "etl-6e7d8ca206ebcca9-exec-3".to_owned(),
            role: "executor".to_owned(),
            ..Pod::default()
        };
        let app = SparkApp { driver_pod: "etl-driver".to_owned(), ..SparkApp::default() };
        let about = About::of_app(&app, &[live]);
        for (name, holds) in [
            ("etl-6e7d8ca206ebcca9-exec-12", true),
            ("etl-driver", true),
            ("etl-0000000000000000-exec-1", false),
            ("etl-6e7d8ca206ebcca9-exec-", true),
            ("", false),
        ] {
            assert_eq!(about.holds(&event(name, "", 1, "")), holds, "{name}");
        }
    }
}
