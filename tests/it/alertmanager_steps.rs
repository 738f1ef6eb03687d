//! `alertmanager.*` against prepared answers.

use paramedic::{clients::Kind, steps::Failure};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, passages},
    fakes::alertmanager::Alertmanager,
};

fn alert(pod: &str, state: &str, silenced_by: &[&str], inhibited_by: &[&str]) -> Value {
    json!({
        "labels": { "alertname": "SparkExecutorLost", "pod": pod }, "annotations": {}, "fingerprint": "f1",
        "startsAt": "2026-11-23T03:00:00.000Z", "endsAt": "2026-11-23T03:20:00.000Z", "updatedAt": "2026-11-23T03:11:00.000Z",
        "status": { "state": state, "silencedBy": silenced_by, "inhibitedBy": inhibited_by },
        "receivers": [{ "name": "paramedic" }], "generatorURL": "",
    })
}

fn silence(id: &str, state: &str, ends_at: &str, matchers: &Value) -> Value {
    json!({
        "id": id, "status": { "state": state }, "matchers": matchers, "createdBy": "ana", "comment": "maintenance\nof the lake",
        "startsAt": "2026-11-23T01:00:00.000Z", "endsAt": ends_at, "updatedAt": "2026-11-23T01:00:00.000Z",
    })
}

fn bench_with(labels: &Value) -> Bench {
    let mut bench = Bench::new();
    bench.scope.set("labels", labels.clone());
    bench
}

#[tokio::test]
async fn suppressed_alerts_come_first_with_what_suppresses_them() {
    let alerts = json!([
        alert("etl-1", "active", &[], &[]),
        alert("etl-2", "suppressed", &["s1"], &[]),
        alert("etl-3", "suppressed", &[], &["f9"]),
    ]);
    let fake = Alertmanager::start(alerts, json!([])).await;
    let hostile = "SparkExecutorLost\" \\x";
    let bench =
        bench_with(&json!({ "alertname": hostile, "pod": "etl-1" })).alertmanager(&fake.url);
    let findings = bench.run("alertmanager.alerts: {}").await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r"
    alert SparkExecutorLost suppressed since 2026-11-23T03:00:00Z: pod=etl-2, silenced by s1
    alert SparkExecutorLost suppressed since 2026-11-23T03:00:00Z: pod=etl-3, inhibited by f9
    alert SparkExecutorLost active since 2026-11-23T03:00:00Z: pod=etl-1
    alertmanager: 3 alerts: 1 active, 2 suppressed
    ");
    assert_eq!((&findings.value["suppressed"], &findings.value["active"]), (&json!(2), &json!(1)));
    assert_eq!(fake.filters(), [r#"alertname="SparkExecutorLost\" \\x""#]);
    let step =
        r#"alertmanager.alerts: { labels: { pod: "{{labels.pod}}", team: "{{labels.team}}" } }"#;
    bench.run(step).await.unwrap();
    assert_eq!(fake.filters()[1..], [r#"pod="etl-1""#, r#"team="""#]);
}

#[tokio::test]
async fn only_silences_that_cover_the_alert_and_did_not_end_long_ago_are_told() {
    let pods =
        |value: &str| json!([{ "name": "pod", "value": value, "isRegex": true, "isEqual": true }]);
    let equal = json!([{ "name": "namespace", "value": "spark-prod", "isRegex": false }]);
    let silences = json!([
        silence("s1", "expired", "2026-11-23T03:00:00.000Z", &equal),
        silence("s2", "active", "2026-11-23T05:00:00.000Z", &pods("etl-.*")),
        silence("s3", "active", "2026-11-23T05:00:00.000Z", &pods("web-.*")),
        silence("s4", "expired", "2026-11-23T02:00:00.000Z", &equal),
        silence("s5", "pending", "2026-11-24T05:00:00.000Z", &pods("etl-1")),
    ]);
    let fake = Alertmanager::start(json!([]), silences).await;
    let labels = json!({ "alertname": "A", "pod": "etl-1", "namespace": "spark-prod" });
    let bench = bench_with(&labels).alertmanager(&fake.url);
    let findings = bench.run("alertmanager.silences: {}").await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r#"
    silence s2 active until 2026-11-23T05:00:00Z by ana: pod=~"etl-.*": maintenance of the lake
    silence s5 pending until 2026-11-24T05:00:00Z by ana: pod=~"etl-1": maintenance of the lake
    silence s1 expired until 2026-11-23T03:00:00Z by ana: namespace="spark-prod": maintenance of the lake
    silences: 1 active, 1 pending, 1 ended lately
    "#);
    let longer = bench.run("alertmanager.silences: { ended_within: 2h }").await.unwrap();
    assert_eq!(longer.value["expired"], 2);
}

#[tokio::test]
async fn the_first_instance_that_answers_is_enough_and_the_others_are_named() {
    let down = Alertmanager::failing(503).await;
    let up = Alertmanager::start(json!([alert("a", "active", &[], &[])]), json!([])).await;
    let bench = bench_with(&json!({ "alertname": "A" })).alertmanager(&down.url);
    let bench = bench.alertmanager(&up.url);
    let findings = bench.run("alertmanager.alerts: {}").await.unwrap();
    let silent = findings.value["silent_instances"].as_array().unwrap();
    assert_eq!((findings.value["total"].as_i64(), silent.len()), (Some(1), 1));
    assert!(
        passages(&findings)
            .contains("alertmanager instance: could not list the alerts of Alertmanager: HTTP 503")
    );
}

#[tokio::test]
async fn without_an_instance_a_label_or_an_answer_the_step_says_why() {
    let labels = json!({ "alertname": "A" });
    let none = bench_with(&labels).run("alertmanager.silences: {}").await.unwrap_err();
    insta::assert_snapshot!(none, @"no Alertmanager is configured; add `sources.<its source>.alertmanagers`");
    let other = bench_with(&labels).run("alertmanager.alerts: { source: lab }").await.unwrap_err();
    insta::assert_snapshot!(other, @"there is no source `lab`");
    let fake = Alertmanager::failing(400).await;
    let bench = bench_with(&labels).alertmanager(&fake.url);
    let Failure::Client(error) = bench.run("alertmanager.alerts: {}").await.unwrap_err() else {
        panic!("a refusal is a failure")
    };
    assert_eq!(
        (error.kind, error.reason.as_str()),
        (Kind::Refused, "HTTP 400: bad matcher format")
    );
    let nothing = Bench::new().alertmanager(&fake.url).run("alertmanager.alerts: {}").await;
    assert!(matches!(nothing.unwrap_err(), Failure::Skipped(_)));
}
