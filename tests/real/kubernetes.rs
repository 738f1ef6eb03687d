//! Real Spark on the test's Kubernetes, well and hurt.

use paramedic::steps::{
    kube::{logs::Logs, pods::Pods},
    spark::executors::Executors,
};
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    cluster::{Cluster, NAMESPACE, Submit},
    process::Process,
    spark::Version,
    steps, verdicts,
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

/// Works in small tasks until it is told to end.
const WORKS: &str = r#"
import os, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()

def slow(n):
    time.sleep(0.2)
    return n

while not os.path.exists("FOLDER/stop"):
    spark.sparkContext.parallelize(range(4), 4).map(slow).count()
spark.stop()
"#;

/// An application with one executor whose driver is outside, as soon as the executor works; and its driver.
async fn working(bed: &Bed, cluster: &Cluster, settings: &[&str]) -> Process {
    let mut submit = Submit::new(Version::V3, "works", WORKS)
        .with("spark.task.maxFailures=50")
        .with("spark.executor.maxNumFailures=50");
    submit.cluster_mode = false;
    submit.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
    let driver = cluster.submit(bed, &submit);
    registered(cluster, &driver, 1).await;
    driver
}

/// Waits until an executor has come to the driver.
async fn registered(cluster: &Cluster, driver: &Process, id: u32) {
    let line = format!("with ID {id}, ");
    cluster
        .until(&format!("executor {id} registers"), async || {
            driver.output().contains(&line).then_some(())
        })
        .await;
}

async fn says(cluster: &Cluster, driver: &Process, line: &str) {
    cluster
        .until(&format!("the driver says: {line}"), async || {
            driver.output().contains(line).then_some(())
        })
        .await;
}

#[tokio::test]
async fn our_steps_read_a_running_application_through_the_cluster() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.submit(&bed, &Submit::new(Version::V3, "works", WORKS)).ended().await;
    let driver = cluster.until_running("driver", 1).await.remove(0);
    cluster.until_running("executor", 1).await;
    let app = steps::target(&cluster, &driver);
    let executors = cluster
        .until("the driver's UI answers", async || {
            let found = steps::run::<Executors>(&cluster, &app, "{}").await.ok()?;
            (found.value.active == 1).then_some(found.value)
        })
        .await;
    // A pod's address is a loopback address here, which nothing may reach but the API server's proxy.
    assert_eq!(serde_json::to_value(&executors.via).unwrap()["way"], "api_proxy");
    assert!(executors.executors[0].host.starts_with("127."));
    let pods = steps::run::<Pods>(&cluster, &app, "{}").await.unwrap();
    assert_eq!((pods.value.running, pods.value.total), (2, 2));
    let logs =
        steps::run::<Logs>(&cluster, &app, "{ role: driver, grep: 'Running Spark version' }");
    assert_eq!(logs.await.unwrap().value.matches, 1);
    cluster.finish();
    assert_eq!(cluster.ended(&driver).await["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn executors_killed_out_of_memory_evicted_and_deleted_are_told_apart_by_the_driver() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut driver = working(&bed, &cluster, &[]).await;

    cluster.kill_executor(1);
    says(
        &cluster,
        &driver,
        "The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM).",
    )
    .await;
    registered(&cluster, &driver, 2).await;

    cluster.oom_executor(2);
    says(
        &cluster,
        &driver,
        "The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM).",
    )
    .await;
    assert_eq!(driver.output().matches("termination reason: OOMKilled").count(), 1);
    registered(&cluster, &driver, 3).await;

    let evicted = cluster.executor(3);
    cluster.evict_executor(3);
    says(&cluster, &driver, "The executor with id 3 exited with exit code 137").await;
    assert!(
        cluster
            .events(&evicted)
            .iter()
            .any(|event| event.starts_with("Evicted: The node was low on"))
    );
    registered(&cluster, &driver, 4).await;

    cluster.delete_pod(&cluster.executor(4)).await;
    says(&cluster, &driver, "The executor with id 4 was deleted by a user or the framework.").await;
    registered(&cluster, &driver, 5).await;

    cluster.finish();
    assert!(driver.ended().await.success());
}

#[tokio::test]
async fn a_frozen_executor_is_lost_by_its_heartbeat() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let timeouts = [
        "spark.executor.heartbeatInterval=1s",
        "spark.network.timeout=5s",
        "spark.storage.blockManagerHeartbeatTimeoutMs=5s",
        "spark.network.timeoutInterval=1s",
    ];
    let mut driver = working(&bed, &cluster, &timeouts).await;
    cluster.freeze_executor(1);
    let frozen = cluster.executor(1);
    says(&cluster, &driver, "Removing executor 1 with no recent heartbeats").await;
    cluster
        .until_pod("Spark deletes it", |pod| {
            pod["metadata"]["name"] == *frozen && !pod["metadata"]["deletionTimestamp"].is_null()
        })
        .await;
    // It was asked to end while it could not hear.
    cluster.thaw_executor(1);
    let gone = async || cluster.api.get("pods", NAMESPACE, &frozen).is_none().then_some(());
    cluster.until("it hears", gone).await;
    registered(&cluster, &driver, 2).await;
    cluster.finish();
    assert!(driver.ended().await.success());
}

