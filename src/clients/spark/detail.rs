//! Jobs, SQL executions, settings, threads and streams of an application; and what a History Server lists.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Application, Client, Route, Session, model::Version, time, ways};
use crate::clients::{Error, Kind, Result, http::Trust};

/// SQL executions per page, and pages: Spark keeps 1 000 unless told otherwise.
const SQL_PAGE: usize = 500;
const SQL_PAGES: usize = 4;

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Job {
    /// Number.
    pub job_id: i64,
    /// The call site: `count at etl.py:11`.
    pub name: String,
    /// What the program says of it; structured streaming writes query, run and batch here.
    pub description: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `UNKNOWN`.
    pub status: String,
    /// When it was submitted, as Spark writes it; see [`time`].
    pub submission_time: String,
    /// When it ended.
    pub completion_time: String,
    /// Its group; of a streaming query its run's id.
    pub job_group: String,
    /// Its stages.
    pub stage_ids: Vec<i64>,
    /// Tasks.
    pub num_tasks: i64,
    /// Tasks running now.
    pub num_active_tasks: i64,
    /// Tasks done.
    pub num_completed_tasks: i64,
    /// Tasks not needed.
    pub num_skipped_tasks: i64,
    /// Task attempts that failed.
    pub num_failed_tasks: i64,
    /// Stages that failed.
    pub num_failed_stages: i64,
}

impl Job {
    /// When it was submitted.
    pub fn submitted(&self) -> Option<Timestamp> {
        time(&self.submission_time)
    }

    /// When it ended.
    pub fn ended(&self) -> Option<Timestamp> {
        time(&self.completion_time)
    }
}

/// One SQL execution, without its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SqlExecution {
    /// Number.
    pub id: i64,
    /// `RUNNING`, `COMPLETED`, `FAILED`.
    pub status: String,
    /// The call site, or what the program says.
    pub description: String,
    /// When it was submitted, as Spark writes it.
    pub submission_time: String,
    /// Milliseconds.
    pub duration: i64,
    /// Jobs that run.
    pub running_job_ids: Vec<i64>,
    /// Jobs that succeeded.
    pub success_job_ids: Vec<i64>,
    /// Jobs that failed.
    pub failed_job_ids: Vec<i64>,
}

/// Settings of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Environment {
    /// Java and Scala.
    pub runtime: Runtime,
    /// Settings that were given; defaults are not among them.
    pub spark_properties: Vec<(String, String)>,
}

/// Java and Scala of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Runtime {
    /// `17.0.15 (Debian)`.
    pub java_version: String,
    /// `version 2.12.18`.
    pub scala_version: String,
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Thread {
    /// Number.
    pub thread_id: i64,
    /// `main`, `Executor task launch worker for task 3.0 in stage 1.0 (TID 7)`.
    pub thread_name: String,
    /// `RUNNABLE`, `BLOCKED`, `WAITING`, `TIMED_WAITING`.
    pub thread_state: String,
    /// Frames, innermost first.
    pub stack_trace: Stack,
    /// The thread that holds the lock this one waits for.
    pub blocked_by_thread_id: Option<i64>,
    /// That lock.
    pub blocked_by_lock: String,
}

/// Frames of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stack {
    /// Innermost first.
    pub elems: Vec<String>,
}

/// The old streaming API (`DStream`s) in numbers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Streaming {
    /// Milliseconds between batches.
    pub batch_duration: i64,
    /// Receivers that work.
    pub num_active_receivers: i64,
    /// Receivers that do not.
    pub num_inactive_receivers: i64,
    /// Batches that wait or run.
    pub num_active_batches: i64,
    /// Batches done.
    pub num_total_completed_batches: i64,
    /// Records per second; none without receivers.
    pub avg_input_rate: Option<f64>,
    /// Milliseconds a batch waits; none before the first.
    pub avg_scheduling_delay: Option<f64>,
    /// Milliseconds a batch takes.
    pub avg_processing_time: Option<f64>,
    /// Milliseconds from its time to its end.
    pub avg_total_delay: Option<f64>,
}

impl Session<'_> {
    /// Jobs; of one status (`running`, `succeeded`, `failed`, `unknown`) when it is not empty. Newest first.
    pub async fn jobs(&self, status: &str) -> Result<Vec<Job>> {
        let query = if status.is_empty() { String::new() } else { format!("?status={status}") };
        let mut jobs: Vec<Job> = self.get("jobs", &format!("{}/jobs{query}", self.base()?)).await?;
        jobs.sort_by_key(|job| std::cmp::Reverse(job.job_id));
        Ok(jobs)
    }

    /// SQL executions without details and plans, newest first; the oldest 2 000 when there are more.
    pub async fn sql(&self) -> Result<Vec<SqlExecution>> {
        let mut all: Vec<SqlExecution> = vec![];
        // Spark counts pages from the oldest.
        for page in 0..SQL_PAGES {
            let offset = page * SQL_PAGE;
            let query =
                format!("details=false&planDescription=false&offset={offset}&length={SQL_PAGE}");
            let path = format!("{}/sql?{query}", self.base()?);
            let some: Vec<SqlExecution> = self.get("SQL executions", &path).await?;
            let last = some.len() < SQL_PAGE;
            all.extend(some);
            if last {
                break;
            }
        }
        all.sort_by_key(|execution| std::cmp::Reverse(execution.id));
        Ok(all)
    }

    /// The settings it runs with.
    pub async fn environment(&self) -> Result<Environment> {
        self.get("environment", &format!("{}/environment", self.base()?)).await
    }

    /// What each thread of the driver or an executor does now. Only a running application can say.
    pub async fn threads(&self, executor: &str) -> Result<Vec<Thread>> {
        ways::check_id(executor)?;
        self.get("threads", &format!("{}/executors/{executor}/threads", self.base()?)).await
    }

    /// Numbers of the old streaming API; `None` when the application uses none of it.
    pub async fn streaming(&self) -> Result<Option<Streaming>> {
        let path = format!("{}/streaming/statistics", self.base()?);
        match self.get("streaming statistics", &path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The configured History Server.
pub struct History<'a> {
    client: &'a Client,
    route: Route,
}

impl Client {
    /// The History Server; `None` when none is configured.
    pub fn history(&self) -> Option<History<'_>> {
        let base = self.history.clone()?;
        Some(History { client: self, route: Route::Direct { base, trust: Trust::Configured } })
    }
}

impl History<'_> {
    /// One application; `None` when it does not know it.
    pub async fn application(&self, id: &str) -> Result<Option<Application>> {
        let path = ways::base(id, None)?;
        let operation = format!("ask the History Server for application {id}");
        match self.client.fetch(&self.route, &path, &operation).await {
            Ok(found) => Ok(Some(found)),
            Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applications it lists, at most `limit`.
    pub async fn list(&self, limit: usize) -> Result<Vec<Application>> {
        let path = format!("/api/v1/applications?limit={limit}");
        self.client.fetch(&self.route, &path, "list the History Server's applications").await
    }

    /// Its Spark version.
    pub async fn version(&self) -> Result<String> {
        let operation = "ask the History Server for its version";
        let version: Version = self.client.fetch(&self.route, "/api/v1/version", operation).await?;
        Ok(version.spark)
    }
}
