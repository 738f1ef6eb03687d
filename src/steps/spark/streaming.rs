//! `spark.streaming`: whether a stream keeps up.
//!
//! Spark's REST API has numbers only for the old streaming API (`DStream`s). Structured streaming has none, but each of its
//! micro-batches is a job that says in its description which query, run and batch it belongs to; from those the progress
//! of every query can be read as far as Spark still keeps the jobs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        kube::one_line,
        spark::{Job, Streaming as Statistics, Via},
    },
    domain::evidence::{Origin, Passage},
    steps::{Context, Effect, Failure, Need, Outcome, Step, counted},
};

/// Queries in the output, at most.
const MAX_QUERIES: usize = 50;
/// Batches from which a query's usual duration is told.
const RECENT: usize = 20;

/// Reads how the streams of the run's Spark application stand.
///
/// For the old API (`DStream`s) Spark's own statistics. Structured streaming has no REST API: of each query the newest
/// micro-batch, its age and how long batches take are read from the jobs Spark still keeps; rates, lag and watermark are
/// not there (use `spark.sql.streaming.metricsEnabled=true` and Prometheus, or the driver's log).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Streaming {}

/// The streams.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// The old API, when the application uses it.
    pub dstreams: Option<Dstreams>,
    /// Queries of structured streaming, the one with the oldest batch first; at most 50.
    pub queries: Vec<Query>,
    /// What this cannot know.
    pub note: String,
    /// Where this came from.
    pub via: Via,
}

/// The old streaming API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Dstreams {
    /// Milliseconds between batches.
    pub batch_interval_ms: i64,
    /// Milliseconds a batch takes on average; none before the first.
    pub processing_ms: Option<i64>,
    /// Milliseconds a batch waits on average before it begins.
    pub scheduling_delay_ms: Option<i64>,
    /// Batches that wait or run.
    pub active_batches: i64,
    /// Batches done.
    pub completed_batches: i64,
    /// Receivers that do not work.
    pub dead_receivers: i64,
    /// Batches take longer than their interval.
    pub falls_behind: bool,
}