#[tokio::test]
async fn a_quota_keeps_executors_from_being_made() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.quota(&[("limits.memory", "512Mi"), ("pods", "10")]);
    let mut submit = Submit::new(Version::V3, "works", WORKS);
    submit.cluster_mode = false;
    let driver = cluster.submit(&bed, &submit);
    says(&cluster, &driver, "exceeded quota: compute-quota, requested: limits.memory=896Mi, used: limits.memory=0, limited: limits.memory=512Mi").await;
    assert_eq!(cluster.api.list("pods").len(), 0);
    let said = verdicts::of_log(&driver.output());
    assert_eq!(
        said.first().map(String::as_str),
        Some("kube/scheduling/quota-exceeded"),
        "{said:?}"
    );
}

#[tokio::test]
async fn an_image_that_is_not_there_leaves_the_executor_waiting() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut submit = Submit::new(Version::V3, "works", WORKS)
        .with("spark.kubernetes.executor.container.image=registry.example.org/spark:missing");
    submit.cluster_mode = false;
    let _driver = cluster.submit(&bed, &submit);
    let waits = |pod: &Value| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    };
    let pod = cluster.until_pod("the image cannot be pulled", waits).await;
    assert_eq!(pod["status"]["phase"], "Pending");
    let events = cluster.events(pod["metadata"]["name"].as_str().unwrap());
    assert!(
        events.iter().any(|e| e
            .starts_with("Failed: Failed to pull image \"registry.example.org/spark:missing\"")),
        "{events:?}"
    );
    let said = verdicts::of_app(&cluster, pod["metadata"]["name"].as_str().unwrap()).await;
    assert_eq!(said.first().map(String::as_str), Some("kube/pod/image-pull"), "{said:?}");
}

#[tokio::test]
async fn an_executor_too_big_for_every_node_stays_unscheduled() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut submit =
        Submit::new(Version::V3, "works", WORKS).with("spark.kubernetes.executor.request.cores=64");
    submit.cluster_mode = false;
    let _driver = cluster.submit(&bed, &submit);
    let unplaced = |pod: &Value| pod["status"]["conditions"][0]["reason"] == "Unschedulable";
    let pod = cluster.until_pod("no node takes it", unplaced).await;
    let events = cluster.events(pod["metadata"]["name"].as_str().unwrap());
    assert_eq!(
        events,
        [
            "FailedScheduling: 0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ]
    );
}

/// Shuffles more than its executor's disk holds.
const SHUFFLES: &str = r#"
import os
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.sparkContext.parallelize(range(64), 2).map(lambda n: (n, os.urandom(1 << 20)))
print("counted", rows.groupByKey(2).count(), flush=True)
"#;

#[tokio::test]
async fn a_full_local_disk_fails_the_job_with_no_space_left() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.kubelet.small_disks(24);
    let mut submit =
        Submit::new(Version::V3, "shuffles", SHUFFLES).with("spark.task.maxFailures=1");
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    assert_eq!(driver.ended().await.code(), Some(1));
    assert!(driver.output().contains("java.io.IOException: No space left on device"));
    let said = verdicts::of_log(&driver.output());
    assert_eq!(
        said.first().map(String::as_str),
        Some("spark/storage/scratch-disk-full"),
        "{said:?}"
    );
}

#[tokio::test]
async fn spark_works_over_tls_with_its_token_and_no_more_than_its_role() {
    let bed = Bed::new();
    let mut cluster = Cluster::start_tls(&bed).await;
    cluster.api.token("spark-token", "system:serviceaccount:spark-prod:spark", &[]);
    cluster.token = Some("spark-token".to_owned());
    let verbs =
        json!(["create", "get", "list", "watch", "delete", "deletecollection", "patch", "update"]);
    let resources = json!(["pods", "services", "configmaps", "persistentvolumeclaims"]);
    for mut object in [
        json!({ "kind": "Role", "rules": [{ "apiGroups": [""], "resources": resources, "verbs": verbs }] }),
        json!({ "kind": "RoleBinding", "roleRef": { "kind": "Role", "name": "spark" },
                "subjects": [{ "kind": "ServiceAccount", "name": "spark", "namespace": NAMESPACE }] }),
    ] {
        object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        object["metadata"] = json!({ "name": "spark", "namespace": NAMESPACE });
        cluster.api.put(object).unwrap();
    }
    let mut submit = Submit::new(Version::V3, "counts", COUNTS);
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    assert!(driver.ended().await.success());
    assert!(driver.output().contains("counted 1000"));

    cluster.api.delete("rolebindings", NAMESPACE, "spark");
    let mut refused = cluster.submit(&bed, &submit);
    assert!(!refused.ended().await.success());
    let output = refused.output();
    assert!(output.contains("KubernetesClientException: "), "{output}");
    assert!(output.contains("Forbidden"), "{output}");
    assert_eq!(cluster.api.list("pods").len(), 0);
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
