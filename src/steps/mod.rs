//! Diagnostic steps: one file per kind, one line in the list below.
//!
//! A step file holds everything about its kind: the typed inputs (their doc comments are the user documentation), `KIND`,
//! `EFFECT`, `NEEDS`, an example, `run` and its tests. Retry, timeout, caps, redaction and recording are the engine's.

pub mod alertmanager;
pub mod flow;
pub mod hive;
pub mod incident;
pub mod kube;
pub mod labels;
pub mod logs;
pub mod net;
pub mod prometheus;
pub mod recorded;
pub mod s3;
pub mod span;
pub mod spark;
pub mod sql;
pub mod target;

use futures::future::BoxFuture;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clients::{self, Cluster},
    domain::{
        evidence::{Findings, Passage},
        target::{SparkApp, Target},
        template::{FillError, Scope},
    },
    ops::clock::Clock,
};

/// What repeating a step may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Repeat freely.
    Read,
    /// Repeat with the same key.
    Idempotent,
    /// Never repeat without a person's word.
    Once,
}

/// A Kubernetes permission a kind needs; `paramedic rbac` prints them as a Role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Need {
    /// API group; "" is the core group.
    pub group: &'static str,
    /// Resource, with its subresource: `pods/log`.
    pub resource: &'static str,
    /// Verb: `get`, `list`, `watch`.
    pub verb: &'static str,
}

/// What a step sees while it runs.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Names for [`crate::domain::template::Input::fill`].
    pub scope: &'a Scope,
    /// The run's target, when one was resolved.
    pub target: Option<&'a Target>,
    /// Clients of the target's cluster, when it is configured.
    pub cluster: Option<&'a Cluster>,
    /// HTTP with the egress guard, for addresses that come from playbooks or labels.
    pub http: &'a clients::http::Client,
    /// What the engine remembers.
    pub memory: &'a dyn Memory,
    /// Time.
    pub clock: &'a Clock,
    /// The same for every attempt of this step in this run; for `idempotent` kinds.
    pub idempotency_key: &'a str,
}

/// The past, and the incident, as the engine knows them.
pub trait Memory: Send + Sync {
    /// Adds a line to the incident's timeline, once per key.
    fn note<'a>(&'a self, key: &'a str, text: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// The Alertmanager instances of a source; of the incident's own without a name.
    fn alertmanagers<'a>(
        &'a self,
        _source: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<clients::alertmanager::Client>, String>> {
        Box::pin(async { Err(NO_DAEMON.to_owned()) })
    }

    /// Incidents before this one that are like it, the newest first.
    fn similar<'a>(&'a self, _ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Earlier>, String>> {
        Box::pin(async { Err(NO_DAEMON.to_owned()) })
    }

    /// Pods that the recorder saw, also those that exist no more. Without a recorder: none.
    fn recorded<'a>(&'a self, asked: &'a recorded::Recall) -> BoxFuture<'a, recorded::Recorded> {
        let _ = asked;
        Box::pin(async { recorded::Recorded::default() })
    }

    /// Incidents that had a part in the span before this one began, the newest first.
    fn around<'a>(&'a self, _ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Earlier>, String>> {
        Box::pin(async { Err(NO_DAEMON.to_owned()) })
    }
}

/// What a diagnosis outside the daemon is told when it asks for the past.
const NO_DAEMON: &str = "only the daemon knows";

/// What to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How far back from the incident's beginning.
    pub since: std::time::Duration,
    /// Most incidents.
    pub limit: usize,
    /// The run's target, as [`Target::key`].
    pub target: Option<String>,
    /// Value of the alert's label `namespace`, or "".
    pub namespace: String,
    /// A verdict's id; `None`: the best one this incident has by now, if any.
    pub verdict: Option<String>,
}

/// An earlier incident, as far as it helps somebody who looks at this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Earlier {
    /// `INC-12`.
    pub id: String,
    /// One line.
    pub title: String,
    /// P0 to P3.
    pub severity: String,
    /// `triggered`, `acknowledged`, `mitigated`, `resolved` or `reviewed`.
    pub status: String,
    /// When it opened.
    #[schemars(with = "String")]
    pub opened_at: Timestamp,
    /// When it resolved; null while it is open.
    #[schemars(with = "Option<String>")]
    pub resolved_at: Option<Timestamp>,
    /// How it ended, in words; empty while it is open.
    pub ended: String,
    /// Who acknowledged it; empty when nobody did.
    pub acknowledged_by: String,
    /// Ids of its verdicts, best first; at most 5.
    pub verdicts: Vec<String>,
    /// What it has in common with this one: `same alerts`, `same target`, `same verdict`, `same namespace`,
    /// `opened within 10 minutes before`.
    pub because: Vec<String>,
    /// What people wrote, oldest first; the last 5 notes.
    pub notes: Vec<String>,
}

