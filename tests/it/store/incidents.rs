//! Incidents, their timelines and members.

use std::time::Duration;

use jiff::Timestamp;
use paramedic::{
    domain::{
        alert::{Alert, Labels, Status},
        ids::IncidentId,
        incident::{Incident, correlate},
    },
    store::{Changes, Error, Filter, IncidentChange, NewJob, Repeat, Summary},
};

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    two_writers_of_one_incident_never_both_win,
    a_lost_race_leaves_nothing_behind,
    the_timeline_folds_back_into_the_stored_state,
    the_list_is_paged_newest_first,
    an_incident_without_its_wake_up_is_found,
    members_are_counted_and_old_tombstones_buried,
    numbers_are_given_once,
    a_hostile_text_is_kept_and_found_again,
    what_nobody_has_is_listed_worst_first,
);

async fn two_writers_of_one_incident_never_both_win(shop: Shop) {
    let now = shop.store.now();
    let opened = incident(1, "k", now);
    shop.commit(saved(&opened)).await.unwrap();
    let change = IncidentChange { version: Some(1), events: vec![], ..opened.clone() };
    shop.commit(saved(&change)).await.unwrap();
    assert_eq!(shop.commit(saved(&change)).await, Err(Error::Conflict));
    let twin = incident(2, "k", now);
    assert_eq!(shop.commit(saved(&twin)).await, Err(Error::Conflict), "one open incident per key");
    let stored = shop.store.incident(IncidentId(1)).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.incident), (2, opened.state));
}

async fn a_lost_race_leaves_nothing_behind(shop: Shop) {
    let stale = IncidentChange { version: Some(7), ..incident(1, "k", shop.store.now()) };
    let mut changes = saved(&stale);
    changes.cursors.push(("c".to_owned(), "v".to_owned()));
    assert_eq!(shop.commit(changes).await, Err(Error::Conflict));
    assert_eq!(shop.store.cursor("c").await.unwrap(), None);
}

async fn the_timeline_folds_back_into_the_stored_state(shop: Shop) {
    let opened = incident(1, "k", shop.store.now());
    shop.commit(saved(&opened)).await.unwrap();
    let timeline = shop.store.timeline(IncidentId(1), 0, 100).await.unwrap();
    let fold = |state: Option<Incident>, (_, at, event): &(i64, Timestamp, _)| {
        Some(paramedic::domain::incident::fold(state, IncidentId(1), *at, event))
    };
    assert_eq!(timeline.iter().fold(None, fold), Some(opened.state));
}

async fn the_list_is_paged_newest_first(shop: Shop) {
    for id in 1..=3 {
        let change = incident(id, &format!("k{id}"), shop.store.now());
        shop.commit(saved(&change)).await.unwrap();
    }
    let page = |before| Filter { open: Some(true), before, limit: 2 };
    let ids = |items: Vec<Summary>| items.into_iter().map(|item| item.id).collect::<Vec<_>>();
    assert_eq!(ids(shop.store.incidents(page(None)).await.unwrap()), ["INC-3", "INC-2"]);
    assert_eq!(ids(shop.store.incidents(page(Some(2))).await.unwrap()), ["INC-1"]);
    assert_eq!(shop.store.open_count().await.unwrap(), 3);
    let closed = Filter { open: Some(false), before: None, limit: 2 };
    assert!(shop.store.incidents(closed).await.unwrap().is_empty());
}

async fn an_incident_without_its_wake_up_is_found(shop: Shop) {
    let change = incident(1, "k", shop.store.now());
    shop.commit(saved(&change)).await.unwrap();
    assert_eq!(shop.store.without_wake_up().await.unwrap(), [IncidentId(1)]);
    let wake = NewJob {
        kind: "wake",
        incident: Some(IncidentId(1)),
        ..shop.job("wake:1", Repeat::Replace)
    };
    shop.commit(Changes { jobs: vec![wake], ..Changes::default() }).await.unwrap();
    assert!(shop.store.without_wake_up().await.unwrap().is_empty());
    let jobs = shop.store.jobs_of(IncidentId(1)).await.unwrap();
    assert_eq!(jobs, [("wake:1".to_owned(), shop.store.now(), String::new())]);
}

async fn members_are_counted_and_old_tombstones_buried(shop: Shop) {
    let alert = |status| Alert {
        status,
        labels: Labels::from([("pod".to_owned(), "a".to_owned())]),
        annotations: Labels::new(),
        starts_at: shop.store.now(),
        generator_url: String::new(),
        fingerprint: "f".to_owned(),
    };
    let now = shop.store.now();
    let (mut firing, _) = correlate::observe(None, "prod", &alert(Status::Firing), &[], 1, now);
    firing.incident = Some(IncidentId(1));
    let (mut tombstone, change) =
        correlate::observe(None, "prod", &alert(Status::Resolved), &[], 1, now);
    assert_eq!(change, correlate::Change::EndedUnseen);
    "other".clone_into(&mut tombstone.fingerprint);
    let members = vec![firing.clone(), tombstone];
    shop.commit(Changes { members, ..Changes::default() }).await.unwrap();
    assert_eq!(shop.store.member_counts(IncidentId(1)).await.unwrap(), (1, 1));
    assert_eq!(shop.store.members(IncidentId(1), 10).await.unwrap(), [firing.clone()]);
    shop.hand.advance(Duration::from_hours(25));
    assert_eq!(shop.store.bury_tombstones(shop.store.now()).await.unwrap(), 1);
    assert_eq!(shop.store.member("prod", "f").await.unwrap(), Some(firing));
}

