//! Settling, firing again, reopening, and resolving by hand.

use paramedic::domain::incident::{Resolution, Status, Wake};

use super::*;

#[tokio::test]
async fn it_resolves_after_everything_was_quiet_for_the_settle_time() {
    let app = TestApp::new().await;
    alert(&app, "firing", &[("pod", "a")], 0).await;
    alert(&app, "firing", &[("pod", "b")], 0).await;
    alert(&app, "resolved", &[("pod", "a")], 0).await;
    live(&app, 130).await;
    assert!(app.incident(1).await.is_open());
    alert(&app, "resolved", &[("pod", "b")], 0).await;
    live(&app, 119).await;
    assert!(app.incident(1).await.is_open());
    live(&app, 1).await;
    let incident = app.incident(1).await;
    assert_eq!(
        (incident.status, incident.resolution),
        (Status::Resolved, Some(Resolution::AllResolved))
    );
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_refire_while_it_settles_goes_on_with_the_round_where_it_was() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(290).await;
    alert(&rig.app, "resolved", &[], 0).await;
    // The second step would be due now; it waits while it settles.
    rig.live(60).await;
    assert_eq!(rig.pages(RAJ), 0);
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(1).await;
    assert_eq!(rig.pages(RAJ), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_personal_line_that_settling_held_back_goes_out_when_it_fires_again() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(100).await;
    alert(&rig.app, "resolved", &[], 0).await;
    // Ana's console line is due after 2 minutes of the page.
    rig.live(30).await;
    assert!(!rig.app.console().contains("PAGE"), "{}", rig.app.console());
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(6).await;
    assert!(rig.app.console().contains("PAGE"), "held back longer than it settled");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_refire_soon_after_reopens_and_a_late_one_opens_another() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    alert(&rig.app, "resolved", &[], 0).await;
    rig.live(120).await;
    assert!(!rig.app.incident(1).await.is_open());
    alert(&rig.app, "firing", &[], 300).await;
    rig.live(1).await;
    let incident = rig.app.incident(1).await;
    assert_eq!((incident.status, incident.opening, incident.rounds), (Status::Triggered, 2, 2));
    assert_eq!(rig.pages(ANA), 2);
    alert(&rig.app, "resolved", &[], 300).await;
    rig.live(120).await;
    rig.app.advance(Duration::from_mins(31));
    alert(&rig.app, "firing", &[], 9_000).await;
    assert_eq!(incidents(&rig.app).await, 2);
    assert_eq!(rig.app.incident(2).await.members, 1);
    rig.live(5).await;
    let newest = rig.app.incident(2).await;
    assert_eq!(newest.firing, 1);
}

#[tokio::test]
async fn resolving_by_hand_asks_while_alerts_fire_and_looks_again() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    let by = json!({ "by": "Ana Lima" });
    let refused = act(&rig.app, 1, "resolve", &by).await;
    assert_eq!((refused.status, &refused.json()["anyway"]), (409, &json!(true)));
    let done = act(&rig.app, 1, "resolve", &json!({ "by": "Ana Lima", "anyway": true })).await;
    assert_eq!(done.status, 200, "{done:?}");
    rig.app.pump_until_quiet().await;
    assert!(matches!(rig.app.incident(1).await.wake, Wake::StillFiring(_)));
    // A repeat does not reopen.
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    assert_eq!(rig.app.incident(1).await.status, Status::Resolved);
    rig.app.advance(Duration::from_mins(15));
    rig.app.pump_until_quiet().await;
    let incident = rig.app.incident(1).await;
    assert_eq!((incident.status, incident.opening), (Status::Triggered, 2));
    let said = history(&rig.app, 1).await;
    assert!(said.contains("reopened: 1 alerts still fire; Ana Lima had resolved it"), "{said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn an_alert_that_joins_a_hand_resolved_incident_after_the_reopen_time_loses_nobody() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("pod", "a"), ("severity", "warning")], 0).await;
    act(&rig.app, 1, "resolve", &json!({ "by": "Ana Lima", "anyway": true })).await;
    rig.live(1).await;
    rig.app.advance(Duration::from_mins(35));
    alert(&rig.app, "firing", &[("pod", "b"), ("severity", "warning")], 2_000).await;
    // Now the first one is still firing an hour after it was resolved.
    rig.app.advance(Duration::from_mins(26));
    rig.app.pump_until_quiet().await;
    rig.live(5).await;
    let open = Filter { open: Some(true), before: None, limit: 10 };
    let mut firing = 0;
    for summary in rig.app.engine.store.incidents(open).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        firing += rig.app.incident(id.0).await.firing;
    }
    assert_eq!(firing, 2, "every active alert has an open incident");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_resolve_that_comes_after_resolving_by_hand_ends_the_watch() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    act(&rig.app, 1, "resolve", &json!({ "by": "Ana Lima", "anyway": true })).await;
    rig.live(1).await;
    alert(&rig.app, "resolved", &[], 0).await;
    assert!(rig.app.incident(1).await.wake.due().is_none());
    rig.app.advance(Duration::from_secs(3_700));
    rig.app.pump_until_quiet().await;
    assert!(!rig.app.incident(1).await.is_open());
    assert_sound(&rig.app).await;
}

const EXHAUSTED: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { slack: U0GONE00 }, notify: { default: [ { at: 0m, by: [slack] } ] } }
policies:
  - { id: data, steps: [ { at: 0m, page: [\"person:ana\"], only: [P2, P3] }, { at: 0m, page: [\"person:ana\"], only: [P0, P1] } ], then: { page: [\"person:ana\"], every: 30m } }
  - { id: weak, steps: [ { at: 0m, page: [\"person:ana\"], only: [P2, P3] } ] }
teams:
  - { id: weak, owns: [ 'team=\"weak\"' ], policy: weak, channels: [ops] }
";

#[tokio::test]
async fn a_policy_that_is_exhausted_with_every_contact_dead_starts_over_and_does_not_spin() {
    let rig = Rig::with(EXHAUSTED, "").await;
    alert(&rig.app, "firing", &[("team", "weak"), ("severity", "warning")], 0).await;
    rig.live(10).await;
    assert_eq!(rig.app.incident(1).await.rounds, 1);
    for rounds in 2..5 {
        rig.app.advance(Duration::from_mins(30));
        rig.app.pump_until_quiet().await;
        rig.live(2).await;
        assert_eq!(rig.app.incident(1).await.rounds, rounds);
        assert_sound(&rig.app).await;
    }
}
