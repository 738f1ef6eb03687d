//! Muted alerts pause paging, and their end pages.

use std::time::Duration;

use paramedic::domain::incident::{Event, Status, Wake};
use serde_json::json;

use super::{Rig, alert, inhibited, silence, silenced};
use crate::{engine::assert_sound, fakes::alertmanager::Alertmanager};

#[tokio::test]
async fn a_silence_made_after_the_page_pauses_and_its_end_pages_at_once() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "critical", 0);
    rig.am.set_alerts(json!([broken]));
    rig.webhook(&broken, "firing").await;
    rig.minutes(1).await;
    let before = rig.pages();
    assert!(before > 0);

    rig.am.set_alerts(json!([silenced(broken.clone(), "5e1f0a77-long-id")]));
    rig.am.set_silences(json!([silence("5e1f0a77-long-id", 3_600)]));
    rig.minutes(1).await;
    let paused = rig.app.incident(1).await;
    assert!(matches!(paused.wake, Wake::Suppression(_)), "{:?}", paused.wake);
    let line = "muted in Alertmanager by silence 5e1f0a77 of Ana Lima until 04:00:00 UTC (planned work): paging pauses";
    assert!(rig.history(1).await.contains(line), "{}", rig.history(1).await);
    let card = rig.app.get("/api/v1/incidents/INC-1").await.json()["card"]["next"].to_string();
    assert!(card.contains("muted by silence 5e1f0a77 of Ana Lima"), "{card}");
    rig.minutes(57).await;
    assert_eq!(rig.pages(), before, "nobody is woken while it is silenced");

    rig.am.set_alerts(json!([broken]));
    rig.am.set_silences(json!([]));
    // The silence ends in the middle of a minute's wait: it is asked for at its end.
    rig.app.advance(Duration::from_secs(62));
    rig.app.pump_until_quiet().await;
    assert_eq!(rig.pages(), before + 1);
    let said = rig.history(1).await;
    assert!(said.contains("not muted any more: its alerts notify again in Alertmanager"), "{said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_silence_that_ends_while_alertmanager_is_down_pages() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "critical", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([silenced(broken, "s1")]));
    rig.am.set_silences(json!([silence("s1", 600)]));
    rig.minutes(2).await;
    let before = rig.pages();
    rig.am.set_status(500);
    rig.minutes(7).await;
    assert_eq!(rig.pages(), before, "the silence is known to go on");
    rig.minutes(2).await;
    assert_eq!(rig.pages(), before + 1);
    let said = rig.history(1).await;
    let why = "not muted any more: the mute ended, and Alertmanager has not answered since";
    assert!(said.contains(why), "{said}");
}

#[tokio::test]
async fn an_inhibited_alert_is_paused_for_as_long_as_it_is_and_says_so_once() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "warning", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([inhibited(broken.clone())]));
    rig.minutes(1).await;
    let before = rig.pages();
    rig.minutes(120).await;
    assert_eq!(rig.pages(), before);
    assert_eq!(rig.history(1).await.matches("muted in Alertmanager by another alert").count(), 1);
    rig.am.set_alerts(json!([broken]));
    rig.minutes(1).await;
    assert_eq!(rig.pages(), before + 1);
}

