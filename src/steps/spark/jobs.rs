//! `spark.jobs`: what an application is doing, and which of it failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::Limit;
use crate::{
    clients::{
        kube::one_line,
        spark::{Job as Answer, Via},
    },
    domain::evidence::{Origin, Passage},
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Reads the jobs of the run's Spark application from Spark's REST API: state, progress, failed tasks and stages.
///
/// Reached by the driver's pod IP or UI service (both subject to `egress.allow`), the API server's proxy (optional:
/// `get` on `pods/proxy`), or the History Server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Which ones; default all.
    #[serde(default)]
    pub status: Status,
    /// The newest jobs, 1 to 20; default 5.
    #[serde(default = "super::stages::default_limit")]
    #[schemars(range(min = 1, max = 20))]
    pub limit: Limit,
}

/// A job's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every one.
    #[default]
    All,
    /// Running.
    Running,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
}

/// The jobs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// How many there are with this status.
    pub total: usize,
    /// How many run, of all.
    pub running: usize,
    /// How many failed, of all.
    pub failed: usize,
    /// Where this came from.
    pub via: Via,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Job {
    /// Number.
    pub id: i64,
    /// The call site, or what the program says of it.
    pub name: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `UNKNOWN`.
    pub status: String,
    /// Submitted, RFC 3339.
    pub submitted: String,
    /// Ended, RFC 3339; empty while it runs.
    pub ended: String,
    /// How long it took, or has been running, milliseconds.
    pub duration_ms: i64,
    /// Its group.
    pub group: String,
    /// Its stages.
    pub stages: Vec<i64>,
    /// Tasks.
    pub tasks: i64,
    /// Tasks done or not needed, per cent.
    pub done_percent: i64,
    /// Tasks running now.
    pub active_tasks: i64,
    /// Task attempts that failed.
    pub failed_tasks: i64,
    /// Stages that failed.
    pub failed_stages: i64,
}

impl Step for Jobs {
    const KIND: &'static str = "spark.jobs";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "status: running\nlimit: 10";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let all = session.jobs("").await?;
        let count = |status: &str| all.iter().filter(|job| job.status == status).count();
        let (running, failed) = (count("RUNNING"), count("FAILED"));
        let wanted = |job: &&Answer| match self.status {
            Status::All => true,
            Status::Running => job.status == "RUNNING",
            Status::Succeeded => job.status == "SUCCEEDED",
            Status::Failed => job.status == "FAILED",
        };
        let now = context.clock.now();
        let total = all.iter().filter(wanted).count();
        let chosen = all.iter().filter(wanted).take(self.limit.get());
        let jobs: Vec<Job> = chosen.map(|job| Job::new(job, now)).collect();
        let passages = jobs.iter().map(Job::passage).collect();
        let value = Output { jobs, total, running, failed, via: session.via.clone() };
        Ok(Outcome { summary: summary(&value), passages, value })
    }
}

impl Job {
    fn new(job: &Answer, now: jiff::Timestamp) -> Self {
        let end = job.ended().or((job.status == "RUNNING").then_some(now));
        let took = job.submitted().zip(end).map(|(from, to)| to.duration_since(from));
        let text = |time: Option<jiff::Timestamp>| time.map(|t| t.to_string()).unwrap_or_default();
        let name = if job.description.is_empty() { &job.name } else { &job.description };
        Self {
            id: job.job_id,
            name: one_line(name, 300),
            status: job.status.clone(),
            submitted: text(job.submitted()),
            ended: text(job.ended()),
            duration_ms: took
                .map_or(0, |t| i64::try_from(t.as_millis()).unwrap_or(i64::MAX).max(0)),
            group: one_line(&job.job_group, 200),
            stages: job.stage_ids.iter().copied().take(50).collect(),
            tasks: job.num_tasks,
            done_percent: super::percent(
                job.num_completed_tasks.saturating_add(job.num_skipped_tasks),
                job.num_tasks,
            ),
            active_tasks: job.num_active_tasks,
            failed_tasks: job.num_failed_tasks,
            failed_stages: job.num_failed_stages,
        }
    }

    fn passage(&self) -> Passage {
        let Self { id, name, status, tasks, done_percent, active_tasks, failed_tasks, .. } = self;
        let time = super::duration(self.duration_ms);
        let failed = match (self.failed_stages, *failed_tasks) {
            (0, 0) => String::new(),
            (stages, tasks) => format!(", failed: {stages} stages, {tasks} tasks"),
        };
        let text = format!(
            "job {id} {status} after {time}: {done_percent} % of {tasks} tasks done, {active_tasks} running{failed}: {name}"
        );
        Passage::new(Origin::SparkRest, format!("job {id}"), text)
    }
}

fn summary(output: &Output) -> String {
    let Output { running, failed, via, .. } = output;
    let first = match output.jobs.first() {
        Some(job) => format!("; newest: {}", one_line(&job.passage().text, 160)),
        None => "; none of this status".to_owned(),
    };
    format!("jobs: {running} running, {failed} failed{first} (by {})", via.way)
}
