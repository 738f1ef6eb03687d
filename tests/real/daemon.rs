//! The daemon behind a real Prometheus and Alertmanager: fired, resolved, stopped and killed in the middle.

use std::time::Duration;

use paramedic::clients::http::{Client, Guard, Request};
use serde_json::json;

use crate::bed::{
    Bed,
    alertmanager::{Alertmanager, Receiver},
    daemon::Daemon,
    metric::Metrics,
    prometheus::Prometheus,
    until,
};

const RULES: &str = r"
groups:
- name: spark
  rules:
  - alert: SparkExecutorLost
    expr: spark_executor_lost == 1
    labels: { severity: critical }
    annotations: { summary: 'Executor {{ $labels.pod }} is gone' }
";
const LOST: &str = r#"spark_executor_lost{namespace="spark-prod",pod="etl-exec-1"}"#;

#[tokio::test]
async fn a_metric_that_crosses_its_threshold_pages_and_resolves_when_it_is_well_again() {
    let bed = Bed::new();
    let daemon = Daemon::start(&bed, "").await;
    let metrics = Metrics::start().await;
    let url = daemon.webhook();
    let alertmanager = Alertmanager::start(&bed, &Receiver { url: &url, token: None }).await;
    let prometheus =
        Prometheus::start(&bed, &metrics.address, RULES, &[&alertmanager.address]).await;
    assert!(prometheus.url.starts_with("http://127.0.0.1:"));

    metrics.set(LOST, 1.0);
    let paged = daemon
        .until_incident("INC-1", "paged", |seen| {
            seen.to_string().contains("paged Operator by console")
        })
        .await;
    assert_eq!(paged["card"]["title"], "SparkExecutorLost · spark-prod", "{paged}");
    assert_eq!(paged["card"]["severity"], "P1");
    assert_eq!(paged["card"]["status"], "triggered");
    assert_eq!(paged["card"]["summary"], "Executor etl-exec-1 is gone");
    assert_eq!(daemon.pages(), 1);

    metrics.set(LOST, 0.0);
    let over = daemon
        .until_incident("INC-1", "resolved", |seen| seen["card"]["status"] == "resolved")
        .await;
    assert_eq!(over["card"]["members"], "0 firing, 1 resolved");
    assert_eq!(daemon.incidents().await.len(), 1);
}

#[tokio::test]
async fn stopped_and_killed_in_the_middle_nothing_is_lost_and_no_page_is_doubled() {
    let bed = Bed::new();
    let mut daemon = Daemon::start(&bed, "").await;
    let url = daemon.webhook();
    let alertmanager = Alertmanager::start(&bed, &Receiver { url: &url, token: None }).await;

    fire(&alertmanager, "DiskFull").await;
    daemon
        .until_incident("INC-1", "paged", |seen| seen.to_string().contains("paged Operator"))
        .await;

    // Killed: what was answered stays, what Alertmanager could not deliver comes later.
    daemon.process.kill();
    fire(&alertmanager, "JobStuck").await;
    daemon.starts_again(&bed).await;
    let second = daemon
        .until_incident("INC-2", "paged", |seen| seen.to_string().contains("paged Operator"))
        .await;
    assert_eq!(second["card"]["title"], "JobStuck · spark-prod");
    let first = daemon.until_incident("INC-1", "still there", |_| true).await;
    assert_eq!(first["card"]["status"], "triggered");
    assert_eq!(daemon.pages(), 2, "one page each: {}", daemon.process.output());

    // Stopped: it ends by itself, quickly, with exit code 0.
    let status = daemon.process.stop("TERM").await;
    assert!(status.success(), "{status}: {}", daemon.process.output());
    daemon.starts_again(&bed).await;
    daemon
        .until_incident("INC-2", "still there", |seen| seen["card"]["status"] == "triggered")
        .await;
    assert_eq!(daemon.incidents().await.len(), 2);
    assert_eq!(daemon.pages(), 2, "{}", daemon.process.output());
}

/// Tells Alertmanager directly, as a rule evaluator would.
async fn fire(alertmanager: &Alertmanager, name: &str) {
    let http = Client::new(Guard::default()).unwrap();
    let body = json!([{ "labels": { "alertname": name, "namespace": "spark-prod", "severity": "critical" } }]);
    let url = format!("{}/api/v2/alerts", alertmanager.url);
    until("Alertmanager takes the alert", Duration::from_secs(30), async || {
        let url = url.parse().unwrap();
        let request = Request::post(url, "fire", body.to_string(), "application/json");
        http.send(request).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}
