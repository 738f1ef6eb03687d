//! `spark.*` steps beyond executors and stages: jobs, queries, settings, threads, streams, history; and who runs what.
#![allow(clippy::disallowed_methods, reason = "the fake History Server is spawned as it is")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use axum::{Json, Router, http::StatusCode, routing::get};
use paramedic::{
    clients::{Kind, http::Url},
    demo::world,
    domain::{evidence::Passage, target::Target, template::Scope},
    steps::{
        Failure, Outcome,
        kube::{logs::Logs, pods::Pods},
        spark::{
            application::Application, environment::Environment, executors::Executors,
            history::History, jobs::Jobs, sql::Sql, streaming::Streaming, threads::Threads,
        },
    },
};
use serde_json::{Value, json};

use crate::fakes::kube::{Rig, client_error, pod};

fn lines<T>(found: &Outcome<T>) -> String {
    let line = |passage: &Passage| format!("{}: {}", passage.source, passage.text);
    found.passages.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn says(rig: &Rig, path: &str, status: u16, body: &str) {
    let path = format!("/api/v1/applications/{}{path}", world::APP_ID);
    rig.cluster.answer(world::NAMESPACE, world::DRIVER, 4040, &path, status, body);
}

#[tokio::test]
async fn real_jobs_are_told_newest_first_with_what_failed() {
    let rig = Rig::demo().await;
    says(&rig, "/jobs", 200, include_str!("../fixtures/spark-3.5/rest/failedstage-jobs.json"));
    let found = rig.run::<Jobs>("{ status: failed, limit: 2 }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    job 2: job 2 FAILED after 8.9 s: 50 % of 2 tasks done, 0 running, failed: 1 stages, 4 tasks: collect at /opt/app/failed_stage.py:13
    job 1: job 1 FAILED after 1.1 s: 75 % of 4 tasks done, 0 running, failed: 1 stages, 4 tasks: sum at /opt/app/failed_stage.py:9
    "#);
    insta::assert_snapshot!(found.summary, @"jobs: 0 running, 2 failed; newest: job 2 FAILED after 8.9 s: 50 % of 2 tasks done, 0 running, failed: 1 stages, 4 tasks: collect at /opt/app/failed_stage.py:13 (by API proxy)");
    says(&rig, "/jobs", 200, "[]");
    assert_eq!(
        rig.run::<Jobs>("{}").await.unwrap().summary,
        "jobs: 0 running, 0 failed; none of this status (by API proxy)"
    );
}

#[tokio::test]
async fn real_queries_are_asked_for_without_plans_and_page_by_page() {
    let rig = Rig::demo().await;
    let page = |offset: usize| {
        format!("/sql?details=false&planDescription=false&offset={offset}&length=500")
    };
    let many: Vec<Value> =
        (0..500).map(|id| json!({ "id": id, "status": "COMPLETED", "duration": 5 })).collect();
    says(&rig, &page(0), 200, &json!(many).to_string());
    says(&rig, &page(500), 200, &json!([{ "id": 500, "status": "FAILED", "description": "save at etl.py:9", "duration": 61_000, "failedJobIds": [7] }]).to_string());
    let found = rig.run::<Sql>("{ status: failed }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @"query 500: query 500 FAILED after 1 m 1 s, failed jobs 7: save at etl.py:9");
    assert_eq!(rig.run::<Sql>("{ limit: 1 }").await.unwrap().value.total, 501);
    says(&rig, &page(0), 200, include_str!("../fixtures/spark-3.5/rest/healthy-sql.json"));
    let real = rig.run::<Sql>("{}").await.unwrap();
    assert!(
        real.value.executions.iter().all(|e| e.status == "COMPLETED" && !e.submitted.is_empty())
    );
}

#[tokio::test]
async fn real_settings_are_checked_and_secrets_stay_masked() {
    let rig = Rig::demo().await;
    let real = include_str!("../fixtures/spark-3.5/rest/k8s-environment.json");
    says(&rig, "/environment", 200, real);
    let found = rig.run::<Environment>("{}").await.unwrap();
    insta::assert_snapshot!(found.summary, @"34 settings, none looks wrong (by API proxy)");
    let mut worse: Value = serde_json::from_str(real).unwrap();
    worse["sparkProperties"] = json!([
        ["spark.executor.memoryoverhead", "1g"],
        ["spark.hadoop.fs.s3a.secret.key", "hunter2"],
        ["spark.executor.memory", "4g"],
        ["spark.sql.autoBroadcastJoinThreshold", "2g"],
        ["not.spark", "x"],
        ["spark.eventLog.enabled", "true"]
    ]);
    says(&rig, "/environment", 200, &worse.to_string());
    let found = rig.run::<Environment>("{}").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    settings: setting spark.sql.autoBroadcastJoinThreshold=2g danger: tables this large are collected in the driver and sent to every executor, which runs both out of memory; keep it below 1g, or -1
    settings: setting spark.executor.memoryoverhead warning: Spark 3.5 knows no such key; did you mean spark.executor.memoryOverhead?
    settings: setting spark.executor.memory=4g
    settings: setting spark.sql.autoBroadcastJoinThreshold=2g
    "#);
    assert_eq!(found.value.settings["spark.hadoop.fs.s3a.secret.key"], "***");
    assert!(!found.value.settings.contains_key("not.spark"));
}

#[tokio::test]
async fn the_driver_s_real_threads_show_where_main_waits() {
    let rig = Rig::demo().await;
    says(
        &rig,
        "/executors/driver/threads",
        200,
        include_str!("../fixtures/spark-3.5/rest/k8s-threads-driver.json"),
    );
    let found = rig.run::<Threads>("{}").await.unwrap();
    insta::assert_snapshot!(found.summary, @"threads of driver: 2 TIMED_WAITING, 3 WAITING; main at java.base@17.0.15/java.lang.Object.wait(Native Method) (by API proxy)");
    assert_eq!(found.value.threads[0].name, "main");
    says(&rig, "/executors/2/threads", 404, "No thread dump is available.");
    let error = client_error(rig.run::<Threads>("{ executor: \"2\" }").await);
    assert!(error.to_string().contains("No thread dump is available"), "{error}");
}

#[tokio::test]
async fn a_structured_stream_is_read_from_its_jobs_and_the_lack_of_rates_is_said() {
    let rig = Rig::demo().await;
    says(&rig, "/streaming/statistics", 404, "no streaming listener attached to etl-daily");
    let description = "orders\nid = 4937\nrunId = 741d\nbatch = 10";
    says(&rig, "/jobs", 200, &json!([{ "jobId": 31, "name": "start at s.py:9", "description": description, "status": "RUNNING",
        "submissionTime": "2026-11-23T03:00:00.000GMT", "jobGroup": "741d" }]).to_string());
    let found = rig.run::<Streaming>("{}").await.unwrap();
    insta::assert_snapshot!(found.summary, @"1 structured query; query orders batch=10 status=RUNNING begun 900 s ago failedBatches=0 (by API proxy); no rates: structured streaming has no REST API");
    says(&rig, "/jobs", 200, "[]");
    insta::assert_snapshot!(rig.run::<Streaming>("{}").await.unwrap().summary, @"no stream: Spark attached no streaming listener, and no job belongs to a structured query (by API proxy)");
    says(
        &rig,
        "/streaming/statistics",
        200,
        &json!({ "batchDuration": 1000, "numActiveBatches": 4, "numTotalCompletedBatches": 9,
        "numInactiveReceivers": 1, "avgProcessingTime": 2500.4, "avgSchedulingDelay": 11_000 })
        .to_string(),
    );
    insta::assert_snapshot!(lines(&rig.run::<Streaming>("{}").await.unwrap()), @"streams: stream interval=1.0 s processing=2.5 s delay=11.0 s active=4 completed=9 deadReceivers=1, falls behind");
}

/// A History Server with the real list of applications, as captured, and the demo's application slower than usual.
async fn history(applications: Value) -> Url {
    let all = applications.clone();
    let own = applications.as_array().unwrap().iter().find(|a| a["id"] == world::APP_ID).cloned();
    let mut app = Router::new()
        .route("/api/v1/applications", get(|| async { Json(all) }))
        .route("/api/v1/version", get(|| async { Json(json!({ "spark": "3.5.9" })) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "unknown app") });
    if let Some(own) = own {
        let path = format!("/api/v1/applications/{}", world::APP_ID);
        app = app.route(&path, get(|| async { Json(own) }));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

fn run(id: &str, name: &str, duration: i64, completed: bool, updated: i64) -> Value {
    let start = 1_795_400_000_000_i64;
    json!({ "id": id, "name": name, "attempts": [{ "completed": completed, "startTimeEpoch": start,
        "endTimeEpoch": if completed { start + duration } else { -1 }, "duration": duration, "lastUpdatedEpoch": updated,
        "appSparkVersion": "3.5.9", "sparkUser": "spark" }] })
}

#[tokio::test]
async fn a_slow_run_is_compared_with_the_earlier_ones_and_a_killed_driver_s_log_is_abandoned() {
    let mut all: Value =
        serde_json::from_str(include_str!("../fixtures/spark-3.5/rest/history-applications.json"))
            .unwrap();
    let list = all.as_array_mut().unwrap();
    list.push(run(world::APP_ID, "etl-daily", 600_000, true, 0));
    list.extend((0..12).map(|n| run(&format!("spark-{n}"), "etl-daily", 200_000 + n, true, 0)));
    list.push(run("spark-x", "etl-daily", 1, false, 0));
    let rig = Rig::demo().await.with_history(history(all).await);
    let found = rig.run::<History>("{}").await.unwrap();
    assert_eq!((found.value.earlier.len(), found.value.slower_percent), (10, Some(299)));
    insta::assert_snapshot!(lines(&found), @r#"
    History Server: history application spark-7c1e0b6f4a5d4f3e9b0a52d1c86e94aa eventLog=complete started=2026-11-23T02:13:20Z ended=2026-11-23T02:23:20Z
    History Server: history application spark-7c1e0b6f4a5d4f3e9b0a52d1c86e94aa took 10 m 0 s, 299 % of the median 3 m 20 s of 10 earlier runs
    "#);
    let now = "2026-11-23T03:15:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for (updated, word) in [(now - 60_000, "growing"), (now - 3_600_000, "abandoned")] {
        let one = json!([run(world::APP_ID, "etl-daily", 5, false, updated)]);
        let rig = Rig::demo().await.with_history(history(one).await);
        let found = rig.run::<History>("{}").await.unwrap();
        assert!(lines(&found).contains(&format!("eventLog={word}")), "{}", lines(&found));
    }
}

#[tokio::test]
async fn an_unknown_application_an_empty_server_and_none_are_three_different_answers() {
    let some = history(json!([run("spark-1", "other", 5, true, 0)])).await;
    let found = Rig::demo().await.with_history(some).run::<History>("{}").await.unwrap();
    assert_eq!(found.summary, format!("history does not know application {}", world::APP_ID));
    let empty = Rig::demo().await.with_history(history(json!([])).await);
    assert_eq!(
        empty.run::<History>("{}").await.unwrap().summary,
        "history lists no application at all"
    );
    let named =
        Rig::demo().await.with_history(history(json!([run("spark-1", "other", 5, true, 0)])).await);
    assert!(named.run::<History>("{ name: other }").await.unwrap().value.known);
    assert!(
        matches!(Rig::demo().await.run::<History>("{}").await, Err(Failure::Skipped(why)) if why.contains("no History Server"))
    );
    let down = Rig::demo().await.with_history("http://127.0.0.1:1/".parse().unwrap());
    assert_eq!(client_error(down.run::<History>("{}").await).kind, Kind::Unreachable);
}

fn labelled(name: &str, role: &str, app: &str, extra: &[(&str, &str)]) -> Value {
    let mut labels = json!({ "spark-role": role });
    if !app.is_empty() {
        labels["spark-app-selector"] = json!(app);
    }
    for (key, value) in extra {
        labels[*key] = json!(value);
    }
    pod(name, &labels)
}

async fn target(rig: &Rig, hint: &str) -> Result<Vec<Target>, String> {
    rig.targets(&format!("spark_app: [ {{ {hint} }} ]")).await
}

#[tokio::test]
async fn apaches_operator_connect_servers_and_plain_pods_are_applications_too() {
    let mut rig = Rig::empty().await;
    rig.scope = Scope::default().with("labels", json!({ "namespace": "spark-prod" }));
    let meta = |name: &str| json!({ "name": name, "namespace": "spark-prod" });
    for object in [
        json!({ "apiVersion": "spark.apache.org/v1", "kind": "SparkApplication", "metadata": meta("pi"), "status": {
            "currentState": { "currentStateSummary": "RunningWithBelowThresholdExecutors", "message": "1 of 4 executors" } } }),
        labelled("pi-0-driver", "driver", "spark-pi", &[("spark.operator/spark-app-name", "pi")]),
        json!({ "apiVersion": "sparkoperator.k8s.io/v1alpha1", "kind": "SparkConnect", "metadata": meta("shared"), "status": {
            "state": "Ready", "server": { "podName": "shared-server", "serviceName": "shared-server" } } }),
        labelled(
            "shared-server",
            "connect-server",
            "",
            &[("sparkoperator.k8s.io/connect-name", "shared")],
        ),
        labelled(
            "shared-exec-1",
            "executor",
            "spark-shared",
            &[("sparkoperator.k8s.io/connect-name", "shared")],
        ),
        labelled("nightly-driver", "driver", "spark-n", &[("spark-app-name", "nightly")]),
    ] {
        rig.cluster.put(object).unwrap();
    }
    for (hint, key, driver) in [
        ("application: pi", "spark-pi", "pi-0-driver"),
        ("application: shared", "spark-shared", "shared-server"),
        ("application: nightly", "spark-n", "nightly-driver"),
        ("pod: pi-0-driver", "spark-pi", "pi-0-driver"),
        ("pod: nightly-driver", "spark-n", "nightly-driver"),
    ] {
        let found = target(&rig, hint).await.unwrap();
        let Target::SparkApp(app) = &found[0] else { panic!("{found:?}") };
        assert_eq!((app.app_id.as_str(), app.driver_pod.as_str()), (key, driver), "{hint}");
    }
    rig.target = Some(target(&rig, "application: pi").await.unwrap().remove(0));
    let found = rig.run::<Application>("{}").await.unwrap();
    assert!(lines(&found).starts_with("SparkApplication pi: SparkApplication/pi state=RunningWithBelowThresholdExecutors errorMessage=1 of 4 executors"), "{}", lines(&found));
    // A Connect server has no driver role, and is the driver all the same.
    rig.target = Some(target(&rig, "pod: shared-server").await.unwrap().remove(0));
    assert_eq!(
        rig.run::<Pods>("{ role: driver }").await.unwrap().value.pods[0].name,
        "shared-server"
    );
    rig.cluster.log(
        "spark-prod",
        "shared-server",
        "main",
        "2026-11-23T03:00:00Z".parse().unwrap(),
        "session closed",
    );
    assert_eq!(
        rig.run::<Logs>("{ role: driver }").await.unwrap().value.logs[0].text,
        "session closed\n"
    );
}

#[tokio::test]
async fn an_operator_nobody_may_ask_is_told_only_when_nobody_else_knows_the_application() {
    let mut rig = Rig::empty().await;
    rig.scope = Scope::default().with("labels", json!({ "namespace": "spark-prod" }));
    rig.cluster
        .put(labelled("nightly-driver", "driver", "spark-n", &[("spark-app-name", "nightly")]))
        .unwrap();
    rig.cluster.deny("get", "sparkapplications");
    assert!(target(&rig, "application: nightly").await.is_ok());
    let error = target(&rig, "application: other").await.unwrap_err();
    assert!(error.contains("sparkapplications") && error.contains("verbs: [\"get\"]"), "{error}");
}

#[tokio::test]
async fn a_failed_connect_server_without_an_id_is_one_target_of_its_namespace() {
    let mut rig = Rig::empty().await;
    rig.scope = Scope::default().with("labels", json!({ "namespace": "spark-prod" }));
    let mut server =
        labelled("c-server", "connect-server", "", &[("sparkoperator.k8s.io/connect-name", "c")]);
    server["status"]["phase"] = json!("Failed");
    rig.cluster.put(server).unwrap();
    let found = target(&rig, "recent_failures_in: spark-prod").await.unwrap();
    assert_eq!(found[0].label(), "Spark application spark-prod/c");
    rig.target = Some(found[0].clone());
    assert!(
        matches!(rig.run::<Executors>("{}").await, Err(Failure::Client(error)) if error.to_string().contains("c-server is Failed"))
    );
}
