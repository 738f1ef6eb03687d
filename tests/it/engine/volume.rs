//! Large and wide payloads: right counts.

use super::*;

fn many(count: usize, label: &str) -> Value {
    let alerts: Vec<Value> = (0..count)
        .map(|n| {
            let mut labels = json!({ "alertname": "Many", "namespace": "n", "severity": "info" });
            labels[label] = json!(format!("x{n}"));
            json!({ "status": "firing", "labels": labels, "startsAt": START })
        })
        .collect();
    json!({ "alerts": alerts })
}

#[tokio::test]
async fn ten_thousand_alerts_of_one_webhook_are_one_incident_in_bounded_time() {
    let app = TestApp::new().await;
    app.post_alerts(&many(10_000, "pod")).await;
    assert_eq!(app.engine.store.backlog().await.unwrap().0, 10, "stored in parts");
    app.pump_until_quiet().await;
    let incident = app.incident(1).await;
    assert_eq!((incidents(&app).await, incident.firing, incident.members), (1, 10_000, 10_000));
    assert!(incident.targets.len() <= 50);
    assert_sound(&app).await;
}

#[tokio::test]
async fn five_hundred_namespaces_are_five_hundred_incidents_and_each_is_paged() {
    let app = TestApp::new().await;
    app.post_alerts(&many(500, "namespace")).await;
    while app.engine.apply_next().await.unwrap() != Applied::Nothing {}
    assert_eq!(app.engine.store.open_count().await.unwrap(), 500);
    assert_eq!(app.engine.store.without_wake_up().await.unwrap(), []);
    // Each is paged; more than one turn's worth waits, and none is forgotten.
    for _ in 0..10 {
        while app.engine.pump().await.unwrap() > 0 {}
        app.advance(Duration::from_secs(1));
    }
    assert_eq!(app.console().matches("PAGE for").count(), 500);
    app.pump_until_quiet().await;
}
