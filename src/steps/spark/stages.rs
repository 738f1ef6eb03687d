//! `spark.stages`: why stages fail, and where they lose time: skew, spill, garbage collection.

use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        kube::one_line,
        spark::{Stage as Answer, TaskSummary, Via},
    },
    domain::evidence::{Origin, Passage},
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Task summaries asked for at once.
const PARALLEL: usize = 3;
/// Longest failure reason kept, characters: it holds a whole stack trace.
const MAX_REASON: usize = 16_384;

/// Reads stages of the run's Spark application from Spark's REST API: why they failed, and for each the skew between
/// its tasks, the bytes spilled and the share of garbage collection.
///
/// Reached by the driver's pod IP or UI service (both subject to `egress.allow`), the API server's proxy (optional:
/// `get` on `pods/proxy`), or the History Server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// Which ones; default `failed`.
    #[serde(default)]
    pub status: Status,
    /// The newest stages, 1 to 20; default 5.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 20))]
    pub limit: Limit,
}

/// A stage's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Failed.
    #[default]
    Failed,
    /// Running.
    Active,
    /// Done.
    Complete,
    /// Waiting for others.
    Pending,
    /// Not needed: its result was there already.
    Skipped,
}

/// How many.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Limit(usize);

impl Limit {
    pub(super) fn get(self) -> usize {
        self.0
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, String> {
        if (1..=20).contains(&count) {
            Ok(Self(count))
        } else {
            Err("`limit` is 1 to 20".to_owned())
        }
    }
}

pub(super) fn default_limit() -> Limit {
    Limit(5)
}

impl Status {
    fn query(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
        }
    }
}

/// The stages.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Newest first.
    pub stages: Vec<Stage>,
    /// How many there are with this status.
    pub total: usize,
    /// Where this came from.
    pub via: Via,
}

/// One stage attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stage {
    /// Stage number.
    pub id: i64,
    /// Attempt, from 0.
    pub attempt: i64,
    /// The call site: `count at etl.py:11`.
    pub name: String,
    /// `FAILED`, `ACTIVE`, `COMPLETE`, `PENDING`, `SKIPPED`.
    pub status: String,
    /// Tasks.
    pub tasks: i64,
    /// Tasks done.
    pub complete_tasks: i64,
    /// Task attempts that failed.
    pub failed_tasks: i64,
    /// Why it failed, with the stack trace; at most 16 384 characters.
    pub failure_reason: String,
    /// Milliseconds of task time.
    pub run_time_ms: i64,
    /// Share of task time spent in garbage collection, per cent.
    pub gc_percent: i64,
    /// Bytes spilled to disk.
    pub disk_spilled_bytes: i64,
    /// Bytes held in memory before they were spilled.
    pub memory_spilled_bytes: i64,
    /// Bytes read by shuffles.
    pub shuffle_read_bytes: i64,
    /// Bytes written for shuffles.
    pub shuffle_write_bytes: i64,
    /// The median task, milliseconds; none before a task finished.
    pub median_task_ms: Option<i64>,
    /// The slowest task, milliseconds.
    pub max_task_ms: Option<i64>,
    /// Slowest over median task, times 100: 250 means the slowest took 2.5 times as long.
    pub skew_percent: Option<i64>,
}

impl Step for Stages {
    const KIND: &'static str = "spark.stages";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "status: failed\nlimit: 5";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let mut answers = session.stages(self.status.query()).await?;
        let total = answers.len();
        answers.sort_by_key(|stage| std::cmp::Reverse((stage.stage_id, stage.attempt_id)));
        answers.truncate(self.limit.0);
        let session = &session;
        let asked = stream::iter(answers).map(|answer| async move {
            // Before the first task ended there is no summary; the stage itself is worth having without it.
            let summary = session.task_summary(answer.stage_id, answer.attempt_id).await.ok();
            (answer, summary)
        });
        let asked: Vec<_> = asked.buffered(PARALLEL).collect().await;
        let stages: Vec<Stage> = asked
            .into_iter()
            .map(|(answer, summary)| Stage::new(answer, summary.as_ref()))
            .collect();
        let passages = stages.iter().flat_map(passages).collect();
        let value = Output { stages, total, via: session.via.clone() };
        Ok(Outcome { summary: summary(&value, self.status), passages, value })
    }
}

impl Stage {
    fn new(answer: Answer, summary: Option<&TaskSummary>) -> Self {
        let quantile = |asked: f64| {
            let summary = summary?;
            let at = summary.quantiles.iter().position(|q| (q - asked).abs() < 1e-6)?;
            whole(*summary.duration.get(at)?)
        };
        let (median, max) = (quantile(0.5), quantile(1.0));
        let skew = match (median, max) {
            (Some(median), Some(max)) if median > 0 => Some(super::percent(max, median)),
            _ => None,
        };
        Self {
            id: answer.stage_id,
            attempt: answer.attempt_id,
            status: answer.status,
            tasks: answer.num_tasks,
            complete_tasks: answer.num_complete_tasks,
            failed_tasks: answer.num_failed_tasks,
            failure_reason: answer.failure_reason.trim().chars().take(MAX_REASON).collect(),
            run_time_ms: answer.executor_run_time,
            gc_percent: super::percent(answer.jvm_gc_time, answer.executor_run_time),
            disk_spilled_bytes: answer.disk_bytes_spilled,
            memory_spilled_bytes: answer.memory_bytes_spilled,
            shuffle_read_bytes: answer.shuffle_read_bytes,
            shuffle_write_bytes: answer.shuffle_write_bytes,
            median_task_ms: median,
            max_task_ms: max,
            skew_percent: skew,
            name: answer.name,
        }
    }

