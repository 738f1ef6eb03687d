//! What steps ask of the past: incidents that are like one, and those around the same time.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::{
        ids::IncidentId,
        incident::{Event, Who},
        target::{Pod, Target},
        verdict::{Owner, Verdict},
    },
    store::{Alike, Changes, Common, IncidentChange, Run, RunState},
};
use serde_json::json;

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    incidents_are_alike_by_key_by_target_and_by_verdict,
    incidents_around_a_time_are_those_that_opened_or_were_open,
    what_people_said_is_found_in_order,
);

fn pod(name: &str) -> Target {
    Target::Pod(Pod {
        cluster: "prod".to_owned(),
        namespace: "n".to_owned(),
        name: name.to_owned(),
    })
}

async fn opens(shop: &Shop, id: i64, key: &str) -> IncidentChange {
    let opened = incident(id, key, shop.store.now());
    shop.commit(saved(&opened)).await.unwrap();
    opened
}

async fn runs(shop: &Shop, id: i64, about: &str, verdict: &str) {
    let now = shop.store.now();
    let verdict = Verdict {
        id: verdict.to_owned(),
        title: "t".to_owned(),
        confidence: 0.9,
        owner: Owner::Platform,
        evidence: vec![],
        remedy: String::new(),
        explains: vec![],
        docs: None,
    };
    let run = Run {
        id: format!("INC-{id}/1/p/{about}"),
        incident: IncidentId(id),
        playbook: "p".to_owned(),
        digest: "d".to_owned(),
        opening: 1,
        target: Some(pod(about)),
        cluster: "prod".to_owned(),
        state: RunState::Ended,
        started_at: now,
        deadline: now,
        ended_at: Some(now),
        scope: json!({}),
        verdicts: vec![verdict],
        caveats: vec![],
    };
    shop.commit(Changes { runs: vec![run], ..Changes::default() }).await.unwrap();
}

async fn incidents_are_alike_by_key_by_target_and_by_verdict(shop: Shop) {
    let begin = shop.store.now();
    for (id, key, about, verdict) in
        [(1, "k1", "a", "v/1"), (2, "k2", "a", "v/2"), (3, "k3", "b", "v/1"), (4, "k4", "c", "v/4")]
    {
        opens(&shop, id, key).await;
        runs(&shop, id, about, verdict).await;
    }
    let target = pod("a").key();
    let ask = Alike {
        except: IncidentId(1),
        since: begin,
        key: "k4",
        target: Some(&target),
        verdict: Some("v/1"),
        limit: 10,
    };
    let found: Vec<_> = shop.store.alike(ask).await.unwrap().into_iter().collect();
    let expected = [
        (IncidentId(2), vec![Common::Target]),
        (IncidentId(3), vec![Common::Verdict]),
        (IncidentId(4), vec![Common::Key]),
    ];
    assert_eq!(found, expected);
    let later = Alike { since: begin + SignedDuration::from_mins(1), ..ask };
    assert!(shop.store.alike(later).await.unwrap().is_empty());
    let nothing = Alike { key: "", target: Some(""), verdict: None, ..ask };
    assert!(shop.store.alike(nothing).await.unwrap().is_empty(), "empty is like nothing");
}

async fn incidents_around_a_time_are_those_that_opened_or_were_open(shop: Shop) {
    let begin = shop.store.now();
    opens(&shop, 1, "k1").await;
    shop.hand.advance(Duration::from_hours(1));
    let from = shop.store.now();
    opens(&shop, 2, "k2").await;
    shop.hand.advance(Duration::from_hours(1));
    opens(&shop, 3, "k3").await;
    let ids = async |from, until| {
        let found = shop.store.around(from, until).await.unwrap();
        found.into_iter().map(|incident| incident.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(from, from + SignedDuration::from_mins(5)).await, [2, 1], "1 is still open");
    assert_eq!(ids(begin, begin).await, [1]);
}

async fn what_people_said_is_found_in_order(shop: Shop) {
    let opened = opens(&shop, 1, "k").await;
    let mut state = opened.state.clone();
    let by = |name: &str| Who { id: String::new(), name: name.to_owned(), via: "web".to_owned() };
    let note = |text: &str| Event::Noted { by: "ana".to_owned(), text: text.to_owned() };
    let events = vec![
        note("first"),
        Event::Caveat { text: "noted acknowledged".to_owned() },
        Event::Acknowledged { by: by("raj"), round: 1, expires_at: None, remind_at: None },
        note("last"),
    ];
    state.seq += 4;
    let change = IncidentChange { state, version: Some(1), events };
    shop.commit(saved(&change)).await.unwrap();
    let said = shop.store.said(IncidentId(1)).await.unwrap();
    let words: Vec<String> = said
        .iter()
        .map(|event| match event {
            Event::Noted { text, .. } => text.clone(),
            Event::Acknowledged { by, .. } => by.name.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["first", "raj", "last"]);
}