async fn numbers_are_given_once(shop: Shop) {
    let numbers = futures::future::join_all((0..50).map(|_| shop.store.next_incident())).await;
    let mut numbers: Vec<i64> = numbers.into_iter().map(|number| number.unwrap().0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

/// NUL, quotes, other scripts, and keys longer than an index row of PostgreSQL may be.
async fn a_hostile_text_is_kept_and_found_again(shop: Shop) {
    let now = shop.store.now();
    // Not compressible: PostgreSQL measures what is left after compression.
    let noise: String = (0_u32..9_000)
        .map(|i| char::from(33 + u8::try_from(i.wrapping_mul(2_654_435_761) >> 25).unwrap() % 90))
        .collect();
    let (long, other) =
        (format!("a\0'\"$1 \u{202e}{noise}x"), format!("a\0'\"$1 \u{202e}{noise}y"));
    let mut change = incident(1, &long, now);
    "\0 NUL".clone_into(&mut change.state.title);
    shop.commit(saved(&change)).await.unwrap();
    shop.commit(saved(&incident(2, &other, now))).await.unwrap();
    assert_eq!(shop.commit(saved(&incident(3, &long, now))).await, Err(Error::Conflict));
    let found = shop.store.incident_by_key(&long).await.unwrap().unwrap();
    assert_eq!(found.incident, change.state, "the state keeps even the NUL");
    let list =
        shop.store.incidents(Filter { open: None, before: Some(2), limit: 9 }).await.unwrap();
    assert_eq!(list[0].title, "\u{fffd} NUL");
    let mut alert = Alert {
        status: Status::Firing,
        labels: Labels::from([("pod".to_owned(), long.clone())]),
        annotations: Labels::new(),
        starts_at: now,
        generator_url: String::new(),
        fingerprint: long.clone(),
    };
    let (mut one, _) = correlate::observe(None, "prod", &alert, &[], 1, now);
    alert.fingerprint.clone_from(&other);
    let (two, _) = correlate::observe(None, "prod", &alert, &[], 1, now);
    one.incident = Some(IncidentId(1));
    let changes = Changes {
        members: vec![one.clone(), two.clone()],
        cursors: vec![(long.clone(), "1\0".to_owned()), (other.clone(), "2".to_owned())],
        jobs: vec![shop.job(&long, Repeat::Keep), shop.job(&other, Repeat::Keep)],
        ..Changes::default()
    };
    shop.commit(changes).await.unwrap();
    assert_eq!(shop.store.member("prod", &long).await.unwrap(), Some(one));
    assert_eq!(shop.store.member("prod", &other).await.unwrap(), Some(two));
    assert_eq!(shop.store.cursor(&long).await.unwrap().as_deref(), Some("1\u{fffd}"));
    assert_eq!(shop.store.cursor(&other).await.unwrap().as_deref(), Some("2"));
    let jobs = shop.claim().await;
    assert_eq!(jobs.len(), 2);
    let cancelled = Changes { cancelled: vec![jobs[0].key.clone(), other], ..Changes::default() };
    shop.commit(cancelled).await.unwrap();
    assert_eq!(shop.store.job_counts().await.unwrap(), [("post".to_owned(), 2)], "they run");
}

async fn what_nobody_has_is_listed_worst_first(shop: Shop) {
    use paramedic::domain::{incident::Status, severity::Severity};
    let now = shop.store.now();
    for (id, severity, status) in [
        (1, Severity::P1, Status::Triggered),
        (2, Severity::P2, Status::Triggered),
        (3, Severity::P0, Status::Acknowledged),
        (4, Severity::P0, Status::Triggered),
        (5, Severity::P1, Status::Resolved),
        (6, Severity::P1, Status::Triggered),
    ] {
        let mut change = incident(id, &format!("k{id}"), now);
        (change.state.severity, change.state.status) = (severity, status);
        shop.commit(saved(&change)).await.unwrap();
    }
    let numbers = async |limit| {
        let found = shop.store.unanswered(limit).await.unwrap();
        found.into_iter().map(|incident| incident.id.0).collect::<Vec<_>>()
    };
    assert_eq!((numbers(9).await, numbers(2).await), (vec![4, 1, 6], vec![4, 1]));
}
