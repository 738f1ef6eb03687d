//! Answers of the demo driver's REST API, in the shape of Spark 3.5.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{APP_ID, APPLICATION, DRIVER, NAMESPACE, Times, UI_PORT, logs};
use crate::demo::apiserver::Cluster;

pub(super) fn fill(cluster: &Cluster, times: Times) {
    let answer = |path: &str, body: &Value| {
        cluster.answer(NAMESPACE, DRIVER, UI_PORT, path, 200, &body.to_string());
    };
    let base = format!("/api/v1/applications/{APP_ID}");
    let application = application(times);
    answer("/api/v1/version", &json!({ "spark": "3.5.9" }));
    answer("/api/v1/applications", &json!([application]));
    answer(&base, &application);
    let executors = executors(times);
    let active: Vec<&Value> =
        executors.iter().filter(|executor| executor["isActive"] == json!(true)).collect();
    answer(&format!("{base}/executors"), &json!(active));
    answer(&format!("{base}/allexecutors"), &json!(executors));
    answer(&format!("{base}/jobs"), &json!([job(times)]));
    let stage = stage(times);
    answer(&format!("{base}/stages"), &json!([stage]));
    answer(&format!("{base}/stages?status=active"), &json!([stage]));
    for none in ["failed", "complete", "pending", "skipped"] {
        answer(&format!("{base}/stages?status={none}"), &json!([]));
    }
    answer(&format!("{base}/stages/4/0/taskSummary"), &summary());
}

/// Spark's own form: milliseconds, and `GMT` where RFC 3339 has `Z`.
fn spark_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fGMT").to_string()
}

fn application(times: Times) -> Value {
    let start = times.submitted.as_millisecond();
    json!({
        "id": APP_ID, "name": APPLICATION,
        "attempts": [{
            "startTime": spark_time(times.submitted), "endTime": "1969-12-31T23:59:59.999GMT",
            "lastUpdated": spark_time(times.submitted), "duration": times.now.as_millisecond() - start,
            "sparkUser": "spark", "completed": false, "appSparkVersion": "3.5.9",
            "startTimeEpoch": start, "endTimeEpoch": -1, "lastUpdatedEpoch": start,
        }],
    })
}

fn job(times: Times) -> Value {
    json!({
        "jobId": 3, "name": "parquet at Daily.scala:58", "submissionTime": spark_time(times.submitted), "stageIds": [4],
        "status": "RUNNING", "numTasks": 200, "numActiveTasks": 4, "numCompletedTasks": 57, "numSkippedTasks": 0,
        "numFailedTasks": 2, "numKilledTasks": 0, "numCompletedIndices": 57, "numActiveStages": 1, "numCompletedStages": 0,
        "numSkippedStages": 0, "numFailedStages": 0, "killedTasksSummary": {},
    })
}

