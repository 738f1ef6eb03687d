//! Watchdog alerts open nothing while they come, and wake somebody when they stay away.

use std::time::Duration;

use paramedic::{domain::severity::Severity, store::Changes};
use serde_json::{Value, json};

use crate::app::{TestApp, firing};

const HEARTBEAT: &str = r#"
sources:
  default: { heartbeat: { match: ['alertname="Watchdog"'], every: 5m, miss: 3 } }
"#;
const BEAT: &[&[(&str, &str)]] = &[&[("alertname", "Watchdog"), ("severity", "none")]];

async fn beats(app: &TestApp, status: &str) {
    let mut payload = firing(BEAT);
    payload["alerts"][0]["status"] = json!(status);
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
}

async fn passes(app: &TestApp, minutes: u64) {
    for _ in 0..minutes {
        app.advance(Duration::from_mins(1));
        app.pump_until_quiet().await;
    }
}

async fn incidents(app: &TestApp) -> Vec<Value> {
    app.get("/api/v1/incidents?status=all").await.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_watchdog_wakes_nobody_configured_or_not() {
    for yaml in ["", HEARTBEAT] {
        let app = TestApp::with(yaml).await;
        beats(&app, "firing").await;
        assert!(incidents(&app).await.is_empty());
    }
}

#[tokio::test]
async fn a_heartbeat_that_stays_away_pages_and_its_return_ends_the_alarm() {
    let app = TestApp::with(HEARTBEAT).await;
    app.engine.plant_loops().await.unwrap();
    beats(&app, "firing").await;
    passes(&app, 14).await;
    assert!(incidents(&app).await.is_empty(), "three may be missed");
    passes(&app, 2).await;
    let alarm = app.incident(1).await;
    assert_eq!((alarm.title.as_str(), alarm.severity), ("HeartbeatMissing", Severity::P1));
    assert!(alarm.playbooks.contains("watchdog"));
    assert!(app.console().contains(">>> PAGE for Operator"));
    passes(&app, 5).await;
    assert_eq!(incidents(&app).await.len(), 1, "one alarm, however long it lasts");
    beats(&app, "firing").await;
    passes(&app, 4).await;
    assert_eq!(app.incident(1).await.status.word(), "resolved");
}

#[tokio::test]
async fn a_heartbeat_that_says_it_is_over_alarms_at_once() {
    let app = TestApp::with(HEARTBEAT).await;
    app.engine.plant_loops().await.unwrap();
    beats(&app, "firing").await;
    beats(&app, "resolved").await;
    passes(&app, 1).await;
    assert_eq!(app.incident(1).await.title, "HeartbeatMissing");
}

#[tokio::test]
async fn after_a_start_a_full_interval_passes_before_anything_is_missed() {
    let app = TestApp::with(HEARTBEAT).await;
    app.engine.plant_loops().await.unwrap();
    passes(&app, 14).await;
    assert!(incidents(&app).await.is_empty());
    passes(&app, 2).await;
    assert_eq!(app.incident(1).await.title, "HeartbeatMissing");
}

#[tokio::test]
async fn a_crash_as_the_alarm_is_raised_does_not_leave_it_there_for_ever() {
    let app = TestApp::with(HEARTBEAT).await;
    app.engine.plant_loops().await.unwrap();
    passes(&app, 16).await;
    assert!(app.incident(1).await.is_open());
    // It died before it had marked that it said so, and the heartbeat is back.
    let cursors = vec![("heartbeat-alarm:default".to_owned(), "turning".to_owned())];
    let changes = Changes { cursors, ..Changes::default() };
    app.engine.store.commit(changes, app.engine.now()).await.unwrap();
    let app = app.dies_and_restarts().await;
    beats(&app, "firing").await;
    passes(&app, 4).await;
    assert_eq!(app.incident(1).await.status.word(), "resolved");
}

#[tokio::test]
async fn a_process_that_started_with_its_clock_ahead_misses_it_in_time() {
    let app = TestApp::with(HEARTBEAT).await;
    let right = app.engine.now();
    app.hand.set_wall(right + jiff::SignedDuration::from_hours(5));
    let app = app.dies_and_restarts().await;
    app.hand.set_wall(right);
    app.engine.plant_loops().await.unwrap();
    app.engine.check_clock().await.unwrap();
    passes(&app, 17).await;
    assert_eq!(app.incident(1).await.title, "HeartbeatMissing");
}

#[tokio::test]
async fn an_alarm_that_began_by_a_clock_ahead_ends_when_the_heartbeat_is_back() {
    let app = TestApp::with(HEARTBEAT).await;
    app.engine.plant_loops().await.unwrap();
    beats(&app, "firing").await;
    passes(&app, 14).await;
    let right = app.engine.now();
    app.hand.set_wall(right + jiff::SignedDuration::from_hours(2));
    passes(&app, 2).await;
    assert!(app.incident(1).await.is_open());
    app.hand.set_wall(right);
    app.engine.check_clock().await.unwrap();
    beats(&app, "firing").await;
    passes(&app, 4).await;
    assert_eq!(app.incident(1).await.status.word(), "resolved");
}
