//! A real executor dies and Spark deletes its pod at once, as it does by default: the card still knows. And two daemons of
//! which one records, whichever lives.

use std::{path::Path, time::Duration};

use paramedic::{
    demo::apiserver::{self, ApiServer},
    ops::{clock::Clock, lifecycle::Tasks},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    apps::working,
    cluster::{Cluster, NAMESPACE},
    daemon::Daemon,
    postgres::Postgres,
    until,
};

/// How long a story waits for evidence in the store.
const PATIENCE: Duration = Duration::from_mins(2);

/// A kubeconfig for the story's cluster.
fn kubeconfig(bed: &Bed, url: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "clusters": [{ "name": "test", "cluster": { "server": url } }],
        "users": [{ "name": "test", "user": {} }],
    });
    bed.file("recorder.kubeconfig", &config.to_string()).display().to_string()
}

/// True once the store has it all: the pod is gone, its log was read, and everything was seen that was said about it.
fn is_stored(store: &Path, pod: &str) -> bool {
    let said = said_of(store, pod).unwrap_or_default();
    ["Scheduled", "Created", "Started"].iter().all(|reason| said.iter().any(|one| one == reason))
}

fn said_of(store: &Path, pod: &str) -> rusqlite::Result<Vec<String>> {
    let db = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT e.value ->> '$.event.reason' FROM pods p, json_each(p.record, '$.events') e \
               WHERE p.name = $1 AND p.container = '' AND p.gone_at IS NOT NULL \
               AND EXISTS (SELECT 1 FROM pods l WHERE l.uid = p.uid AND l.has_log = 1)";
    let mut asked = db.prepare(sql)?;
    asked.query_map([pod], |row| row.get(0))?.collect()
}

#[tokio::test]
async fn a_real_executor_killed_and_deleted_at_once_is_on_the_card_with_status_log_and_events() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let config = format!(
        "clusters: {{ real: {{ kube: {{ kubeconfig: {{ path: '{}' }} }} }} }}\n\
         recorder: {{ follow: all, namespaces: [{NAMESPACE}] }}",
        kubeconfig(&bed, &cluster.url)
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
    let store = bed.path().join("paramedic/paramedic.db");
    let stored = async || is_stored(&store, &executor).then_some(());
    cluster.until("status, log and events are stored", stored).await;
    // An hour later the API server has none of them any more.
    for event in cluster.api.list("events") {
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(cluster.api.delete("events", NAMESPACE, name));
    }

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
    let started = format!("Started Pod/{executor}: Started container ");
    assert!(page.contains(&started), "what Kubernetes said about it: {page}");
    cluster.finish();
    assert!(driver.ended().await.success());
}

/// An executor is killed, and its pod deleted at once.
fn dies(api: &apiserver::Cluster, name: &str) {
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "uid": format!("uid-{name}"), "labels": { "spark-role": "executor" } });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [{ "name": "c" }] },
        "status": { "phase": "Failed", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 137 } } }] },
    });
    api.put(pod).unwrap();
    assert!(api.delete("pods", NAMESPACE, name));
}

#[tokio::test]
async fn of_two_replicas_one_records_and_the_other_goes_on_when_it_freezes_or_dies() {
    let bed = Bed::new();
    let postgres = Postgres::start(&bed).await;
    postgres.sql("postgres", "CREATE DATABASE paramedic");
    let (tasks, api) = (Tasks::default(), apiserver::Cluster::new(&Clock::System));
    let server = ApiServer::start(&tasks, api.clone()).await.unwrap();
    let path = kubeconfig(&bed, server.url.as_str().trim_end_matches('/'));
    let config =
        format!("clusters: {{ real: {{ kube: {{ kubeconfig: {{ path: '{path}' }} }} }} }}");
    let store = format!("url: '{}'", postgres.url("paramedic"));
    let (a, b) = tokio::join!(
        Daemon::start_on(&bed, "a", &store, &config),
        Daemon::start_on(&bed, "b", &store, &config),
    );
    let watches = || api.requests().iter().filter(|r| r.contains("watch=true")).count();
    until("both watch pods and events", PATIENCE, async || (watches() >= 4).then_some(())).await;

    let ask = |sql: &str| postgres.sql("paramedic", sql).trim().to_owned();
    let leads = || ask("SELECT split_part(owner, '-', 1) FROM leases WHERE name = 'recorder/real'");
    let is = |daemon: &Daemon| daemon.process.id().to_string() == leads();
    let (first, mut other) = if is(&a) { (a, b) } else { (b, a) };
    let recorded = async |names: &[&str]| {
        let sql = "SELECT string_agg(name, ' ' ORDER BY name) FROM pods WHERE container = '' AND gone_at IS NOT NULL \
                   AND record::json #>> '{pod,containers,0,exit_code}' = '137'";
        let all = names.join(" ");
        until(&format!("{all} are stored"), PATIENCE, async || (ask(sql) == all).then_some(()))
            .await;
    };
    dies(&api, "exec-1");
    recorded(&["exec-1"]).await;

    first.process.freeze();
    dies(&api, "exec-2");
    recorded(&["exec-1", "exec-2"]).await;
    assert!(is(&other), "the one that is not frozen stored it");
    first.process.thaw();
    dies(&api, "exec-3");
    recorded(&["exec-1", "exec-2", "exec-3"]).await;

    other.process.kill();
    dies(&api, "exec-4");
    recorded(&["exec-1", "exec-2", "exec-3", "exec-4"]).await;
    assert!(is(&first), "the one that lives");
}
