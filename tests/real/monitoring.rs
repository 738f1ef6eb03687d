//! What steps ask of a real Prometheus and a real Alertmanager beside the instant query: values over time, rules, targets,
//! alerts with what silences them.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    clients::{alertmanager, http, prometheus, prometheus::lists::Range},
    ops::clock::Clock,
};

use crate::bed::{
    Bed,
    alertmanager::{Alertmanager, Receiver},
    metric::Metrics,
    ports,
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
  - alert: Broken
    expr: spark_executor_lost * on() spark_executor_lost
";
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn rules_targets_and_alerts_are_as_the_servers_have_them() {
    let bed = Bed::new();
    let metrics = Metrics::start().await;
    for pod in ["a", "b"] {
        metrics.set(&format!("spark_executor_lost{{pod=\"{pod}\",namespace=\"n\"}}"), 1.0);
    }
    let nowhere = format!("http://127.0.0.1:{}/", ports::free());
    let receiver = Receiver { url: &nowhere, token: None };
    let manager = Alertmanager::start(&bed, &receiver).await;
    let server = Prometheus::start(&bed, &metrics.address, RULES, &[&manager.address]).await;
    let http = http::Client::new(http::Guard::default()).unwrap();
    let client = prometheus::Client::new(http.clone(), server.url.parse().unwrap());

    let firing = until("two alerts fire", PATIENCE, async || {
        let alerts = client.alerts().await.ok()?;
        (alerts.iter().filter(|alert| alert.state == "firing").count() == 2).then_some(alerts)
    })
    .await;
    assert_eq!(firing[0].labels["alertname"], "SparkExecutorLost");
    assert!(firing[0].active_at.is_some() && firing[0].annotations["summary"].contains("is gone"));

    let rules = client.rules_named("SparkExecutorLost").await.unwrap();
    let [rule] = rules.as_slice() else { panic!("one rule: {rules:?}") };
    assert_eq!(
        (rule.group.as_str(), rule.rule.query.as_str()),
        ("spark", "spark_executor_lost == 1")
    );
    assert_eq!((rule.rule.health.as_str(), rule.rule.alerts.len()), ("ok", 2));
    let broken = until("the broken rule is evaluated", PATIENCE, async || {
        let mut rules = client.rules_named("Broken").await.ok()?;
        rules.pop().filter(|rule| rule.rule.health == "err")
    })
    .await;
    assert!(broken.rule.last_error.contains("many-to-many"), "{}", broken.rule.last_error);

    let targets = client.targets().await.unwrap();
    assert_eq!((targets.len(), targets[0].health.as_str()), (1, "up"));
    let now = Clock::System.now();
    let range = Range { start: now - SignedDuration::from_mins(1), end: now, step: 1 };
    let answer = client.query_range("spark_executor_lost", range).await.unwrap();
    let prometheus::Value::Matrix(series) = answer.value else { panic!("a matrix") };
    assert_eq!((series.len(), series[0].points[0].value), (2, Some(1.0)));
    let refused = client.query_range("spark_executor_lost{", range).await.unwrap_err();
    assert!(refused.reason.starts_with("bad_data: "), "{refused}");

    silenced(&alertmanager::Client::new(http, manager.url.parse().unwrap()), now).await;
}

/// One of the two alerts is silenced, and both lists say so.
async fn silenced(client: &alertmanager::Client, now: Timestamp) {
    let labels = |pod: &str| {
        BTreeMap::from([
            ("alertname".to_owned(), "SparkExecutorLost".to_owned()),
            ("pod".to_owned(), pod.to_owned()),
        ])
    };
    let silence = alertmanager::Silence {
        matchers: vec![("pod".to_owned(), "a".to_owned())],
        starts_at: now,
        ends_at: now + SignedDuration::from_hours(1),
        created_by: "ana".to_owned(),
        comment: "a story".to_owned(),
    };
    let id = client.silence(&silence).await.unwrap();
    let suppressed = until("the alert is silenced", PATIENCE, async || {
        let alerts = client.alerts(&labels("a")).await.ok()?;
        alerts.into_iter().find(|alert| alert.status.state == "suppressed")
    })
    .await;
    assert_eq!(suppressed.status.silenced_by, [id.as_str()]);
    let other = client.alerts(&labels("b")).await.unwrap();
    assert_eq!((other.len(), other[0].status.state.as_str()), (1, "active"));
    assert_eq!(client.alerts(&labels("x\" or \\")).await.unwrap(), []);
    let silences = client.silences().await.unwrap();
    assert!(silences[0].covers(&suppressed.labels) && !silences[0].covers(&other[0].labels));
    assert_eq!((silences[0].id.as_str(), silences[0].comment.as_str()), (id.as_str(), "a story"));
}
