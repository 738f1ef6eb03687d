//! Real Spark on the test's Kubernetes, well and hurt.

use paramedic::steps::{
    kube::{logs::Logs, pods::Pods},
    spark::executors::Executors,
};
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    apps::{WORKS, working},
    cluster::{Cluster, NAMESPACE, Submit},
    spark::Version,
    steps, verdicts,
};

/// Counts on its executors, and ends when it is told to.
const COUNTS: &str = r#"
import os, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("counted %d" % spark.sparkContext.parallelize(range(1000), 4).map(lambda n: n + 1).count(), flush=True)
while not os.path.exists("FOLDER/stop"):
    time.sleep(0.1)
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
    assert!(logs.await.unwrap().value.matches > 0);
    cluster.finish();
    assert_eq!(cluster.ended(&driver).await["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn a_frozen_executor_is_lost_by_its_heartbeat() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    // Only the executor's silence is looked at sooner, and not so soon that a busy machine's pauses count: all other
    // patience stays as long as it is by default.
    let timeouts = [
        "spark.executor.heartbeatInterval=1s",
        "spark.storage.blockManagerHeartbeatTimeoutMs=20s",
        "spark.network.timeoutInterval=1s",
    ];
    let mut driver = working(&bed, &cluster, &timeouts).await;
    let frozen = cluster.executor(1);
    cluster.freeze_executor(1);
    cluster.says(|| driver.output(), "Removing executor 1 with no recent heartbeats").await;
    cluster
        .until_pod("Spark deletes it", |pod| {
            pod["metadata"]["name"] == *frozen && !pod["metadata"]["deletionTimestamp"].is_null()
        })
        .await;
    // It was asked to end while it could not hear.
    cluster.thaw_executor(1);
    let gone = async || cluster.api.get("pods", NAMESPACE, &frozen).is_none().then_some(());
    cluster.until("it hears", gone).await;
    cluster.works(|| driver.output(), 2).await;
    assert_eq!(verdicts::of_log(&driver.output()), ["spark/executor/heartbeat-timeout"]);
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
    cluster.says(|| driver.output(), "exceeded quota: compute-quota, requested: limits.memory=896Mi, used: limits.memory=0, limited: limits.memory=512Mi").await;
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
print("counted %d" % rows.groupByKey(2).count(), flush=True)
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
    cluster.finish();
    let mut submit = Submit::new(Version::V3, "counts", COUNTS);
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    assert!(driver.ended().await.success());
    assert!(driver.output().contains("counted 1000"));
    // It may still ask for something on behalf of the application that is over.
    none_left(&cluster).await;

    cluster.api.delete("rolebindings", NAMESPACE, "spark");
    let mut refused = cluster.submit(&bed, &submit);
    assert!(!refused.ended().await.success());
    let output = refused.output();
    assert!(output.contains("KubernetesClientException: "), "{output}");
    assert!(output.contains("Forbidden"), "{output}");
    assert_eq!(cluster.api.list("pods").len(), 0);
}

/// Waits until the executors' pods and processes are gone.
async fn none_left(cluster: &Cluster) {
    let gone = async || cluster.api.list("pods").is_empty().then_some(());
    cluster.until("the executor pods are gone", gone).await;
    assert_eq!(cluster.kubelet.running(), 0);
}

async fn counts_in_client_mode(version: Version) {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.finish();
    let mut submit = Submit::new(version, "counts", COUNTS);
    submit.cluster_mode = false;
    let mut driver = cluster.submit(&bed, &submit);
    let status = driver.ended().await;
    assert!(status.success(), "{status}");
    assert!(driver.output().contains("counted 1000"));
    none_left(&cluster).await;
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
    // Only now: a pod that is gone can not be looked at.
    cluster.finish();
    let driver = cluster.ended(&name).await;
    assert_eq!(driver["status"]["phase"], "Succeeded", "{}", cluster.log(&name));
    assert!(cluster.log(&name).contains("counted 1000"));
    assert!(cluster.events(&name).iter().any(|event| event.starts_with("Scheduled: ")));
}
