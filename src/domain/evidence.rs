//! What a step brought back, in the one form everything later reads.
//!
//! A step returns a typed value (for expressions and templates) **and** passages: lines of text, each with its origin.
//! Signatures search passages only, so a verdict can always quote what it matched: a log line, an event, or a status
//! written as one canonical line (`pod etl-exec-1 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137`).

use serde::{Deserialize, Serialize};

/// Where a passage comes from; signatures name origins in `in:`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Log of a Spark driver container (also offline driver logs).
    DriverLog,
    /// Log of a Spark executor container.
    ExecutorLog,
    /// Log of any other container.
    PodLog,
    /// Canonical line of a pod's or container's status.
    PodStatus,
    /// A Kubernetes event: `<reason> <kind>/<name>: <message>`.
    Event,
    /// A field of a Kubernetes object, such as a `SparkApplication`'s error message.
    Object,
    /// A field of Spark's REST API, such as an executor's `removeReason`.
    SparkRest,
    /// One rung of the Hive Metastore ladder, or a look into its database.
    Metastore,
    /// A probe's result: HTTP, TCP, DNS, TLS.
    Probe,
    /// A value read from Prometheus.
    Metric,
    /// An alert, its rule, or a silence, as Prometheus or Alertmanager shows it.
    Alert,
    /// One rung of a bucket's ladder, or what lies below a prefix.
    Storage,
    /// A row of a database.
    Database,
    /// An earlier or a concurrent incident.
    Incident,
}

/// Text with its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Where it comes from.
    pub origin: Origin,
    /// What a person calls the source: `driver etl-driver`, `executor 3 (pod etl-exec-3)`, `metastore main`.
    pub source: String,
    /// The text: one line, or a whole log.
    pub text: String,
    /// True when older text was cut off to respect a limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Passage {
    /// A passage that is complete.
    pub fn new(origin: Origin, source: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin, source: source.into(), text: text.into(), cut: false }
    }
}

/// What a successful step returns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The kind's documented output; `steps.<id>` in expressions and templates.
    pub value: serde_json::Value,
    /// What signatures search and cards quote.
    pub passages: Vec<Passage>,
    /// One line for the timeline: `3 pods: 2 running, 1 failed (exit 137)`.
    pub summary: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It brought findings.
    Done,
    /// Not run: its condition was false, its list empty, an input had no value, or its target is not known.
    Skipped,
    /// It ran and failed, after its retries.
    Failed,
    /// A `once` step whose outcome a crash left unknown; a person decides.
    Uncertain,
}

/// A step's recorded result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The step's id in its playbook.
    pub step: String,
    /// Its kind, such as `kube.logs`.
    pub kind: String,
    /// How it ended.
    pub state: StepState,
    /// Why it was skipped or failed; empty when done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it brought; empty unless done.
    #[serde(default)]
    pub findings: Findings,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}
