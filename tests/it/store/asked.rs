//! What is asked back: alerts that fire and have a place, incidents that wait for Alertmanager's word.

use jiff::Timestamp;
use paramedic::{
    domain::{
        alert::{Labels, Status},
        ids::IncidentId,
        incident::{self, NoWake, Wake, correlate::Member},
    },
    store::Changes,
};

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    alerts_that_fire_and_have_a_place_are_listed_by_incident,
    incidents_that_wait_for_alertmanager_are_found_while_they_do,
);

fn member(source: &str, fingerprint: &str, id: i64, status: Status, now: Timestamp) -> Member {
    Member {
        source: source.to_owned(),
        fingerprint: fingerprint.to_owned(),
        incident: Some(IncidentId(id)),
        status,
        starts_at: now,
        last_seq: 1,
        last_seen: now,
        episode: 1,
        labels: Labels::new(),
        annotations: Labels::new(),
        generator_url: String::new(),
        originals: std::collections::BTreeMap::new(),
    }
}

async fn alerts_that_fire_and_have_a_place_are_listed_by_incident(shop: Shop) {
    let now = shop.store.now();
    let resolved = |wake: Wake, id: i64| {
        let mut change = incident(id, &format!("k{id}"), now);
        (change.state.status, change.state.wake) = (incident::Status::Resolved, wake);
        change
    };
    let incidents = vec![
        incident(1, "k1", now),
        resolved(Wake::StillFiring(now), 2),
        resolved(Wake::Never(NoWake::Over), 3),
    ];
    let members = vec![
        member("prod", "b", 1, Status::Firing, now),
        member("prod", "a", 1, Status::Firing, now),
        member("prod", "over", 1, Status::Resolved, now),
        member("prod", "watched", 2, Status::Firing, now),
        member("prod", "lost", 3, Status::Firing, now),
        member("test", "other", 1, Status::Firing, now),
    ];
    shop.commit(Changes { incidents, members, ..Changes::default() }).await.unwrap();
    let found = shop.store.firing_members("prod").await.unwrap();
    let mut listed: Vec<_> =
        found.iter().map(|m| (m.incident.0, m.fingerprint.as_str(), m.is_open)).collect();
    listed.sort_unstable();
    assert_eq!(listed, [(1, "a", true), (1, "b", true), (2, "watched", false)]);
    assert!(found.iter().all(|m| m.last_seen == now));
    let of_one = shop.store.firing_members_of(IncidentId(1)).await.unwrap();
    let mut of_one: Vec<_> = of_one.into_iter().map(|m| m.fingerprint).collect();
    of_one.sort();
    assert_eq!(of_one, ["a", "b", "other"]);
}

async fn incidents_that_wait_for_alertmanager_are_found_while_they_do(shop: Shop) {
    let now = shop.store.now();
    for id in 1..5 {
        let mut change = incident(id, &format!("k{id}"), now);
        match id {
            1 => change.state.suppressed_by = Some("a silence".to_owned()),
            2 => change.state.stale = Some(now),
            3 => {
                change.state.stale = Some(now);
                change.state.status = incident::Status::Resolved;
            }
            _ => {}
        }
        shop.commit(saved(&change)).await.unwrap();
    }
    assert_eq!(shop.store.in_question(10).await.unwrap(), [IncidentId(1), IncidentId(2)]);
    assert_eq!(shop.store.in_question(1).await.unwrap(), [IncidentId(1)]);
    let mut answered = incident(1, "k1", now);
    (answered.version, answered.events) = (Some(1), vec![]);
    shop.commit(saved(&answered)).await.unwrap();
    assert_eq!(shop.store.in_question(10).await.unwrap(), [IncidentId(2)]);
}
