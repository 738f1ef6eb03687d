//! The part of Spark's REST answers that diagnosis reads (`/api/v1`, the same in 3.5 and 4.x).
//!
//! Tolerant on purpose: unknown fields are ignored and missing ones are empty, because versions differ. Times come from
//! the `…Epoch` fields where they exist: the text fields end in `GMT` and show 1969 for "not yet".

use jiff::Timestamp;
use serde::Deserialize;

/// One application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Application {
    /// `spark.app.id`.
    pub id: String,
    /// `spark.app.name`.
    pub name: String,
    /// Attempts, newest first.
    pub attempts: Vec<Attempt>,
}

/// One attempt of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Attempt {
    /// Present for cluster-mode applications in the History Server; part of the path then.
    pub attempt_id: Option<String>,
    /// Start, milliseconds since 1970.
    pub start_time_epoch: i64,
    /// End, milliseconds since 1970; -1 while it runs, or when the driver was killed.
    pub end_time_epoch: i64,
    /// When its event log was last seen to grow, milliseconds since 1970; the History Server only.
    pub last_updated_epoch: i64,
    /// Milliseconds.
    pub duration: i64,
    /// True when it ended in order; says nothing about success.
    pub completed: bool,
    /// `3.5.9`.
    pub app_spark_version: String,
    /// Who ran it.
    pub spark_user: String,
}

impl Attempt {
    /// When it started.
    pub fn started(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.start_time_epoch)
            .ok()
            .filter(|_| self.start_time_epoch > 0)
    }

    /// When its event log was last seen to grow.
    pub fn updated(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.last_updated_epoch)
            .ok()
            .filter(|_| self.last_updated_epoch > 0)
    }

    /// When it ended, if it is known to have.
    pub fn ended(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.end_time_epoch).ok().filter(|_| self.end_time_epoch > 0)
    }
}

/// One executor, or the driver (id `driver`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Executor {
    /// Number, or `driver`.
    pub id: String,
    /// Address of its block manager.
    pub host_port: String,
    /// False when it was removed.
    pub is_active: bool,
    /// True when Spark no longer schedules on it.
    pub is_excluded: bool,
    /// Cores.
    pub total_cores: i64,
    /// Running tasks.
    pub active_tasks: i64,
    /// Failed tasks.
    pub failed_tasks: i64,
    /// Finished tasks.
    pub completed_tasks: i64,
    /// Milliseconds of task time.
    pub total_duration: i64,
    /// Milliseconds of garbage collection.
    #[serde(rename = "totalGCTime")]
    pub total_gc_time: i64,
    /// Bytes of storage memory in use.
    pub memory_used: i64,
    /// Bytes of storage memory.
    pub max_memory: i64,
    /// Bytes on local disk.
    pub disk_used: i64,
    /// Bytes.
    pub total_shuffle_read: i64,
    /// Bytes.
    pub total_shuffle_write: i64,
    /// When it came, as Spark writes it; see [`time`].
    pub add_time: String,
    /// When it went.
    pub remove_time: String,
    /// Why it went; several lines on Kubernetes.
    pub remove_reason: String,
    /// Highest values seen.
    pub peak_memory_metrics: PeakMemory,
}

/// Peak memory of an executor, bytes; 0 when not measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeakMemory {
    /// JVM heap.
    #[serde(rename = "JVMHeapMemory")]
    pub jvm_heap: i64,
    /// JVM outside the heap.
    #[serde(rename = "JVMOffHeapMemory")]
    pub jvm_off_heap: i64,
    /// Python workers, resident.
    #[serde(rename = "ProcessTreePythonRSSMemory")]
    pub python_rss: i64,
    /// The JVM, resident.
    #[serde(rename = "ProcessTreeJVMRSSMemory")]
    pub jvm_rss: i64,
}

