//! `prometheus.range`, `.alerts`, `.rule` and `.targets` against a strict fake. `prometheus.query` is in [`super::net_steps`].

use serde_json::{Value, json};

use crate::{
    bench::{Bench, passages},
    fakes::prometheus::Prometheus,
};

#[tokio::test]
async fn a_range_is_asked_for_the_span_and_the_points_the_playbook_wants() {
    let query = r#"mem{pod="etl-1"}"#;
    let values = json!([[1_795_399_920, "1"], [1_795_399_950, "NaN"], [1_795_403_520, "9.5"]]);
    let data = json!({ "resultType": "matrix", "result": [
        { "metric": { "pod": "etl-1" }, "values": values },
    ] });
    let fake = Prometheus::start([(query, data)]).await;
    let mut bench = Bench::new().prometheus(&fake.url);
    bench.scope.set("labels", json!({ "pod": "etl-1" }));
    let step = r#"prometheus.range: { query: "mem{pod=$pod}", vars: { pod: "{{labels.pod}}" }, since: 1h, points: 100 }"#;
    let findings = bench.run(step).await.unwrap();
    let asked = &fake.asked()[0];
    let part = |name: &str| asked[name].as_str();
    assert_eq!(
        (part("start"), part("end"), part("step")),
        ("1795399920.000", "1795403520.000", "36")
    );
    insta::assert_snapshot!(passages(&findings), @r#"range mem{pod="etl-1"}: {pod="etl-1"} flat over 1h: first 1, last 9.5, min 1, max 9.5"#);
    assert_eq!(
        findings.value["series"][0]["points"],
        json!([[1_795_399_920.0, 1.0], [1_795_403_520.0, 9.5]])
    );
    assert_eq!(
        (&findings.value["number"], &findings.value["step_seconds"]),
        (&json!(9.5), &json!(36))
    );
    let until = r#"prometheus.range: { query: "mem{pod=$pod}", vars: { pod: "{{labels.pod}}" }, until: 2026-11-23T00:00:00Z, since: 1m, points: 500 }"#;
    bench.run(until).await.unwrap();
    let asked = &fake.asked()[1];
    assert_eq!((asked["end"].as_str(), asked["step"].as_str()), ("1795392000.000", "1"));
}

fn alert(name: &str, state: &str, namespace: &str) -> Value {
    json!({ "labels": { "alertname": name, "namespace": namespace }, "annotations": { "summary": "it\nis" },
            "state": state, "activeAt": "2026-11-23T03:00:00.5Z", "value": "1e+00" })
}

#[tokio::test]
async fn alerts_of_the_namespace_are_listed_firing_ones_first() {
    let fake = Prometheus::start([]).await;
    let alerts = [alert("B", "pending", "a"), alert("Z", "firing", "a"), alert("C", "firing", "b")];
    fake.list("alerts", json!({ "alerts": alerts }));
    let mut bench = Bench::new().prometheus(&fake.url);
    bench.scope.set("labels", json!({ "ns": "a" }));
    let step = r#"prometheus.alerts: { labels: { namespace: "{{labels.ns}}" } }"#;
    let findings = bench.run(step).await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r#"
    alert Z firing: {alertname="Z", namespace="a"} value 1e+00
    alert B pending: {alertname="B", namespace="a"} value 1e+00
    "#);
    assert_eq!(findings.value["alerts"][0]["summary"], "it is");
    let firing = bench.run("prometheus.alerts: { state: firing }").await.unwrap();
    assert_eq!(firing.summary, "2 firing, 0 pending");
}

fn rule(name: &str, health: &str, error: &str, evaluated: &str) -> Value {
    json!({ "type": "alerting", "name": name, "query": "up == 0", "duration": 300, "labels": { "severity": "critical" },
            "annotations": {}, "health": health, "lastError": error, "evaluationTime": 0.002, "lastEvaluation": evaluated,
            "alerts": [alert(name, "firing", "a")], "keepFiringFor": 0 })
}

#[tokio::test]
async fn the_rule_behind_the_alert_says_whether_it_is_evaluated() {
    let fake = Prometheus::start([]).await;
    fake.list("rules", json!({ "groups": [
        { "name": "spark", "file": "/x", "interval": 30, "rules": [
            rule("A", "ok", "", "2026-11-23T03:11:48Z"), rule("Other", "ok", "", "2026-11-23T03:11:48Z"),
        ] },
        { "name": "old", "interval": 30, "rules": [rule("A", "err", "many-to-many matching", "2026-11-23T02:00:00Z")] },
        { "name": "new", "interval": 30, "rules": [rule("A", "unknown", "", "0001-01-01T00:00:00Z")] },
    ] }));
    let mut bench = Bench::new().prometheus(&fake.url);
    bench.scope.set("labels", json!({ "alertname": "A" }));
    let findings = bench.run("prometheus.rule: {}").await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r"
    rule A in group spark: ok, 1 firing, 0 pending: up == 0 for 300 s, evaluated 12 s ago
    rule A in group old: err, 1 firing, 0 pending: up == 0 for 300 s, STALE, evaluated 4320 s ago, error: many-to-many matching
    rule A in group new: unknown, 1 firing, 0 pending: up == 0 for 300 s, never evaluated
    ");
    assert_eq!(
        (&findings.value["exists"], &findings.value["healthy"]),
        (&json!(true), &json!(false))
    );
    let gone = bench.run("prometheus.rule: { name: Gone }").await.unwrap();
    insta::assert_snapshot!(gone.summary, @"rule Gone: Prometheus has no such rule");
    assert_eq!(gone.value["exists"], false);
}

#[tokio::test]
async fn targets_that_are_down_are_told_without_the_secrets_of_their_address() {
    let target = |instance: &str, health: &str, error: &str| {
        json!({ "discoveredLabels": { "__address__": instance }, "labels": { "job": "spark", "instance": instance },
                "scrapePool": "spark", "scrapeUrl": format!("http://u:hunter2@{instance}/metrics?token=hunter2"),
                "lastError": error, "lastScrape": "2026-11-23T03:11:30Z", "lastScrapeDuration": 0.1, "health": health })
    };
    let fake = Prometheus::start([]).await;
    let error = r#"Get "http://a:1/metrics?token=hunter2": dial tcp: connection refused"#;
    let targets = [target("b:1", "up", ""), target("a:1", "down", error)];
    fake.list("targets", json!({ "activeTargets": targets, "droppedTargets": [] }));
    let bench = Bench::new().prometheus(&fake.url);
    let findings = bench.run("prometheus.targets: { labels: { job: spark } }").await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r#"
    target spark a:1: down: Get "http://a:1/metrics": dial tcp: connection refused
    targets: 1 up, 1 down, 0 unknown
    "#);
    assert!(!findings.value.to_string().contains("hunter2"), "{}", findings.value);
    let none = bench.run("prometheus.targets: { labels: { job: other } }").await.unwrap();
    assert_eq!(none.summary, "no target has these labels");
}

#[tokio::test]
async fn a_list_that_prometheus_refuses_is_the_steps_failure_in_its_own_words() {
    let fake = Prometheus::start([]).await;
    for list in ["alerts", "rules", "targets"] {
        fake.list(list, json!("not now"));
    }
    let mut bench = Bench::new().prometheus(&fake.url);
    bench.scope.set("labels", json!({ "alertname": "A" }));
    for step in ["prometheus.alerts: {}", "prometheus.rule: {}", "prometheus.targets: {}"] {
        let failure = bench.run(step).await.unwrap_err().to_string();
        assert!(failure.ends_with(": not now"), "{step}: {failure}");
        let nowhere = Bench::new().run(step).await.unwrap_err().to_string();
        assert!(
            nowhere.contains("has no `prometheus:` configured") || nowhere.contains("labels"),
            "{nowhere}"
        );
    }
}