/// A step's typed result.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// The documented output.
    pub value: T,
    /// What signatures search and cards quote.
    pub passages: Vec<Passage>,
    /// One line for the timeline.
    pub summary: String,
}

/// Why a step brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot apply here: a value, target or client is missing.
    #[error("{0}")]
    Skipped(String),
    /// A client failed.
    #[error("{0}")]
    Client(#[from] clients::Error),
}

impl From<FillError> for Failure {
    fn from(error: FillError) -> Self {
        Self::Skipped(error.to_string())
    }
}

/// One step kind.
pub trait Step: DeserializeOwned + Serialize + JsonSchema + Clone + Send + Sync + 'static {
    /// `family.verb`, the key in a playbook.
    const KIND: &'static str;
    /// What repeating it may do.
    const EFFECT: Effect;
    /// Permissions in the target's cluster.
    const NEEDS: &'static [Need];
    /// Its inputs, as YAML under the kind's key; parsed and schema-checked by a test.
    const EXAMPLE: &'static str;
    /// The documented output.
    type Output: Serialize + JsonSchema;

    /// The permissions of this very step; a kind that runs another step hands on that one's.
    fn needs(&self) -> &'static [Need] {
        Self::NEEDS
    }

    /// Runs once. No retry, no sleep beyond what the kind is for; the caller sets the deadline.
    fn run(
        &self,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<Outcome<Self::Output>, Failure>> + Send;
}

impl<'a> Context<'a> {
    /// The cluster's clients, or why the step is skipped.
    pub fn cluster(&self) -> Result<&'a Cluster, Failure> {
        self.cluster.ok_or_else(|| {
            Failure::Skipped(
                "no cluster is configured for this alert; add it under `clusters:`".to_owned(),
            )
        })
    }

    /// The Kubernetes client of the cluster, or why the step is skipped.
    pub fn kube(&self) -> Result<&'a clients::kube::Client, Failure> {
        let cluster = self.cluster()?;
        cluster.kube.as_ref().ok_or_else(|| {
            Failure::Skipped(format!(
                "cluster {} has no Kubernetes access configured",
                cluster.name
            ))
        })
    }

    /// The Spark application this run is about, or why the step is skipped.
    pub fn spark_app(&self) -> Result<&'a SparkApp, Failure> {
        match self.target {
            Some(Target::SparkApp(app)) => Ok(app),
            Some(Target::Pod(_) | Target::Metastore(_)) | None => {
                Err(Failure::Skipped("the alert does not lead to a Spark application".to_owned()))
            }
        }
    }
}

