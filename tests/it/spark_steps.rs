//! `spark.*` steps: every way to a Spark UI, and what they find.
#![allow(clippy::disallowed_methods, reason = "the fake History Server is spawned as it is")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use axum::{Json, Router, http::StatusCode, routing::get};
use paramedic::{
    clients::{Kind, http::Url, spark::Way},
    demo::world,
    domain::target::Target,
    steps::spark::{application::Application, executors::Executors, stages::Stages},
};
use serde_json::{Value, json};

use crate::fakes::kube::{Rig, client_error};

/// A History Server that knows one application by one attempt, as it does for cluster mode.
async fn history(app_id: &str) -> Url {
    let executors: Value = serde_json::from_str(include_str!(
        "../fixtures/spark-3.5/rest/executorlost-allexecutors.json"
    ))
    .unwrap();
    let attempt = json!({ "attemptId": "2", "completed": true, "startTimeEpoch": 1_795_411_885_200_i64, "endTimeEpoch": 1_795_411_985_200_i64,
        "duration": 100_000, "appSparkVersion": "3.5.9", "sparkUser": "spark" });
    let known = json!({ "id": app_id, "name": "etl-daily", "attempts": [attempt] });
    let base = format!("/shs/api/v1/applications/{app_id}");
    let app = Router::new()
        .route(&base, get(|| async { Json(known) }))
        .route(&format!("{base}/2/allexecutors"), get(|| async { Json(executors) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "unknown app") });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/shs/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn the_demos_dead_executor_is_quoted_by_sparks_own_words() {
    let rig = Rig::demo().await;
    let found = rig.run::<Executors>("{ state: dead }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"2 active, 1 dead, 2 failed tasks; executor 2: The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM). (by API proxy)");
    assert!(
        found.passages[0]
            .text
            .starts_with("executor 2 removed: The executor with id 2 exited with exit code 137")
    );
    assert!(found.passages[0].text.ends_with("termination reason: OOMKilled"));
    assert_eq!(
        (found.value.active, found.value.dead, found.value.executors[0].gc_percent),
        (2, 1, 16)
    );
}

#[tokio::test]
async fn the_way_that_worked_is_told_with_the_ways_that_did_not_and_is_remembered() {
    let rig = Rig::demo().await;
    let first = rig.run::<Executors>("{}").await.unwrap().value.via;
    assert_eq!(first.way, Way::ApiProxy);
    insta::assert_snapshot!(first.tried.join("\n"), @r#"
    pod IP: 10.42.0.17 is outside the allowed networks; add its network to `egress.allow` to permit it
    UI service: no network is allowed, so `etl-daily-ui-svc.spark-prod.svc` is not looked up; add its network to `egress.allow`
    "#);
    let second = rig.run::<Executors>("{}").await.unwrap().value.via;
    assert_eq!((second.way, second.tried.len()), (Way::ApiProxy, 0));
}

#[tokio::test]
async fn when_the_driver_is_gone_the_history_server_still_knows() {
    let rig = Rig::demo().await.with_history(history(world::APP_ID).await);
    assert!(rig.cluster.delete("pods", world::NAMESPACE, world::DRIVER));
    let found = rig.run::<Executors>("{ state: dead }").await.unwrap();
    assert_eq!(found.value.via.way, Way::History);
    assert_eq!(found.value.via.tried[0], "pod IP: the driver pod is gone");
    assert!(found.passages[0].text.contains("termination reason: OOMKilled"));
}

#[tokio::test]
async fn when_no_way_works_the_error_lists_each_with_its_reason() {
    let rig = Rig::demo().await;
    rig.cluster.deny("get", "pods/proxy");
    let error = client_error(rig.run::<Executors>("{}").await);
    assert_eq!(error.kind, Kind::Denied);
    insta::assert_snapshot!(error, @r#"could not reach the Spark API of application spark-prod/etl-daily: pod IP: 10.42.0.17 is outside the allowed networks; add its network to `egress.allow` to permit it; UI service: no network is allowed, so `etl-daily-ui-svc.spark-prod.svc` is not looked up; add its network to `egress.allow`; API proxy: pods "etl-daily-driver" is forbidden: User "system:serviceaccount:paramedic:paramedic" cannot get resource "pods/proxy" in API group "" in the namespace "spark-prod"; grant its service account, in a Role of namespace spark-prod: {apiGroups: [""], resources: ["pods/proxy"], verbs: ["get"]}; History Server: none is configured (`history` of the cluster)"#);
}

#[tokio::test]
async fn an_application_that_answers_at_a_reused_address_is_not_ours() {
    let mut rig = Rig::demo().await;
    let Some(Target::SparkApp(app)) = &mut rig.target else { panic!("no application") };
    app.app_id = "spark-of-yesterday".to_owned();
    let error = client_error(rig.run::<Executors>("{}").await);
    assert!(error.reason.contains("API proxy: another application answers there"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_answers_with_a_login_page_is_told_not_parsed() {
    let rig = Rig::demo().await;
    rig.cluster.answer(
        world::NAMESPACE,
        world::DRIVER,
        4040,
        "/api/v1/applications",
        200,
        "<html>Log in</html>",
    );
    let error = client_error(rig.run::<Executors>("{}").await);
    assert!(error.reason.contains("not the JSON we expect"), "{error}");
    assert!(error.reason.contains("<html>Log in</html>"), "{error}");
}

#[tokio::test]
async fn skew_and_spill_of_the_demos_running_stage_are_lines() {
    let rig = Rig::demo().await;
    let found = rig.run::<Stages>("{ status: active }").await.unwrap();
    let lines: Vec<_> =
        found.passages.iter().map(|p| format!("{}: {}", p.source, p.text)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    stage 4.0 (join at Daily.scala:58): stage 4.0 skew: slowest task 3 m 58 s, median 4.1 s, 57.9 times as long
    stage 4.0 (join at Daily.scala:58): stage 4.0 spill: 2.1 GiB to disk, 12 GiB in memory
    stage 4.0 (join at Daily.scala:58): stage 4.0 garbage collection: 16 % of task time
    "#);
    assert_eq!(rig.run::<Stages>("{}").await.unwrap().summary, "no failed stages (by API proxy)");
}

#[tokio::test]
async fn the_application_is_told_by_operator_driver_and_spark() {
    let rig = Rig::demo().await;
    let found = rig.run::<Application>("{}").await.unwrap();
    insta::assert_snapshot!(found.summary, @"operator says RUNNING; driver pod etl-daily-driver is Running; Spark 3.5.9 running after 14 m 0 s (by API proxy)");
    let lines: Vec<_> = found.passages.iter().map(|p| p.text.clone()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    SparkApplication/etl-daily state=RUNNING
    application spark-7c1e0b6f4a5d4f3e9b0a52d1c86e94aa completed=false started=2026-11-23T03:01:00Z version=3.5.9
    "#);
}

#[tokio::test]
async fn one_missing_part_does_not_hide_the_others_but_all_missing_is_a_failure() {
    let rig = Rig::demo().await;
    assert!(rig.cluster.delete("pods", world::NAMESPACE, world::DRIVER));
    let found = rig.run::<Application>("{}").await.unwrap();
    assert!(found.value.driver.is_none() && found.value.operator.is_some());
    assert!(found.value.missing[0].contains("the driver pod is gone"), "{:?}", found.value.missing);
    assert!(rig.cluster.delete("sparkapplications", world::NAMESPACE, world::APPLICATION));
    let error = client_error(rig.run::<Application>("{}").await);
    assert_eq!(error.kind, Kind::NotFound);
    assert!(!error.to_string().contains('\n'), "{error}");
}
