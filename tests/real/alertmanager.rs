//! A metric crosses a threshold, and a webhook arrives: real Prometheus, real Alertmanager.
#![allow(clippy::disallowed_methods, reason = "the webhook is served beside the story")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use paramedic::clients::{http, prometheus};
use serde_json::Value;

use crate::bed::{
    Bed,
    alertmanager::{Alertmanager, Receiver},
    metric::Metrics,
    prometheus::Prometheus,
    until,
};

/// The rule every story fires by setting `spark_executor_lost`.
const RULES: &str = r"
groups:
- name: spark
  rules:
  - alert: SparkExecutorLost
    expr: spark_executor_lost == 1
    labels: { severity: critical }
    annotations: { summary: 'Executor {{ $labels.pod }} of {{ $labels.application_id }} is gone' }
";
const LOST: &str =
    r#"spark_executor_lost{namespace="spark-prod",pod="etl-exec-1",application_id="spark-1"}"#;

/// What a webhook received: bodies, in order.
type Received = Arc<Mutex<Vec<Value>>>;

#[tokio::test]
async fn a_switched_metric_arrives_as_a_webhook_that_fires_and_then_resolves() {
    async fn hook(
        State(received): State<Received>,
        headers: HeaderMap,
        body: axum::body::Bytes,
    ) -> StatusCode {
        if headers.get("authorization").is_none_or(|value| value != "Bearer s3cret") {
            return StatusCode::UNAUTHORIZED;
        }
        received.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        StatusCode::OK
    }
    let received = Received::default();
    let app = Router::new().route("/hook", post(hook)).with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let bed = Bed::new();
    let metrics = Metrics::start().await;
    let alertmanager =
        Alertmanager::start(&bed, &Receiver { url: &url, token: Some("s3cret") }).await;
    let prometheus =
        Prometheus::start(&bed, &metrics.address, RULES, &[&alertmanager.address]).await;
    let arrives = async |status: &str| {
        let what = format!("a webhook that is {status}");
        until(&what, Duration::from_mins(2), async || {
            received.lock().unwrap().iter().find(|body| body["status"] == status).cloned()
        })
        .await
    };

    metrics.set(LOST, 1.0);
    let firing = arrives("firing").await;
    assert_eq!(firing["version"], "4");
    assert_eq!(firing["alerts"][0]["labels"]["cluster"], "testbed");
    assert_eq!(
        firing["alerts"][0]["annotations"]["summary"],
        "Executor etl-exec-1 of spark-1 is gone"
    );
    assert_eq!(firing["externalURL"], alertmanager.url);

    let client = http::Client::new(http::Guard::default()).unwrap();
    let client = prometheus::Client::new(client, prometheus.url.parse().unwrap());
    let answer = client.query("spark_executor_lost", None).await.unwrap();
    let prometheus::Value::Vector(samples) = answer.value else { panic!("a vector") };
    assert_eq!(
        (samples[0].point.value, samples[0].labels["pod"].as_str()),
        (Some(1.0), "etl-exec-1")
    );
    let refused = client.query("spark_executor_lost{", None).await.unwrap_err();
    assert!(refused.reason.starts_with("bad_data: "), "{refused}");

    metrics.set(LOST, 0.0);
    let resolved = arrives("resolved").await;
    assert_eq!(resolved["alerts"][0]["fingerprint"], firing["alerts"][0]["fingerprint"]);
}
