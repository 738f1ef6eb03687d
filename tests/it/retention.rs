//! Old incidents are deleted by the daemon, and nobody waits for it.

use std::time::Duration;

use crate::app::{TestApp, firing};

async fn resolved(app: &TestApp, name: &str) {
    let mut payload = firing(&[&[("alertname", name), ("severity", "critical")]]);
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
    payload["alerts"][0]["status"] = "resolved".into();
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
    app.advance(Duration::from_mins(3));
    app.pump_until_quiet().await;
}

async fn get(app: &TestApp, number: i64) -> u16 {
    app.get(&format!("/api/v1/incidents/{number}")).await.status
}

#[tokio::test]
async fn what_is_over_for_long_is_deleted_and_what_is_open_stays() {
    let app = TestApp::with("retention: { incidents: 7d }").await;
    app.engine.plant_loops().await.unwrap();
    resolved(&app, "Old").await;
    app.post_alerts(&firing(&[&[("alertname", "StillHere"), ("severity", "warning")]])).await;
    app.pump_until_quiet().await;
    app.advance(Duration::from_hours(6 * 24));
    app.pump_until_quiet().await;
    resolved(&app, "Young").await;
    assert_eq!((get(&app, 1).await, get(&app, 2).await, get(&app, 3).await), (200, 200, 200));
    app.advance(Duration::from_hours(30));
    app.pump_until_quiet().await;
    assert_eq!((get(&app, 1).await, get(&app, 2).await, get(&app, 3).await), (404, 200, 200));
    let store = &app.engine.store;
    assert_eq!(store.orphans().await.unwrap(), []);
    assert!(store.without_wake_up().await.unwrap().is_empty());
    // Its alert may come again, as if it had never been there.
    app.post_alerts(&firing(&[&[("alertname", "Old"), ("severity", "critical")]])).await;
    app.pump_until_quiet().await;
    assert_eq!(app.incident(4).await.labels["alertname"], "Old");
}

#[tokio::test]
async fn an_incident_resolved_by_hand_while_its_alert_fires_stays() {
    let app = TestApp::with("retention: { incidents: 1d }").await;
    app.engine.plant_loops().await.unwrap();
    let payload = firing(&[&[("alertname", "A"), ("severity", "warning")]]);
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
    for _ in 0..12 {
        // Alertmanager repeats it; each time somebody resolves it anyway.
        let by_hand = app.post("/api/v1/incidents/INC-1/resolve", r#"{"anyway":true}"#).await;
        assert!([200, 409].contains(&by_hand.status), "{by_hand:?}");
        app.pump_until_quiet().await;
        app.advance(Duration::from_hours(4));
        app.post_alerts(&payload).await;
        app.pump_until_quiet().await;
    }
    assert_eq!(get(&app, 1).await, 200);
}
