//! Old incidents are deleted by the daemon, and nobody waits for it.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::ids::IncidentId,
    store::{Changes, Run, RunState},
};

use crate::{
    app::{TestApp, firing},
    store::retention::evidence,
};

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

/// A run of this incident brought 6 MiB of evidence.
async fn looked(app: &TestApp, incident: i64) {
    let store = &app.engine.store;
    let now = store.now();
    let run = Run {
        id: format!("{incident}/1/p/a"),
        incident: IncidentId(incident),
        playbook: "p".to_owned(),
        digest: "d".to_owned(),
        opening: 1,
        target: None,
        cluster: String::new(),
        state: RunState::Ended,
        started_at: now,
        deadline: now + SignedDuration::from_mins(5),
        ended_at: Some(now),
        scope: serde_json::json!({}),
        verdicts: vec![],
        caveats: vec![],
    };
    let steps = (0..6).map(|n| (run.id.clone(), evidence(&format!("s{n}"), 1 << 20)));
    let changes = Changes { steps: steps.collect(), runs: vec![run.clone()], ..Changes::default() };
    store.commit(changes, now).await.unwrap();
}

async fn steps(app: &TestApp, incident: i64) -> usize {
    app.engine.store.steps(&format!("{incident}/1/p/a")).await.unwrap().len()
}

#[tokio::test]
async fn beyond_its_size_the_store_forgets_the_oldest_evidence_and_then_takes_no_webhook() {
    let app = TestApp::with("store: { max_size: 16MiB }").await;
    app.engine.plant_loops().await.unwrap();
    for (number, name) in (1..).zip(["Old", "Young"]) {
        resolved(&app, name).await;
        looked(&app, number).await;
    }
    app.post_alerts(&firing(&[&[("alertname", "Open"), ("severity", "warning")]])).await;
    app.pump_until_quiet().await;
    looked(&app, 3).await;
    app.advance(Duration::from_mins(1));
    app.pump_until_quiet().await;
    assert_eq!((steps(&app, 1).await, steps(&app, 2).await, steps(&app, 3).await), (0, 6, 6));
    app.post_alerts(&firing(&[&[("alertname", "B"), ("severity", "warning")]])).await;
    app.pump_until_quiet().await;

    // Evidence of what is open stays: nothing is left to delete, and it is too much.
    looked(&app, 4).await;
    app.post_alerts(&firing(&[&[("alertname", "C"), ("severity", "warning")]])).await;
    app.pump_until_quiet().await;
    looked(&app, 5).await;
    app.advance(Duration::from_mins(1));
    app.pump_until_quiet().await;
    assert_eq!((steps(&app, 2).await, steps(&app, 4).await, steps(&app, 5).await), (0, 6, 6));
    let refused =
        app.post("/api/v1/alertmanager", &firing(&[&[("alertname", "D")]]).to_string()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let ready = app.get("/readyz").await;
    assert!(ready.body.contains("the store is full: it holds 18 of 16 MiB"), "{ready:?}");
    let alarm = app.incident(6).await;
    assert_eq!((alarm.title.as_str(), alarm.is_open()), ("Paramedic: The store is full", true));
    app.engine.set_gauges().await.unwrap();
    assert!(app.get("/metrics").await.body.contains("paramedic_store_bytes 1"));

    // Somebody makes room.
    app.sql("DELETE FROM steps WHERE step <> 's' || $1", 0);
    app.advance(Duration::from_mins(1));
    app.pump_until_quiet().await;
    app.post_alerts(&firing(&[&[("alertname", "D"), ("severity", "warning")]])).await;
    app.pump_until_quiet().await;
    assert!(!app.incident(6).await.is_open());
}
