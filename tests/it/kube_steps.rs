//! `kube.*` steps and targets, against a cluster over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use paramedic::{
    clients::{Kind, kube},
    demo::world,
    domain::{evidence::Origin, target::Target, template::Scope},
    steps::{
        Failure,
        kube::{events::Events, logs::Logs, object::Object, pods::Pods},
        recorded::{RecordedLog, RecordedPod},
    },
};
use serde_json::json;

use crate::fakes::kube::{Rig, client_error, demo_app, pod};

#[tokio::test]
async fn the_demos_dead_executor_is_found_with_its_cause() {
    let rig = Rig::demo().await;
    let found = rig.run::<Pods>("{ role: executor, include_deleted: true }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"3 pods: 2 running, 1 failed (etl-daily-93c1a78b2f4d6e10-exec-2: OOMKilled, exit 137)");
    let lines: Vec<_> =
        found.passages.iter().map(|p| format!("{}: {}", p.source, p.text)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    executor 2 (pod etl-daily-93c1a78b2f4d6e10-exec-2): pod etl-daily-93c1a78b2f4d6e10-exec-2 phase=Failed
    executor 2 (pod etl-daily-93c1a78b2f4d6e10-exec-2): pod etl-daily-93c1a78b2f4d6e10-exec-2 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137
    "#);
    assert_eq!((found.value.running, found.value.total), (2, 3));
    assert_eq!(found.value.failed[0].containers[0].signal, "SIGKILL");
    assert_eq!((found.value.gone, found.value.remarks), (0, vec![]));
}

#[tokio::test]
async fn pods_are_found_by_name_by_selector_and_by_the_target() {
    let rig = Rig::demo().await;
    let total = async |inputs: &str| rig.run::<Pods>(inputs).await.unwrap().value.total;
    assert_eq!(total("{}").await, 4);
    assert_eq!(total("{ role: driver }").await, 1);
    assert_eq!(
        total("{ selector: { spark-app-selector: \"{{labels.application_id}}\" } }").await,
        4
    );
    assert_eq!(total("{ selector: \"spark-app-name=etl-daily,spark-exec-id=2\" }").await, 1);
    assert_eq!(total("{ name: \"{{labels.pod}}\" }").await, 1);
    let gone = rig.run::<Pods>("{ name: etl-exec-99 }").await.unwrap();
    assert_eq!(gone.passages[0].text, "pod spark-prod/etl-exec-99 does not exist");
    assert_eq!(gone.summary, "no pod spark-prod/etl-exec-99");
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_read_to_its_end() {
    let rig = Rig::empty().await;
    for n in 0..600 {
        rig.cluster.put(pod(&format!("p-{n}"), &json!({ "app": "big" }))).unwrap();
    }
    let found = rig.run::<Pods>("{ selector: { app: big }, namespace: spark-prod }").await.unwrap();
    assert_eq!((found.value.total, found.value.pods.len()), (600, 200));
    assert_eq!(rig.cluster.requests().len(), 3);
}

#[tokio::test]
async fn without_pods_to_look_at_the_step_is_skipped_with_the_reason() {
    let rig = Rig::empty().await;
    for (inputs, reason) in [
        ("{}", "set `name` or `selector`"),
        ("{ name: x }", "no namespace"),
        ("{ name: \"{{labels.pod}}\" }", "no value"),
    ] {
        match rig.run::<Pods>(inputs).await {
            Err(Failure::Skipped(why)) => assert!(why.contains(reason), "{inputs}: {why}"),
            other => panic!("{inputs}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_forbidden_list_names_the_rule_to_grant() {
    let rig = Rig::demo().await;
    rig.cluster.deny("list", "pods");
    let error = client_error(rig.run::<Pods>("{}").await);
    assert_eq!(error.kind, Kind::Denied);
    assert!(error.reason.contains(r#"in a Role of namespace spark-prod: {apiGroups: [""], resources: ["pods"], verbs: ["list"]}"#), "{error}");
}

#[tokio::test]
async fn the_demos_driver_log_quotes_the_kill() {
    let rig = Rig::demo().await;
    let found =
        rig.run::<Logs>("{ role: driver, grep: 'Lost executor', around: 20 }").await.unwrap();
    let passage = &found.passages[0];
    assert_eq!(
        (passage.origin, passage.source.as_str()),
        (Origin::DriverLog, "driver etl-daily-driver")
    );
    assert!(passage.text.contains(
        "The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM)."
    ));
    assert!(passage.text.contains("\t termination reason: OOMKilled"));
    assert_eq!(found.value.matches, 1);
}

#[tokio::test]
async fn executors_that_failed_are_read_first() {
    let rig = Rig::demo().await;
    let found = rig.run::<Logs>("{ role: executor }").await.unwrap();
    assert_eq!(found.passages[0].origin, Origin::ExecutorLog);
    assert!(
        found.passages[0].source.starts_with("executor 2 (pod "),
        "{}",
        found.passages[0].source
    );
    assert_eq!(found.value.logs.len(), 3);
}

#[tokio::test]
async fn the_log_of_a_deleted_pod_is_gone_and_the_step_says_so() {
    let rig = Rig::demo().await;
    assert!(rig.cluster.delete("pods", world::NAMESPACE, world::DRIVER));
    let error = client_error(rig.run::<Logs>("{ role: driver }").await);
    assert_eq!(error.kind, Kind::NotFound);
    insta::assert_snapshot!(error, @"could not read the log of pod spark-prod/etl-daily-driver: the log is gone: the pod was deleted");
}

#[tokio::test]
async fn previous_means_the_run_before_a_restart_where_there_was_one() {
    let rig = Rig::empty().await;
    let at = "2026-11-23T03:14:00Z".parse().unwrap();
    let mut two = pod("web-1", &json!({}));
    two["spec"]["containers"] =
        json!([{ "name": "main" }, { "name": "proxy" }, { "name": "slow" }]);
    let status = |name: &str, restarts: i32, state: serde_json::Value| json!({ "name": name, "image": "i", "imageID": "", "ready": true, "restartCount": restarts, "state": state });
    two["status"]["containerStatuses"] = json!([
        status("main", 3, json!({ "running": {} })),
        status("proxy", 0, json!({ "running": {} })),
        status("slow", 0, json!({ "waiting": { "reason": "ContainerCreating" } })),
    ]);
    rig.cluster.put(two).unwrap();
    rig.cluster.previous_log("spark-prod", "web-1", "main", at, "it died");
    rig.cluster.log("spark-prod", "web-1", "main", at, "it lives");
    rig.cluster.log("spark-prod", "web-1", "proxy", at, "steady");
    let found =
        rig.run::<Logs>("{ pod: web-1, namespace: spark-prod, previous: true }").await.unwrap();
    let lines: Vec<_> = found
        .passages
        .iter()
        .map(|p| format!("{:?} {}: {}", p.origin, p.source, p.text.trim()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    PodLog pod web-1, container main, before its restart: it died
    PodLog pod web-1, container proxy: steady
    "#);
    insta::assert_snapshot!(found.summary, @r#"2 lines of 2 logs; 1 not read (web-1: container "slow" in pod "web-1" is waiting to start: ContainerCreating (HTTP 400))"#);
}

#[tokio::test]
async fn of_a_huge_log_the_newest_lines_are_kept() {
    let rig = Rig::empty().await;
    rig.cluster.put(pod("big", &json!({ "spark-role": "driver" }))).unwrap();
    let at = "2026-11-23T03:14:00Z".parse().unwrap();
    let text: Vec<String> = (0..5_000).map(|n| format!("{n} {}", "x".repeat(700))).collect();
    rig.cluster.log("spark-prod", "big", "main", at, &text.join("\n"));
    let found = rig.run::<Logs>("{ pod: big, namespace: spark-prod, tail: 5000 }").await.unwrap();
    let log = &found.value.logs[0];
    assert!(log.cut && log.text.len() <= 512 * 1024, "{}", log.text.len());
    assert!(log.text.lines().last().unwrap().starts_with("4999 "));
    assert!(found.passages[0].cut);
}

#[tokio::test]
async fn young_lines_only_when_asked_and_a_wrong_container_is_told() {
    let rig = Rig::empty().await;
    rig.cluster.put(pod("a", &json!({}))).unwrap();
    rig.cluster.log("spark-prod", "a", "main", "2026-11-23T03:00:00Z".parse().unwrap(), "old");
    rig.cluster.log("spark-prod", "a", "main", "2026-11-23T03:14:30Z".parse().unwrap(), "young");
    let found = rig.run::<Logs>("{ pod: a, namespace: spark-prod, since: 1m }").await.unwrap();
    assert_eq!(found.value.logs[0].text, "young\n");
    let error =
        client_error(rig.run::<Logs>("{ pod: a, namespace: spark-prod, container: other }").await);
    assert_eq!(error.to_string(), "could not read logs: pod spark-prod/a has no container `other`");
}

#[tokio::test]
async fn the_demos_events_are_those_of_the_application_newest_last() {
    let rig = Rig::demo().await;
    let found = rig.run::<Events>("{ types: [Warning] }").await.unwrap();
    let lines: Vec<_> = found.passages.iter().map(|p| p.text.clone()).collect();
    insta::assert_snapshot!(lines.join("\n"), @"SparkExecutorFailed SparkApplication/etl-daily: Executor etl-daily-93c1a78b2f4d6e10-exec-2 failed with ExitCode: 137, Reason: OOMKilled");
    assert_eq!(rig.run::<Events>("{}").await.unwrap().value.total, 5);
    assert_eq!(rig.run::<Events>("{ name: \"{{labels.pod}}\" }").await.unwrap().value.total, 1);
    assert_eq!(rig.run::<Events>("{ since: 5m }").await.unwrap().value.total, 3);
    rig.hand.advance(Duration::from_mins(10));
    assert_eq!(
        rig.run::<Events>("{ since: 5m }").await.unwrap().summary,
        "no events of pods of Spark application spark-prod/etl-daily"
    );
}

#[tokio::test]
async fn an_object_is_read_and_a_secret_never() {
    let rig = Rig::demo().await;
    let inputs =
        "{ api_version: sparkoperator.k8s.io/v1beta2, kind: SparkApplication, name: etl-daily }";
    let found = rig.run::<Object>(inputs).await.unwrap();
    assert_eq!(found.summary, "SparkApplication etl-daily: state=RUNNING");
    assert_eq!(found.value.object["spec"]["executor"]["memory"], "4g");
    let node = rig.run::<Object>("{ api_version: v1, kind: Node, name: node-b }").await.unwrap();
    assert_eq!(node.passages[0].text, "Node/node-b condition Ready=True reason=KubeletReady");
    let mut hostile = Rig::demo().await;
    hostile.scope = Scope::default().with("labels", json!({ "kind": "Secret" }));
    let asked =
        "{ api_version: v1, kind: \"{{labels.kind}}\", name: token, namespace: spark-prod }";
    assert!(
        matches!(hostile.run::<Object>(asked).await, Err(Failure::Skipped(why)) if why.contains("never read"))
    );
    assert_eq!(hostile.cluster.requests(), Vec::<String>::new());
    let error = client_error(rig.run::<Object>("{ api_version: v1, kind: Novel, name: x }").await);
    assert_eq!(
        error.to_string(),
        "could not read Novel spark-prod/x: the cluster knows no kind `Novel` in v1"
    );
}

async fn targets(rig: &Rig, yaml: &str) -> Result<Vec<Target>, String> {
    rig.targets(yaml).await
}

#[tokio::test]
async fn every_hint_leads_to_the_same_application() {
    let rig = Rig::demo().await;
    for hint in [
        "id: \"{{labels.application_id}}\"",
        "pod: \"{{labels.pod}}\"",
        "pod: etl-daily-driver",
        "application: etl-daily",
        "recent_failures_in: \"{{labels.namespace}}\"",
    ] {
        let found = targets(&rig, &format!("spark_app: [ {{ {hint} }} ]")).await;
        assert_eq!(found, Ok(vec![Target::SparkApp(demo_app())]), "{hint}");
    }
}

#[tokio::test]
async fn a_pod_that_is_gone_leads_on_to_the_next_hint() {
    let rig = Rig::demo().await;
    let found =
        targets(&rig, "spark_app: [ { pod: etl-exec-99 }, { application: etl-daily } ]").await;
    assert_eq!(found.unwrap().len(), 1);
    let error = targets(&rig, "spark_app: [ { pod: etl-exec-99 }, { application: nightly }, { recent_failures_in: other } ]").await;
    insta::assert_snapshot!(error.unwrap_err(), @"no Spark application found: pod spark-prod/etl-exec-99 is gone; namespace spark-prod has no Spark application `nightly`; no Spark pod in namespace other has failed");
}

#[tokio::test]
async fn an_id_is_a_target_even_when_its_pods_may_not_be_listed() {
    let rig = Rig::demo().await;
    rig.cluster.deny("list", "pods");
    let found =
        targets(&rig, "spark_app: [ { id: \"{{labels.application_id}}\" } ]").await.unwrap();
    assert_eq!(found[0].key(), format!("spark_app/demo/spark-prod/{}", world::APP_ID));
}

#[tokio::test]
async fn each_application_with_failures_is_one_target_and_healthy_ones_are_none() {
    let rig = Rig::demo().await;
    let labels = |app: &str, role: &str| json!({ "spark-role": role, "spark-app-selector": app, "spark-app-name": app });
    let mut dead = pod("bad-driver", &labels("bad", "driver"));
    dead["status"]["phase"] = json!("Failed");
    rig.cluster.put(dead).unwrap();
    rig.cluster.put(pod("good-driver", &labels("good", "driver"))).unwrap();
    rig.cluster.put(pod("good-exec-1", &labels("good", "executor"))).unwrap();
    let found = targets(&rig, "spark_app: [ { recent_failures_in: spark-prod } ]").await.unwrap();
    let keys: Vec<_> = found.iter().map(Target::label).collect();
    assert_eq!(
        keys,
        ["Spark application spark-prod/bad", "Spark application spark-prod/etl-daily"]
    );
}

#[tokio::test]
async fn a_pod_and_a_metastore_are_targets_by_name() {
    let rig = Rig::demo().await;
    let found = targets(&rig, "pod: { name: \"{{labels.pod}}\" }").await.unwrap();
    assert_eq!(found[0].label(), "pod spark-prod/etl-daily-93c1a78b2f4d6e10-exec-2");
    assert_eq!(targets(&rig, "metastore: {}").await.unwrap()[0].key(), "metastore/demo/main");
}

/// What the recorder knows of an executor of the demo's application that failed and is gone.
fn gone_executor(name: &str, id: &str, seen: &str) -> RecordedPod {
    let json = pod(
        name,
        &json!({ "spark-role": "executor", "spark-exec-id": id, "spark-app-selector": world::APP_ID }),
    );
    let mut known: kube::Pod = serde_json::from_value::<core::Pod>(json).unwrap().into();
    known.uid = format!("uid-{name}");
    seen.clone_into(&mut known.gone);
    "Failed".clone_into(&mut known.phase);
    known.containers[0].state = kube::ContainerState::Terminated;
    known.containers[0].exit_code = Some(137);
    let log = RecordedLog {
        container: "main".to_owned(),
        read_at: Some("2026-11-23T03:11:07Z".parse().unwrap()),
        text: "one\ntwo\nthree\n".to_owned(),
        ..RecordedLog::default()
    };
    let seen = seen.parse().unwrap();
    RecordedPod { pod: known, seen, events: vec![], logs: vec![log] }
}

#[tokio::test]
async fn pods_that_are_gone_are_added_once_and_only_when_asked_for() {
    let mut rig = Rig::demo().await;
    let mut still_there =
        gone_executor("etl-daily-93c1a78b2f4d6e10-exec-1", "1", "2026-11-23T03:10:00Z");
    let live = rig.run::<Pods>("{ role: executor }").await.unwrap();
    let running = live.value.pods.iter().find(|pod| pod.exec_id == "1").unwrap();
    still_there.pod.uid.clone_from(&running.uid);
    rig.recorded.pods = vec![gone_executor("etl-exec-7", "7", "2026-11-23T03:12:00Z"), still_there];
    rig.recorded.trouble = Some("could not watch <everything>".to_owned());
    let found = rig.run::<Pods>("{ role: executor, include_deleted: true }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"4 pods: 2 running, 2 failed (etl-daily-93c1a78b2f4d6e10-exec-2: OOMKilled, exit 137), 1 deleted");
    assert_eq!((found.value.total, found.value.gone, found.value.failed.len()), (4, 1, 2));
    insta::assert_snapshot!(found.value.remarks.join("\n"), @"pods that exist no more may be missing: the recorder could not watch <everything>");
    let without = rig.run::<Pods>("{ role: executor }").await.unwrap().value;
    assert_eq!((without.total, without.gone, without.remarks), (3, 0, vec![]));
}

#[tokio::test]
async fn a_log_comes_from_the_recorder_when_its_pod_is_gone_or_cannot_be_asked() {
    let mut rig = Rig::demo().await;
    rig.recorded.pods = vec![gone_executor("etl-exec-7", "7", "2026-11-23T03:12:00Z")];
    let found = rig.run::<Logs>("{ pod: etl-exec-7, tail: 2 }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"2 lines of etl-exec-7 (read at 03:11:07 UTC, before the pod was deleted)");
    assert_eq!((found.passages[0].text.as_str(), found.passages[0].cut), ("two\nthree\n", true));
    // Beside live executors, only gone ones that failed are read.
    let found = rig.run::<Logs>("{ role: executor }").await.unwrap();
    assert_eq!((found.value.logs.len(), found.value.remarks.len()), (4, 1));
    // What a pod that is there does not give, the recorder may have.
    let live = rig.run::<Pods>("{ role: driver }").await.unwrap().value.pods.remove(0);
    let mut driver = gone_executor("x", "", "2026-11-23T03:12:00Z");
    driver.logs[0].container = "spark-kubernetes-driver".to_owned();
    driver.pod = live;
    driver.pod.labels.insert("spark-role".to_owned(), "driver".to_owned());
    rig.recorded.pods = vec![driver];
    rig.cluster.deny("get", "pods/log");
    let found = rig.run::<Logs>("{ role: driver }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"3 lines of etl-daily-driver (read at 03:11:07 UTC)");
}

#[tokio::test]
async fn a_log_that_the_recorder_lost_too_says_why() {
    let mut rig = Rig::demo().await;
    let mut lost = gone_executor("etl-exec-7", "7", "2026-11-23T03:12:00Z");
    (lost.logs[0].read_at, lost.logs[0].text) = (None, String::new());
    lost.logs[0].lost = "the pod was deleted before its log could be read".to_owned();
    rig.recorded.pods = vec![lost];
    let error = client_error(rig.run::<Logs>("{ pod: etl-exec-7 }").await);
    insta::assert_snapshot!(error, @"could not read the log of executor 7 (pod etl-exec-7): log gone: the pod was deleted before its log could be read");
    let found = rig.run::<Logs>("{ role: executor }").await.unwrap();
    insta::assert_snapshot!(found.value.remarks.join("\n"), @"no log of executor 7 (pod etl-exec-7): log gone: the pod was deleted before its log could be read");
}

#[tokio::test]
async fn pods_that_are_gone_lead_to_their_application_for_an_hour() {
    let mut rig = Rig::empty().await;
    rig.scope = Scope::default().with("labels", json!({ "namespace": "spark-prod" }));
    let mut old = gone_executor("old-exec-1", "1", "2026-11-23T02:14:59Z");
    old.pod.app_id = "spark-old".to_owned();
    let mut fine = gone_executor("fine-exec-1", "1", "2026-11-23T03:12:00Z");
    fine.pod.app_id = "spark-fine".to_owned();
    (fine.pod.phase, fine.pod.containers[0].exit_code) = ("Succeeded".to_owned(), Some(0));
    rig.recorded.pods = vec![gone_executor("etl-exec-7", "7", "2026-11-23T03:12:00Z"), fine, old];
    for hint in ["recent_failures_in: spark-prod", "pod: etl-exec-7"] {
        let found = targets(&rig, &format!("spark_app: [ {{ {hint} }} ]")).await.unwrap();
        let ids: Vec<String> = found.iter().map(Target::key).collect();
        assert_eq!(ids, [format!("spark_app/demo/spark-prod/{}", world::APP_ID)], "{hint}");
    }
}
