//! `spark.sql`: which queries run, and which failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::Limit;
use crate::{
    clients::{
        kube::one_line,
        spark::{SqlExecution, Via, time},
    },
    domain::evidence::{Origin, Passage},
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Reads the SQL executions of the run's Spark application from Spark's REST API, without plans and metrics, which are
/// large. Of more than 2 000 the oldest 2 000 are seen (Spark keeps 1 000 unless told otherwise).
///
/// Reached by the driver's pod IP or UI service (both subject to `egress.allow`), the API server's proxy (optional:
/// `get` on `pods/proxy`), or the History Server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// Which ones; default all.
    #[serde(default)]
    pub status: Status,
    /// The newest, 1 to 20; default 5.
    #[serde(default = "super::stages::default_limit")]
    #[schemars(range(min = 1, max = 20))]
    pub limit: Limit,
}

/// An execution's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every one.
    #[default]
    All,
    /// Running.
    Running,
    /// Done.
    Completed,
    /// Failed.
    Failed,
}

/// The executions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Newest first.
    pub executions: Vec<Execution>,
    /// How many there are with this status.
    pub total: usize,
    /// How many run, of all.
    pub running: usize,
    /// How many failed, of all.
    pub failed: usize,
    /// Where this came from.
    pub via: Via,
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Execution {
    /// Number.
    pub id: i64,
    /// The call site, or what the program says of it.
    pub description: String,
    /// `RUNNING`, `COMPLETED`, `FAILED`.
    pub status: String,
    /// Submitted, RFC 3339.
    pub submitted: String,
    /// Milliseconds.
    pub duration_ms: i64,
    /// Its jobs that failed.
    pub failed_jobs: Vec<i64>,
    /// Its jobs that run.
    pub running_jobs: Vec<i64>,
}

impl Step for Sql {
    const KIND: &'static str = "spark.sql";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "status: failed";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let all = session.sql().await?;
        let count = |status: &str| all.iter().filter(|e| e.status == status).count();
        let (running, failed) = (count("RUNNING"), count("FAILED"));
        let wanted = |execution: &&SqlExecution| match self.status {
            Status::All => true,
            Status::Running => execution.status == "RUNNING",
            Status::Completed => execution.status == "COMPLETED",
            Status::Failed => execution.status == "FAILED",
        };
        let total = all.iter().filter(wanted).count();
        let chosen = all.iter().filter(wanted).take(self.limit.get());
        let executions: Vec<Execution> = chosen.map(Execution::new).collect();
        let passages = executions.iter().map(Execution::passage).collect();
        let value = Output { executions, total, running, failed, via: session.via.clone() };
        let first = match value.executions.first() {
            Some(first) => format!("; newest: {}", one_line(&first.passage().text, 160)),
            None => "; none of this status".to_owned(),
        };
        let summary =
            format!("queries: {running} running, {failed} failed{first} (by {})", value.via.way);
        Ok(Outcome { value, passages, summary })
    }
}

impl Execution {
    fn new(answer: &SqlExecution) -> Self {
        let some = |ids: &[i64]| ids.iter().copied().take(50).collect();
        Self {
            id: answer.id,
            description: one_line(&answer.description, 300),
            status: answer.status.clone(),
            submitted: time(&answer.submission_time).map(|t| t.to_string()).unwrap_or_default(),
            duration_ms: answer.duration,
            failed_jobs: some(&answer.failed_job_ids),
            running_jobs: some(&answer.running_job_ids),
        }
    }

    fn passage(&self) -> Passage {
        let Self { id, status, description, .. } = self;
        let time = super::duration(self.duration_ms);
        let jobs = |word: &str, ids: &[i64]| match ids {
            [] => String::new(),
            ids => {
                let ids: Vec<String> = ids.iter().take(10).map(i64::to_string).collect();
                format!(", {word} jobs {}", ids.join(" "))
            }
        };
        let (failed, running) =
            (jobs("failed", &self.failed_jobs), jobs("running", &self.running_jobs));
        let text = format!("query {id} {status} after {time}{failed}{running}: {description}");
        Passage::new(Origin::SparkRest, format!("query {id}"), text)
    }
}
