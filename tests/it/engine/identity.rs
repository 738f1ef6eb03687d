//! Which alerts are the same, in which order they count, and which incident they belong to.

use paramedic::domain::{ids::IncidentId, incident::Status, severity::Severity};
use serde_json::json;

use super::*;

#[tokio::test]
async fn the_same_webhook_twice_changes_nothing_the_second_time() {
    let app = TestApp::new().await;
    alert(&app, "firing", &[], 0).await;
    let before = app.incident(1).await;
    alert(&app, "firing", &[], 0).await;
    assert_eq!(app.incident(1).await, before);
    assert_eq!(incidents(&app).await, 1);
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_refire_with_the_same_start_counts_as_a_new_episode() {
    let app = TestApp::new().await;
    for status in ["firing", "resolved", "firing"] {
        alert(&app, status, &[], 0).await;
    }
    let incident = app.incident(1).await;
    assert_eq!((incident.firing, incident.members, incident.flaps), (1, 1, 1));
    assert!(matches!(incident.wake, paramedic::domain::incident::Wake::Step(_)), "{incident:?}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn an_older_resolve_is_ignored_and_one_of_an_unknown_alert_is_remembered() {
    let app = TestApp::new().await;
    alert(&app, "firing", &[], 60).await;
    alert(&app, "resolved", &[], 0).await;
    assert_eq!(app.incident(1).await.firing, 1);
    alert(&app, "resolved", &[("pod", "b")], 0).await;
    assert_eq!(app.incident(1).await.members, 1);
    // It fires later: arrival order says that this is the newer word.
    alert(&app, "firing", &[("pod", "b")], 0).await;
    assert_eq!((app.incident(1).await.firing, app.incident(1).await.members), (2, 2));
    assert_sound(&app).await;
}

#[tokio::test]
async fn an_alert_that_fires_and_resolves_in_one_webhook_is_over() {
    let app = TestApp::new().await;
    let labels: &[(&str, &str)] = &[("alertname", "A"), ("namespace", "n")];
    app.post_alerts(&payload(&[("firing", labels, 0), ("resolved", labels, 0)])).await;
    app.pump_until_quiet().await;
    let incident = app.incident(1).await;
    assert_eq!((incident.firing, incident.members), (0, 1));
    app.post_alerts(&payload(&[("firing", labels, 5), ("firing", labels, 7)])).await;
    app.pump_until_quiet().await;
    let incident = app.incident(1).await;
    assert_eq!((incident.firing, incident.members, incident.flaps), (1, 1, 1));
    assert_sound(&app).await;
}

#[tokio::test]
async fn two_firings_of_one_alert_in_its_first_webhook_are_one_member() {
    let app = TestApp::new().await;
    let labels: &[(&str, &str)] = &[("alertname", "A"), ("namespace", "n")];
    app.post_alerts(&payload(&[("firing", labels, 5), ("firing", labels, 7)])).await;
    app.pump_until_quiet().await;
    let incident = app.incident(1).await;
    assert_eq!((incident.firing, incident.members), (1, 1));
    assert_sound(&app).await;
}

#[tokio::test]
async fn two_sources_with_equal_fingerprints_share_nothing() {
    let app = TestApp::with("sources: { eu: {}, us: {} }").await;
    let body = payload(&[("firing", &[("alertname", "A"), ("namespace", "n")], 0)]).to_string();
    for source in ["eu", "us"] {
        let answer = app.post(&format!("/api/v1/alertmanager/{source}"), &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    app.pump_until_quiet().await;
    assert_eq!(incidents(&app).await, 2);
    let over = payload(&[("resolved", &[("alertname", "A"), ("namespace", "n")], 0)]);
    app.post("/api/v1/alertmanager/eu", &over.to_string()).await;
    app.pump_until_quiet().await;
    assert_eq!((app.incident(1).await.firing, app.incident(2).await.firing), (0, 1));
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_replica_pair_is_one_alert_that_is_over_when_both_say_so() {
    for together in [true, false] {
        let app = TestApp::with("sources: { default: { identity: { ignore: [replica] } } }").await;
        let of =
            |replica: &'static str| [("alertname", "A"), ("namespace", "n"), ("replica", replica)];
        let (a, b) = (of("a"), of("b"));
        if together {
            app.post_alerts(&payload(&[("firing", &a, 0), ("firing", &b, 1)])).await;
        } else {
            app.post_alerts(&payload(&[("firing", &a, 0)])).await;
            app.post_alerts(&payload(&[("firing", &b, 1)])).await;
        }
        app.pump_until_quiet().await;
        assert_eq!((app.incident(1).await.firing, app.incident(1).await.members), (1, 1));
        app.post_alerts(&payload(&[("resolved", &a, 0)])).await;
        app.pump_until_quiet().await;
        assert_eq!(app.incident(1).await.firing, 1, "together: {together}; b still fires");
        app.post_alerts(&payload(&[("resolved", &b, 1)])).await;
        app.pump_until_quiet().await;
        assert_eq!(app.incident(1).await.firing, 0);
        assert_sound(&app).await;
    }
}

#[tokio::test]
async fn what_alertmanager_left_out_is_shown() {
    let app = TestApp::new().await;
    let mut body = payload(&[("firing", &[("alertname", "A")], 0)]);
    body["truncatedAlerts"] = json!(17);
    app.post_alerts(&body).await;
    app.pump_until_quiet().await;
    let card = app.engine.card(&app.incident(1).await, app.engine.now());
    assert!(card.caveats.iter().any(|c| c.contains("left out 17 alerts")), "{:?}", card.caveats);
}

#[tokio::test]
async fn grouping_follows_the_configured_labels() {
    let app = TestApp::with("incidents: { group_by: [team] }").await;
    let (a, b, c) = (
        [("alertname", "A"), ("team", "x")],
        [("alertname", "B"), ("team", "x")],
        [("alertname", "A"), ("team", "y")],
    );
    app.post_alerts(&payload(&[("firing", &a, 0), ("firing", &b, 0), ("firing", &c, 0)])).await;
    app.pump_until_quiet().await;
    assert_eq!(incidents(&app).await, 2);
    assert_eq!(app.incident(1).await.members + app.incident(2).await.members, 3);
    assert_sound(&app).await;
}

#[tokio::test]
async fn alertmanagers_groups_are_used_when_there_are_any_and_missing_ones_are_noted() {
    let app = TestApp::with("incidents: { group_by: alertmanager }").await;
    let labels: [&[(&str, &str)]; 2] =
        [&[("alertname", "A"), ("job", "x")], &[("alertname", "B"), ("job", "x")]];
    let mut body = payload(&[("firing", labels[0], 0), ("firing", labels[1], 0)]);
    body["groupLabels"] = json!({ "job": "x" });
    app.post_alerts(&body).await;
    app.pump_until_quiet().await;
    assert_eq!((incidents(&app).await, app.incident(1).await.members), (1, 2));
    app.post_alerts(&payload(&[("firing", &[("alertname", "C")], 0)])).await;
    app.pump_until_quiet().await;
    assert_eq!(incidents(&app).await, 2);
    let caveats = app.incident(2).await.caveats;
    assert!(caveats.iter().any(|c| c.contains("no group labels")), "{caveats:?}");
}

#[tokio::test]
async fn strange_labels_open_an_incident_like_any_others() {
    let app = TestApp::new().await;
    let long = "x".repeat(64 * 1024);
    app.post_alerts(&payload(&[
        ("firing", &[("namespace", "n"), ("severity", "info")], 0),
        ("firing", &[("alertname", "Ω<!channel>\u{202e}"), ("größe", "élevée \u{0} <b>")], 0),
        ("firing", &[("alertname", "Long"), ("namespace", &long)], 0),
    ]))
    .await;
    app.pump_until_quiet().await;
    assert_eq!(incidents(&app).await, 3);
    let mut titles = vec![];
    for number in 1..=3 {
        let title = app.incident(number).await.title;
        assert!(title.chars().count() <= 200);
        titles.push(title);
    }
    assert!(titles.iter().any(|title| title == "(no alertname) · n"), "{titles:?}");
    assert!(titles.iter().any(|title| title.starts_with('Ω')), "{titles:?}");
    let info = titles.iter().position(|title| title.starts_with("(no")).unwrap();
    let info = app.incident(i64::try_from(info).unwrap() + 1).await;
    assert_eq!(info.severity, Severity::P3);
    assert_sound(&app).await;
}

#[tokio::test]
async fn an_alert_that_cannot_be_read_raises_one_incident_and_the_others_go_on() {
    let app = TestApp::new().await;
    let mut body = payload(&[("firing", &[("alertname", "A")], 0)]);
    body["alerts"].as_array_mut().unwrap().push(json!({ "status": "melting", "labels": {} }));
    for _ in 0..2 {
        app.post_alerts(&body).await;
        app.pump_until_quiet().await;
    }
    assert_eq!(incidents(&app).await, 2);
    let mut found = vec![];
    for number in 1..=2 {
        found.push(app.incident(number).await);
    }
    let alarm = found.iter().find(|i| i.title.starts_with("Paramedic: ")).unwrap();
    insta::assert_snapshot!(alarm.title, @"Paramedic: Cannot read alert");
    assert_eq!((alarm.severity, alarm.status), (Severity::P2, Status::Triggered));
    let summary = &alarm.annotations["summary"];
    assert!(summary.contains("alerts[1].status"), "{summary}");
    let paged = app.engine.store.messages(IncidentId(alarm.id.0)).await.unwrap();
    assert!(paged.iter().any(|m| m.is_page && m.state == "sent"), "{paged:?}");
    assert_sound(&app).await;
}
