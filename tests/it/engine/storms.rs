//! Storms: many incidents of one cause are paged once, and nobody is forgotten.

use paramedic::domain::{
    incident::{Incident, NoWake, Status, Wake},
    severity::Severity,
};

use super::*;

/// Incidents of one node, each with a name of its own.
fn on_node(names: std::ops::Range<usize>, status: &str, severity: &str) -> Value {
    let alerts: Vec<Value> = names
        .map(|n| {
            let labels = json!({ "alertname": format!("Lost{n}"), "namespace": format!("team-{n}"),
                                 "node": "ip-10-0-3-7", "severity": severity });
            json!({ "status": status, "labels": labels, "startsAt": START })
        })
        .collect();
    json!({ "alerts": alerts })
}

async fn all(app: &TestApp) -> Vec<Incident> {
    let filter = Filter { open: None, before: None, limit: 500 };
    let mut found = Vec::new();
    for summary in app.engine.store.incidents(filter).await.unwrap() {
        let number: i64 = summary.id.trim_start_matches("INC-").parse().unwrap();
        found.push(app.incident(number).await);
    }
    found
}

async fn storm(app: &TestApp) -> Incident {
    let storms: Vec<Incident> = all(app).await.into_iter().filter(Incident::is_storm).collect();
    assert_eq!(storms.len(), 1, "{storms:?}");
    storms.into_iter().next().unwrap()
}

async fn members(app: &TestApp) -> Vec<Incident> {
    all(app).await.into_iter().filter(|incident| incident.storm.is_some()).collect()
}

fn pages(app: &TestApp) -> usize {
    app.console().matches("PAGE for").count()
}

#[tokio::test]
async fn thirty_incidents_of_one_node_in_one_webhook_are_one_page_and_one_story() {
    let app = TestApp::new().await;
    app.post_alerts(&on_node(0..30, "firing", "critical")).await;
    app.pump_until_quiet().await;
    let storm = storm(&app).await;
    assert_eq!(storm.title, "Storm · node ip-10-0-3-7");
    assert_eq!((storm.members, storm.firing, storm.severity), (30, 30, Severity::P1));
    assert_eq!(members(&app).await.len(), 30);
    assert_eq!(pages(&app), 1, "{}", app.console());
    let said = app.console();
    assert!(said.contains("30 incidents, 30 open") && said.contains("and 22 more"), "{said}");
    assert!(said.matches("no playbook matched").count() >= 1, "the one that speaks: {said}");
    let listed = |page: &str| page.matches("class=\"c-title\"").count();
    let page = app.page("/incidents").await.body;
    assert_eq!(listed(&page), 1, "the storm stands for its members: {page}");
    let id = storm.id;
    let page = app.page(&format!("/incidents/{id}")).await.body;
    assert!(page.contains(&format!("/incidents?status=all&amp;q={id}")), "{page}");
    assert_eq!(listed(&app.page(&format!("/incidents?status=all&q={id}")).await.body), 31);
    assert_sound(&app).await;
}

#[tokio::test]
async fn below_the_rate_every_incident_pages_by_itself() {
    let app = TestApp::new().await;
    app.post_alerts(&on_node(0..20, "firing", "critical")).await;
    app.pump_until_quiet().await;
    assert_eq!((all(&app).await.len(), pages(&app)), (20, 20));
    app.advance(Duration::from_mins(2));
    app.pump_until_quiet().await;
    app.post_alerts(&on_node(20..30, "firing", "critical")).await;
    app.pump_until_quiet().await;
    assert!(members(&app).await.is_empty());
}

#[tokio::test]
async fn many_incidents_that_share_nothing_are_no_storm() {
    let app = TestApp::new().await;
    let alerts: Vec<Value> = (0..40)
        .map(|n| json!({ "status": "firing", "startsAt": START, "labels": { "alertname": format!("A{n}"), "namespace": format!("n{n}") } }))
        .collect();
    app.post_alerts(&json!({ "alerts": alerts })).await;
    app.pump_until_quiet().await;
    assert!(members(&app).await.is_empty());
    assert_eq!(app.engine.store.open_count().await.unwrap(), 40);
    for _ in 0..5 {
        app.advance(Duration::from_secs(1));
        app.pump_until_quiet().await;
    }
    assert_eq!(pages(&app), 40);
}

