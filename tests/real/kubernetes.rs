//! Real Spark on the test's Kubernetes, well and hurt.

use crate::bed::{
    Bed,
    cluster::{Cluster, Submit},
    spark::Version,
};

/// Counts on its executors and ends.
const COUNTS: &str = r#"
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("counted", spark.sparkContext.parallelize(range(1000), 4).map(lambda n: n + 1).count(), flush=True)
spark.stop()
"#;

#[tokio::test]
async fn spark_3_counts_on_executor_pods_in_client_mode() {
    counts_in_client_mode(Version::V3).await;
}

#[tokio::test]
async fn spark_4_counts_on_executor_pods_in_client_mode() {
    counts_in_client_mode(Version::V4).await;
}

#[tokio::test]
async fn spark_3_has_its_driver_in_a_pod_in_cluster_mode() {
    counts_in_cluster_mode(Version::V3).await;
}

#[tokio::test]
async fn spark_4_has_its_driver_in_a_pod_in_cluster_mode() {
    counts_in_cluster_mode(Version::V4).await;
}

async fn counts_in_client_mode(version: Version) {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut submit = Submit::new(version, "counts", COUNTS);
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    let status = driver.ended().await;
    assert!(status.success(), "{status}");
    assert!(driver.output().contains("counted 1000"));
    let gone = async || cluster.api.list("pods").is_empty().then_some(());
    cluster.until("the executor pods are gone", gone).await;
    assert_eq!(cluster.kubelet.running(), 0);
}

async fn counts_in_cluster_mode(version: Version) {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut submit = cluster.submit(&bed, &Submit::new(version, "counts", COUNTS));
    let status = submit.ended().await;
    assert!(status.success(), "{status}");
    let name = cluster.until_running("driver", 1).await.remove(0);
    let executor = cluster.until_running("executor", 1).await.remove(0);
    assert_eq!(cluster.pod(&executor)["metadata"]["ownerReferences"][0]["name"], *name);
    let driver = cluster.ended(&name).await;
    assert_eq!(driver["status"]["phase"], "Succeeded", "{}", cluster.log(&name));
    assert!(cluster.log(&name).contains("counted 1000"));
    assert!(cluster.events(&name).iter().any(|event| event.starts_with("Scheduled: ")));
}
