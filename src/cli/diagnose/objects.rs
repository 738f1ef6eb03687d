//! Files of objects: what `kubectl get … -o json|yaml` prints, watch events, answers of Spark's REST API. They become the
//! same canonical lines as in a run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use serde_json::Value;

use crate::{
    clients::spark::Executor,
    clients::{
        kube::{Event, Pod},
        spark::record::Record,
    },
    domain::evidence::{Origin, Passage},
    steps::{kube, spark},
};

/// Most objects read of one file.
const MOST: usize = 20_000;

/// What a file held.
pub(super) struct Found {
    pub(super) passages: Vec<Passage>,
    /// For people: `2 pods, 5 events`.
    pub(super) what: String,
}

/// False when the text plainly is a log.
pub(super) fn may_be(head: &str) -> bool {
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let yaml = ["apiVersion:", "kind:", "items:", "- apiVersion:", "---\n"];
    let first = head.lines().next().unwrap_or_default();
    let log = first.contains("\"msg\":") && first.contains("\"level\":")
        || ["{\"log\":", "[pod/"].iter().any(|mark| head.starts_with(mark));
    !log && (head.starts_with(['{', '[']) || yaml.iter().any(|mark| head.starts_with(mark)))
}

/// Reads the objects; `None` when this is something else.
pub(super) fn read(text: &str) -> Option<Found> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let values = match serde_json::from_str(text) {
        Ok(value) => vec![value],
        Err(_) if text.starts_with(['{', '[']) => json_lines(text)?,
        Err(_) => yaml(text)?,
    };
    let mut heap = Heap::default();
    for value in &values {
        heap.add(value, "");
    }
    Some(heap.found())
}

/// One JSON value per line, as a watch writes them.
fn json_lines(text: &str) -> Option<Vec<Value>> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let values: Vec<Value> = values.take(MOST).map_while(Result::ok).collect();
    values.iter().any(Value::is_object).then_some(values)
}

fn yaml(text: &str) -> Option<Vec<Value>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0, max_depth: 64, max_nodes: 2_000_000 },
    };
    text.split("\n---")
        .map(|part| part.strip_prefix("---").unwrap_or(part))
        .filter(|part| !part.trim().is_empty())
        .map(|part| serde_saphyr::from_str_with_options(part, options.clone()).ok())
        .collect()
}

/// Objects by kind; of a pod that was seen several times the last state counts.
#[derive(Default)]
struct Heap {
    pods: BTreeMap<(String, String), Pod>,
    events: Vec<Event>,
    applications: BTreeMap<(String, String), Record>,
    executors: Vec<Executor>,
    stages: Vec<Passage>,
    other: usize,
}

impl Heap {
    fn add(&mut self, value: &Value, list_kind: &str) {
        let full = self.pods.len() + self.events.len() + self.executors.len() >= MOST;
        let Value::Object(map) = value else {
            if let Value::Array(items) = value {
                for item in items {
                    self.add(item, list_kind);
                }
            }
            return;
        };
        if full {
            return;
        }
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or(list_kind);
        if let Some(Value::Array(items)) = map.get("items") {
            let of = kind.strip_suffix("List").unwrap_or_default();
            for item in items {
                self.add(item, of);
            }
        } else if let Some(object @ Value::Object(_)) =
            map.get("object").filter(|_| map.contains_key("type"))
        {
            self.add(object, "");
        } else {
            self.one(kind, value);
        }
    }

    fn one(&mut self, kind: &str, value: &Value) {
        let rest = |field: &str| value.get(field).is_some();
        match kind {
            "Pod" => match serde_json::from_value::<core::Pod>(value.clone()) {
                Ok(pod) => {
                    let pod = Pod::from(pod);
                    self.pods.insert((pod.namespace.clone(), pod.name.clone()), pod);
                }
                Err(_) => self.other += 1,
            },
            "Event" => match serde_json::from_value::<core::Event>(value.clone()) {
                Ok(event) => self.events.push(event.into()),
                Err(_) => self.other += 1,
            },
            "SparkApplication" | "SparkConnect" => match Record::of_object(value) {
                Some(found) => {
                    let key = (found.namespace.clone(), found.name.clone());
                    self.applications.insert(key, found);
                }
                None => self.other += 1,
            },
            "" if rest("hostPort") && rest("isActive") => {
                match serde_json::from_value(value.clone()) {
                    Ok(executor) => self.executors.push(executor),
                    Err(_) => self.other += 1,
                }
            }
            "" if rest("stageId") && rest("status") => {
                let reason = value.get("failureReason").and_then(Value::as_str).unwrap_or_default();
                if !reason.is_empty() {
                    let label = format!("stage {}", value["stageId"]);
                    let text = format!("{label} failed: {reason}");
                    self.stages.push(Passage::new(Origin::SparkRest, label, text));
                }
            }
            _ => self.other += 1,
        }
    }

    fn found(self) -> Found {
        let Self { pods, events, applications, executors, stages, other } = self;
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let what: Vec<String> = [
            count(pods.len(), "pod"),
            count(events.len(), "event"),
            count(applications.len(), "Spark application"),
            count(executors.len(), "executor"),
            count(stages.len(), "failed stage"),
            count(other, "other object"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut passages: Vec<Passage> = pods.values().flat_map(kube::pod_passages).collect();
        passages.extend(kube::events::passages(still_true(events)));
        passages.extend(applications.values().filter_map(spark::application::operator_passage));
        passages.extend(
            executors.iter().filter(|e| e.id != "driver").filter_map(spark::executors::passage),
        );
        passages.extend(stages);
        let what = if what.is_empty() { "nothing known".to_owned() } else { what.join(", ") };
        Found { passages, what }
    }
}

/// Without the troubles that a pod got over: it was placed, or its container started, later.
fn still_true(events: Vec<Event>) -> Vec<Event> {
    let over = |event: &Event, by: &str| {
        events
            .iter()
            .any(|later| later.reason == by && later.name == event.name && later.at > event.at)
    };
    let is_over = |event: &Event| match event.reason.as_str() {
        "FailedScheduling" => over(event, "Scheduled"),
        "Failed" | "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" => {
            over(event, "Started")
        }
        _ => false,
    };
    let over: Vec<bool> = events.iter().map(is_over).collect();
    events.into_iter().zip(over).filter(|(_, over)| !over).map(|(event, _)| event).collect()
}
