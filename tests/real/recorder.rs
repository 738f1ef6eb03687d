//! A real executor dies and Spark deletes its pod at once, as it does by default: the card still knows.

use serde_json::{Value, json};

use crate::bed::{
    Bed,
    apps::working,
    cluster::{Cluster, NAMESPACE},
    daemon::Daemon,
};

/// A kubeconfig for the story's cluster.
fn kubeconfig(bed: &Bed, cluster: &Cluster) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "clusters": [{ "name": "test", "cluster": { "server": cluster.url } }],
        "users": [{ "name": "test", "user": {} }],
    });
    bed.file("recorder.kubeconfig", &config.to_string()).display().to_string()
}

#[tokio::test]
async fn a_real_executor_killed_and_deleted_at_once_is_on_the_card_with_status_and_log() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let config = format!(
        "clusters: {{ real: {{ kube: {{ kubeconfig: {{ path: '{}' }} }} }} }}\n\
         recorder: {{ follow: all, namespaces: [{NAMESPACE}] }}",
        kubeconfig(&bed, &cluster)
    );
    let daemon = Daemon::start(&bed, &config).await;
    let mut driver = working(&bed, &cluster, &[]).await;
    let executor = cluster.executor(1);
    // Spark deletes the pod within a moment of its end: the daemon must be following its log by then.
    let log = format!("/pods/{executor}/log");
    let followed =
        async || cluster.api.requests().iter().any(|call| call.contains(&log)).then_some(());
    cluster.until("the recorder follows the executor's log", followed).await;

    cluster.kill_executor(1);
    let words = "The executor with id 1 exited with exit code 137";
    cluster.says(|| driver.output(), words).await;
    let gone = async || {
        let pods = cluster.api.list("pods");
        let there = pods.iter().any(|pod| pod["metadata"]["name"] == executor.as_str());
        (!there).then_some(())
    };
    cluster.until("Spark has deleted the pod", gone).await;

    let labels = json!({
        "alertname": "SparkExecutorLost", "cluster": "real", "namespace": NAMESPACE, "pod": executor,
        "severity": "critical",
    });
    daemon.alert("firing", &labels).await;
    let finished = |seen: &Value| {
        let diagnosis = seen["card"]["diagnosis"].as_str().unwrap_or_default();
        diagnosis.starts_with("diagnosis finished")
    };
    let seen = daemon.until_incident("INC-1", "diagnosed", finished).await;
    let card = seen["card"].to_string();
    assert!(card.contains("terminated: reason=Error exitCode=137"), "{seen:#}");
    assert!(
        card.contains("before the pod was deleted"),
        "its log comes from the recorder: {seen:#}"
    );
    let page = bed.get(&format!("{}/incidents/INC-1", daemon.url)).await.unwrap();
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("Running task"), "the last lines of the executor's log: {page}");
    assert!(page.contains(&format!("pod {executor} is gone since ")), "{page}");
    cluster.finish();
    assert!(driver.ended().await.success());
}