fn executors(times: Times) -> Vec<Value> {
    let base = |id: &str, host: &str, since: Timestamp, cores: u8| {
        json!({
            "id": id, "hostPort": host, "isActive": true, "rddBlocks": 0, "memoryUsed": 1_482_220, "diskUsed": 0,
            "totalCores": cores, "maxTasks": cores, "activeTasks": 0, "failedTasks": 0, "completedTasks": 0, "totalTasks": 0,
            "totalDuration": 0, "totalGCTime": 0, "totalInputBytes": 0, "totalShuffleRead": 0, "totalShuffleWrite": 0,
            "isBlacklisted": false, "maxMemory": 2_254_857_830_i64, "addTime": spark_time(since), "executorLogs": {},
            "memoryMetrics": { "usedOnHeapStorageMemory": 1_482_220, "usedOffHeapStorageMemory": 0,
                "totalOnHeapStorageMemory": 2_254_857_830_i64, "totalOffHeapStorageMemory": 0 },
            "blacklistedInStages": [], "attributes": {}, "resources": {}, "resourceProfileId": 0, "isExcluded": false,
            "excludedInStages": [],
            "peakMemoryMetrics": { "JVMHeapMemory": 3_221_225_472_i64, "JVMOffHeapMemory": 148_897_792,
                "OnHeapExecutionMemory": 1_140_850_688, "DirectPoolMemory": 67_108_864, "TotalGCTime": 2_118 },
        })
    };
    let mut first = base("1", "10.42.1.21:7079", times.submitted, 2);
    patch(
        &mut first,
        &json!({ "completedTasks": 409, "activeTasks": 2, "totalTasks": 411, "totalDuration": 1_122_400, "totalGCTime": 31_020 }),
    );
    let mut dead = base("2", "10.42.1.22:7079", times.submitted, 2);
    patch(
        &mut dead,
        &json!({
            "isActive": false, "completedTasks": 204, "failedTasks": 2, "totalTasks": 206, "totalDuration": 884_120,
            "totalGCTime": 142_310, "removeTime": spark_time(times.killed), "removeReason": logs::removal(times),
            "peakMemoryMetrics": { "JVMHeapMemory": 4_187_593_113_i64, "JVMOffHeapMemory": 214_958_080, "DirectPoolMemory": 402_653_184 },
        }),
    );
    let mut fresh = base("3", "10.42.1.23:7079", times.killed, 2);
    patch(
        &mut fresh,
        &json!({ "completedTasks": 3, "activeTasks": 2, "totalTasks": 5, "totalDuration": 41_230 }),
    );
    let driver = base("driver", "10.42.0.17:7079", times.submitted, 0);
    vec![first, dead, fresh, driver]
}

fn patch(value: &mut Value, changes: &Value) {
    for (key, change) in changes.as_object().into_iter().flatten() {
        value[key] = change.clone();
    }
}

fn stage(times: Times) -> Value {
    json!({
        "status": "ACTIVE", "stageId": 4, "attemptId": 0, "numTasks": 200, "numActiveTasks": 4, "numCompleteTasks": 116,
        "numFailedTasks": 2, "numKilledTasks": 0, "numCompletedIndices": 116, "submissionTime": spark_time(times.stage),
        "firstTaskLaunchedTime": spark_time(times.stage), "executorRunTime": 884_120, "executorCpuTime": 401_228_113_004_i64,
        "resultSize": 351_112, "jvmGcTime": 142_310, "memoryBytesSpilled": 12_884_901_888_i64, "diskBytesSpilled": 2_362_232_012_i64,
        "peakExecutionMemory": 2_264_924_160_i64, "inputBytes": 0, "outputBytes": 0, "shuffleReadBytes": 17_179_869_184_i64,
        "shuffleWriteBytes": 6_442_450_944_i64, "name": "join at Daily.scala:58", "details": "", "schedulingPool": "default",
        "rddIds": [31, 30, 29], "accumulatorUpdates": [], "killedTasksSummary": {}, "resourceProfileId": 0,
        "isShufflePushEnabled": false, "shuffleMergersCount": 0,
    })
}

fn summary() -> Value {
    json!({
        "quantiles": [0.05, 0.5, 0.95, 1.0],
        "duration": [1_840.0, 4_112.0, 18_230.0, 238_400.0],
        "executorRunTime": [1_822.0, 4_090.0, 18_190.0, 238_210.0],
        "jvmGcTime": [12.0, 44.0, 1_204.0, 61_044.0],
        "memoryBytesSpilled": [0.0, 0.0, 0.0, 12_884_901_888.0],
        "diskBytesSpilled": [0.0, 0.0, 0.0, 2_362_232_012.0],
        "peakExecutionMemory": [33_554_432.0, 67_108_864.0, 402_653_184.0, 2_264_924_160.0],
        "shuffleReadMetrics": {
            "readBytes": [14_680_064.0, 31_457_280.0, 96_468_992.0, 1_930_755_276.0],
            "fetchWaitTime": [0.0, 2.0, 31.0, 840.0],
        },
    })
}
