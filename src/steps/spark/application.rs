//! `spark.application`: how the application stands, by everyone who knows: operator, driver pod, Spark itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        self, Cluster, Error, Kind,
        kube::{Pod, one_line},
        spark::{
            Application as Answer, Via,
            record::{self, Record, Runner},
        },
    },
    domain::{
        evidence::{Origin, Passage},
        target::SparkApp,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, kube::pod_passages},
};

/// Reads the state of the run's Spark application: the record of whoever runs it (the kubeflow operator, Apache's
/// operator, a Spark Connect server; plain `spark-submit` keeps none), the driver pod's status, and what Spark's REST API says of the newest attempt.
///
/// Each part may be missing; the step fails only when all are. Spark's API is reached by the driver's pod IP or UI
/// service (both subject to `egress.allow`), the API server's proxy (optional: `get` on `pods/proxy`), or the History
/// Server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {}

/// The state.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// `spark.app.id`; empty when nobody knows it.
    pub app_id: String,
    /// The operator's record.
    pub operator: Option<Record>,
    /// The driver pod.
    pub driver: Option<Pod>,
    /// The newest attempt, by Spark itself.
    pub run: Option<Run>,
    /// Where `run` came from.
    pub via: Option<Via>,
    /// What could not be read, with the reason.
    pub missing: Vec<String>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Run {
    /// `spark.app.name`.
    pub name: String,
    /// Start, RFC 3339; empty when not known.
    pub started: String,
    /// End, RFC 3339; empty while it runs, and for a driver that was killed.
    pub ended: String,
    /// Milliseconds.
    pub duration_ms: i64,
    /// It ended in order. Says nothing about success: Spark reports a failed application as completed, too.
    pub completed: bool,
    /// Version of Spark.
    pub spark_version: String,
    /// Who runs it.
    pub user: String,
}

impl Step for Application {
    const KIND: &'static str = "spark.application";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "{}";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self {} = self;
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let (operator, driver, session) = tokio::join!(
            operator(cluster, app),
            cluster.spark.driver(app),
            cluster.spark.open(app)
        );
        let mut missing = vec![];
        let mut kind = Kind::NotFound;
        let mut note = |what: &str, error: Error| {
            if kind == Kind::NotFound {
                kind = error.kind;
            }
            missing.push(format!("{what}: {}", error.reason));
        };
        let operator = operator.map_err(|error| note("SparkApplication", error)).ok().flatten();
        let driver = driver.map_err(|error| note("driver pod", error)).ok();
        let session = session.map_err(|error| note("Spark API", error)).ok();
        let via = session.as_ref().map(|session| session.via.clone());
        let answer = session.map(|session| session.application);
        if operator.is_none() && driver.is_none() && answer.is_none() {
            let operation = "read the state of the Spark application";
            return Err(Error::new(kind, operation, missing.join("; ")).into());
        }
        let passages = passages(operator.as_ref(), driver.as_ref(), answer.as_ref());
        let known = [answer.as_ref().map(|a| &a.id), operator.as_ref().map(|o| &o.app_id)];
        let app_id = known.into_iter().flatten().find(|id| !id.is_empty()).unwrap_or(&app.app_id);
        let value = Output {
            app_id: app_id.clone(),
            operator,
            driver,
            run: answer.as_ref().map(Run::new),
            via,
            missing,
        };
        Ok(Outcome { summary: summary(&value), passages, value })
    }
}

async fn operator(cluster: &Cluster, app: &SparkApp) -> clients::Result<Option<Record>> {
    let Some(kube) = cluster.kube.as_ref().filter(|_| !app.name.is_empty()) else {
        return Ok(None);
    };
    match record::find(kube, &app.namespace, &app.name).await {
        // The driver pod is told apart from it anyway.
        Ok(found) if found.runner == Runner::Submit => Ok(None),
        Ok(found) => Ok(Some(found)),
        // Not every application is run by the operator, and not every cluster has one.
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Run {
    pub(super) fn new(application: &Answer) -> Self {
        let attempt = application.attempts.first().cloned().unwrap_or_default();
        let text = |time: Option<jiff::Timestamp>| time.map(|t| t.to_string()).unwrap_or_default();
        Self {
            name: application.name.clone(),
            started: text(attempt.started()),
            ended: text(attempt.ended()),
            duration_ms: attempt.duration,
            completed: attempt.completed,
            spark_version: attempt.app_spark_version,
            user: attempt.spark_user,
        }
    }
}

fn passages(
    operator: Option<&Record>,
    driver: Option<&Pod>,
    answer: Option<&Answer>,
) -> Vec<Passage> {
    let mut passages: Vec<Passage> = operator.and_then(operator_passage).into_iter().collect();
    passages.extend(driver.into_iter().flat_map(pod_passages));
    if let Some(answer) = answer {
        let run = Run::new(answer);
        let ended =
            if run.ended.is_empty() { String::new() } else { format!(" ended={}", run.ended) };
        let text = format!(
            "application {} completed={} started={}{ended} version={}",
            answer.id, run.completed, run.started, run.spark_version
        );
        passages.push(Passage::new(Origin::SparkRest, format!("application {}", answer.id), text));
    }
    passages
}

/// The operator's record as one canonical line: `SparkApplication/<name> state=<state> errorMessage=<message>`; none while
/// the operator has said nothing.
pub(crate) fn operator_passage(found: &Record) -> Option<Passage> {
    if found.state.is_empty() {
        return None;
    }
    let message = match one_line(&found.error_message, 2_000) {
        text if text.is_empty() => text,
        text => format!(" errorMessage={text}"),
    };
    let kind = found.runner.kind();
    let text = format!("{kind}/{} state={}{message}", found.name, found.state);
    Some(Passage::new(Origin::Object, format!("{kind} {}", found.name), text))
}

fn summary(output: &Output) -> String {
    let mut parts = vec![];
    if let Some(found) = output.operator.as_ref().filter(|found| !found.state.is_empty()) {
        let why = one_line(&found.error_message, 160);
        let colon = if why.is_empty() { "" } else { ": " };
        parts.push(format!("operator says {}{colon}{why}", found.state));
    }
    if let Some(pod) = &output.driver {
        parts.push(format!("driver pod {} is {}", pod.name, pod.phase));
    }
    if let (Some(run), Some(via)) = (&output.run, &output.via) {
        let state = if run.ended.is_empty() && !run.completed { "running" } else { "ended" };
        let time = super::duration(run.duration_ms);
        parts.push(format!("Spark {} {state} after {time} (by {})", run.spark_version, via.way));
    }
    if let Some(first) = output.missing.first() {
        parts.push(format!("not read: {}", one_line(first, 160)));
    }
    parts.join("; ")
}
