//! Records as rows of the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    log::Key,
    record::{Entry, Record},
};
use crate::{
    clients::kube::{Event, Pod},
    steps::recorded::RecordedLog,
};

/// A row to store.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which log, or the pod itself: container "" and run 0.
    pub key: Key,
    /// The record's version it was taken at.
    pub version: u64,
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// `spark.app.id`.
    pub app_id: String,
    /// When the pod last changed.
    pub seen: Timestamp,
    /// When it was seen to be gone.
    pub gone: Option<Timestamp>,
    /// It has failed.
    pub failed: bool,
    /// What is stored.
    pub body: Body,
}

/// What a row holds.
#[derive(Clone, Debug)]
pub enum Body {
    /// Status and events.
    Pod(Box<StoredPod>),
    /// A log.
    Log(StoredLog),
}

/// A pod's row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredPod {
    pod: Pod,
    resource_version: u64,
    labels: BTreeMap<String, String>,
    created: Option<Timestamp>,
    ui_port: u16,
    exit_exception: String,
    events: Vec<StoredEvent>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct StoredEvent {
    event: Event,
    uid: String,
}

/// A log's row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredLog {
    text: String,
    read_at: Option<Timestamp>,
    cut: bool,
    ended: bool,
    lost: String,
}

impl StoredPod {
    /// What is stored of a record.
    pub fn of(record: &Record) -> Self {
        let pod = record.pod.clone();
        let event = |event: &Event| StoredEvent { event: event.clone(), uid: event.uid.clone() };
        Self {
            resource_version: pod.resource_version,
            labels: pod.labels.clone(),
            created: pod.created,
            ui_port: pod.ui_port,
            exit_exception: pod.exit_exception.clone(),
            events: record.events.iter().map(event).collect(),
            pod,
        }
    }

    /// How new it is: the version of its status.
    pub fn version(&self) -> i64 {
        i64::try_from(self.resource_version).unwrap_or(i64::MAX)
    }

    /// The record it came from, without its logs.
    pub fn into_record(self, uid: &str, seen: Timestamp, gone: Option<Timestamp>) -> Record {
        let mut pod = self.pod;
        uid.clone_into(&mut pod.uid);
        pod.resource_version = self.resource_version;
        pod.labels = self.labels;
        pod.created = self.created;
        pod.ui_port = self.ui_port;
        pod.exit_exception = self.exit_exception;
        let event = |StoredEvent { mut event, uid }: StoredEvent| {
            event.at = event.last.parse().ok();
            event.namespace.clone_from(&pod.namespace);
            event.uid = uid;
            event
        };
        let events = self.events.into_iter().map(event).collect();
        Record { pod, seen, gone, events, ..Record::default() }
    }
}

impl StoredLog {
    /// What is stored of a log.
    pub fn of(entry: &Entry) -> Self {
        Self {
            text: entry.text.clone(),
            read_at: entry.read_at,
            cut: entry.cut,
            ended: entry.ended,
            lost: entry.lost.clone(),
        }
    }

    /// True when there is a log, and not only the reason why there is none.
    pub fn was_read(&self) -> bool {
        self.read_at.is_some()
    }

    /// How new it is: when it was read, in milliseconds.
    pub fn version(&self) -> i64 {
        self.read_at.map_or(0, Timestamp::as_millisecond)
    }

    /// As steps see it.
    pub fn into_shown(self, container: String, restarts: i32) -> RecordedLog {
        let Self { text, read_at, cut, lost, .. } = self;
        RecordedLog { container, restarts, read_at, text, cut, lost }
    }
}