/// One query of structured streaming.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Query {
    /// Its name; empty when the program gave none.
    pub name: String,
    /// Its id, the same after a restart from its checkpoint.
    pub id: String,
    /// Its run's id.
    pub run_id: String,
    /// The newest batch.
    pub batch: i64,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`: the newest batch's last job.
    pub status: String,
    /// When the newest batch began, RFC 3339.
    pub began: String,
    /// Seconds since the newest batch began.
    pub age_seconds: i64,
    /// How long the newest 20 finished batches took, the median, milliseconds; none without one.
    pub median_ms: Option<i64>,
    /// Batches with a failed job.
    pub failed_batches: usize,
}

/// One micro-batch, over all its jobs.
#[derive(Clone, Default)]
struct Batch {
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    status: String,
    failed: bool,
}

impl Step for Streaming {
    const KIND: &'static str = "spark.streaming";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "{}";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self {} = self;
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let (statistics, jobs) = tokio::join!(session.streaming(), session.jobs(""));
        let dstreams = statistics?.map(|found| Dstreams::new(&found));
        let queries = queries(&jobs?, context.clock.now());
        let note = match (&dstreams, queries.as_slice()) {
            (Some(_), _) => "",
            (None, []) => {
                "no stream: Spark attached no streaming listener, and no job belongs to a structured query"
            }
            (None, _) => {
                "structured streaming has no REST API: rates, lag and watermark are not known from here"
            }
        };
        let mut passages: Vec<Passage> = dstreams.iter().map(Dstreams::passage).collect();
        passages.extend(queries.iter().map(Query::passage));
        let value = Output { dstreams, queries, note: note.to_owned(), via: session.via.clone() };
        Ok(Outcome { summary: summary(&value), passages, value })
    }
}

impl Dstreams {
    fn new(found: &Statistics) -> Self {
        let whole = |number: Option<f64>| {
            #[allow(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
            number.map(|number| number.round() as i64)
        };
        let processing_ms = whole(found.avg_processing_time);
        Self {
            batch_interval_ms: found.batch_duration,
            processing_ms,
            scheduling_delay_ms: whole(found.avg_scheduling_delay),
            active_batches: found.num_active_batches,
            completed_batches: found.num_total_completed_batches,
            dead_receivers: found.num_inactive_receivers,
            falls_behind: processing_ms.is_some_and(|took| took > found.batch_duration),
        }
    }

    fn passage(&self) -> Passage {
        let Self { active_batches, completed_batches, dead_receivers, .. } = self;
        let time = |ms: Option<i64>| ms.map_or_else(|| "unknown".to_owned(), super::duration);
        let behind = if self.falls_behind { ", falls behind" } else { "" };
        let text = format!(
            "stream interval={} processing={} delay={} active={active_batches} completed={completed_batches} deadReceivers={dead_receivers}{behind}",
            super::duration(self.batch_interval_ms),
            time(self.processing_ms),
            time(self.scheduling_delay_ms),
        );
        Passage::new(Origin::SparkRest, "streams", text)
    }
}

/// What a job's description says: `name`, then `id = …`, `runId = …`, `batch = …`, each on its line.
fn described(job: &Job) -> Option<(Query, i64)> {
    let mut query = Query::default();
    let mut batch = None;
    for (at, line) in job.description.lines().map(str::trim).enumerate().take(8) {
        match line.split_once(" = ") {
            Some(("id", id)) => query.id = one_line(id, 60),
            Some(("runId", run)) => query.run_id = one_line(run, 60),
            Some(("batch", number)) => batch = number.parse::<i64>().ok(),
            Some(_) | None if at == 0 => query.name = one_line(line, 120),
            Some(_) | None => {}
        }
    }
    (!query.run_id.is_empty()).then_some((query, batch?))
}

fn queries(jobs: &[Job], now: Timestamp) -> Vec<Query> {
    let mut runs: BTreeMap<String, (Query, BTreeMap<i64, Batch>)> = BTreeMap::new();
    for job in jobs {
        let Some((query, number)) = described(job) else { continue };
        let run = runs.entry(query.run_id.clone()).or_insert_with(|| (query, BTreeMap::new()));
        run.1.entry(number).or_default().add(job);
    }
    let mut found: Vec<Query> =
        runs.into_values().filter_map(|(query, batches)| query.with(&batches, now)).collect();
    found.sort_by_key(|query| std::cmp::Reverse(query.age_seconds));
    found.truncate(MAX_QUERIES);
    found
}

impl Batch {
    /// Jobs come newest first.
    fn add(&mut self, job: &Job) {
        if self.status.is_empty() {
            self.status.clone_from(&job.status);
        }
        self.failed |= job.status == "FAILED";
        self.began = [self.began, job.submitted()].into_iter().flatten().min();
        self.ended = self.ended.max(job.ended());
    }

    fn took(&self) -> Option<i64> {
        let took = self.ended?.duration_since(self.began?).as_millis();
        (self.status == "SUCCEEDED").then(|| i64::try_from(took).unwrap_or(i64::MAX))
    }
}

impl Query {
    fn with(mut self, batches: &BTreeMap<i64, Batch>, now: Timestamp) -> Option<Self> {
        let (number, newest) = batches.last_key_value()?;
        self.batch = *number;
        self.status.clone_from(&newest.status);
        self.began = newest.began.map(|at| at.to_string()).unwrap_or_default();
        self.age_seconds = newest.began.map_or(0, |at| now.duration_since(at).as_secs().max(0));
        let mut took: Vec<i64> =
            batches.values().rev().filter_map(Batch::took).take(RECENT).collect();
        took.sort_unstable();
        self.median_ms = took.get(took.len() / 2).copied();
        self.failed_batches = batches.values().filter(|batch| batch.failed).count();
        Some(self)
    }

    fn label(&self) -> &str {
        if self.name.is_empty() { &self.run_id } else { &self.name }
    }

    fn passage(&self) -> Passage {
        let Self { batch, status, age_seconds, failed_batches, .. } = self;
        let usual = self.median_ms.map(|ms| format!(" median={}", super::duration(ms)));
        let text = format!(
            "query {} batch={batch} status={status} begun {age_seconds} s ago{} failedBatches={failed_batches}",
            self.label(),
            usual.unwrap_or_default()
        );
        Passage::new(Origin::SparkRest, format!("stream {}", self.label()), text)
    }
}

fn summary(output: &Output) -> String {
    let way = output.via.way;
    if let Some(streams) = &output.dstreams {
        return format!("{} (by {way})", streams.passage().text);
    }
    match output.queries.first() {
        None => format!("{} (by {way})", output.note),
        Some(oldest) => {
            format!(
                "{}; {} (by {way}); no rates: structured streaming has no REST API",
                counted(output.queries.len(), "structured query"),
                oldest.passage().text
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64, description: &str, status: &str, from: &str, to: &str) -> Job {
        Job {
            job_id: id,
            description: description.to_owned(),
            status: status.to_owned(),
            submission_time: from.to_owned(),
            completion_time: to.to_owned(),
            ..Job::default()
        }
    }

    #[test]
    fn batches_are_told_apart_by_query_and_run() {
        let of = |name: &str, run: &str, batch: &str| {
            format!("{name}\nid = q\nrunId = {run}\nbatch = {batch}")
        };
        let jobs = [
            job(5, &of("orders", "r1", "2"), "RUNNING", "2026-11-23T03:10:00.000GMT", ""),
            job(
                4,
                &of("", "r2", "9"),
                "FAILED",
                "2026-11-23T03:14:00.000GMT",
                "2026-11-23T03:14:10.000GMT",
            ),
            job(
                3,
                &of("orders", "r1", "1"),
                "SUCCEEDED",
                "2026-11-23T03:05:02.000GMT",
                "2026-11-23T03:05:04.000GMT",
            ),
            job(
                2,
                &of("orders", "r1", "1"),
                "SUCCEEDED",
                "2026-11-23T03:05:00.000GMT",
                "2026-11-23T03:05:01.000GMT",
            ),
            job(1, "count at etl.py:3", "SUCCEEDED", "", ""),
            job(0, "runId = \nbatch = x", "SUCCEEDED", "", ""),
        ];
        let found = queries(&jobs, "2026-11-23T03:15:00Z".parse().unwrap());
        let lines: Vec<_> = found.iter().map(|query| query.passage().text).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        query orders batch=2 status=RUNNING begun 300 s ago median=4.0 s failedBatches=0
        query r2 batch=9 status=FAILED begun 60 s ago failedBatches=1
        "#);
    }
}