/// Generates everything that is true of every kind from the one list.
macro_rules! steps {
    ($($variant:ident => $spec:ty),* $(,)?) => {
        /// A step of any kind, with its inputs.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "each variant is documented by its inputs' type")]
        pub enum Spec { $($variant($spec)),* }

        /// Every kind, in the order of the documentation.
        pub const KINDS: &[&str] = &[$(<$spec as Step>::KIND),*];

        impl Spec {
            /// Reads the inputs of `kind` from the map's current value; `None` when there is no such kind.
            pub fn next_value<'de, A: serde::de::MapAccess<'de>>(
                kind: &str,
                map: &mut A,
            ) -> Result<Option<Self>, A::Error> {
                $(if kind == <$spec as Step>::KIND {
                    return map.next_value().map(|inputs| Some(Self::$variant(inputs)));
                })*
                Ok(None)
            }

            /// Its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$spec as Step>::KIND),* }
            }

            /// What repeating it may do.
            pub fn effect(&self) -> Effect {
                match self { $(Self::$variant(_) => <$spec as Step>::EFFECT),* }
            }

            /// The permissions it needs.
            pub fn needs(&self) -> &'static [Need] {
                match self { $(Self::$variant(inputs) => inputs.needs()),* }
            }

            /// The step that does the work: the repeated one of a kind that runs another.
            pub fn leaf(&self) -> &Self {
                match self {
                    Self::FlowWaitUntil(outer) => outer.repeated(),
                    _ => self,
                }
            }

            /// Its inputs, with templates and expressions marked (see [`crate::domain::template::marker`]).
            pub fn inputs(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$variant(inputs) => serde_json::to_value(inputs)),* }
            }

            /// Runs it once.
            pub fn run<'a>(&'a self, context: &'a Context<'a>) -> BoxFuture<'a, Result<Findings, Failure>> {
                Box::pin(async move { match self { $(Self::$variant(inputs) => findings(inputs.run(context).await?)),* } })
            }
        }

        /// For schema, docs and meta-tests: kind, effect, needs, example, schema of inputs, schema of output.
        pub fn catalogue(generator: &mut schemars::SchemaGenerator) -> Vec<Entry> {
            vec![$(Entry {
                kind: <$spec as Step>::KIND,
                effect: <$spec as Step>::EFFECT,
                needs: <$spec as Step>::NEEDS,
                example: <$spec as Step>::EXAMPLE,
                inputs: generator.subschema_for::<$spec>(),
                output: generator.subschema_for::<<$spec as Step>::Output>(),
            }),*]
        }
    };
}

/// One kind as the documentation shows it.
#[derive(Debug)]
pub struct Entry {
    /// Its key in a playbook.
    pub kind: &'static str,
    /// What repeating it may do.
    pub effect: Effect,
    /// Permissions.
    pub needs: &'static [Need],
    /// Inputs as YAML.
    pub example: &'static str,
    /// Schema of its inputs.
    pub inputs: schemars::Schema,
    /// Schema of its output.
    pub output: schemars::Schema,
}

/// `1 quota`, `3 quotas`.
pub(in crate::steps) fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {noun}s"),
    }
}

fn findings<T: Serialize>(outcome: Outcome<T>) -> Result<Findings, Failure> {
    let Outcome { value, passages, summary } = outcome;
    let value = serde_json::to_value(value).map_err(|error| {
        clients::Error::new(clients::Kind::Malformed, "record the result", error.to_string())
    })?;
    Ok(Findings { value, passages, summary })
}

steps! {
    HiveMetastore => hive::metastore::Metastore,
    HiveDatabase => hive::database::Database,
    S3Health => s3::health::Health,
    S3Prefix => s3::prefix::Prefix,
    SqlQuery => sql::query::Query,
    PrometheusQuery => prometheus::query::Query,
    PrometheusRange => prometheus::range::Range,
    PrometheusAlerts => prometheus::alerts::Alerts,
    PrometheusRule => prometheus::rule::Rule,
    PrometheusTargets => prometheus::targets::Targets,
    AlertmanagerAlerts => alertmanager::alerts::Alerts,
    AlertmanagerSilences => alertmanager::silences::Silences,
    LogsLoki => logs::loki::Loki,
    NetHttp => net::http::Http,
    NetTcp => net::tcp::Tcp,
    NetDns => net::dns::Dns,
    NetTls => net::tls::Tls,
    FlowWaitUntil => flow::wait_until::WaitUntil,
    KubePods => kube::pods::Pods,
    KubeLogs => kube::logs::Logs,
    KubeEvents => kube::events::Events,
    KubeObject => kube::object::Object,
    KubeNode => kube::node::Node,
    KubeOwners => kube::owners::Owners,
    KubeRollout => kube::rollout::Rollout,
    KubeQuota => kube::quota::Quota,
    KubePvc => kube::pvc::Pvc,
    KubeService => kube::service::Service,
    KubeAccess => kube::access::Access,
    KubeTop => kube::top::Top,
    SparkApplication => spark::application::Application,
    SparkExecutors => spark::executors::Executors,
    SparkStages => spark::stages::Stages,
    SparkJobs => spark::jobs::Jobs,
    SparkSql => spark::sql::Sql,
    SparkEnvironment => spark::environment::Environment,
    SparkStreaming => spark::streaming::Streaming,
    SparkHistory => spark::history::History,
    SparkThreads => spark::threads::Threads,
    IncidentSimilar => incident::similar::Similar,
    IncidentChanges => incident::changes::Changes,
    IncidentNote => incident::note::Note,
}