#[tokio::test]
async fn a_new_alert_that_is_not_muted_ends_the_pause() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "warning", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([inhibited(broken.clone())]));
    rig.minutes(1).await;
    let before = rig.pages();
    let mut other = broken.clone();
    other["labels"]["pod"] = json!("second");
    other["fingerprint"] = json!(super::fingerprint(&other["labels"]));
    rig.webhook(&other, "firing").await;
    assert_eq!(rig.pages(), before + 1);
    assert!(rig.history(1).await.contains("not muted any more: an alert fired that is not muted"));
    // One of two is muted: that is no mute of the incident.
    rig.am.set_alerts(json!([inhibited(broken), other]));
    rig.minutes(3).await;
    assert!(!matches!(rig.app.incident(1).await.wake, Wake::Suppression(_)));
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_mute_ends_no_snooze_and_no_incident_and_a_resolve_ends_both() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "warning", 0);
    rig.webhook(&broken, "firing").await;
    let until = super::at(7_200);
    let snooze = json!({ "by": "Ana Lima", "until": until }).to_string();
    let answer = rig.app.post("/api/v1/incidents/INC-1/snooze", &snooze).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.am.set_alerts(json!([inhibited(broken.clone())]));
    rig.minutes(2).await;
    let before = rig.pages();
    rig.am.set_alerts(json!([broken.clone()]));
    rig.minutes(2).await;
    assert_eq!(rig.pages(), before, "Ana had said: not before five");
    assert!(matches!(rig.app.incident(1).await.wake, Wake::Snooze(_)));
    rig.am.set_alerts(json!([inhibited(broken.clone())]));
    rig.minutes(2).await;
    rig.webhook(&broken, "resolved").await;
    rig.am.set_alerts(json!([]));
    rig.minutes(3).await;
    assert_eq!(rig.app.incident(1).await.status, Status::Resolved);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn of_two_instances_one_that_knows_no_silence_keeps_paging_and_one_that_is_down_decides_nothing()
 {
    let am = Alertmanager::start(json!([]), json!([])).await;
    let peer = Alertmanager::start(json!([]), json!([])).await;
    let yaml =
        format!("sources: {{ default: {{ alertmanagers: ['{}', '{}'] }} }}", am.url, peer.url);
    let app = crate::app::TestApp::with(&yaml).await;
    app.engine.plant_loops().await.unwrap();
    let rig = Rig { am, app };
    let broken = alert("Broken", "critical", 0);
    rig.webhook(&broken, "firing").await;
    rig.am.set_alerts(json!([silenced(broken.clone(), "s1")]));
    rig.am.set_silences(json!([silence("s1", 86_400)]));
    peer.set_alerts(json!([broken.clone()]));
    rig.minutes(2).await;
    assert!(!matches!(rig.app.incident(1).await.wake, Wake::Suppression(_)));
    peer.set_status(503);
    rig.minutes(2).await;
    assert!(!matches!(rig.app.incident(1).await.wake, Wake::Suppression(_)));
    peer.set_status(200);
    peer.set_alerts(json!([silenced(broken, "s1")]));
    rig.minutes(1).await;
    assert!(matches!(rig.app.incident(1).await.wake, Wake::Suppression(_)));
}

#[tokio::test]
async fn a_storm_whose_members_are_all_silenced_is_paused_too() {
    let am = Alertmanager::start(json!([]), json!([])).await;
    let yaml = format!(
        "storm: {{ above: 3/m, by: [node] }}\nsources: {{ default: {{ alertmanagers: ['{}'] }} }}",
        am.url
    );
    let app = crate::app::TestApp::with(&yaml).await;
    app.engine.plant_loops().await.unwrap();
    let rig = Rig { am, app };
    let all: Vec<_> = (0..6)
        .map(|number| {
            let mut one = alert(&format!("Broken{number}"), "critical", 0);
            one["labels"]["node"] = json!("n1");
            one["fingerprint"] = json!(super::fingerprint(&one["labels"]));
            one["status"] = json!("firing");
            one
        })
        .collect();
    rig.app.post_alerts(&json!({ "alerts": all })).await;
    rig.app.pump_until_quiet().await;
    let storm = (1..=7).map(paramedic::domain::ids::IncidentId);
    let mut found = None;
    for id in storm {
        if rig.app.incident(id.0).await.is_storm() {
            found = Some(id.0);
        }
    }
    let storm = found.expect("a storm");
    let before = rig.pages();
    let muted = |ones: &[serde_json::Value]| {
        json!(ones.iter().map(|one| silenced(one.clone(), "s1")).collect::<Vec<_>>())
    };
    rig.am.set_silences(json!([silence("s1", 7_200)]));
    rig.am.set_alerts(muted(&all));
    rig.minutes(30).await;
    assert!(matches!(rig.app.incident(storm).await.wake, Wake::Suppression(_)));
    assert_eq!(rig.pages(), before);
    // One of them notifies again.
    let mut one = all[0].clone();
    one["status"] = json!({ "state": "active", "silencedBy": [], "inhibitedBy": [] });
    let mut listed = muted(&all[1..]);
    listed.as_array_mut().unwrap().push(one);
    rig.am.set_alerts(listed);
    rig.minutes(1).await;
    assert_eq!(rig.pages(), before + 1, "{}", rig.history(storm).await);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn news_that_came_while_alertmanager_was_asked_is_left_for_the_next_poll() {
    let rig = Rig::new().await;
    let broken = alert("Broken", "critical", 0);
    rig.am.set_alerts(json!([silenced(broken.clone(), "s1")]));
    rig.am.set_silences(json!([silence("s1", 7_200)]));
    // Heard of in the very instant it was asked.
    rig.app.advance(Duration::from_mins(1));
    let mut sent = broken.clone();
    sent["status"] = json!("firing");
    rig.app.post_alerts(&json!({ "alerts": [sent] })).await;
    rig.app.pump_until_quiet().await;
    let timeline = rig.app.engine.store.timeline(paramedic::domain::ids::IncidentId(1), 0, 100);
    let muted = |event: &Event| matches!(event, Event::Suppressed { .. });
    assert!(!timeline.await.unwrap().iter().any(|(_, _, event)| muted(event)));
    rig.minutes(1).await;
    assert!(matches!(rig.app.incident(1).await.wake, Wake::Suppression(_)));
}
