//! Failures provoked for real, and what `paramedic diagnose` makes of them.

use crate::bed::{
    Bed,
    apps::{SHUFFLES, working},
    cluster::{Cluster, NAMESPACE, Submit},
    process::Process,
    spark::{self, Version},
    verdicts,
};

/// Fails in many ways, one after the other, as a job that dies of each would: the trace, then a mark.
const FAILS: &str = r#"
import os, signal, sys, traceback
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.driver.maxResultSize", "1m").config("spark.ui.enabled", "false").getOrCreate()
sc = spark.sparkContext

def fails(name, what):
    try:
        what()
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    print("=== " + name, file=sys.stderr, flush=True)

fails("class", lambda: spark.read.parquet("s3a://bucket/x").count())
fails("source", lambda: spark.read.format("delta").load("/none").count())
fails("table", lambda: spark.table("sales.orders").count())
fails("syntax", lambda: spark.sql("choose 1").show())
fails("path", lambda: spark.read.parquet("/no/such/path").count())
fails("worker", lambda: sc.parallelize(range(2), 2).map(lambda i: os.kill(os.getpid(), signal.SIGKILL)).collect())
fails("user", lambda: sc.parallelize(range(2), 2).map(lambda i: 1 // (i - i)).collect())
fails("well", lambda: print(spark.range(1000).count()))
fails("heap", lambda: sc._jvm.java.util.ArrayList(1900000000))
# The last: tasks of a job that was given up go on for a while, and so does what the driver says of them.
fails("result", lambda: spark.range(0, 400000, 1, 4).selectExpr("repeat(uuid(), 10) as s").collect())
"#;

#[tokio::test]
async fn the_failures_of_spark_3_in_one_process_are_told_apart() {
    fail_in_many_ways(Version::V3).await;
}

#[tokio::test]
async fn the_failures_of_spark_4_in_one_process_are_told_apart() {
    fail_in_many_ways(Version::V4).await;
}

async fn fail_in_many_ways(version: Version) {
    let bed = Bed::new();
    let script = bed.file("spark/fails.py", FAILS);
    let folder = bed.folder("spark");
    let mut command = spark::script_of(version, &folder, "spark-submit");
    command.args(["--master", "local[2]", "--driver-memory", "512m"]).arg(script);
    let mut driver = Process::start("spark-fails", &mut command, folder.join("fails.log"));
    let status = driver.ended().await;
    let output = driver.output();
    assert!(status.success(), "{output}");
    let said: Vec<String> = output
        .split_inclusive("\n=== ")
        .zip(output.split("\n=== ").skip(1))
        .map(|(log, next)| {
            let name = next.lines().next().unwrap_or_default();
            format!("{name}: {}", verdicts::of_log(log).join(" > "))
        })
        .collect();
    let expected = [
        "class: spark/driver/class-missing",
        "source: spark/driver/class-missing",
        "table: spark/sql/analysis-error",
        "syntax: spark/sql/analysis-error",
        "path: spark/sql/analysis-error",
        "worker: spark/python/worker-crash",
        "user: spark/user/exception",
        "well: ",
        "heap: spark/driver/heap-oom",
        "result: spark/driver/result-too-large",
    ];
    assert_eq!(said, expected, "{output}");
}

#[tokio::test]
async fn executors_killed_out_of_memory_evicted_and_deleted_are_told_apart_by_the_driver() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let kept = "spark.kubernetes.executor.deleteOnTermination=false";
    let mut driver = working(&bed, &cluster, &[kept]).await;
    let (first, mut read) = (cluster.executor(1), 0);
    // What is said of one loss is said before the next executor works.
    let lost = async |id: u32, reason: &str| {
        let words = format!("The executor with id {id} {reason}");
        cluster.says(|| driver.output(), &words).await;
        cluster.works(|| driver.output(), id + 1).await;
    };
    let killed = "exited with exit code 137(SIGKILL, possible container OOM).";

    cluster.kill_executor(1);
    lost(1, killed).await;
    assert_eq!(verdicts::of_log(&driver.news(&mut read)), ["spark/executor/killed"]);
    assert_eq!(verdicts::of_app(&cluster, &first).await, ["spark/executor/killed"]);

    cluster.oom_executor(2);
    lost(2, killed).await;
    let news = driver.news(&mut read);
    assert!(news.contains("termination reason: OOMKilled"), "{news}");
    assert_eq!(verdicts::of_log(&news), ["spark/executor/oom-killed"]);
    let both = ["spark/executor/oom-killed", "spark/executor/killed"];
    assert_eq!(verdicts::of_app(&cluster, &first).await, both);

    let evicted = cluster.executor(3);
    cluster.evict_executor(3);
    lost(3, "exited with exit code 137").await;
    assert_eq!(verdicts::of_log(&driver.news(&mut read)), ["spark/executor/killed"]);
    let events = cluster.events(&evicted);
    assert!(events.iter().any(|event| event.starts_with("Evicted: The node was low on")));

    cluster.delete_pod(&cluster.executor(4)).await;
    lost(4, "was deleted by a user or the framework.").await;
    assert_eq!(verdicts::of_log(&driver.news(&mut read)), ["spark/executor/killed"]);

    cluster.finish();
    assert!(driver.ended().await.success());
}

/// Two executors that read each other's shuffle data, and wait in the middle of it; the driver's pod.
async fn reading(bed: &Bed, cluster: &Cluster, version: Version) -> String {
    let mut submit = Submit::new(version, "shuffles", SHUFFLES)
        .with("spark.kubernetes.executor.deleteOnTermination=false");
    submit.executors = 2;
    assert!(cluster.submit(bed, &submit).ended().await.success());
    for reader in ["reduce-0", "reduce-1"] {
        cluster.marked(reader).await;
    }
    cluster.until_running("driver", 1).await.remove(0)
}

#[tokio::test]
async fn a_fetch_that_fails_because_an_executor_was_killed_has_that_as_its_cause() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let driver = reading(&bed, &cluster, Version::V3).await;
    cluster.kill_executor(1);
    cluster.says(|| cluster.log(&driver), "The executor with id 1 exited with exit code 137").await;
    cluster.mark("go");
    cluster.says(|| cluster.log(&driver), "FetchFailed(BlockManagerId(1, ").await;
    assert_eq!(cluster.ended(&driver).await["status"]["phase"], "Succeeded");
    assert!(cluster.log(&driver).contains("counted 256"));
    let cause_first = ["spark/executor/killed", "spark/shuffle/fetch-failed"];
    assert_eq!(verdicts::of_log(&cluster.log(&driver)), cause_first);
    assert_eq!(verdicts::of_app(&cluster, "shuffles").await, cause_first);
}

