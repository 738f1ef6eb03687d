//! Scary words that mean nothing. Each text tempts a signature; none may give in.

use super::{ids_of, verdicts};

/// A line as the driver writes it.
fn line(level: &str, logger: &str, message: &str) -> String {
    format!("26/11/23 05:40:52 {level} {logger}: {message}\n")
}

fn info(logger: &str, message: &str) -> String {
    line("INFO", logger, message)
}

#[test]
fn words_that_only_sound_like_a_failure_give_no_verdict() {
    let start = info("SparkContext", "Running Spark version 3.5.9");
    let end = info("SparkContext", "SparkContext is stopping with exitCode 0.");
    let next = info("SparkContext", "Starting job: count at Daily.scala:58");
    let done = info("DAGScheduler", "Job 3 finished: count at Daily.scala:58, took 1.2 s");
    let lost = |reason: &str| {
        line(
            "WARN",
            "TaskSetManager",
            &format!("Lost task 3.0 in stage 1.0 (TID 7) (10.42.1.22 executor 2): {reason}"),
        )
    };
    let quoted =
        "ERROR TaskSchedulerImpl: Lost executor 2 on 10.42.1.22: Command exited with code 137";
    for (what, text) in [
        ("a task whose retry went well", lost("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n  File \"udf.py\"\nValueError: transient\n")),
        ("a Python worker that was replaced", lost("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)")),
        ("a speculative copy that was killed", lost("TaskKilled (another attempt succeeded)")),
        ("a stage that was cancelled", lost("TaskKilled (Stage cancelled: Job 4 cancelled part of cancelled job group)")),
        ("an idle executor that was let go", info("ExecutorAllocationManager", "Executors 3 removed due to idle timeout.") + &info("TaskSchedulerImpl", "Executor 3 on 10.42.1.22 killed by driver.") + &info("ExecutorMonitor", "Executor 3 is removed. Remove reason statistics: (gracefully decommissioned: 0, decommision unfinished: 0, driver killed: 1, unexpectedly exited: 0).")),
        ("an executor that was decommissioned to scale down", line("ERROR", "TaskSchedulerImpl", "Lost executor 3 on 10.42.1.22: Executor decommission: spark scale down")),
        ("memory that the job's own code caught", line("WARN", "Cache", "could not grow, going on without") + "java.lang.OutOfMemoryError: Java heap space\n\tat org.example.Cache.grow(Cache.java:7)\n"),
        ("a job that prints the word", "OOMKilled\nexit code 137, reason: OOMKilled\njava.lang.OutOfMemoryError: Java heap space\n".to_owned()),
        ("a job that logs another log", info("Report", &format!("yesterday: 26/11/22 01:00:00 {quoted}"))),
        ("a job that prints another log", format!("> 26/11/22 01:00:00 {quoted}\n| 26/11/22 01:00:00 {quoted}\n\"26/11/22 01:00:00 {quoted}\"\n")),
        ("a query about causes", info("SparkSqlParser", "Parsing: select * from t where msg like 'Caused by: java.net.ConnectException: Connection refused' or msg = 'Could not connect to meta store using any of the URIs provided'")),
        ("a plan with a telling table", info("CodeGenerator", "Code generated in 12.1 ms") + "== Physical Plan ==\n*(1) Filter isnotnull(reason) AND (reason = OOMKilled)\n"),
        ("a warning about something old", line("WARN", "SparkConf", "The configuration key 'spark.yarn.executor.memoryOverhead' has been deprecated as of Spark 2.3 and may be removed in the future. Please use the new key 'spark.executor.memoryOverhead' instead.")),
        ("a pod that ended well", info("LoggingPodStatusWatcherImpl", "Application status for spark-1 (phase: Succeeded)") + "\t exit code: 0\n\t termination reason: Completed\n"),
        ("an exception that was caught, then another job", "Traceback (most recent call last):\n  File \"etl.py\"\npyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `a`.`b` cannot be found.\n".to_owned() + &next),
        ("a metastore that answered in the end", line("WARN", "HiveClientImpl", "HiveClient got thrift exception, destroying client and retrying (0 tries remaining)") + "org.apache.hadoop.hive.ql.metadata.HiveException: java.lang.RuntimeException: Unable to instantiate org.apache.hadoop.hive.ql.metadata.SessionHiveMetaStoreClient\nCaused by: MetaException(message:Could not connect to meta store using any of the URIs provided.)\n" + &info("metastore", "Connected to metastore.")),
        ("a wait for executors that came", line("WARN", "TaskSchedulerImpl", "Initial job has not accepted any resources; check your cluster UI to ensure that workers are registered and have sufficient resources") + &info("TaskSetManager", "Starting task 0.0 in stage 0.0 (TID 0) (10.42.1.22, executor 1, partition 0, PROCESS_LOCAL, 7000 bytes) ")),
        ("executors that are on their way", info("ExecutorPodsAllocator", "Still waiting for 2 executors for ResourceProfile Id 0 before requesting more.")),
        ("a client that is closed at the end", line("WARN", "ExecutorPodsWatchSnapshotSource", "Kubernetes client has been closed.")),
        ("a probe of a missing file", line("WARN", "FileStreamSink", "Assume no metadata directory. Error while looking for metadata directory in the path: s3a://bucket/x.") + "java.nio.file.AccessDeniedException: s3a://bucket/x: getFileStatus\nCaused by: com.amazonaws.services.s3.model.AmazonS3Exception: Forbidden (Service: Amazon S3; Status Code: 403)\n"),
        ("a failure the job's own logger tells of", line("ERROR", "Importer", "skipping a bad file") + "java.io.FileNotFoundException: No such file or directory: s3a://bucket/x\nCaused by: java.net.UnknownHostException: nowhere\n"),
        ("a metastore of its own that writes its version down", line("WARN", "ObjectStore", "Version information not found in metastore. hive.metastore.schema.verification is not enabled so recording the schema version 2.3.0") + &line("WARN", "ObjectStore", "Failed to get database global_temp, returning NoSuchObjectException")),
        ("memory that was asked for again", line("WARN", "TaskMemoryManager", "Failed to allocate a page (67108864 bytes), try again.") + &line("WARN", "MemoryStore", "Not enough space to cache rdd_3_1 in memory! (computed 384.0 MiB so far)")),
        ("a traceback that was logged, then another job", "2026-11-23 05:40:52,123 ERROR etl: skipping one customer\nTraceback (most recent call last):\n  File \"etl.py\"\nKeyError: 'x'\n".to_owned()),
        ("a heartbeat that was late once", line("WARN", "Executor", "Issue communicating with driver in heartbeater") + "org.apache.spark.SparkException: Exception thrown in awaitResult\nCaused by: java.util.concurrent.TimeoutException: Futures timed out\n"),
    ] {
        let text = format!("{start}{text}{next}{done}{end}");
        let found = verdicts(&["-".into()], text.as_bytes());
        assert!(found.is_empty(), "{what}: {found:#?}");
    }
}