    fn label(&self) -> String {
        format!("stage {}.{}", self.id, self.attempt)
    }
}

/// A figure that Spark writes as `5115.0`.
#[allow(clippy::cast_possible_truncation, reason = "bounded just above")]
fn whole(value: f64) -> Option<i64> {
    (0.0..9e15).contains(&value).then_some(value as i64)
}

/// The failure whole, then one line per figure that can explain slowness or death.
fn passages(stage: &Stage) -> Vec<Passage> {
    let label = stage.label();
    let mut lines = vec![];
    if !stage.failure_reason.is_empty() {
        lines.push(format!("{label} failed: {}", stage.failure_reason));
    }
    if let (Some(skew), Some(median), Some(max)) =
        (stage.skew_percent.filter(|skew| *skew >= 200), stage.median_task_ms, stage.max_task_ms)
    {
        let (slowest, median) = (super::duration(max), super::duration(median));
        let times = format!("{}.{}", skew / 100, skew % 100 / 10);
        lines.push(format!(
            "{label} skew: slowest task {slowest}, median {median}, {times} times as long"
        ));
    }
    if stage.disk_spilled_bytes > 0 {
        let (disk, memory) =
            (super::bytes(stage.disk_spilled_bytes), super::bytes(stage.memory_spilled_bytes));
        lines.push(format!("{label} spill: {disk} to disk, {memory} in memory"));
    }
    if stage.gc_percent >= 10 {
        lines.push(format!("{label} garbage collection: {} % of task time", stage.gc_percent));
    }
    let source = format!("{label} ({})", one_line(&stage.name, 80));
    lines.into_iter().map(|line| Passage::new(Origin::SparkRest, source.clone(), line)).collect()
}

fn summary(output: &Output, status: Status) -> String {
    let status = status.query();
    let Some(first) = output.stages.first() else {
        return format!("no {status} stages (by {})", output.via.way);
    };
    let noun = if output.total == 1 { "stage" } else { "stages" };
    let why = first.failure_reason.lines().next().unwrap_or_default();
    let detail = if why.is_empty() { &first.name } else { why };
    let detail = one_line(detail, 160);
    format!("{} {status} {noun}; {}: {detail} (by {})", output.total, first.label(), output.via.way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::spark::Way;

    fn real() -> Vec<Answer> {
        let json =
            include_str!("../../../tests/fixtures/spark-3.5/rest/failedstage-stages-failed.json");
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_real_failure_is_quoted_with_its_python_cause() {
        let stage = Stage::new(real().remove(0), None);
        let passages = passages(&stage);
        assert!(passages[0].text.starts_with("stage 2.0 failed: Job aborted due to stage failure"));
        assert!(passages[0].text.contains("ZeroDivisionError: division by zero"));
        let via = Via { way: Way::ApiProxy, tried: vec![] };
        let output = Output { stages: vec![stage], total: 1, via };
        insta::assert_snapshot!(summary(&output, Status::Failed), @"1 failed stage; stage 2.0: Job aborted due to stage failure: Task 1 in stage 2.0 failed 4 times, most recent failure: Lost task 1.3 in stage 2.0 (TID 15) (localhost executor 1): org.apach… (by API proxy)");
    }

    #[test]
    fn skew_spill_and_gc_become_lines_only_when_they_matter() {
        let summary = TaskSummary {
            quantiles: vec![0.05, 0.5, 0.95, 1.0],
            duration: vec![900.0, 1_000.0, 2_000.0, 61_500.0],
            ..TaskSummary::default()
        };
        let answer = Answer {
            stage_id: 7,
            attempt_id: 1,
            name: "count at etl.py:11".to_owned(),
            executor_run_time: 1_000,
            jvm_gc_time: 450,
            disk_bytes_spilled: 3 << 30,
            memory_bytes_spilled: 9 << 30,
            ..Answer::default()
        };
        let passages_of = passages(&Stage::new(answer, Some(&summary)));
        let lines = passages_of.into_iter().map(|p| p.text).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(lines, @r"
        stage 7.1 skew: slowest task 1 m 1 s, median 1.0 s, 61.5 times as long
        stage 7.1 spill: 3 GiB to disk, 9 GiB in memory
        stage 7.1 garbage collection: 45 % of task time
        ");
        assert!(passages(&Stage::new(Answer::default(), None)).is_empty());
    }

    #[test]
    fn a_summary_of_another_shape_is_no_skew() {
        let short = TaskSummary {
            quantiles: vec![0.5, 1.0],
            duration: vec![0.0],
            ..TaskSummary::default()
        };
        let stage = Stage::new(Answer::default(), Some(&short));
        assert_eq!((stage.skew_percent, stage.max_task_ms), (None, None));
        assert_eq!(whole(f64::NAN), None);
    }
}
