//! Two daemons on one PostgreSQL, pumped by hand: what one began, the other goes on with.

use std::time::Duration;

use paramedic::{engine::correlate::Applied, ops::clock::Clock};
use serde_json::json;

use crate::{
    app::{START, TestApp, firing},
    store::backend,
};

async fn two() -> (TestApp, TestApp) {
    let url = backend::database();
    let clock = Clock::manual(START.parse().unwrap());
    let first = TestApp::on(Some(&url), clock.clone(), "", &[], vec![]).await;
    let second = TestApp::on(Some(&url), clock, "", &[], vec![]).await;
    (first, second)
}

fn pages(app: &TestApp) -> usize {
    app.console().matches(">>> PAGE for ").count()
}

#[tokio::test]
async fn what_both_are_told_becomes_one_incident_and_one_page() {
    let (first, second) = two().await;
    for number in 0..10 {
        let name = format!("A{number}");
        let payload = firing(&[&[("alertname", &name), ("severity", "critical")]]);
        tokio::join!(first.post_alerts(&payload), second.post_alerts(&payload));
    }
    tokio::join!(first.pump_until_quiet(), second.pump_until_quiet());
    // Whoever had the turn has applied everything by now; the other may have been quiet before.
    first.pump_until_quiet().await;
    second.pump_until_quiet().await;
    let list = first.get("/api/v1/incidents?status=all").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 10, "{list}");
    assert_eq!(pages(&first) + pages(&second), 10);
    assert!(first.engine.store.without_wake_up().await.unwrap().is_empty());
    assert!(first.engine.store.orphans().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_ack_at_one_replica_ends_the_round_of_the_other() {
    let (first, second) = two().await;
    first.post_alerts(&firing(&[&[("alertname", "A"), ("severity", "critical")]])).await;
    first.pump_until_quiet().await;
    assert_eq!((pages(&first), pages(&second)), (1, 0));
    let note = json!({ "text": "looking" }).to_string();
    let (acks, races) = tokio::join!(
        second.post("/api/v1/incidents/INC-1/ack", "{}"),
        first.post("/api/v1/incidents/INC-1/note", &note),
    );
    assert_eq!((acks.status, races.status), (200, 200), "{acks:?} {races:?}");
    first.pump_until_quiet().await;
    second.pump_until_quiet().await;
    first.advance(Duration::from_mins(10));
    second.pump_until_quiet().await;
    assert_eq!((pages(&first), pages(&second)), (1, 0), "nobody is paged after the ack");
}

#[tokio::test]
async fn a_replica_that_dies_with_everything_in_its_hands_is_taken_over_in_seconds() {
    let (first, second) = two().await;
    first.post_alerts(&firing(&[&[("alertname", "A"), ("severity", "critical")]])).await;
    // It has the source's turn and claims the page, and then nothing more is heard of it.
    while first.engine.apply_next().await.unwrap() != Applied::Nothing {}
    let claim = paramedic::store::Claim {
        owner: "first",
        kinds: &["wake", "page", "deliver", "post"],
        limit: 16,
        lease: first.engine.store.lease(),
    };
    assert!(!first.engine.store.claim(claim).await.unwrap().is_empty());
    second.post_alerts(&firing(&[&[("alertname", "B"), ("severity", "critical")]])).await;
    second.pump_until_quiet().await;
    assert_eq!(pages(&second), 0, "its turns and leases are its own");
    second.advance(Duration::from_millis(4_001));
    second.pump_until_quiet().await;
    assert_eq!(pages(&second), 2, "{}", second.console());
}