#[tokio::test]
async fn a_fetch_that_fails_while_every_executor_lives_is_told_by_itself() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let driver = reading(&bed, &cluster, Version::V4).await;
    cluster.lose_shuffle_files(1);
    cluster.mark("go");
    cluster.says(|| cluster.log(&driver), "FetchFailed(BlockManagerId(1, ").await;
    assert_eq!(cluster.ended(&driver).await["status"]["phase"], "Succeeded");
    assert!(cluster.log(&driver).contains("counted 256"));
    assert_eq!(verdicts::of_log(&cluster.log(&driver)), ["spark/shuffle/fetch-failed"]);
    assert_eq!(verdicts::of_app(&cluster, "shuffles").await, ["spark/shuffle/fetch-failed"]);
}

#[tokio::test]
async fn a_driver_pod_that_fails_is_told_by_diagnose_spark() {
    const TABLE: &str = r#"
from pyspark.sql import SparkSession
SparkSession.builder.getOrCreate().table("sales.orders").count()
"#;
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let submit = Submit::new(Version::V3, "orders", TABLE);
    cluster.submit(&bed, &submit).ended().await;
    let driver = cluster.until_pod("the driver pod is there", |pod| {
        pod["metadata"]["labels"]["spark-role"] == "driver"
            && pod["metadata"]["namespace"] == NAMESPACE
    });
    let driver = driver.await["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(cluster.ended(&driver).await["status"]["phase"], "Failed");
    for name in ["orders", driver.as_str()] {
        assert_eq!(verdicts::of_app(&cluster, name).await, ["spark/sql/analysis-error"], "{name}");
    }
}

/// One executor must hold more than its heap.
const GREEDY: &str = r#"
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.range(0, 60000000, 1, 1).selectExpr("collect_list(id) as ids").selectExpr("size(ids)").collect()
"#;

#[tokio::test]
async fn an_executor_whose_heap_is_too_small_ends_with_52_and_is_told() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut submit = Submit::new(Version::V3, "greedy", GREEDY)
        .with("spark.task.maxFailures=1")
        .with("spark.kubernetes.executor.deleteOnTermination=false");
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    assert_eq!(driver.ended().await.code(), Some(1));
    let output = driver.output();
    let said = verdicts::of_log(&output);
    assert_eq!(said.first().map(String::as_str), Some("spark/executor/heap-oom"), "{output}");
    let ended = cluster.ended(&cluster.executor(1)).await;
    let code = &ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
    assert_eq!(code, 52, "{ended}");
}

/// Asks a metastore that nobody runs.
const METASTORE: &str = r#"
from pyspark.sql import SparkSession
spark = SparkSession.builder.enableHiveSupport().config("spark.hadoop.hive.metastore.uris", "thrift://127.0.0.1:1") \
    .config("spark.hadoop.hive.metastore.connect.retries", "1").config("spark.ui.enabled", "false").getOrCreate()
spark.sql("show databases").show()
"#;

#[tokio::test]
async fn a_metastore_that_is_down_is_told_by_the_drivers_log() {
    let bed = Bed::new();
    let script = bed.file("spark/metastore.py", METASTORE);
    let folder = bed.folder("spark");
    let mut command = spark::script_of(Version::V3, &folder, "spark-submit");
    command.args(["--master", "local[1]", "--driver-memory", "512m"]).arg(script);
    let mut driver = Process::start("spark-hms", &mut command, folder.join("hms.log"));
    assert!(!driver.ended().await.success());
    let output = driver.output();
    let said = verdicts::of_log(&output);
    assert_eq!(said.first().map(String::as_str), Some("hive/down"), "{output}");
}
