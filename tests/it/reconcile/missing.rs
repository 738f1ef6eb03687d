//! Alerts that Alertmanager does not know any more: over only when nothing else explains it.

use std::time::Duration;

use paramedic::domain::incident::{Resolution, Status, Wake};
use serde_json::{Value, json};

use super::{Rig, alert, at, inhibited};
use crate::engine::assert_sound;

const HEARTBEAT: &str = r#"heartbeat: { match: ['alertname="Watchdog"'], every: 5m, miss: 3 }"#;

/// Minutes pass, each with a heartbeat.
async fn beats(rig: &Rig, minutes: u64) {
    let watchdog = json!({ "labels": { "alertname": "Watchdog" }, "startsAt": at(0) });
    for _ in 0..minutes {
        rig.webhook(&watchdog, "firing").await;
        rig.minutes(1).await;
    }
}

async fn is_over(rig: &Rig, number: i64) -> bool {
    rig.app.incident(number).await.status == Status::Resolved
}

#[tokio::test]
async fn what_alertmanager_forgot_is_over_after_ten_minutes_below_p1() {
    let rig = Rig::with(HEARTBEAT).await;
    rig.webhook(&alert("Broken", "warning", 0), "firing").await;
    rig.webhook(&alert("Severe", "critical", 0), "firing").await;
    beats(&rig, 9).await;
    assert!(!is_over(&rig, 1).await, "not before ten minutes have passed");
    beats(&rig, 2).await;
    let over = rig.app.incident(1).await;
    assert_eq!((over.status, over.resolution), (Status::Resolved, Some(Resolution::Missing)));
    let severe = rig.app.incident(2).await;
    assert!(severe.is_open() && severe.stale.is_some());
    let card = rig.app.get("/api/v1/incidents/INC-2").await.json()["card"]["caveats"].to_string();
    assert!(card.contains("Alertmanager has not known its alerts since 03:01:00 UTC"), "{card}");
    let pages = rig.pages();
    beats(&rig, 40).await;
    assert!(rig.pages() > pages, "P1 goes on paging");
    // It is there again: no question any more. And what was over opens anew when it fires.
    rig.am.set_alerts(json!([alert("Severe", "critical", 0)]));
    beats(&rig, 1).await;
    assert_eq!(rig.app.incident(2).await.stale, None);
    rig.webhook(&alert("Broken", "warning", 3_000), "firing").await;
    let opened = rig.app.incident(3).await;
    assert!(opened.is_open() && opened.title.starts_with("Broken"), "{opened:?}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn without_a_heartbeat_with_a_young_instance_or_a_failed_answer_nothing_is_over() {
    for case in ["no heartbeat", "young", "restarted", "failing", "now and then", "unreadable"] {
        let rig = Rig::with(if case == "no heartbeat" { "" } else { HEARTBEAT }).await;
        rig.webhook(&alert("Broken", "warning", 0), "firing").await;
        if case == "unreadable" {
            rig.am.set_alerts(json!([{ "labels": 7 }]));
        }
        for minute in 0..14 {
            match case {
                "young" => rig.am.set_started_at(&at(30)),
                "restarted" if minute == 5 => rig.am.set_started_at(&at(300)),
                "failing" => rig.am.set_status(502),
                "now and then" => rig.am.set_status(if minute % 8 == 7 { 502 } else { 200 }),
                _ => {}
            }
            beats(&rig, 1).await;
        }
        assert!(!is_over(&rig, 1).await, "{case}");
        assert_sound(&rig.app).await;
    }
}

#[tokio::test]
async fn an_alertmanager_restarted_empty_closes_none_of_fifty() {
    let rig = Rig::with(HEARTBEAT).await;
    let alerts: Vec<Value> = (0..50).map(|n| alert(&format!("Broken{n}"), "warning", 0)).collect();
    for one in &alerts {
        rig.webhook(one, "firing").await;
    }
    rig.am.set_alerts(json!(alerts));
    beats(&rig, 2).await;
    rig.am.set_alerts(json!([]));
    rig.am.set_started_at(&at(120));
    beats(&rig, 14).await;
    // Prometheus has told it again.
    rig.am.set_alerts(json!(alerts));
    beats(&rig, 4).await;
    for number in 1..=50 {
        assert!(!is_over(&rig, number).await, "INC-{number}");
    }
    assert_eq!(rig.incidents().await, 50);
}

#[tokio::test]
async fn an_alert_that_ended_while_it_was_muted_pages_nobody_at_the_end_of_the_mute() {
    let rig = Rig::with(HEARTBEAT).await;
    let broken = alert("Broken", "warning", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([inhibited(broken)]));
    beats(&rig, 2).await;
    let before = rig.pages();
    rig.am.set_alerts(json!([]));
    beats(&rig, 12).await;
    assert!(is_over(&rig, 1).await);
    assert_eq!(rig.pages(), before);
}

#[tokio::test]
async fn one_that_nobody_may_call_over_pages_at_the_end_of_the_mute() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "warning", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([inhibited(broken)]));
    rig.minutes(2).await;
    let before = rig.pages();
    rig.am.set_alerts(json!([]));
    rig.minutes(13).await;
    assert!(rig.pages() > before, "without a heartbeat nobody knows whether it is over");
    assert!(matches!(rig.app.incident(1).await.wake, Wake::Step(_)));
    assert!(rig.app.incident(1).await.stale.is_some());
}

#[tokio::test]
async fn a_pause_of_the_daemon_counts_as_no_answer() {
    let rig = Rig::with(HEARTBEAT).await;
    rig.webhook(&alert("Broken", "warning", 0), "firing").await;
    beats(&rig, 2).await;
    rig.app.advance(Duration::from_mins(9));
    beats(&rig, 3).await;
    assert!(!is_over(&rig, 1).await, "two answers before it and three after are not one span");
}