#[test]
fn an_executor_that_ended_in_order_has_no_verdict() {
    let start = info("CoarseGrainedExecutorBackend", "Successfully registered with driver");
    let shutdown = info("CoarseGrainedExecutorBackend", "Driver commanded a shutdown")
        + &line("ERROR", "CoarseGrainedExecutorBackend", "RECEIVED SIGNAL TERM");
    let failed = |attempt: u8| {
        line("ERROR", "Executor", &format!("Exception in task 3.{attempt} in stage 1.0 (TID 7)"))
            + "org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n  File \"udf.py\"\nValueError: x\n"
    };
    assert_eq!(ids_of(format!("{start}{shutdown}")), "");
    assert_eq!(
        ids_of(format!("{start}{}{shutdown}", failed(0))),
        "",
        "its retry may have gone well"
    );
    assert_eq!(ids_of(format!("{start}{}{shutdown}", failed(3))), "spark/user/exception");
    let crashed = line(
        "ERROR",
        "Executor",
        "Exception in task 3.3 in stage 1.0 (TID 7): Python worker exited unexpectedly (crashed)",
    );
    let term = line("ERROR", "CoarseGrainedExecutorBackend", "RECEIVED SIGNAL TERM");
    assert_eq!(ids_of(format!("{start}{crashed}")), "spark/python/worker-crash");
    assert_eq!(ids_of(format!("{start}{term}{crashed}")), "spark/executor/decommissioned");
}

#[test]
fn a_failure_nobody_knows_has_no_verdict() {
    for text in [
        "",
        "\n\n\n",
        "hello",
        "26/11/23 05:40:52 ERROR Frobnicator: the flux capacitor is out of plutonium\njava.lang.IllegalStateException: plutonium\n\tat a.B\n",
        "panic: runtime error",
        "{}",
        "[]",
        "{\"kind\":\"Deployment\"}",
        "null",
    ] {
        assert_eq!(ids_of(text), "", "{text}");
    }
}
