//! Alerts that fire in Alertmanager and never reached us are taken in.

use std::time::Duration;

use paramedic::domain::incident::Status;
use serde_json::json;

use super::{Rig, alert, silence, silenced};
use crate::engine::assert_sound;

#[tokio::test]
async fn an_alert_whose_webhook_was_lost_has_its_incident_after_one_poll_and_only_once() {
    let rig = Rig::new().await;
    let mut other = alert("ForOthers", "critical", -600);
    other["receivers"] = json!([{ "name": "somebody" }]);
    let watchdog = alert("Watchdog", "none", -600);
    let muted = silenced(alert("Silenced", "critical", -600), "s1");
    rig.am.set_silences(json!([silence("s1", 7_200)]));
    let lost = alert("Lost", "critical", -600);
    rig.am.set_alerts(json!([lost, other, watchdog, muted]));
    rig.minutes(3).await;
    assert_eq!(rig.incidents().await, 1);
    let incident = rig.app.incident(1).await;
    assert_eq!((incident.title.as_str(), rig.pages()), ("Lost · n", 1));
    assert_eq!(incident.annotations["summary"], "Lost is broken");
    // The webhook comes after all, and repeats.
    rig.webhook(&lost, "firing").await;
    rig.webhook(&lost, "firing").await;
    assert_eq!((rig.incidents().await, rig.app.incident(1).await.firing), (1, 1));
    rig.webhook(&lost, "resolved").await;
    rig.am.set_alerts(json!([]));
    rig.minutes(3).await;
    assert_eq!(rig.app.incident(1).await.status, Status::Resolved);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn an_alert_that_still_waits_in_its_group_is_left_to_its_webhook_for_a_minute() {
    let rig = Rig::new().await;
    rig.am.set_alerts(json!([alert("Young", "critical", 30)]));
    rig.minutes(1).await;
    assert_eq!(rig.incidents().await, 0, "30 s old");
    rig.minutes(1).await;
    assert_eq!(rig.incidents().await, 1);
    // A Prometheus whose clock is an hour ahead keeps nothing from being taken in.
    rig.am.set_alerts(json!([alert("Young", "critical", 30), alert("Ahead", "critical", 3_600)]));
    rig.minutes(2).await;
    assert_eq!(rig.incidents().await, 2);
}

#[tokio::test]
async fn a_store_without_its_last_hour_has_an_incident_for_every_firing_alert() {
    let rig = Rig::new().await;
    let alerts: Vec<_> = (0..1_200).map(|n| alert(&format!("Broken{n}"), "info", -3_600)).collect();
    rig.am.set_alerts(json!(alerts));
    rig.minutes(1).await;
    let open = rig.app.engine.store.open_count().await.unwrap();
    let known = rig.app.engine.store.firing_members("default").await.unwrap();
    assert_eq!(known.len(), 1_200, "{open} incidents");
    rig.minutes(1).await;
    assert_eq!(rig.app.engine.store.open_count().await.unwrap(), open);
}

#[tokio::test]
async fn a_resolve_that_came_after_we_asked_is_newer_than_the_answer() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "critical", 0);
    rig.webhook(&broken, "firing").await;
    rig.app.advance(Duration::from_secs(20));
    let asked_at = rig.app.engine.now();
    rig.app.advance(Duration::from_secs(1));
    rig.webhook(&broken, "resolved").await;
    // The answer to what was asked before: it fires.
    let mut firing = broken.clone();
    firing["status"] = json!("firing");
    let answer = json!({ "alerts": [firing], "paramedicAskedAt": asked_at });
    rig.app.post_alerts(&answer).await;
    rig.app.pump_until_quiet().await;
    assert_eq!(rig.app.incident(1).await.firing, 0);
    rig.minutes(3).await;
    assert_eq!(rig.app.incident(1).await.status, Status::Resolved);
}

#[tokio::test]
async fn an_incident_resolved_by_hand_is_watched_and_not_taken_in_again() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "warning", -600);
    rig.am.set_alerts(json!([broken]));
    rig.webhook(&broken, "firing").await;
    let anyway = json!({ "by": "Ana Lima", "anyway": true }).to_string();
    let answer = rig.app.post("/api/v1/incidents/INC-1/resolve", &anyway).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.minutes(59).await;
    assert!(!rig.app.incident(1).await.is_open());
    rig.minutes(2).await;
    assert!(rig.app.incident(1).await.is_open(), "an hour later it still fires");
    assert_eq!(rig.incidents().await, 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn mute_times_that_an_old_alertmanager_does_not_tell_keep_alerts_from_being_taken_in() {
    let rig = Rig::new().await;
    rig.am.set_config("route: { mute_time_intervals: [weekend] }");
    rig.am.set_alerts(json!([alert("Weekend", "critical", -600)]));
    rig.minutes(3).await;
    assert_eq!(rig.incidents().await, 0);
    // A newer one says which alerts are muted.
    let mut muted = alert("Weekend", "critical", -600);
    muted["status"]["mutedBy"] = json!(["weekend"]);
    let mut active = alert("Weekday", "critical", -600);
    active["status"]["mutedBy"] = json!([]);
    rig.am.set_alerts(json!([muted, active]));
    rig.minutes(1).await;
    assert_eq!(rig.app.incident(1).await.title, "Weekday · n");
    assert_eq!(rig.incidents().await, 1);
}
