//! Spark's REST API, wherever it can be reached.
//!
//! A driver serves it while it lives, a History Server afterwards. From inside the cluster the driver's pod IP works and
//! costs nothing; from outside only the API server's proxy does, which needs a strong permission; a service exists only
//! with the operator. So [`Client::open`] tries pod IP, UI service, API proxy, History Server in this order, checks that
//! the right application answers (an IP is reused quickly), and remembers the way that worked. Every failed way is told,
//! because the fix is usually one setting.

mod detail;
mod model;
pub mod record;
mod ways;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    detail::{Environment, History, Job, SqlExecution, Streaming, Thread},
    model::{Application, Attempt, Executor, Stage, TaskSummary, time},
};
use self::{model::Version, ways::Route};
use super::{Error, Kind, Result, http, kube};
use crate::domain::target::SparkApp;

/// Remembered ways, at most.
const MAX_KNOWN: usize = 512;

/// Reads Spark's REST API; cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: http::Client,
    kube: Option<kube::Client>,
    history: Option<http::Url>,
    known: Arc<Mutex<HashMap<String, Way>>>,
}

/// How a Spark UI is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The driver pod's IP address; subject to `egress.allow`.
    PodIp,
    /// The UI service the Spark operator made; subject to `egress.allow`.
    UiService,
    /// The API server's proxy; needs `get` on `pods/proxy`.
    ApiProxy,
    /// The configured History Server.
    History,
}

impl Way {
    const ALL: [Self; 4] = [Self::PodIp, Self::UiService, Self::ApiProxy, Self::History];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PodIp => "pod IP",
            Self::UiService => "UI service",
            Self::ApiProxy => "API proxy",
            Self::History => "History Server",
        })
    }
}

/// Where an answer came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Via {
    /// The way that worked.
    pub way: Way,
    /// The ways that did not, each with its reason.
    pub tried: Vec<String>,
}

/// An application that answers.
pub struct Session<'a> {
    client: &'a Client,
    route: Route,
    label: String,
    /// What it says of itself.
    pub application: Application,
    /// How it is reached.
    pub via: Via,
}

impl Client {
    /// A client of one cluster. Without `kube` only the History Server is asked.
    pub fn new(http: http::Client, kube: Option<kube::Client>, history: Option<http::Url>) -> Self {
        Self { http, kube, history, known: Arc::default() }
    }

    /// Finds a way to the application.
    pub async fn open(&self, app: &SparkApp) -> Result<Session<'_>> {
        let label = [&app.name, &app.app_id, &app.driver_pod].into_iter().find(|n| !n.is_empty());
        let label = format!("{}/{}", app.namespace, label.map_or("?", |n| n));
        let operation = format!("reach the Spark API of application {label}");
        let driver = self.driver(app).await;
        let key = format!("{}/{}/{}", app.namespace, app.app_id, app.driver_pod);
        let (mut tried, mut failures) = (vec![], vec![]);
        for way in self.order(&key) {
            match self.try_way(way, app, &driver, &operation).await {
                Ok((route, application)) => {
                    self.remember(key, way);
                    let via = Via { way, tried };
                    return Ok(Session { client: self, route, label, application, via });
                }
                Err(error) => {
                    tried.push(format!("{way}: {}", error.reason));
                    failures.push(error.kind);
                }
            }
        }
        // A transient failure of any way is worth the engine's retry.
        let kind = failures.iter().find(|k| k.is_transient()).or(failures.first());
        Err(Error::new(*kind.unwrap_or(&Kind::NotFound), operation, tried.join("; ")))
    }

    fn order(&self, key: &str) -> Vec<Way> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let others = Way::ALL.into_iter().filter(|way| Some(*way) != known);
        known.into_iter().chain(others).collect()
    }

    fn remember(&self, key: String, way: Way) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, way);
    }
}

impl Session<'_> {
    /// All executors, dead ones too, and the driver.
    pub async fn executors(&self) -> Result<Vec<Executor>> {
        self.get("executors", &format!("{}/allexecutors", self.base()?)).await
    }

    /// Stages; of one status (`failed`, `active`, `complete`, `pending`, `skipped`) when it is not empty.
    pub async fn stages(&self, status: &str) -> Result<Vec<Stage>> {
        let query = if status.is_empty() { String::new() } else { format!("?status={status}") };
        self.get("stages", &format!("{}/stages{query}", self.base()?)).await
    }

    /// Quantiles 0.05, 0.5, 0.95 and 1 over a stage's finished tasks; `NotFound` before the first one finished.
    pub async fn task_summary(&self, stage: i64, attempt: i64) -> Result<TaskSummary> {
        let query = "quantiles=0.05,0.5,0.95,1.0";
        let path = format!("{}/stages/{stage}/{attempt}/taskSummary?{query}", self.base()?);
        self.get("task summary", &path).await
    }

    /// The Spark version that answers.
    pub async fn version(&self) -> Result<String> {
        let version: Version = self.get("version", "/api/v1/version").await?;
        Ok(version.spark)
    }

    fn base(&self) -> Result<String> {
        let attempt = self.application.attempts.first().and_then(|a| a.attempt_id.as_deref());
        ways::base(&self.application.id, attempt)
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T> {
        let operation = format!("read the {what} of Spark application {}", self.label);
        self.client.fetch(&self.route, path, &operation).await
    }
}