/// One attempt of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stage {
    /// `FAILED`, `ACTIVE`, `COMPLETE`, `PENDING`, `SKIPPED`.
    pub status: String,
    /// Number.
    pub stage_id: i64,
    /// Attempt, from 0.
    pub attempt_id: i64,
    /// The call site: `count at etl.py:11`.
    pub name: String,
    /// Tasks.
    pub num_tasks: i64,
    /// Tasks running now.
    pub num_active_tasks: i64,
    /// Tasks done.
    pub num_complete_tasks: i64,
    /// Task attempts that failed.
    pub num_failed_tasks: i64,
    /// Task attempts that were killed.
    pub num_killed_tasks: i64,
    /// Why it failed, with the stack trace.
    pub failure_reason: String,
    /// Milliseconds of task time.
    pub executor_run_time: i64,
    /// Milliseconds of garbage collection.
    pub jvm_gc_time: i64,
    /// Bytes in memory before spilling.
    pub memory_bytes_spilled: i64,
    /// Bytes written by spilling.
    pub disk_bytes_spilled: i64,
    /// Bytes.
    pub input_bytes: i64,
    /// Bytes.
    pub output_bytes: i64,
    /// Bytes.
    pub shuffle_read_bytes: i64,
    /// Bytes.
    pub shuffle_write_bytes: i64,
}

/// Quantiles over the finished tasks of a stage; each list is as long as `quantiles`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TaskSummary {
    /// Which quantiles: `[0.05, 0.5, 0.95, 1.0]`.
    pub quantiles: Vec<f64>,
    /// Milliseconds.
    pub duration: Vec<f64>,
    /// Milliseconds.
    pub jvm_gc_time: Vec<f64>,
    /// Bytes.
    pub disk_bytes_spilled: Vec<f64>,
    /// Shuffle reads.
    pub shuffle_read_metrics: ShuffleRead,
}

/// Quantiles of shuffle reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ShuffleRead {
    /// Bytes.
    pub read_bytes: Vec<f64>,
    /// Milliseconds.
    pub fetch_wait_time: Vec<f64>,
}

/// Answer of `/version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Version {
    /// `3.5.9`.
    pub spark: String,
}

/// Reads a time as Spark writes it, `2026-11-23T04:34:52.786GMT`; `None` for 1969, which means "not yet".
pub fn time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = format!("{}Z", text.strip_suffix("GMT")?).parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn read<T: DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn real_executors_are_read_with_the_multi_line_reason() {
        let executors: Vec<Executor> = read(include_str!(
            "../../../tests/fixtures/spark-3.5/rest/executorlost-allexecutors.json"
        ));
        let dead = &executors[0];
        assert!(!dead.is_active && dead.remove_reason.contains("termination reason: OOMKilled"));
        assert_eq!(dead.peak_memory_metrics.jvm_heap, 64_717_544);
        assert_eq!(time(&dead.remove_time).unwrap().to_string(), "2026-11-23T05:32:00.627Z");
        assert_eq!(executors.iter().filter(|e| e.is_active).count(), 2);
    }

    #[test]
    fn a_running_or_killed_application_has_no_end() {
        for json in [
            include_str!("../../../tests/fixtures/spark-3.5/rest/executorlost-applications.json"),
            include_str!(
                "../../../tests/fixtures/spark-3.5/rest/history-applications-inprogress.json"
            ),
        ] {
            let applications: Vec<Application> = read(json);
            let attempt = &applications[0].attempts[0];
            assert!(attempt.started().is_some() && attempt.ended().is_none() && !attempt.completed);
        }
        assert_eq!(time("1969-12-31T23:59:59.999GMT"), None);
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn real_failed_stages_and_task_quantiles_are_read() {
        let stages: Vec<Stage> = read(include_str!(
            "../../../tests/fixtures/spark-3.5/rest/failedstage-stages-failed.json"
        ));
        assert!(stages.iter().all(|s| s.status == "FAILED" && !s.failure_reason.is_empty()));
        let summary: TaskSummary = read(include_str!(
            "../../../tests/fixtures/spark-3.5/rest/executorlost-tasksummary.json"
        ));
        assert_eq!(summary.quantiles.len(), summary.duration.len());
        assert_eq!(summary.shuffle_read_metrics.read_bytes.len(), 5);
    }

    #[test]
    fn an_answer_of_another_version_is_read_as_far_as_it_goes() {
        assert_eq!(read::<Executor>(r#"{"id":"1","novel":{"a":[1]}}"#).id, "1");
        assert_eq!(read::<Version>("{}"), Version::default());
    }
}