#[tokio::test]
async fn incidents_that_came_one_by_one_join_when_the_rate_is_passed_and_their_own_pages_end() {
    let app = TestApp::new().await;
    for n in 0..25 {
        app.post_alerts(&on_node(n..n + 1, "firing", "critical")).await;
        app.pump_until_quiet().await;
    }
    let storm = storm(&app).await;
    assert_eq!((storm.members, members(&app).await.len()), (25, 25));
    assert_eq!(pages(&app), 21, "twenty by themselves, then the storm");
    app.advance(Duration::from_hours(2));
    app.pump_until_quiet().await;
    let paged_again = pages(&app) - 21;
    assert!((1..=12).contains(&paged_again), "only the storm goes on paging: {paged_again}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn p0_is_paged_by_itself_also_when_a_member_becomes_one() {
    let app = TestApp::new().await;
    app.post_alerts(&on_node(0..30, "firing", "warning")).await;
    app.post_alerts(&on_node(30..31, "firing", "P0")).await;
    app.pump_until_quiet().await;
    let alone: Vec<Incident> =
        all(&app).await.into_iter().filter(|i| i.storm.is_none() && !i.is_storm()).collect();
    assert_eq!((alone.len(), alone[0].severity), (1, Severity::P0));
    assert_eq!(pages(&app), 2);
    let worse = json!({ "alerts": [{ "status": "firing", "startsAt": START, "labels": {
        "alertname": "Lost3", "namespace": "team-3", "node": "ip-10-0-3-7", "severity": "P0", "pod": "new" } }] });
    app.post_alerts(&worse).await;
    app.pump_until_quiet().await;
    assert_eq!(pages(&app), 3);
    let storm = storm(&app).await;
    assert_eq!((storm.members, storm.firing), (29, 29), "{storm:?}");
}

#[tokio::test]
async fn an_ack_of_the_storm_is_its_members_ack_and_it_resolves_with_the_last_of_them() {
    let app = TestApp::new().await;
    app.post_alerts(&on_node(0..30, "firing", "critical")).await;
    app.pump_until_quiet().await;
    let id = storm(&app).await.id;
    let answer = app.post(&format!("/api/v1/incidents/{id}/ack"), "{}").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app.pump_until_quiet().await;
    for member in members(&app).await {
        assert_eq!(
            (member.status, &member.wake),
            (Status::Acknowledged, &Wake::Never(NoWake::InStorm))
        );
    }
    app.post_alerts(&on_node(0..29, "resolved", "critical")).await;
    app.pump_until_quiet().await;
    app.advance(Duration::from_mins(3));
    app.pump_until_quiet().await;
    assert_eq!((storm(&app).await.firing, storm(&app).await.status), (1, Status::Acknowledged));
    app.post_alerts(&on_node(29..30, "resolved", "critical")).await;
    app.pump_until_quiet().await;
    app.advance(Duration::from_mins(3));
    app.pump_until_quiet().await;
    app.advance(Duration::from_mins(3));
    app.pump_until_quiet().await;
    assert_eq!(storm(&app).await.status, Status::Resolved);
    assert_eq!(app.engine.store.open_count().await.unwrap(), 0);
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_storm_that_ended_while_somebody_joined_is_found_and_opens_again() {
    let app = TestApp::new().await;
    app.post_alerts(&on_node(0..30, "firing", "critical")).await;
    app.pump_until_quiet().await;
    let id = storm(&app).await.id;
    // As if the storm had been counted just before the last member joined.
    let over = "UPDATE incidents SET is_open = 0, wake_at = NULL, status = 'resolved', \
                state = json_set(state, '$.status', 'resolved', '$.wake', json('{\"never\":\"over\"}')) WHERE id = $1";
    app.sql(over, id.0);
    app.engine.check_invariants().await.unwrap();
    app.pump_until_quiet().await;
    let storm = storm(&app).await;
    assert_eq!(storm.status, Status::Triggered, "{storm:?}");
    assert!(storm.wake.due().is_some());
}

#[tokio::test]
async fn a_crash_at_any_turn_loses_no_member() {
    let mut app = TestApp::new().await;
    for n in 0..24 {
        app.post_alerts(&on_node(n..n + 1, "firing", "critical")).await;
        app.engine.pump().await.unwrap();
        if n % 5 == 0 {
            app = app.dies_and_restarts().await;
        }
    }
    app.pump_until_quiet().await;
    app.advance(Duration::from_mins(1));
    app.pump_until_quiet().await;
    let storm = storm(&app).await;
    assert_eq!((storm.members, storm.firing), (24, 24));
    assert_sound(&app).await;
}
